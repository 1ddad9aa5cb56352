"""A stream of a segment-based engine: voice activity detection, endpointing, partials and finals."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Effort, Hypothesis, NextStep, RecognitionEvent, StepKind
from transcribed.engines.segments.recogniser import SegmentModel, SegmentRecogniser
from transcribed.engines.silero import SileroModel, SpeechDetector
from transcribed.options import Pace, Stability, StreamOptions
from transcribed.recognition.endpointing import (
    Endpointer,
    EndpointingRules,
    SegmentClosed,
    SegmentOpened,
    SegmentPaused,
)
from transcribed.recognition.stabilizer import Stabilizer
from transcribed.recognition.vad import WINDOW, SpeechProbabilities
from transcribed.transcript import SpeechEnded, SpeechEvent, SpeechStarted, Word

_WINDOWS_PER_STEP = 16
"""Windows in a LISTEN step (0.5 s). Larger steps hardly cost less per window."""
_UNCERTAIN = 0.608
"""The confidence below which the last words of a partial are withheld."""


@dataclass(frozen=True, slots=True)
class PartialRules:
    """When an open segment is recognised again, in seconds of audio."""

    live_first: float = 0.45
    """Live pace: the first time, counted from the start of speech."""
    live_interval: float = 0.08
    """Live pace: the least interval, so that an idle machine responds to every message of 0.1 s."""
    most_backlog: float = 0.3
    """Live pace: a larger backlog is listened to before a partial, since it may end the segment."""
    fast_first: float = 0.65
    """Fast pace: the first time."""
    fast_interval: float = 4.0
    """Fast pace: the least interval. Four seconds of audio take about 0.2 s."""
    fast_growth: float = 3.0
    """Fast pace: the least ratio of successive lengths, so that all partials of a segment together cost
    little more than half of its final."""

    def after(self, length: float) -> float:
        """Return the length of speech at the next partial after one at this length, at fast pace."""
        return max(length + self.fast_interval, length * self.fast_growth)


class SegmentStream:
    """A LocalStream. It keeps the audio of the open segment and the backlog.

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
        self._segment = -1
        self._new_segment()

    def _new_segment(self) -> None:
        self._segment += 1
        self._stabilizer = Stabilizer(self._stability)
        self._recogniser: SegmentRecogniser | None = None
        self._recognised_until = 0
        self._settled_words: list[Word] = []
        self._shown = ""
        self._shown_settled = 0
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
        return [*events, *(each for each in hypotheses if each.final or self._partials_requested)]

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
        return self._recogniser is None or not self._recogniser.has_final(self._pause_end)

    # --- Recognising

    def _partial(self, effort: Effort) -> Sequence[Hypothesis]:
        self._partial_due = False
        if self._live:
            self._listen()
        start = self._endpointer.start
        if start is None or self._closed is not None:
            return ()
        end = self._pause_end if self._endpointer.paused else min(self._listened, self._audio.end)
        # At fast pace, partials must not keep the final waiting, whatever the machine could do.
        effort = effort if self._live else Effort.REDUCED
        words = self._recogniser_at(start).partial(self._audio, end, self._endpointer.speech, effort)
        return self._show(start, end, words)

    def _ahead(self, effort: Effort) -> Sequence[Hypothesis]:
        """Recognise a paused segment, so that the final is ready if the segment ends at the pause."""
        start = self._endpointer.start
        if start is None:
            return ()
        end, recogniser = self._pause_end, self._recogniser_at(start)
        words = recogniser.final(self._audio, end, self._endpointer.speech, effort)
        return self._show(start, end, words)

    def _show(self, start: int, end: int, recognised: Sequence[Word]) -> Sequence[Hypothesis]:
        self._recognised_until = end
        words = self._words(recognised)
        if end - start <= self._shortest_cut:
            self._stabilizer.push(words, end)
        settled = self._stabilizer.settled
        if settled > len(self._settled_words):
            # No later result may end before the settled words, whose times must not change.
            earliest = min(self._endpointer.earliest_end, self._audio.end) / SAMPLE_RATE
            new = words[len(self._settled_words) : settled]
            self._settled_words += [ending_by(word, earliest) for word in new]
            words[:settled] = self._settled_words
            self._recogniser_at(start).settle(settled)
        if not self._endpointer.paused:
            words = without_uncertain_end(words, settled)
        text = " ".join(word.text for word in words)
        if not text or (text, settled) == (self._shown, self._shown_settled):
            return ()
        self._shown, self._shown_settled = text, settled
        return (self._hypothesis(start, end, words, settled, final=False),)

    def _final(self, effort: Effort) -> Sequence[Hypothesis]:
        assert self._closed is not None  # noqa: S101 - checked by next_step
        start, end = self._closed.start, self._closed.end
        # A segment that had partials must not be rejected as noise.
        speech = None if self._shown else self._closed.speech
        words = self._words(self._recogniser_at(start).final(self._audio, end, speech, effort))
        hypotheses: list[Hypothesis] = []
        text = " ".join(word.text for word in words)
        if text and text != self._shown:
            hypotheses.append(self._hypothesis(start, end, words, len(self._settled_words), final=False))
        if text or self._shown:
            hypotheses.append(self._hypothesis(start, end, words, len(words), final=True))
        self._forget_before(min(end, self._listened - self._kept))
        self._new_segment()
        return hypotheses

    def _forget_before(self, position: int) -> None:
        self._audio.forget_before(position)
        self._speech.forget_before(position)

    def _recogniser_at(self, start: int) -> SegmentRecogniser:
        if self._recogniser is None:
            self._recogniser = self._model.recogniser(start, self._speech)
        return self._recogniser

    def _words(self, recognised: Sequence[Word]) -> list[Word]:
        # A settled word stays, even if the model would now add a comma to it.
        return [*self._settled_words, *recognised[len(self._settled_words) :]] if recognised else []

    def _hypothesis(
        self, start: int, end: int, words: Sequence[Word], settled: int, *, final: bool
    ) -> Hypothesis:
        marked = self._stability is not Stability.OFF
        return Hypothesis(
            segment=self._segment,
            start=start / SAMPLE_RATE,
            end=end / SAMPLE_RATE,
            text=" ".join(word.text for word in words),
            final=final,
            words=tuple(
                replace(
                    ending_by(word, end / SAMPLE_RATE),
                    stable=i < settled if marked else None,
                )
                for i, word in enumerate(words)
            ),
            model=self._recogniser_at(start).model,
        )


def without_uncertain_end(words: Sequence[Word], settled: int) -> list[Word]:
    """Return the words of a partial that may be shown while speech goes on.

    The audio ends within a word, which the model completes to another word with a full stop. So uncertain
    last words are withheld, except for `settled` ones, and the punctuation after the rest. A model without
    confidences withholds words itself.
    """
    shown = list(words)
    while len(shown) > settled and _is_uncertain(shown[-1]):
        shown.pop()
    if len(shown) > settled and shown:
        last = shown[-1]
        text = last.text.rstrip(".,!?;:…-")
        shown[-1:] = [replace(last, text=text)] if text else []
    return shown


def _is_uncertain(word: Word) -> bool:
    return word.confidence is not None and word.confidence < _UNCERTAIN


def ending_by(word: Word, end: float) -> Word:
    """Limit the times of a word to the end of its segment, which may precede that of a settled word."""
    if word.start is None or word.end is None:
        return word
    return replace(word, start=min(word.start, end), end=min(word.end, end))
