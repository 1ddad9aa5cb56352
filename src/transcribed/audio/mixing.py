"""Several channels to one in which speech stays as loud as it was, and sound without a constant in it.

Both work in windows that are counted from the start of the stream, so that the result does not depend on
how it is cut up. Of what is live nothing is held back: a window is treated as those before it taught. In a
recording it is looked ahead, so that its first sounds are right too.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transcribed.audio.formats import Samples

_WINDOW_SECONDS = 0.05
_Matrix = npt.NDArray[np.float64]

_MEMORY_SECONDS = 0.5
"""In which what is known of how channels belong together fades to a third."""
_OPPOSITE, _ALIKE = -0.5, 0.2
"""Correlations from which a channel is turned over, and back."""
_FAINT = 1e-4
"""A channel's energy beside the loudest's that says nothing of how it belongs to the others: -40 dB."""
_CENTRE_SPEAKS = 0.05
"""The centre's energy beside the loudest's from which it is taken for speech: -13 dB."""
_CENTRE_HEARD = 1e-3
"""The same beside the loudest of the last seconds: -30 dB, below which it is noise."""
_CENTRE_HELD_SECONDS = 5.0
"""For how long after it the centre is preferred: pauses between sentences belong to the speech."""
_AROUND = 0.03
"""How loud the other channels are then, for loud voices that stand beside the picture: -30 dB."""
_RUMBLE_HZ = 150.0
"""The mean frequency of the low-frequency channel below which it holds nothing of speech."""
_SILENT = 1e-9
"""Energy of a sample below which nothing is learnt: -90 dB."""

_OFFSET_WINDOW_SECONDS, _OFFSET_WINDOWS = 0.1, 10
"""Over how many windows a constant is averaged: one second."""
_SIDES = ("FL", "FR")
_HARMLESS_OFFSET, _HARMLESS_SHARE = 0.001, 0.1
"""A constant that is left as it is: -60 dB, or -20 dB beside the sound."""


class _Windowed(ABC):
    """Samples [channels, n] to as many of them, each with values of the channels that change by windows."""

    def __init__(self, channels: int, length: int, value: float, *, ahead: bool) -> None:
        self._window = np.zeros((channels, length), np.float32)
        self._filled = 0
        self._ahead = ahead
        self._waiting: Samples | None = None
        self._ramp = _Ramp(np.full(channels, value), length)

    def push(self, samples: Samples) -> Samples:
        """What the samples complete: as many as they are, but for those that are held to look ahead."""
        length = self._window.shape[1]
        parts = []
        position = 0
        while position < samples.shape[1]:
            piece = samples[:, position : position + length - self._filled]
            end = self._filled + piece.shape[1]
            if not self._ahead:
                parts.append(self._applied(piece, self._filled, end))
            self._window[:, self._filled : end] = piece
            self._filled = end
            position += piece.shape[1]
            if end == length:
                self._learn(self._window)
                self._filled = 0
                if self._ahead:
                    parts += self._waited()
                    self._waiting = self._window.copy()
        return self._joined(parts)

    def flush(self) -> Samples:
        """What is still held, at the end."""
        if not self._ahead:
            return self._joined([])
        rest = self._window[:, : self._filled]
        if self._waiting is None and self._filled:
            self._learn(rest)
        self._ramp.turn(self._ramp.new)
        return self._joined([*self._waited(), self._applied(rest, 0, self._filled)])

    def _waited(self) -> list[Samples]:
        return [] if self._waiting is None else [self._applied(self._waiting, 0, self._waiting.shape[1])]

    def _joined(self, parts: list[Samples]) -> Samples:
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([self._applied(self._window[:, :0], 0, 0), *parts], axis=1)

    @abstractmethod
    def _applied(self, piece: Samples, start: int, end: int) -> Samples:
        """The result for the part [start, end) of a window."""

    @abstractmethod
    def _learn(self, window: Samples) -> None:
        """Take the finished window in, and turn the ramp."""


class _Ramp:
    """A value for each channel, which goes evenly from an old one to a new one in a window."""

    def __init__(self, values: _Matrix, length: int) -> None:
        self.old = self.new = values
        self._steps = (np.arange(length) / length).astype(np.float32)

    def turn(self, values: _Matrix) -> None:
        """Begin another window, at whose end the values are these."""
        self.old, self.new = self.new, values

    def of(self, channel: int, start: int, end: int) -> "np.float32 | Samples":
        """The channel's values in the part [start, end) of the window."""
        old, new = np.float32(self.old[channel]), np.float32(self.new[channel])
        return new if old == new else old + (new - old) * self._steps[start:end]


class Mixer(_Windowed):
    """Channels [channels, n] to one, [1, n]: together as loud as the loudest of them.

    Channels of opposite phase are turned over, so that they do not cancel each other, and silent ones take
    nothing from the others. `names` are FFmpeg's names of the channels, where they are known: while there
    is speech in the centre ("FC"), the others stand back.
    """

    def __init__(self, channels: int, rate: int, names: Sequence[str] = (), *, ahead: bool = False) -> None:
        super().__init__(channels, round(rate * _WINDOW_SECONDS), 1 / channels, ahead=ahead)
        self._centre = names.index("FC") if channels > len(_SIDES) and "FC" in names else None
        self._low = [number for number, name in enumerate(names) if name.startswith("LFE")]
        self._low_energy = np.zeros(channels)
        self._rumble = (2 * math.pi * _RUMBLE_HZ / rate) ** 2
        self._before = np.zeros((channels, 1), np.float32)
        self._covariance = np.zeros((channels, channels))
        self._signs = np.ones(channels)
        self._fading = math.exp(-_WINDOW_SECONDS / _MEMORY_SECONDS)
        self._floor = _SILENT * self._window.shape[1]
        self._centre_held = 0
        self._loudest = 0.0

    def _applied(self, piece: Samples, start: int, end: int) -> Samples:
        mixed: Samples = piece[:1] * self._ramp.of(0, start, end)
        for channel in range(1, len(piece)):
            mixed += piece[channel] * self._ramp.of(channel, start, end)
        return mixed

    def _learn(self, window: Samples) -> None:
        # Differences hold no constant and little rumble: what is left is what speech is made of.
        changes = np.diff(window, axis=1, prepend=self._before)
        self._before = window[:, -1:].copy()
        now: _Matrix = np.einsum("it,jt->ij", changes, changes).astype(np.float64)
        self._covariance = self._fading * self._covariance + now
        for channel in self._low:
            self._low_energy[channel] *= self._fading
            self._low_energy[channel] += float(np.sum(window[channel] ** 2, dtype=np.float64))
        self._listen_to_centre(now.diagonal())
        if self._covariance.diagonal().max() > self._floor:
            self._ramp.turn(self._weights())
        else:
            self._ramp.turn(self._ramp.new)

    def _listen_to_centre(self, energy: _Matrix) -> None:
        if self._centre is None:
            return
        loudest = float(energy.max())
        self._loudest = max(loudest, self._loudest * (1 - _WINDOW_SECONDS / _CENTRE_HELD_SECONDS))
        least = max(_CENTRE_SPEAKS * loudest, _CENTRE_HEARD * self._loudest, self._floor)
        if energy[self._centre] > least:
            self._centre_held = round(_CENTRE_HELD_SECONDS / _WINDOW_SECONDS)
        else:
            self._centre_held = max(self._centre_held - 1, 0)

    def _weights(self) -> _Matrix:
        energy = self._covariance.diagonal()
        loudness = np.ones(len(energy))
        if self._centre is not None and self._centre_held:
            loudness[:] = _AROUND
            loudness[self._centre] = 1.0
        for channel in self._low:
            if energy[channel] < self._rumble * self._low_energy[channel]:
                loudness[channel] = 0.0
        self._turn_over(loudness)
        weights = self._signs * loudness
        mixed = float(weights @ self._covariance @ weights)
        loudest = float((loudness**2 * energy).max())
        gain = math.sqrt(loudest / mixed) if mixed > 0 else 1.0
        balanced: _Matrix = weights * min(max(gain, 1 / float(loudness.sum())), 1.0)
        return balanced

    def _turn_over(self, loudness: _Matrix) -> None:
        """Find the signs with which each channel adds to those before it."""
        energy = self._covariance.diagonal()
        faint = _FAINT * energy.max()
        so_far = np.zeros(len(energy))
        so_far[0] = self._signs[0] * loudness[0]
        for channel in range(1, len(energy)):
            sum_energy = float(so_far @ self._covariance @ so_far)
            if energy[channel] > faint and sum_energy > faint:
                together = float(self._covariance[channel] @ so_far)
                correlation = together / math.sqrt(energy[channel] * sum_energy)
                if correlation < _OPPOSITE:
                    self._signs[channel] = -1.0
                elif correlation > _ALIKE:
                    self._signs[channel] = 1.0
            so_far[channel] = self._signs[channel] * loudness[channel]


class OffsetRemover(_Windowed):
    """Takes a constant out of each channel, as cheap sound cards add one. Other sound is left alone."""

    def __init__(self, channels: int, rate: int, *, ahead: bool = False) -> None:
        super().__init__(channels, round(rate * _OFFSET_WINDOW_SECONDS), 0.0, ahead=ahead)
        self._mean = np.zeros(channels)
        self._energy = np.zeros(channels)
        self._idle = True
        self._windows = 0

    def _applied(self, piece: Samples, start: int, end: int) -> Samples:
        if self._idle:
            return piece
        return np.stack([row - self._ramp.of(channel, start, end) for channel, row in enumerate(piece)])

    def _learn(self, window: Samples) -> None:
        self._windows = min(self._windows + 1, _OFFSET_WINDOWS)
        mean = np.add.reduce(window, axis=1, dtype=np.float64) / window.shape[1]
        energy = np.einsum("it,it->i", window, window) / window.shape[1] - mean**2
        self._mean += (mean - self._mean) / self._windows
        self._energy += (np.maximum(energy, 0) - self._energy) / self._windows
        if self._idle and np.abs(self._mean).max() <= _HARMLESS_OFFSET:
            return
        harmless = np.maximum(_HARMLESS_SHARE * np.sqrt(self._energy), _HARMLESS_OFFSET)
        harmful = np.sign(self._mean) * np.maximum(np.abs(self._mean) - harmless, 0)
        self._ramp.turn(harmful)
        self._idle = not (self._ramp.old.any() or self._ramp.new.any())
