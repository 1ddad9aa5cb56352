"""One stream through the embedded engine: listening, then recognising segment by segment."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Hypothesis, Pace, StepKind, StreamOptions
from transcribed.engines.moonshine.model import Decoded, MoonshineModel
from transcribed.engines.silero import SileroModel, SpeechDetector
from transcribed.recognition.endpointing import Closed, Endpointer, EndpointingRules, Opened, Paused
from transcribed.recognition.stabilizer import Stability, Stabilizer
from transcribed.recognition.vad import WINDOW
from transcribed.transcript import Word

_LISTENED_AT_ONCE = 16
"""Windows in one step of listening (0.5 s): larger steps are hardly cheaper a window."""
_DOUBTFUL = 0.5
"""A word at the edge of the audio is shown only if the model gives it more than this."""
_NOISE, _BRIEF_NOISE = 0.3, 0.5
"""A segment whose tokens are on average less probable than this was no speech."""
_BRIEF_SECONDS = 0.35
"""So little speech is one word, or a noise that resembled one."""


@dataclass(frozen=True, slots=True)
class PartialRules:
    """When an open segment is recognised anew, in seconds of audio."""

    first: float = 0.7
    """The first time, counted from the start of its speech."""
    live_interval: float = 0.4
    """From one time to the next at live pace."""
    fast_interval: float = 4.0
    """At fast pace, where four seconds of audio pass within a fifth of a second of a watcher's time."""
    fast_growth: float = 3.0
    """At fast pace, the least factor from one time to the next: so all partials of a segment together
    cost little more than half of its final."""

    def after(self, length: float, pace: Pace) -> float:
        """The length of the segment's speech at the next time, after one at this length."""
        if pace is Pace.LIVE:
            return length + self.live_interval
        return max(length + self.fast_interval, length * self.fast_growth)


@dataclass(frozen=True, slots=True)
class _PartialDue:
    """The open segment is to be recognised: up to the pause, or as far as it has been heard."""

    paused_at: int | None = None


@dataclass(frozen=True, slots=True)
class _Recognised:
    """What [start, end) was decoded to."""

    start: int
    end: int
    decoded: Decoded


class MoonshineStream:
    """A LocalStream. Memory: the open segment, and the audio that was accepted and not listened to."""

    def __init__(
        self,
        model: MoonshineModel,
        silero: SileroModel,
        options: StreamOptions,
        endpointing: EndpointingRules,
        partials: PartialRules,
    ) -> None:
        self._model = model
        self._detector = SpeechDetector(silero)
        self._options = options
        self._partials = partials
        self._endpointer = Endpointer(endpointing)
        self._kept = round((endpointing.before + endpointing.doubt) * SAMPLE_RATE)
        # What is said later may end up behind a cut, in the next segment: it cannot settle in this one.
        self._uncut = round(endpointing.uncut * SAMPLE_RATE)
        self._audio = SampleBuffer()
        self._heard = 0
        self._judged: deque[tuple[float, float]] = deque()
        self._finished = False
        self._segment = -1
        self._new_segment()

    def _new_segment(self) -> None:
        self._segment += 1
        self._stabilizer = Stabilizer(self._options.stability)
        self._last: _Recognised | None = None
        self._settled = Decoded()
        self._settled_words: list[Word] = []
        self._shown = ""
        self._partial_due: _PartialDue | None = None
        self._next_partial = self._partials.first
        self._closed: Closed | None = None

    # --- LocalStream

    def accept(self, samples: Samples) -> None:
        """Take audio."""
        self._audio.append(samples)

    def finish(self) -> None:
        """No more audio comes."""
        self._finished = True

    @property
    def backlog(self) -> float:
        """Seconds of audio taken and not listened to yet."""
        return max(0, self._audio.end - self._heard) / SAMPLE_RATE

    def next_step(self) -> StepKind | None:
        """What `step` would do now."""
        if self._closed is not None:
            return StepKind.FINAL
        can_listen = bool(self._judged) or self._audio.end - self._judged_until >= WINDOW
        # Live audio waits for nobody: what has come in is heard before an old partial is made.
        if self._partial_due is not None and (self._options.pace is Pace.FAST or not can_listen):
            return StepKind.PARTIAL
        if can_listen or (self._finished and not self._at_end):
            return StepKind.LISTEN
        return None

    def step(self) -> Sequence[Hypothesis]:
        """Do it."""
        match self.next_step():
            case StepKind.LISTEN:
                self._listen()
                return ()
            case StepKind.PARTIAL:
                return self._partial()
            case StepKind.FINAL:
                return self._final()
            case None:
                return ()

    # --- Listening

    @property
    def _judged_until(self) -> int:
        return self._heard + len(self._judged) * WINDOW

    @property
    def _at_end(self) -> bool:
        return self._heard >= self._audio.end and self._endpointer.start is None

    def _listen(self) -> None:
        if not self._judged:
            self._judge()
        while self._judged:
            probability, level = self._judged.popleft()
            self._heard += WINDOW
            self._on_window(probability, level)
            if self._closed is not None or (
                self._partial_due is not None and self._options.pace is Pace.FAST
            ):
                return
        if self._finished and self._heard >= self._audio.end:
            self._closed = self._endpointer.finish(self._audio.end)
        if self._endpointer.start is None and self._closed is None:
            self._audio.forget_before(self._heard - self._kept)

    def _judge(self) -> None:
        """Speech probability and level of the next windows; the stream's last one is filled with zeros."""
        waiting = self._audio.between(self._heard, self._heard + _LISTENED_AT_ONCE * WINDOW)
        rest = len(waiting) % WINDOW
        if self._finished and self._heard + len(waiting) == self._audio.end and rest:
            waiting = np.pad(waiting, (0, WINDOW - rest))
        else:
            waiting = waiting[: len(waiting) - rest]
        if len(waiting):
            windows = waiting.reshape(-1, WINDOW)
            levels = np.einsum("ij,ij->i", windows, windows)
            self._judged.extend(zip(self._detector.push(waiting), map(float, levels), strict=True))

    def _on_window(self, probability: float, level: float) -> None:
        match self._endpointer.push(probability, level):
            case Closed() as closed:
                self._closed = closed
            case Paused(end) if self._options.pace is Pace.LIVE:
                # As a rule the segment's end: then this partial's work is the final's.
                self._partial_due = _PartialDue(paused_at=end)
            case Paused() | Opened() | None:
                self._schedule_partial()

    def _schedule_partial(self) -> None:
        if self._endpointer.start is None or self._endpointer.paused:
            return
        length = (self._heard - self._endpointer.speech_start) / SAMPLE_RATE
        if length < self._next_partial:
            return
        self._partial_due = _PartialDue()
        self._next_partial = self._partials.after(length, self._options.pace)

    # --- Recognising

    def _partial(self) -> Sequence[Hypothesis]:
        start, due = self._endpointer.start, self._partial_due
        self._partial_due = None
        if start is None or due is None:
            return ()
        end = min(self._heard, self._audio.end) if due.paused_at is None else due.paused_at
        decoded = self._recognise(start, end).decoded
        words = self._words(decoded) if _is_credible(decoded, self._endpointer.speech) else []
        if end - start <= self._uncut:
            self._stabilizer.push([word.text for word in words])
        settled = self._stabilizer.settled
        if settled > len(self._settled_words):
            self._settled_words = words[:settled]
            self._settled = self._tokens_of(settled, decoded)
        if due.paused_at is None:
            words = _without_doubtful_end(words, settled)
        text = " ".join(word.text for word in words)
        if not text or text == self._shown:
            return ()
        self._shown = text
        return (self._hypothesis(start, end, words, settled, final=False),)

    def _final(self) -> Sequence[Hypothesis]:
        assert self._closed is not None  # noqa: S101 - next_step says so
        start, end = self._closed.start, self._closed.end
        decoded = self._recognise(start, end).decoded
        credible = self._shown or _is_credible(decoded, self._closed.speech)
        words = self._words(decoded) if credible else []
        hypotheses: list[Hypothesis] = []
        text = " ".join(word.text for word in words)
        if text and text != self._shown:
            hypotheses.append(self._hypothesis(start, end, words, 0, final=False))
        if text or self._shown:
            hypotheses.append(self._hypothesis(start, end, words, len(words), final=True))
        self._audio.forget_before(min(end, self._heard - self._kept))
        self._new_segment()
        return hypotheses

    def _recognise(self, start: int, end: int) -> _Recognised:
        last = self._last
        if last is None or (last.start, last.end) != (start, end):
            # One recording has nobody else to leave the second core to; live streams mostly have.
            wide = self._options.pace is Pace.FAST
            encoded = self._model.encode(self._audio.between(start, end), wide=wide)
            draft = last.decoded.tokens[len(self._settled.tokens) :] if last else ()
            last = _Recognised(start, end, self._model.decode(encoded, self._settled, draft))
            self._last = last
        return last

    def _hypothesis(
        self, start: int, end: int, words: Sequence[Word], settled: int, *, final: bool
    ) -> Hypothesis:
        marked = self._options.stability is not Stability.OFF
        return Hypothesis(
            segment=self._segment,
            start=start / SAMPLE_RATE,
            end=end / SAMPLE_RATE,
            text=" ".join(word.text for word in words),
            final=final,
            words=tuple(
                Word(word.text, confidence=word.confidence, stable=i < settled if marked else None)
                for i, word in enumerate(words)
            ),
        )

    def _word_spans(self, tokens: Sequence[int]) -> list[tuple[int, int]]:
        """The words of a text, each as a range of tokens."""
        tokenizer = self._model.tokenizer
        starts = [i for i, token in enumerate(tokens) if i == 0 or tokenizer.starts_word(token)]
        spans = pairwise([*starts, len(tokens)])
        return [(low, high) for low, high in spans if tokenizer.text(tokens[low:high])]

    def _words(self, decoded: Decoded) -> list[Word]:
        text = self._model.tokenizer.text
        words = []
        for low, high in self._word_spans(decoded.tokens):
            spoken = [i for i in range(low, high) if _has_letters(text(decoded.tokens[i : i + 1]))]
            confidence = min(decoded.probabilities[i] for i in spoken or [low])
            words.append(Word(text(decoded.tokens[low:high]), confidence=confidence))
        # A settled word stays as it is, even where the model would now put a comma behind it.
        return [*self._settled_words, *words[len(self._settled_words) :]]

    def _tokens_of(self, words: int, decoded: Decoded) -> Decoded:
        spans = self._word_spans(decoded.tokens)
        end = spans[words - 1][1] if words else 0
        return Decoded(decoded.tokens[:end], decoded.probabilities[:end])


def _is_credible(decoded: Decoded, speech: int) -> bool:
    """Whether tokens that were made of so many samples of speech are words at all."""
    least = _BRIEF_NOISE if speech < _BRIEF_SECONDS * SAMPLE_RATE else _NOISE
    return bool(decoded.tokens) and float(np.mean(decoded.probabilities)) >= least


def _without_doubtful_end(words: list[Word], settled: int) -> list[Word]:
    """What may be shown while somebody is speaking.

    The audio breaks off inside a word, of which the model makes some other word, and a full stop. So a
    last word that the model itself doubts is withheld, and so is the punctuation behind it.
    """
    shown = list(words)
    while len(shown) > settled and (shown[-1].confidence or 0.0) < _DOUBTFUL:
        shown.pop()
    if len(shown) > settled and shown:
        last = shown[-1]
        text = last.text.rstrip(".,!?;:…-")
        shown[-1:] = [Word(text, confidence=last.confidence)] if text else []
    return shown


def _has_letters(text: str) -> bool:
    return any(character.isalnum() for character in text)
