"""A recogniser whose words are determined by the audio alone, and by nothing else.

For tests that no sample is lost, doubled or moved on its way. Its script, which is one of the scripted
engine's, is JSON:

    {"language": "en-US", "levels": ["one", "two", "three"], "pause": 0.3}

A sample of ±1/256 is the first level, of ±2/256 the second, and so on; what is below half of the first, or
above the last, is silence. A span of one level is its word, if it lasts for 20 ms: what is shorter is the
edge of another. Spans of the same level with silence between them are two words. `pause` seconds of silence
end a segment; its text is the same whatever came before it, and however the audio was cut.
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
    Hypothesis,
    NextStep,
    RecognitionEvent,
    SegmentSpeechEvents,
    StepKind,
)
from transcribed.options import Capabilities, Stability, StreamOptions
from transcribed.transcript import Word

STEPS = 256
"""Levels from silence to full scale: each is a whole number in samples of 16 bits."""
SHORTEST_WORD = SAMPLE_RATE // 50
_WINDOW = SAMPLE_RATE // 10
_SILENCE = 0


def level(number: int, seconds: float) -> Samples:
    """Samples of a level: of both signs in turn, since a constant is taken out of audio."""
    samples = np.full(round(seconds * SAMPLE_RATE), number / STEPS, np.float32)
    samples[1::2] *= -1
    return samples


class LevelScript(BaseModel):
    """What the levels say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str = "en-US"
    levels: Annotated[tuple[Annotated[str, Field(pattern=r"^\S+$")], ...], Field(max_length=STEPS - 1)]
    pause: float = Field(0.3, ge=0.1, le=5)


class _Span(NamedTuple):
    """A word and its samples."""

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
        self._heard = 0
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
        """Close the open segment behind all audio taken so far."""
        self._flushes.append(self._audio.end)

    def finish(self) -> None:
        """No more audio comes."""
        self._finished = True

    @property
    def backlog(self) -> float:
        """Seconds of audio not listened to yet."""
        return (self._audio.end - self._heard) / SAMPLE_RATE

    @property
    def recognised(self) -> float:
        """All that was listened to."""
        return self._heard / SAMPLE_RATE

    def next_step(self) -> NextStep | None:
        """What `step` would do now."""
        if self._audio.end - self._heard >= _WINDOW:
            return NextStep(StepKind.LISTEN, self.recognised)
        if self._flushes or (self._finished and (self._audio.end > self._heard or self._is_open)):
            return NextStep(StepKind.FINAL, self.recognised)
        return None

    def step(self, *, alone: bool) -> Sequence[RecognitionEvent]:  # noqa: ARG002 - it is soon done
        """Listen to a tenth of a second, but not beyond a flush."""
        until = min([self._heard + _WINDOW, *self._flushes])
        said = list(self._listen(self._audio.between(self._heard, until)))
        self._audio.forget_before(self._heard)
        flushed = bool(self._flushes) and self._heard == self._flushes[0]
        if flushed:
            self._flushes.popleft()
        if flushed or (self._finished and self._heard == self._audio.end):
            self._end_span()
            said += self._final()
        elif self._partials:
            said += self._partial()
        return [each for hypothesis in said for each in self._speech.with_events(hypothesis)]

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
                self._level, self._since = int(levels[start]), self._heard
            self._heard += end - start
            if self._level == _SILENCE and self._words and self._heard - self._words[-1].end >= self._pause:
                yield from self._final()

    def _end_span(self) -> None:
        self._words += self._open_word()
        self._level, self._since = _SILENCE, self._heard

    def _open_word(self) -> list[_Span]:
        """The word that lasts, if one does."""
        if self._level == _SILENCE or self._heard - self._since < SHORTEST_WORD:
            return []
        return [_Span(self._levels[self._level - 1], self._since, self._heard)]

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

    def _hypothesis(self, ended: Sequence[_Span], lasting: Sequence[_Span], *, final: bool) -> Hypothesis:
        spans = (*ended, *lasting)
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
    """A LocalEngine."""

    script: LevelScript

    @property
    def capabilities(self) -> Capabilities:
        """The language is the script's word."""
        return Capabilities("scripted", (self.script.language,), endpoint_silence=True)

    @property
    def costs(self) -> Costs:
        """Hardly any."""
        return Costs(steady=1e-3, partial=1e-5)

    def open(self, options: StreamOptions) -> LevelStream:
        """A new stream."""
        return LevelStream(self.script, options)
