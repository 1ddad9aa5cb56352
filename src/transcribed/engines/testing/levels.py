"""A deterministic engine whose words are determined by the audio alone.

It is for tests that no sample is lost, repeated or moved on its way. Its script is JSON, like that of the
scripted engine:

    {"language": "en-US", "levels": ["one", "two", "three"], "pause": 0.3}

A sample of ±1/256 has the first level, of ±2/256 the second, and so on; samples below half of the first
level or above the last one are silence. A span of one level that lasts at least 20 ms is the word of that
level; shorter spans are edges of others. Spans of the same level with silence in between are two words.
`pause` seconds of silence end a segment. Its text depends neither on earlier audio nor on chunk sizes.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import (
    Costs,
    Effort,
    Hypothesis,
    NextStep,
    RecognitionEvent,
    SegmentSpeechEvents,
    StepKind,
)
from transcribed.options import Capabilities, Stability, StreamOptions
from transcribed.transcript import Word

STEPS = 256
"""The number of levels up to full scale; each is a whole number in 16-bit samples."""
SHORTEST_WORD = SAMPLE_RATE // 50
_WINDOW = SAMPLE_RATE // 10
_SILENCE = 0


def level(number: int, seconds: float) -> Samples:
    """Return samples of a level, with alternating signs: decoders remove a constant offset."""
    samples = np.full(round(seconds * SAMPLE_RATE), number / STEPS, np.float32)
    samples[1::2] *= -1
    return samples


class LevelScript(BaseModel):
    """The words of the levels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str = "en-US"
    levels: Annotated[tuple[Annotated[str, Field(pattern=r"^\S+$")], ...], Field(max_length=STEPS - 1)]
    pause: float = Field(0.3, ge=0.1, le=5)


class _Span(NamedTuple):
    """A word and its position in samples."""

    text: str
    start: int
    end: int


class LevelStream:
    """A LocalStream. Positions are counted in samples."""

    def __init__(self, script: LevelScript, options: StreamOptions) -> None:
        self._levels = script.levels
        pause = script.pause if options.endpoint_silence is None else options.endpoint_silence
        self._pause = round(pause * SAMPLE_RATE)
        self._partials = options.partials
        self._marked = options.stability is not Stability.OFF
        self._audio = SampleBuffer()
        self._finished = False
        self._position = 0
        self._segment = 0
        self._level = _SILENCE
        self._since = 0
        self._words: list[_Span] = []
        self._shown = ("", 0)
        self._speech = SegmentSpeechEvents(enabled=options.speech_events)
        self._flushes: deque[int] = deque()

    def accept(self, samples: Samples) -> None:
        """Take audio."""
        self._audio.append(samples)

    def flush(self) -> None:
        """Close the open segment at the end of the audio taken so far."""
        self._flushes.append(self._audio.end)

    def finish(self) -> None:
        """Declare the end of the audio."""
        self._finished = True

    @property
    def backlog(self) -> float:
        """Seconds of audio not processed yet."""
        return (self._audio.end - self._position) / SAMPLE_RATE

    @property
    def recognised(self) -> float:
        """The position, in seconds, up to which audio is processed."""
        return self._position / SAMPLE_RATE

    def next_step(self) -> NextStep | None:
        """Return what `step` would do now."""
        if self._audio.end - self._position >= _WINDOW:
            return NextStep(StepKind.LISTEN, self.recognised)
        if self._flushes or (self._finished and (self._audio.end > self._position or self._is_open)):
            return NextStep(StepKind.FINAL, self.recognised)
        return None

    def step(self, effort: Effort) -> Sequence[RecognitionEvent]:  # noqa: ARG002 - a step takes no time
        """Process 0.1 s of audio, but not beyond a flush."""
        until = min([self._position + _WINDOW, *self._flushes])
        hypotheses = list(self._listen(self._audio.between(self._position, until)))
        self._audio.forget_before(self._position)
        flushed = bool(self._flushes) and self._position == self._flushes[0]
        if flushed:
            self._flushes.popleft()
        if flushed or (self._finished and self._position == self._audio.end):
            self._end_span()
            hypotheses += self._final()
        elif self._partials:
            hypotheses += self._partial()
        return [each for hypothesis in hypotheses for each in self._speech.with_events(hypothesis)]

    @property
    def _is_open(self) -> bool:
        return bool(self._words) or self._level != _SILENCE

    def _listen(self, window: Samples) -> Iterator[Hypothesis]:
        levels = np.rint(np.abs(window) * STEPS).astype(np.int32)
        levels[levels > len(self._levels)] = _SILENCE
        spans = np.flatnonzero(np.diff(levels, prepend=-1)).tolist()
        for start, end in pairwise((*spans, len(levels))):
            if levels[start] != self._level:
                self._end_span()
                self._level, self._since = int(levels[start]), self._position
            self._position += end - start
            if (
                self._level == _SILENCE
                and self._words
                and self._position - self._words[-1].end >= self._pause
            ):
                yield from self._final()

    def _end_span(self) -> None:
        self._words += self._open_word()
        self._level, self._since = _SILENCE, self._position

    def _open_word(self) -> list[_Span]:
        """Return the current word, if its span is long enough."""
        if self._level == _SILENCE or self._position - self._since < SHORTEST_WORD:
            return []
        return [_Span(self._levels[self._level - 1], self._since, self._position)]

    def _final(self) -> Iterator[Hypothesis]:
        if self._words:
            yield self._hypothesis(self._words, (), final=True)
            self._segment += 1
        self._words, self._shown = [], ("", 0)

    def _partial(self) -> Iterator[Hypothesis]:
        words = self._open_word()
        hypothesis = self._hypothesis(self._words, words, final=False) if self._words or words else None
        if hypothesis is not None and self._shown != (
            shown := (hypothesis.text, len(words) * self._marked)
        ):
            self._shown = shown
            yield hypothesis

    def _hypothesis(self, ended: Sequence[_Span], current: Sequence[_Span], *, final: bool) -> Hypothesis:
        spans = (*ended, *current)
        words = tuple(
            Word(
                span.text,
                span.start / SAMPLE_RATE,
                span.end / SAMPLE_RATE,
                confidence=1.0,
                stable=number < len(ended) if self._marked else None,
            )
            for number, span in enumerate(spans)
        )
        return Hypothesis(
            self._segment,
            spans[0].start / SAMPLE_RATE,
            spans[-1].end / SAMPLE_RATE,
            " ".join(span.text for span in spans),
            final,
            words,
        )


@dataclass(frozen=True, slots=True)
class LevelEngine:
    """A LocalEngine with the same script for all streams."""

    script: LevelScript

    @property
    def capabilities(self) -> Capabilities:
        """The language is that of the script."""
        return Capabilities("scripted", (self.script.language,), endpoint_silence=True)

    @property
    def costs(self) -> Costs:
        """Nearly nothing."""
        return Costs(steady=1e-3, partial=1e-5)

    def open(self, options: StreamOptions) -> LevelStream:
        """Open a new stream."""
        return LevelStream(self.script, options)
