"""What makes successive streams one: audio in no final yet, one time, and one numbering.

Pure: without I/O, tasks or clock.
"""

from dataclasses import replace

import numpy as np

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.base import Hypothesis
from transcribed.transcript import later

_FULL_SCALE = 32_768


class Splice:
    """One stream at a time is given the audio, each from the end of the last final on.

    So a stream may be left at any moment: what it had in no final, the next one hears from the start. All
    audio passes through 16 bits, so that it is the same when it is sent again.

    While no segment is open, audio is forgotten that was sent more than `silence_kept` seconds of audio
    ago. Of a segment that does not end, the latest `most_held` seconds are held.
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
        """Where the next stream would begin, in seconds."""
        return self._audio.start / SAMPLE_RATE

    @property
    def received(self) -> float:
        """Seconds of audio, in all."""
        return self._audio.end / SAMPLE_RATE

    @property
    def unsent(self) -> float:
        """Seconds of audio that the present stream was not given yet."""
        return (self._audio.end - self._sent) / SAMPLE_RATE

    @property
    def is_open(self) -> bool:
        """Whether the present stream is in the middle of a segment."""
        return self._open

    @property
    def is_complete(self) -> bool:
        """Whether all audio is in a final."""
        return self._audio.start == self._audio.end

    def append(self, samples: Samples) -> None:
        """Take audio."""
        scaled = np.rint(samples * _FULL_SCALE)
        self._audio.append(np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16))
        self._audio.forget_before(min(self._audio.end - self._most_held, self._sent))

    def flush(self) -> None:
        """Each stream closes its open segment behind the audio so far."""
        self._flushes = [at for at in self._flushes if self._audio.start < at < self._audio.end]
        if self._audio.end > self._audio.start:
            self._flushes.append(self._audio.end)

    def take_flush(self) -> bool:
        """Whether the present stream is to close its open segment now, and was not told so."""
        due = self._sent in self._flushes and self._flushed < self._sent
        self._flushed = max(self._flushed, self._sent) if due else self._flushed
        return due

    def take(self, seconds: float) -> Samples:
        """The next audio for the present stream, so much at most, up to a flush; none where it has all."""
        until = self._sent + round(seconds * SAMPLE_RATE)
        held = self._audio.between(
            self._sent, min([until, *(at for at in self._flushes if at > self._sent)])
        )
        self._sent += len(held)
        return held.astype(np.float32) / np.float32(_FULL_SCALE)

    def forget_silence(self) -> None:
        """To be called while everything that the present stream has said was placed."""
        if not self._open:
            self._audio.forget_before(self._sent - self._silence_kept)

    def begin(self) -> float:
        """Another stream begins. Returns how many seconds of audio are sent again."""
        again = self._sent - self._audio.start
        self._origin = self._sent = self._flushed = self._audio.start
        self._flushes = [at for at in self._flushes if at > self._sent]
        self._open = False
        return again / SAMPLE_RATE

    def time(self, seconds: float) -> float:
        """A moment of the present stream, in the time of the whole."""
        return seconds + self._origin / SAMPLE_RATE

    def place(self, said: Hypothesis) -> Hypothesis:
        """What the present stream says, in the time and numbering of the whole."""
        placed = _placed(said, self._finals, self.time(0.0))
        self._open = not said.final
        self._shown = None if said.final else placed
        if said.final:
            self._finals += 1
            self._audio.forget_before(min(round(placed.end * SAMPLE_RATE), self._sent))
        return placed

    def leftover(self) -> Hypothesis | None:
        """At the end: an empty final of a segment that only a stream before the last one heard."""
        return (
            None
            if self._shown is None
            else replace(self._shown, text="", words=(), entities=(), final=True)
        )


def _placed(said: Hypothesis, number: int, seconds: float) -> Hypothesis:
    if seconds == 0:
        return said if said.segment == number else replace(said, segment=number)
    return replace(
        said,
        segment=number,
        start=said.start + seconds,
        end=said.end + seconds,
        words=tuple(later(word, seconds) for word in said.words),
        entities=tuple(later(entity, seconds) for entity in said.entities),
    )
