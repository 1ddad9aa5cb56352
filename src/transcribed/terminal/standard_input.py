"""Live audio from standard input."""

import asyncio
import os
from typing import Self

from transcribed.audio.formats import InputFormat
from transcribed.errors import BadRequest
from transcribed.service.threads import in_thread

_CHUNK_BYTES = 64 * 1024


class StandardInput:
    """A LiveSource. It reads only when a chunk is taken, so that the writer of a pipe waits."""

    name = "standard input"
    lost = 0.0

    def __init__(self, form: InputFormat, descriptor: int = 0) -> None:
        """Raises BadRequest if the descriptor is a terminal."""
        if os.isatty(descriptor):
            raise BadRequest(
                "Standard input is this terminal. Pipe audio into it, for example: "
                "ffmpeg -i talk.mp3 -f wav - | transcribed listen -"
            )
        self.format = form
        self._descriptor = descriptor
        self._ready = asyncio.Event()
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop reading. The iteration ends."""
        self._stopped = True
        self._ready.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            await self._readable()
            # Data is available, so the call returns at once.
            data = b"" if self._stopped else await in_thread(os.read, self._descriptor, _CHUNK_BYTES)
        except OSError as error:
            raise BadRequest(f"Standard input cannot be read ({error.strerror}).") from error
        if not data:
            raise StopAsyncIteration
        return data

    async def _readable(self) -> None:
        """Wait for data, the end of the input, or `stop`."""
        if self._stopped:
            return
        loop = asyncio.get_running_loop()
        self._ready.clear()
        try:
            loop.add_reader(self._descriptor, self._ready.set)
        except PermissionError:
            return  # A regular file is always readable.
        try:
            await self._ready.wait()
        finally:
            loop.remove_reader(self._descriptor)
