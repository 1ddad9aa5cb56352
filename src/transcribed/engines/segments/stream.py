"""A stream of a segment-based engine: voice activity detection, endpointing, partials and finals."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Effort, Hypothesis, NextStep, RecognitionEvent, StepKind
from transcribed.engines.segments.open_segment import OpenSegment
from transcribed.engines.segments.recogniser import SegmentModel
from transcribed.engines.silero import SileroModel, SpeechDetector
from transcribed.options import Pace, StreamOptions
from transcribed.recognition.endpointing import (
    Endpointer,
    EndpointingRules,
    SegmentClosed,
    SegmentOpened,
    SegmentPaused,
)
from transcribed.recognition.vad import WINDOW, SpeechProbabilities
from transcribed.transcript import SpeechEnded, SpeechEvent, SpeechStarted

_WINDOWS_PER_STEP = 16
"""Windows in a LISTEN step (0.5 s). Larger steps hardly cost less per window."""


@dataclass(frozen=True, slots=True)
class PartialRules:
    """When an open segment is recognised again, in seconds of audio; `fast_growth` is a ratio."""

    live_first: float = 0.45
    """Live pace: the first time, counted from the start of speech."""
    live_interval: float = 0.08
    """Live pace: the least interval, so that an idle machine responds to every message of 0.1 s."""
    most_backlog: float = 0.3
    """Live pace: a larger backlog is listened to before a partial, since it may end the segment."""
    fast_first: float = 0.65
    """Fast pace: the first time."""
    fast_interval: float = 4.0
    """Fast pace: the least interval."""
    fast_growth: float = 3.0
    """Fast pace: the least ratio of successive lengths, so that all partials of a segment together are of
    at most one and a half times its audio."""

    def after(self, length: float) -> float:
        """Return the length of speech at the next partial after one at this length, at fast pace."""
        return max(length + self.fast_interval, length * self.fast_growth)


class SegmentStream:
    """A DetachingStream. It keeps the audio of the open segment and the backlog.

    Positions are counted in samples from the start of the stream.
    """

    def __init__(
        self,
        model: SegmentModel,
        silero: SileroModel,
        options: StreamOptions,
        endpointing: EndpointingRules,
        partials: PartialRules,
    ) -> None:
        self._model = model
        self._detector = SpeechDetector(silero)
        self._live = options.pace is Pace.LIVE
        self._stability = options.stability
        self._partials_requested = options.partials
        self._speech_events = options.speech_events
        if options.endpoint_silence is not None:
            endpointing = replace(endpointing, endpoint_silence=options.endpoint_silence)
        if options.speech_threshold is not None:
            endpointing = replace(endpointing, onset_probability=options.speech_threshold)
        self._partials = partials
        self._endpointer = Endpointer(endpointing)
        self._kept = round((endpointing.padding_before + endpointing.longest_uncertain) * SAMPLE_RATE)
        # Later words may end up after a cut, in the next segment, so that they cannot settle in this one.
        self._shortest_cut = round(endpointing.shortest_cut * SAMPLE_RATE)
        self._audio = SampleBuffer()
        self._listened = 0
        self._analysed: deque[tuple[float, float]] = deque()
        self._speech = SpeechProbabilities()
        self._flushes: deque[int] = deque()
        self._events: list[SpeechEvent] = []
        self._finished = False
        self._number = -1
        self._new_segment()

    def _new_segment(self) -> None:
        self._number += 1
        self._segment: OpenSegment | None = None
        self._recognised_until = 0
        self._next_partial = self._partials.fast_first
        self._partial_due = False
        self._pause_end = 0
        self._closed: SegmentClosed | None = None

    # --- LocalStream

    def accept(self, samples: Samples) -> None:
        """Take audio."""
        self._audio.append(samples)

    def flush(self) -> None:
        """Close the open segment at the end of the audio taken so far."""
        if not self._flushes or self._flushes[-1] != self._audio.end:
            self._flushes.append(self._audio.end)

    def finish(self) -> None:
        """Declare the end of the audio."""
        self._finished = True

    @property
    def backlog(self) -> float:
        """Seconds of audio taken but not yet searched for speech."""
        return self._backlog_samples / SAMPLE_RATE

    @property
    def recognised(self) -> float:
        """The position in the stream, in seconds, up to which all speech is covered by hypotheses."""
        start = self._endpointer.start if self._closed is None else self._closed.start
        position = self._listened if start is None else max(start, self._recognised_until)
        return min(position, self._audio.end) / SAMPLE_RATE

    def next_step(self) -> NextStep | None:
        """Return what `step` would do now."""
        if self._closed is not None:
            return NextStep(StepKind.FINAL, self._closed.end / SAMPLE_RATE)
        must_listen = self._is_flush_due or (self._finished and not self._at_end)
        can_listen = must_listen or bool(self._analysed) or self._backlog_samples >= WINDOW
        if self._is_partial_due and not (
            self._live and can_listen and (must_listen or self.backlog > self._partials.most_backlog)
        ):
            return NextStep(StepKind.PARTIAL, self._partial_since)
        if can_listen:
            return NextStep(StepKind.LISTEN, min(self._listened, self._audio.end) / SAMPLE_RATE)
        if self._is_pause_to_recognise:
            return NextStep(StepKind.AHEAD, self.recognised)
        return None

    def step(self, effort: Effort) -> Sequence[RecognitionEvent]:
        """Do the next step."""
        hypotheses = self._step(effort)
        events, self._events = self._events, []
        return [*events, *self._requested(hypotheses)]

    def detach_final(self) -> Callable[[Effort], Sequence[RecognitionEvent]]:
        """Take the closed segment out of the stream; the function that is returned recognises it."""
        closed, segment, audio = self._take_closed()
        # The segment keeps the audio and the probabilities, and the stream goes on with copies of the rest.
        needed = min(closed.end, self._listened - self._kept)
        self._audio, self._speech = self._audio.after(needed), self._speech.after(needed)
        return lambda effort: self._requested(segment.final(audio, closed, effort))

    def _requested(self, hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
        return [each for each in hypotheses if each.final or self._partials_requested]

    def _step(self, effort: Effort) -> Sequence[Hypothesis]:
        next_step = self.next_step()
        match next_step and next_step.kind:
            case StepKind.LISTEN:
                self._listen()
                return ()
            case StepKind.PARTIAL:
                return self._partial(effort)
            case StepKind.AHEAD:
                return self._ahead(effort)
            case StepKind.FINAL:
                return self._final(effort)
            case _:
                return ()

    # --- Listening

    @property
    def _backlog_samples(self) -> int:
        return max(0, self._audio.end - self._listened)

    @property
    def _at_end(self) -> bool:
        return self._listened >= self._audio.end and self._endpointer.start is None

    def _listen(self) -> None:
        if not self._analysed:
            self._analyse()
        self._flush_if_due()
        while self._analysed and self._closed is None and (self._live or not self._partial_due):
            probability, level = self._analysed.popleft()
            self._listened += WINDOW
            self._speech.push(probability)
            self._on_window(probability, level)
            self._flush_if_due()
        if self._finished and self._listened >= self._audio.end and self._closed is None:
            self._close(self._endpointer.finish(self._audio.end))
        if self._endpointer.start is None and self._closed is None:
            self._forget_before(self._listened - self._kept)

    @property
    def _is_flush_due(self) -> bool:
        """Whether all complete windows before the next flush are analysed."""
        return bool(self._flushes) and self._flushes[0] < self._listened + WINDOW

    def _flush_if_due(self) -> None:
        while self._is_flush_due and self._closed is None:
            self._close(self._endpointer.flush(self._flushes.popleft()))

    def _close(self, closed: SegmentClosed | None) -> None:
        self._closed = closed
        # After a cut in running speech the next segment is open already: speech goes on.
        if closed is not None and self._endpointer.start is None:
            self._emit(SpeechEnded, min(self._endpointer.speech_end, self._audio.end))

    def _emit(self, event: type[SpeechEvent], position: int) -> None:
        if self._speech_events:
            self._events.append(event(position / SAMPLE_RATE))

    def _analyse(self) -> None:
        """Compute the speech probability and energy of the next windows; the very last is zero-padded."""
        waiting = self._audio.between(self._listened, self._listened + _WINDOWS_PER_STEP * WINDOW)
        rest = len(waiting) % WINDOW
        if self._finished and self._listened + len(waiting) == self._audio.end and rest:
            waiting = np.pad(waiting, (0, WINDOW - rest))
        else:
            waiting = waiting[: len(waiting) - rest]
        if len(waiting):
            windows = waiting.reshape(-1, WINDOW)
            levels = np.einsum("ij,ij->i", windows, windows)
            self._analysed.extend(zip(self._detector.push(waiting), map(float, levels), strict=True))

    def _on_window(self, probability: float, level: float) -> None:
        match self._endpointer.push(probability, level):
            case SegmentClosed() as closed:
                self._close(closed)
            case SegmentPaused(end):
                self._pause_end = end
            case SegmentOpened():
                self._emit(SpeechStarted, self._endpointer.speech_start)
            case None:
                if self._endpointer.paused and self._recognised_until >= self._pause_end:
                    self._recognised_until = self._listened
        if not (self._live or self._endpointer.paused) and self._spoken >= self._next_partial:
            self._partial_due = self._partials_requested
            self._next_partial = self._partials.after(self._spoken)

    # --- When a partial is due

    @property
    def _spoken(self) -> float:
        """Seconds since the start of speech in the open segment."""
        if self._endpointer.start is None:
            return 0.0
        return (self._listened - self._endpointer.speech_start) / SAMPLE_RATE

    @property
    def _is_partial_due(self) -> bool:
        """At fast pace, this depends only on the audio; at live pace, on the amount of new audio."""
        if not self._live:
            return self._partial_due
        if self._endpointer.start is None or not self._partials_requested:
            return False
        if self._endpointer.paused:
            return self._recognised_until < self._pause_end
        new = self._audio.end - max(self._recognised_until, self._endpointer.start)
        return (
            self._spoken + self.backlog >= self._partials.live_first
            and new >= self._partials.live_interval * SAMPLE_RATE
        )

    @property
    def _partial_since(self) -> float:
        """The first partial is due at the same delay as the others, although it covers more audio."""
        first = self._endpointer.speech_start / SAMPLE_RATE + self._partials.live_first
        return max(self._recognised_until / SAMPLE_RATE, first - self._partials.live_interval)

    @property
    def _is_pause_to_recognise(self) -> bool:
        """Whether the open segment has paused and was not yet recognised as if it ended here."""
        if not self._live or self._endpointer.start is None or not self._endpointer.paused:
            return False
        return self._segment is None or not self._segment.has_final(self._pause_end)

    # --- Recognising

    def _partial(self, effort: Effort) -> Sequence[Hypothesis]:
        self._partial_due = False
        if self._live:
            self._listen()
        start = self._endpointer.start
        if start is None or self._closed is not None:
            return ()
        end = self._pause_end if self._endpointer.paused else min(self._listened, self._audio.end)
        self._recognised_until = end
        # At fast pace, partials must not keep the final waiting, whatever the machine could do.
        effort = effort if self._live else Effort.REDUCED
        return self._segment_at(start).partial(self._audio, end, self._endpointer, effort)

    def _ahead(self, effort: Effort) -> Sequence[Hypothesis]:
        """Recognise a paused segment, so that the final is ready if the segment ends at the pause."""
        start = self._endpointer.start
        if start is None:
            return ()
        self._recognised_until = self._pause_end
        return self._segment_at(start).ahead(self._audio, self._pause_end, self._endpointer, effort)

    def _final(self, effort: Effort) -> Sequence[Hypothesis]:
        closed, segment, audio = self._take_closed()
        hypotheses = segment.final(audio, closed, effort)
        self._forget_before(min(closed.end, self._listened - self._kept))
        return hypotheses

    def _take_closed(self) -> tuple[SegmentClosed, OpenSegment, SampleBuffer]:
        """Return the closed segment with its audio, and begin the next one."""
        closed = self._closed
        assert closed is not None  # noqa: S101 - checked by next_step
        segment = self._segment_at(closed.start)
        self._new_segment()
        return closed, segment, self._audio

    def _forget_before(self, position: int) -> None:
        self._audio.forget_before(position)
        self._speech.forget_before(position)

    def _segment_at(self, start: int) -> OpenSegment:
        if self._segment is None:
            recogniser = self._model.recogniser(start, self._speech)
            self._segment = OpenSegment(
                self._number,
                start,
                recogniser,
                self._stability,
                self._shortest_cut,
                noise_too=self._speech_events,  # After the end of speech, its final is awaited.
            )
        return self._segment
