"""Live audio from a microphone, through the optional package sounddevice and PortAudio."""

import asyncio
from collections import deque
from contextlib import ExitStack
from types import ModuleType
from typing import Any, Self

from transcribed.audio.formats import Encoding, InputFormat
from transcribed.errors import ConfigurationError, NotFound, TranscribedError

_BLOCK_SECONDS = 0.05
_BLOCKS_AHEAD = 100
_PATIENCE_SECONDS = 10.0
_OR_PIPE = "Or pipe audio: ffmpeg -i talk.mp3 -f wav - | transcribed listen -"


def devices() -> list[str]:
    """Return a line for each microphone: its number, name, and audio system.

    Raises ConfigurationError without the package or the library, and NotFound without a microphone.
    """
    sounddevice = _sounddevice()
    systems = sounddevice.query_hostapis()
    return [f"{d['index']}  {d['name']} ({systems[d['hostapi']]['name']})" for d in _inputs(sounddevice)]


class Microphone:
    """A LiveSource. Audio that is not taken in time is dropped and counted.

    `device` is a number or a unique part of a name; None is the system's default.
    """

    def __init__(self, device: str | None) -> None:
        """Raises ConfigurationError without the package or the library, NotFound without the device."""
        self._sounddevice = _sounddevice()
        self._device = _device(self._sounddevice, device)
        self.name = str(self._device["name"])
        # Every device supports its own default rate, and the decoder resamples well.
        self.format = InputFormat(Encoding.PCM, round(self._device["default_samplerate"]), 1)
        self._blocks: deque[bytes] = deque()
        self._lost_samples = 0
        self._ready = asyncio.Event()
        self._stopped = False
        self._finished = False

    @property
    def lost(self) -> float:
        """Seconds of audio that were dropped."""
        return self._lost_samples / self.format.sample_rate

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        with ExitStack() as opened:
            try:
                stream = self._sounddevice.RawInputStream(
                    samplerate=self.format.sample_rate,
                    blocksize=round(self.format.sample_rate * _BLOCK_SECONDS),
                    device=self._device["index"],
                    channels=self.format.channels,
                    dtype="int16",
                    callback=self._take,
                    finished_callback=self._finish,
                )
                opened.callback(stream.close, ignore_errors=True)
                stream.start()
            except self._sounddevice.PortAudioError as error:
                raise TranscribedError(
                    f"The microphone {self.name} cannot be opened: {error}. Does another program use it?"
                ) from error
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._opened.close()

    def stop(self) -> None:
        """Stop recording. The iteration ends after the chunks that are already buffered."""
        self._stopped = True
        self._ready.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while not self._blocks and not self._stopped and not self._finished:
                    self._ready.clear()
                    await self._ready.wait()
        except TimeoutError:
            self._finished = True
        if self._blocks:
            return self._blocks.popleft()
        if self._stopped:
            raise StopAsyncIteration
        raise TranscribedError(f"The microphone {self.name} gives no more sound. Is it still plugged in?")

    # --- Callbacks on PortAudio's thread, which must not block

    def _take(self, data: Any, samples: int, _time: object, status: Any) -> None:
        if self._stopped:
            return
        if status.input_overflow:  # The amount is unknown, and usually a block.
            self._lost_samples += samples
        if len(self._blocks) < _BLOCKS_AHEAD:
            self._blocks.append(bytes(data))
        else:
            self._lost_samples += samples
        self._loop.call_soon_threadsafe(self._ready.set)

    def _finish(self) -> None:
        self._finished = True
        self._loop.call_soon_threadsafe(self._ready.set)


def _sounddevice() -> ModuleType:
    try:
        import sounddevice  # noqa: PLC0415 - optional; its import searches for devices
    except ImportError as error:
        raise ConfigurationError(
            "The microphone needs the package sounddevice: pip install 'transcribed[microphone]'. "
            + _OR_PIPE
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"The microphone needs the library PortAudio ({error}). "
            "Debian and Ubuntu: apt install libportaudio2. " + _OR_PIPE
        ) from error
    return sounddevice  # type: ignore[no-any-return]


def _inputs(sounddevice: ModuleType) -> list[dict[str, Any]]:
    found = [device for device in sounddevice.query_devices() if device["max_input_channels"] > 0]
    if not found:
        raise NotFound(
            "No microphone found. Plug one in: `transcribed listen --devices` lists them. " + _OR_PIPE
        )
    return found


def _device(sounddevice: ModuleType, wanted: str | None) -> dict[str, Any]:
    _inputs(sounddevice)
    number_or_name = int(wanted) if wanted is not None and wanted.isdecimal() else wanted
    try:
        found: dict[str, Any] = sounddevice.query_devices(number_or_name, "input")
    except (ValueError, sounddevice.PortAudioError) as error:
        what = "No microphone is the default" if wanted is None else f"No one microphone is {wanted!r}"
        raise NotFound(
            f"{what} ({str(error).splitlines()[0]}). `transcribed listen --devices` lists them; "
            "choose one with --device."
        ) from error
    return found
