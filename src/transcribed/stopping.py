"""The stop that comes when it is asked for, whatever hangs."""

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
"""Beyond the grace of streams, the most that a stop takes."""

# For the log, which may hang like anything else.
_WORD_SECONDS = 1.0
_OWN = str(Path(__file__).parent)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = logging.getLogger(__name__)


class StopSignals:
    """SIGINT and SIGTERM, from the moment this is made, in the main thread and on its event loop.

    The first calls `stop` there. If the process has not ended `grace` seconds and STOP_SECONDS later, it is
    ended, and the log says what was waited for. A second signal ends it at once.
    """

    def __init__(self, stop: Callable[[], None], grace: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = stop
        self._grace = grace
        # Numbers of signals come through here even while the event loop is blocked.
        self._here, there = socket.socketpair()
        self._there = there
        there.setblocking(False)
        signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, _noticed_already)
        self._late = threading.Event()
        # Both begin here: Python lets no thread begin once the main thread has ended, and a stop may hang
        # after that.
        self._word = threading.Thread(target=self._say, name="stop-word", daemon=True)
        self._word.start()
        threading.Thread(target=self._watch, name="stop-signals", daemon=True).start()

    def _watch(self) -> None:
        self._next_signal()
        self._here.settimeout(self._grace + STOP_SECONDS - 2 * _WORD_SECONDS)
        with contextlib.suppress(RuntimeError):  # The loop is closed: the stop is under way already.
            self._loop.call_soon_threadsafe(self._stop)
        try:
            os._exit(128 + self._next_signal())
        except TimeoutError:
            self._late.set()
            self._word.join(_WORD_SECONDS)
            os._exit(1)

    def _next_signal(self) -> int:
        """Its number. Raises TimeoutError once the socket's time-out has passed."""
        while True:
            (number,) = self._here.recv(1)
            if number in _SIGNALS:
                return number

    def _say(self) -> None:
        self._late.wait()
        waited = Counter([*_threads(), *_tasks(self._loop)])
        _log.error(
            "The stop takes longer than it may, and the process ends as it is. It was waiting for: %s.",
            "; ".join(f"{count} times {what}" if count > 1 else what for what, count in waited.items()),
        )
        logging.shutdown()


def _noticed_already(number: int, frame: FrameType | None) -> None:
    pass


def _threads() -> Iterator[str]:
    """Those that do something, and where they are in this project's code."""
    frames = sys._current_frames()  # noqa: SLF001 - there is no other way to see them
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if frame is None or thread.daemon:
            continue
        stack = traceback.extract_stack(frame)
        own = next((place for place in reversed(stack) if place.filename.startswith(_OWN)), stack[-1])
        if stack[-1].name in {"select", "_worker"}:
            continue  # The event loop, which waits for one of the others; one of a pool, without work.
        inner = "" if own is stack[-1] else f", within it {stack[-1].name}"
        yield f"the thread {thread.name} in {own.name} ({own.filename}, line {own.lineno}{inner})"


def _tasks(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """Where those stand that are in this project's code: the innermost place of it."""
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
