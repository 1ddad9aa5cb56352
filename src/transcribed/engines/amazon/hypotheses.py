"""Amazon's results as hypotheses: pure."""

from collections.abc import Mapping
from dataclasses import replace

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.engines.amazon.request import identifies_language, stabilizes
from transcribed.engines.amazon.sending import TimeMapping
from transcribed.engines.base import Hypothesis
from transcribed.options import StreamOptions
from transcribed.transcript import Word
from transcribed.wire.amazon_results import Reading


class HypothesisReader:
    """Converts the results of one stream to hypotheses, numbering their segments."""

    def __init__(self, parameters: Mapping[str, str], options: StreamOptions, mapping: TimeMapping) -> None:
        self._partials = options.partials
        self._stabilizes = stabilizes(parameters)
        self._identifies = identifies_language(parameters)
        self._mapping = mapping
        self._segment = 0
        self._shown: tuple[tuple[str, bool | None], ...] | None = None

    def read(self, reading: Reading) -> Hypothesis | None:
        """Return the hypothesis of a result, or None if the result adds nothing new.

        A segment that had partials and turns out to be empty still gets a final.
        """
        words = reading.words
        if reading.final and self._stabilizes:
            words = tuple(word if word.stable else replace(word, stable=True) for word in words)
        shown = tuple((word.text, word.stable) for word in words)
        if reading.final:
            if not words and self._shown is None:
                return None
            self._shown = None
        else:
            if not self._partials or not words or shown == self._shown:
                return None
            self._shown = shown
        start, end, entities = reading.start, reading.end, reading.entities
        if self._mapping.silent or end > self._mapping.sent / SAMPLE_RATE:
            start, end = map(self._mapping.stream_time, (start, end))
            words = tuple(map(self._in_stream_time, words))
            entities = tuple(
                replace(
                    each,
                    start=self._mapping.stream_time(each.start),
                    end=self._mapping.stream_time(each.end),
                )
                for each in entities
            )
        hypothesis = Hypothesis(
            segment=self._segment,
            start=start,
            end=end,
            text=" ".join(word.text for word in words),
            final=reading.final,
            words=words,
            language=reading.language if self._identifies else None,
            entities=entities,
            languages=reading.languages,
        )
        self._segment += reading.final
        return hypothesis

    def _in_stream_time(self, word: Word) -> Word:
        if word.start is None or word.end is None:
            return word
        start, end = map(self._mapping.stream_time, (word.start, word.end))
        return replace(word, start=start, end=end)
