"""Joins successive engine streams into one: pending audio, times, and segment numbers.

Pure: without I/O, tasks or clock.
"""

from dataclasses import replace

import numpy as np

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Hypothesis
from transcribed.transcript import shifted

_FULL_SCALE = 32_768


class Splice:
    """Keeps the audio that no final covers yet, and gives it to one engine stream at a time.

    Each engine stream gets the audio from the end of the last final on. So a stream may be abandoned at any
    moment: its successor recognises everything that was not final. Audio is kept in 16 bits.

    While no segment is open, the last `silence_kept` seconds of sent audio are kept. Of a segment that does
    not end, the last `most_held` seconds are kept.
    """

    def __init__(self, silence_kept: float, most_held: float) -> None:
        self._silence_kept = round(silence_kept * SAMPLE_RATE)
        self._most_held = round(most_held * SAMPLE_RATE)
        self._audio = SampleBuffer(np.int16)
        self._origin = 0
        self._sent = 0
        self._flushes: list[int] = []
        self._flushed = 0
        self._finals = 0
        self._open = False
        self._shown: Hypothesis | None = None

    @property
    def start(self) -> float:
        """The position, in seconds, at which the next engine stream would start."""
        return self._audio.start / SAMPLE_RATE

    @property
    def received(self) -> float:
        """Seconds of audio received in total."""
        return self._audio.end / SAMPLE_RATE

    @property
    def unsent(self) -> float:
        """Seconds of audio not yet given to the current engine stream."""
        return (self._audio.end - self._sent) / SAMPLE_RATE

    @property
    def is_open(self) -> bool:
        """Whether the current engine stream has an open segment."""
        return self._open

    @property
    def is_complete(self) -> bool:
        """Whether finals cover all audio."""
        return self._audio.start == self._audio.end

    def append(self, samples: Samples) -> None:
        """Receive audio."""
        scaled = np.rint(samples * _FULL_SCALE)
        self._audio.append(np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16))
        self._audio.forget_before(min(self._audio.end - self._most_held, self._sent))

    def flush(self) -> None:
        """Mark a flush at the end of the audio so far, for this engine stream and its successors."""
        self._flushes = [at for at in self._flushes if self._audio.start < at < self._audio.end]
        if self._audio.end > self._audio.start:
            self._flushes.append(self._audio.end)

    def take_flush(self) -> bool:
        """Return whether the current engine stream must be flushed now; True once for each flush."""
        due = self._sent in self._flushes and self._flushed < self._sent
        self._flushed = max(self._flushed, self._sent) if due else self._flushed
        return due

    def take(self, seconds: float) -> Samples:
        """Take the next audio for the current engine stream, up to a flush; empty if none is left."""
        until = self._sent + round(seconds * SAMPLE_RATE)
        held = self._audio.between(
            self._sent, min([until, *(at for at in self._flushes if at > self._sent)])
        )
        self._sent += len(held)
        return held.astype(np.float32) / np.float32(_FULL_SCALE)

    def forget_silence(self) -> None:
        """Drop old silence. To be called only when all events of the current engine stream were placed."""
        if not self._open:
            self._audio.forget_before(self._sent - self._silence_kept)

    def begin(self) -> float:
        """Start another engine stream. Return how many seconds of audio it is given again."""
        again = self._sent - self._audio.start
        self._origin = self._sent = self._flushed = self._audio.start
        self._flushes = [at for at in self._flushes if at > self._sent]
        self._open = False
        return again / SAMPLE_RATE

    def time(self, seconds: float) -> float:
        """Convert a time of the current engine stream to the time of the joined stream."""
        return seconds + self._origin / SAMPLE_RATE

    def place(self, hypothesis: Hypothesis) -> Hypothesis:
        """Give a hypothesis of the current engine stream the times and number of the joined stream."""
        placed = _placed(hypothesis, self._finals, self.time(0.0))
        self._open = not hypothesis.final
        self._shown = None if hypothesis.final else placed
        if hypothesis.final:
            self._finals += 1
            self._audio.forget_before(min(round(placed.end * SAMPLE_RATE), self._sent))
        return placed

    def leftover(self) -> Hypothesis | None:
        """Return an empty final for a segment whose partials no later stream confirmed, at the end."""
        return (
            None
            if self._shown is None
            else replace(self._shown, text="", words=(), entities=(), final=True)
        )


def _placed(hypothesis: Hypothesis, number: int, seconds: float) -> Hypothesis:
    if seconds == 0:
        return hypothesis if hypothesis.segment == number else replace(hypothesis, segment=number)
    return replace(
        hypothesis,
        segment=number,
        start=hypothesis.start + seconds,
        end=hypothesis.end + seconds,
        words=tuple(shifted(word, seconds) for word in hypothesis.words),
        entities=tuple(shifted(entity, seconds) for entity in hypothesis.entities),
    )
