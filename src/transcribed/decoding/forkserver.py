"""The process of which decoding processes are forked, and the server's hold of it.

It imports what decoding takes once, opens nothing and never sees a byte of audio. A fork of it is ready in
some milliseconds and shares its memory. When the server goes, however it goes, it kills all its forks and
ends.
"""

import gc
import itertools
import logging
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from transcribed.decoding import messages
from transcribed.errors import EngineFailure

_COMMAND = struct.Struct(">cQ")
_FORK, _KILL = b"F", b"K"
_END_SECONDS = 5.0
_SPARE = 2
# What a program needs to start. Nothing secret that the server's environment holds belongs in a decoder.
_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "SYSTEMROOT",
)

_log = logging.getLogger(__name__)


class ForkServer:
    """Decoding processes on demand. It belongs to one thread, and is to be closed.

    Some wait in advance, confined already, since that takes longer than many a file.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._spare: deque[tuple[int, socket.socket]] = deque()
        self._closed = False

    @property
    def process_id(self) -> int | None:
        """Of the process that others are forked of, when it has been started."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it now, and not with the first fork. Does not wait for it."""
        self._close_control()
        self._control, theirs = socket.socketpair()
        known = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this very module
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Threads of a linear algebra library, which nothing here needs, would not survive a fork.
                env=known | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                cwd="/",
                # Ctrl-C in the terminal is the server's to answer.
                start_new_session=True,
            )

    def fork(self) -> tuple[int, socket.socket]:
        """A process that waits for its job: its number, and the socket to it.

        Raises EngineFailure where there can be none.
        """
        if self._closed:
            raise EngineFailure("The server is stopping: nothing more is decoded.")
        try:
            if self._process is None:
                self.start()
            found = next((spare for spare in self._taken() if _waits(spare[1])), None) or self._new()
            while len(self._spare) < _SPARE:
                self._spare.append(self._new())
        except OSError as error:
            raise EngineFailure("No process to decode audio in could be started.") from error
        return found

    def _taken(self) -> Iterator[tuple[int, socket.socket]]:
        while self._spare:
            yield self._spare.popleft()

    def _new(self) -> tuple[int, socket.socket]:
        number = next(self._numbers)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._send(_FORK, number, theirs)
            except OSError:
                # Whoever has ended it, for want of memory, say, has ended all that were decoding too.
                _log.error("The process that decoders are forked of has ended. It is started again.")
                self.start()
                self._send(_FORK, number, theirs)
        return number, ours

    def kill(self, number: int) -> None:
        """End a process, if it still runs."""
        if self._process is not None and not self._closed:
            with suppress(OSError):
                self._send(_KILL, number)

    def close(self) -> None:
        """End all of them."""
        self._closed = True
        self._close_control()

    def _close_control(self) -> None:
        for _, connection in self._taken():
            connection.close()
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _send(self, command: bytes, number: int, passed: socket.socket | None = None) -> None:
        if self._control is None:
            raise BrokenPipeError
        descriptors = [] if passed is None else [passed.fileno()]
        socket.send_fds(self._control, [_COMMAND.pack(command, number)], descriptors)


def _waits(connection: socket.socket) -> bool:
    """Whether the process at the other end still waits; else the socket is closed."""
    try:
        connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        pass
    connection.close()
    return False


class _Forks:
    """The forks of this process, by their numbers: the process's id, and this end's copy of its socket."""

    def __init__(self, control: socket.socket, woken: int) -> None:
        self._running: dict[int, tuple[int, socket.socket]] = {}
        self._control = control
        self._woken = woken

    def fork(self, number: int, connection: socket.socket) -> bool:
        """Make one. True in the new process, whose socket alone is left open."""
        try:
            process = os.fork()
        except OSError as error:
            _tell(connection, messages.packed_failure(messages.Reason.NO_PROCESS, str(error)))
            return False
        if process != 0:
            self._running[number] = process, connection
            return False
        signal.set_wakeup_fd(-1)
        for received in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(received, signal.SIG_DFL)
        os.close(self._woken)
        # What a C library says while it dies of a file goes to nobody's log.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        self._control.close()
        for _, other in self._running.values():
            other.close()
        return True

    def kill(self, number: int) -> None:
        """End one that runs. One that has ended keeps its id until `reap`, so that no stranger is hit."""
        if number in self._running:
            os.kill(self._running[number][0], signal.SIGKILL)

    def reap(self) -> None:
        """See which have ended; the server hears of those that were killed."""
        for number, (process, connection) in list(self._running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if not ended:
                continue
            del self._running[number]
            if os.WIFSIGNALED(status):
                _tell(connection, messages.packed_death(os.WTERMSIG(status)))
            connection.close()

    def kill_all(self) -> None:
        """End all."""
        for number in self._running:
            self.kill(number)


def _tell(connection: socket.socket, message: bytes) -> None:
    """Say something in a process's place, unless what it said itself fills the socket; then close it."""
    with connection, suppress(OSError):
        connection.setblocking(False)
        connection.send(message)


def main(control: socket.socket) -> None:
    """Fork decoding processes until the server is gone."""
    from transcribed.decoding import confinement, worker  # noqa: PLC0415 - the server needs neither

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # It goes when the server goes, which still has clients.
    forks = _Forks(control, writing)
    parent = os.getpid()
    worker.prepare()
    confined = confinement.Confinement()
    # What is here stays: pages that the collector does not touch stay shared.
    gc.collect()
    gc.freeze()
    with selectors.DefaultSelector() as ready:
        ready.register(control, selectors.EVENT_READ)
        ready.register(reading, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is not control:
                    os.read(reading, 4096)
                    forks.reap()
                    continue
                command, passed, _, _ = socket.recv_fds(control, _COMMAND.size, 1)
                if len(command) < _COMMAND.size:
                    forks.kill_all()
                    return
                name, number = _COMMAND.unpack(command)
                if name == _KILL:
                    forks.kill(number)
                elif passed and forks.fork(number, connection := socket.socket(fileno=passed[0])):
                    ready.close()
                    os.close(reading)
                    confinement.die_with_parent()
                    if os.getppid() == parent:
                        worker.work(connection, confined)
                    os._exit(0)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
