"""The recognition of one segment by the vendor's library."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.engines.base import Effort
from transcribed.engines.moonshine_streaming.library import CHUNK, LibraryStream, Transcriber
from transcribed.engines.moonshine_streaming.words import (
    after_settled,
    beginning_said_twice,
    said_twice,
    same,
    timed,
)
from transcribed.recognition.vad import SpeechProbabilities
from transcribed.transcript import Word

_BRIEF_SECONDS = 0.35
"""Seconds of speech below which a segment is brief: a single word, or a noise that resembles one."""
_SECOND_START = 0.2
"""Seconds of silence in front of a brief segment when it is recognised again."""


@dataclass(frozen=True, slots=True)
class LibrarySegments:
    """A SegmentModel. Each transcriber serves one thread at a time.

    `spaced` tells whether the language has spaces between its words.
    """

    name: str
    transcribers: Sequence[Transcriber]
    spaced: bool = True

    def recogniser(self, start: int, speech: SpeechProbabilities) -> "LibrarySegment":
        """Return a recogniser for the segment that starts at this sample."""
        return LibrarySegment(self, start, speech)

    def least_used(self) -> Transcriber:
        """Return the transcriber with the fewest streams, of those that are idle if any is."""
        return min(self.transcribers, key=lambda each: (each.busy, each.streams))


class LibrarySegment:
    """A SegmentRecogniser.

    Partials come from a stream of the library, which encodes only new audio with a streaming model. Finals
    are recognised as a whole, so that they depend on the audio alone.
    """

    def __init__(self, model: LibrarySegments, start: int, speech: SpeechProbabilities) -> None:
        self._model = model
        self._start = start
        self._speech = speech
        self._stream: LibraryStream | None = None
        self._streamed = start
        self._text: list[str] = []
        self._last: Sequence[Word] = ()
        self._settled: list[Word] = []
        self._final: Sequence[Word] = ()
        self._final_end: int | None = None

    @property
    def model(self) -> str:
        """The name of the model."""
        return self._model.name

    def partial(
        self,
        audio: SampleBuffer,
        end: int,
        speech: int | None,
        effort: Effort,  # noqa: ARG002 - there is one model
    ) -> Sequence[Word]:
        """Return the words of the library's stream, as far as its previous result had them too.

        That concerns the last word, within which the audio may end. Of a language without spaces it
        concerns the end of the text.
        """
        if self._stream is None:
            self._stream = self._model.least_used().stream()
        upto = self._streamed + max(end - self._streamed, 0) // CHUNK * CHUNK
        text = self._stream.extend(audio.between(self._streamed, upto)).split()
        self._streamed = upto
        before, self._text = self._text, text
        if _is_brief(speech):
            return ()
        shown = said_twice(before, text) if self._model.spaced else beginning_said_twice(before, text)
        return self._keep(shown, end)

    def final(
        self,
        audio: SampleBuffer,
        end: int,
        speech: int | None,
        effort: Effort,  # noqa: ARG002 - there is one model
    ) -> Sequence[Word]:
        """Return the words of the whole segment."""
        if self._final_end != end:
            samples = audio.between(self._start, end)
            text = self._model.least_used().transcribe(samples).split()
            believed = not _is_brief(speech) or self._is_credible(text, samples)
            self._final, self._final_end = self._keep(text if believed else [], end), end
        self._last = self._final
        return self._final

    def _is_credible(self, texts: Sequence[str], samples: Samples) -> bool:
        """Return whether a brief segment has the same words with silence in front of it.

        The library states no probabilities. For a noise, the words of the model change with such a detail.
        """
        later = np.concatenate([silence(_SECOND_START), samples])
        again = self._model.least_used().transcribe(later).split()
        return len(again) == len(texts) and all(map(same, again, texts))

    def has_final(self, end: int) -> bool:
        """Return whether `final` would return the last result without computation."""
        return self._final_end == end

    def settle(self, words: int) -> None:
        """Keep the first words of the last result, whatever the first words of later results are."""
        self._settled = list(self._last[:words])
        if self._last is not self._final:
            self._final_end = None

    def _keep(self, texts: Sequence[str], end: int) -> Sequence[Word]:
        settled = self._settled
        rest = texts[after_settled([word.text for word in settled], texts) :]
        start = round((settled[-1].end or 0.0) * SAMPLE_RATE) if settled else self._start
        self._last = [*settled, *timed(rest, start, end, self._speech)]
        return self._last


def _is_brief(speech: int | None) -> bool:
    return speech is not None and speech < _BRIEF_SECONDS * SAMPLE_RATE
