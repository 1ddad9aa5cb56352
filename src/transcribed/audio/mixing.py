"""Mixes channels to mono without making speech quieter, and removes DC offset.

Both adapt in windows counted from the start of the stream, so the result does not depend on where the input
is cut. Live audio is not delayed: each window is processed with what the windows before it have shown. In
recordings, each window is also used for itself (`look_ahead`), so that the first sounds are right too.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transcribed.audio.formats import Samples

_STEREO = 2
_WINDOW_SECONDS = 0.05
_Matrix = npt.NDArray[np.float64]

_MEMORY_SECONDS = 0.5
"""Time constant of the channels' covariance, which decays to 1/e in this time."""
_INVERTED_BELOW, _UPRIGHT_ABOVE = -0.5, 0.2
"""Correlations with the mix below which a channel is inverted, and above which it no longer is."""
_NEGLIGIBLE = 1e-4
"""Energy relative to the loudest channel's below which a channel's correlation is ignored: -40 dB."""
_CENTRE_SPEAKS = 0.05
"""Energy of the centre relative to the loudest channel's above which it counts as speech: -13 dB."""
_CENTRE_HEARD = 1e-3
"""The same, relative to the loudest of the last seconds: -30 dB. Below, the centre is noise."""
_CENTRE_HELD_SECONDS = 5.0
"""How long the centre stays preferred after speech, since pauses between sentences belong to it."""
_BESIDE_CENTRE = 0.03
"""Weight of the other channels meanwhile, for loud voices outside the centre: -30 dB."""
_RUMBLE_HZ = 150.0
"""A low-frequency channel with a mean frequency below this has no speech, and is left out."""
_SILENT = 1e-9
"""Energy per sample below which the weights do not change: -90 dB."""

_OFFSET_WINDOW_SECONDS, _OFFSET_WINDOWS = 0.1, 10
"""A DC offset is the mean of this many windows: one second."""
_HARMLESS_OFFSET, _HARMLESS_SHARE = 0.001, 0.1
"""A DC offset that is not removed: below -60 dB, or below -20 dB relative to the audio."""


class _Windowed(ABC):
    """Processes samples with one parameter for each channel, which is updated after each window."""

    def __init__(self, channels: int, length: int, value: float, *, look_ahead: bool) -> None:
        self._window = np.zeros((channels, length), np.float32)
        self._filled = 0
        self._look_ahead = look_ahead
        self._waiting: Samples | None = None
        self._ramp = _Ramp(np.full(channels, value), length)

    def push(self, samples: Samples) -> Samples:
        """The output for input [channels, n]: as many samples, except those that `look_ahead` delays."""
        length = self._window.shape[1]
        parts = []
        position = 0
        while position < samples.shape[1]:
            piece = samples[:, position : position + length - self._filled]
            end = self._filled + piece.shape[1]
            if not self._look_ahead:
                parts.append(self._apply(piece, self._filled, end))
            self._window[:, self._filled : end] = piece
            self._filled = end
            position += piece.shape[1]
            if end == length:
                self._update(self._window)
                self._filled = 0
                if self._look_ahead:
                    parts += self._apply_waiting()
                    self._waiting = self._window.copy()
        return self._join(parts)

    def flush(self) -> Samples:
        """The delayed samples, at the end of the audio."""
        if not self._look_ahead:
            return self._join([])
        rest = self._window[:, : self._filled]
        if self._waiting is None and self._filled:
            self._update(rest)
        self._ramp.advance(self._ramp.new)
        return self._join([*self._apply_waiting(), self._apply(rest, 0, self._filled)])

    def _apply_waiting(self) -> list[Samples]:
        return [] if self._waiting is None else [self._apply(self._waiting, 0, self._waiting.shape[1])]

    def _join(self, parts: list[Samples]) -> Samples:
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([self._apply(self._window[:, :0], 0, 0), *parts], axis=1)

    @abstractmethod
    def _apply(self, piece: Samples, start: int, end: int) -> Samples:
        """The output for a piece [channels, end - start), at [start, end) within its window."""

    @abstractmethod
    def _update(self, window: Samples) -> None:
        """Update the parameters from a complete window, and advance the ramp to them."""


class _Ramp:
    """A value for each channel, interpolated linearly over a window from an old to a new value."""

    def __init__(self, values: _Matrix, length: int) -> None:
        self.old = self.new = values
        self._steps = (np.arange(length) / length).astype(np.float32)

    def advance(self, values: _Matrix) -> None:
        """Start the next window, which ends at these values [channels]."""
        self.old, self.new = self.new, values

    def of(self, channel: int, start: int, end: int) -> "np.float32 | Samples":
        """A channel's values at [start, end) of the window; one number if they are constant."""
        old, new = np.float32(self.old[channel]), np.float32(self.new[channel])
        return new if old == new else old + (new - old) * self._steps[start:end]


class Mixer(_Windowed):
    """Mixes channels [channels, n] to one [1, n] that is as loud as the loudest of them.

    Channels of opposite phase are inverted, so that they do not cancel each other out, and silent channels
    do not attenuate the others. `names` are FFmpeg's channel names, if known: while there is speech in the
    centre ("FC"), the other channels are attenuated.
    """

    def __init__(
        self, channels: int, rate: int, names: Sequence[str] = (), *, look_ahead: bool = False
    ) -> None:
        super().__init__(channels, round(rate * _WINDOW_SECONDS), 1 / channels, look_ahead=look_ahead)
        self._centre = names.index("FC") if channels > _STEREO and "FC" in names else None
        self._low = [number for number, name in enumerate(names) if name.startswith("LFE")]
        self._low_energy = np.zeros(channels)
        self._rumble_ratio = (2 * math.pi * _RUMBLE_HZ / rate) ** 2
        self._before = np.zeros((channels, 1), np.float32)
        self._covariance = np.zeros((channels, channels))
        self._signs = np.ones(channels)
        self._decay = math.exp(-_WINDOW_SECONDS / _MEMORY_SECONDS)
        self._floor = _SILENT * self._window.shape[1]
        self._centre_held = 0
        self._loudest = 0.0

    def _apply(self, piece: Samples, start: int, end: int) -> Samples:
        mixed: Samples = piece[:1] * self._ramp.of(0, start, end)
        for channel in range(1, len(piece)):
            mixed += piece[channel] * self._ramp.of(channel, start, end)
        return mixed

    def _update(self, window: Samples) -> None:
        # Differences of successive samples contain no DC offset and little rumble, but all of speech.
        changes = np.diff(window, axis=1, prepend=self._before)
        self._before = window[:, -1:].copy()
        now: _Matrix = np.einsum("it,jt->ij", changes, changes).astype(np.float64)
        self._covariance = self._decay * self._covariance + now
        for channel in self._low:
            self._low_energy[channel] *= self._decay
            self._low_energy[channel] += float(np.sum(window[channel] ** 2, dtype=np.float64))
        self._update_centre(now.diagonal())
        if self._covariance.diagonal().max() > self._floor:
            self._ramp.advance(self._weights())
        else:
            self._ramp.advance(self._ramp.new)

    def _update_centre(self, energy: _Matrix) -> None:
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
            loudness[:] = _BESIDE_CENTRE
            loudness[self._centre] = 1.0
        for channel in self._low:
            if energy[channel] < self._rumble_ratio * self._low_energy[channel]:
                loudness[channel] = 0.0
        self._update_signs(loudness)
        weights = self._signs * loudness
        mixed = float(weights @ self._covariance @ weights)
        loudest = float((loudness**2 * energy).max())
        gain = math.sqrt(loudest / mixed) if mixed > 0 else 1.0
        balanced: _Matrix = weights * min(max(gain, 1 / float(loudness.sum())), 1.0)
        return balanced

    def _update_signs(self, loudness: _Matrix) -> None:
        """Choose each channel's sign so that it adds to the channels before it."""
        energy = self._covariance.diagonal()
        negligible = _NEGLIGIBLE * energy.max()
        mix = np.zeros(len(energy))
        mix[0] = self._signs[0] * loudness[0]
        for channel in range(1, len(energy)):
            sum_energy = float(mix @ self._covariance @ mix)
            if energy[channel] > negligible and sum_energy > negligible:
                together = float(self._covariance[channel] @ mix)
                correlation = together / math.sqrt(energy[channel] * sum_energy)
                if correlation < _INVERTED_BELOW:
                    self._signs[channel] = -1.0
                elif correlation > _UPRIGHT_ABOVE:
                    self._signs[channel] = 1.0
            mix[channel] = self._signs[channel] * loudness[channel]


class OffsetRemover(_Windowed):
    """Removes the DC offset that cheap sound cards add to channels. Audio without one is unchanged."""

    def __init__(self, channels: int, rate: int, *, look_ahead: bool = False) -> None:
        super().__init__(channels, round(rate * _OFFSET_WINDOW_SECONDS), 0.0, look_ahead=look_ahead)
        self._mean = np.zeros(channels)
        self._energy = np.zeros(channels)
        self._has_no_offset = True
        self._windows = 0

    def _apply(self, piece: Samples, start: int, end: int) -> Samples:
        if self._has_no_offset:
            return piece
        return np.stack([row - self._ramp.of(channel, start, end) for channel, row in enumerate(piece)])

    def _update(self, window: Samples) -> None:
        self._windows = min(self._windows + 1, _OFFSET_WINDOWS)
        mean = np.add.reduce(window, axis=1, dtype=np.float64) / window.shape[1]
        energy = np.einsum("it,it->i", window, window) / window.shape[1] - mean**2
        self._mean += (mean - self._mean) / self._windows
        self._energy += (np.maximum(energy, 0) - self._energy) / self._windows
        if self._has_no_offset and np.abs(self._mean).max() <= _HARMLESS_OFFSET:
            return
        harmless = np.maximum(_HARMLESS_SHARE * np.sqrt(self._energy), _HARMLESS_OFFSET)
        removed = np.sign(self._mean) * np.maximum(np.abs(self._mean) - harmless, 0)
        self._ramp.advance(removed)
        self._has_no_offset = not (self._ramp.old.any() or self._ramp.new.any())
