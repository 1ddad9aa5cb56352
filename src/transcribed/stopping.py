"""Stopping on a signal, within a bounded time even if something hangs."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

STOP_SECONDS = 15.0
"""The longest duration of a stop, in addition to the grace period of streams."""

# The time for the last log line. Logging may hang too.
_LOG_SECONDS = 1.0
_OWN = str(Path(__file__).parent)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = logging.getLogger(__name__)


class StopSignals:
    """Handles SIGINT and SIGTERM. Must be created in the main thread, on its event loop.

    The first signal calls `stop` on that event loop. If the process is still running `grace` and
    STOP_SECONDS seconds later, it is ended, and the log says what it was waiting for. A second signal ends
    it at once.
    """

    def __init__(self, stop: Callable[[], None], grace: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = stop
        self._grace = grace
        # Python writes the numbers of signals to this socket even while the event loop is blocked.
        self._signals, self._wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, _ignore)
        self._late = threading.Event()
        # Both threads start now: Python starts no thread once the main thread has ended, and a stop may
        # hang after that.
        self._logging = threading.Thread(target=self._log_cause, name="stop-log", daemon=True)
        self._logging.start()
        threading.Thread(target=self._watch, name="stop-signals", daemon=True).start()

    def _watch(self) -> None:
        self._next_signal()
        self._signals.settimeout(self._grace + STOP_SECONDS - 2 * _LOG_SECONDS)
        with contextlib.suppress(RuntimeError):  # The loop is closed: the server is stopping already.
            self._loop.call_soon_threadsafe(self._stop)
        try:
            os._exit(128 + self._next_signal())
        except TimeoutError:
            self._late.set()
            self._logging.join(_LOG_SECONDS)
            os._exit(1)

    def _next_signal(self) -> int:
        """Wait for a signal and return its number. Raises TimeoutError after the socket's time-out."""
        while True:
            (number,) = self._signals.recv(1)
            if number in _SIGNALS:
                return number

    def _log_cause(self) -> None:
        self._late.wait()
        waited = Counter([*_threads(), *_tasks(self._loop)])
        _log.error(
            "The stop takes longer than it may, and the process ends as it is. It was waiting for: %s.",
            "; ".join(f"{count} times {what}" if count > 1 else what for what, count in waited.items()),
        )
        logging.shutdown()


def _ignore(number: int, frame: FrameType | None) -> None:
    """A handler, without which Python would not write the signal to the wake-up socket."""


def _threads() -> Iterator[str]:
    """The threads that are busy, each with its position in this project's code."""
    frames = sys._current_frames()  # noqa: SLF001 - there is no other way to see them
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is None or thread.daemon:
            continue
        stack = traceback.extract_stack(frame)
        own = next((place for place in reversed(stack) if place.filename.startswith(_OWN)), stack[-1])
        if stack[-1].name in {"select", "_worker"}:
            continue  # The event loop, which waits for another thread, or an idle thread of a pool.
        inner = "" if own is stack[-1] else f", within it {stack[-1].name}"
        yield f"the thread {thread.name} in {own.name} ({own.filename}, line {own.lineno}{inner})"


def _tasks(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """The tasks that run this project's code, each with its innermost position in it."""
    for task in asyncio.all_tasks(loop):
        waiting: object = task.get_coro()
        place = None
        while frame := getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None):
            if place is None or frame.f_code.co_filename.startswith(_OWN):
                place = frame
            waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
        if place is not None:
            code = place.f_code
            yield f"the task {code.co_qualname} ({code.co_filename}, line {place.f_lineno})"
