"""Stands in for the package sounddevice and the devices behind it, of which a test machine has none.

FAKE_SOUND says what there is: "no package", "no library", "no device", or the file of raw samples (mono,
22050 Hz, 16 bits) that the microphone hears, again and again.
"""

import os
import threading
from pathlib import Path
from types import SimpleNamespace

SOUND = os.environ["FAKE_SOUND"]
if SOUND == "no package":
    raise ImportError("No module named 'sounddevice'")
if SOUND == "no library":
    raise OSError("PortAudio library not found")

_SPEAKER = {
    "name": "Speaker",
    "index": 0,
    "hostapi": 0,
    "max_input_channels": 0,
    "default_samplerate": 48e3,
}
_MICROPHONES = [
    {
        "name": f"{kind} Mic",
        "index": n,
        "hostapi": 0,
        "max_input_channels": 2,
        "default_samplerate": 22050.0,
    }
    for n, kind in [(1, "Desk"), (2, "Head")]
]
_DEVICES = [_SPEAKER] if SOUND == "no device" else [_SPEAKER, *_MICROPHONES]

opened: list["RawInputStream"] = []


class PortAudioError(Exception):
    pass


def query_hostapis():
    return ({"name": "Fake"},)


def query_devices(device=None, kind=None):
    if kind is None:
        return _DEVICES
    if isinstance(device, int):
        if not 0 <= device < len(_DEVICES):
            raise PortAudioError(f"Error querying device {device}")
        found = [_DEVICES[device]]
    else:
        inputs = [d for d in _DEVICES if d["max_input_channels"]]
        found = inputs[:1] if device is None else [d for d in inputs if device in d["name"]]
    if len(found) != 1 or not found[0]["max_input_channels"]:
        raise ValueError(f"{len(found)} input devices found for {device!r}:\nand so on")
    return found[0]


class RawInputStream:
    """Gives a block whenever the one before it has sounded."""

    def __init__(self, *, samplerate, blocksize, device, channels, dtype, callback, finished_callback):
        assert (samplerate, channels, dtype) == (22050, 1, "int16")
        if "Head" in _DEVICES[device]["name"]:
            raise PortAudioError("Device unavailable [PaErrorCode -9985]")
        self._seconds, self._bytes = blocksize / samplerate, 2 * blocksize
        self._callback, self.finished = callback, finished_callback
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        opened.append(self)

    def start(self):
        self._thread.start()

    def close(self, ignore_errors):
        self._closed.set()
        self._thread.join()
        self.finished()

    def take(self, data, *, overflow=False):
        self._callback(memoryview(data), len(data) // 2, None, SimpleNamespace(input_overflow=overflow))

    def _run(self):
        sound = Path(SOUND).read_bytes()
        place = 0
        while not self._closed.wait(self._seconds):
            self.take(sound[place : place + self._bytes])
            place = (place + self._bytes) % len(sound)
