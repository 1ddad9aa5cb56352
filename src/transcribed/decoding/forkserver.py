"""A fork server for decoding processes, and the server's handle to it.

The fork server is a process that has imported everything that decoding needs, and reads no audio itself.
Its forks are ready within milliseconds and share its memory. When the server ends, for whatever reason, it
kills its forks and exits.
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
# The variables that Python needs to start. The server's other variables may hold secrets.
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
    """The handle to a fork server. Not thread-safe. Must be closed.

    A few processes are forked and sandboxed in advance, since that takes longer than decoding a short file.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._spare: deque[tuple[int, socket.socket]] = deque()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id of the fork server; None until it is started."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the fork server now rather than with the first fork, without waiting for it."""
        self._close_control()
        self._control, other_end = socket.socketpair()
        known = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        with other_end:
            self._process = subprocess.Popen(  # noqa: S603 - runs this module
                [sys.executable, "-P", "-m", __name__, str(other_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other_end.fileno()],
                # Threads of a linear algebra library would not survive a fork, and decoding needs none.
                env=known | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                cwd="/",
                # In its own session, it does not receive Ctrl-C, which is for the server.
                start_new_session=True,
            )

    def fork(self) -> tuple[int, socket.socket]:
        """A decoding process that waits for its request: a number for `kill`, and the socket to it.

        Raises EngineFailure if no process can be started.
        """
        if self._closed:
            raise EngineFailure("The server is stopping: nothing more is decoded.")
        try:
            if self._process is None:
                self.start()
            spares = self._pop_spares()
            process = next((spare for spare in spares if _is_waiting(spare[1])), None) or self._fork_new()
            while len(self._spare) < _SPARE:
                self._spare.append(self._fork_new())
        except OSError as error:
            raise EngineFailure("No process to decode audio in could be started.") from error
        return process

    def _pop_spares(self) -> Iterator[tuple[int, socket.socket]]:
        while self._spare:
            yield self._spare.popleft()

    def _fork_new(self) -> tuple[int, socket.socket]:
        number = next(self._numbers)
        own_end, other_end = socket.socketpair()
        with other_end:
            try:
                self._send(_FORK, number, other_end)
            except OSError:
                # It was killed, perhaps for lack of memory, and its forks with it.
                _log.error("The fork server of the decoders has ended. It is started again.")
                self.start()
                self._send(_FORK, number, other_end)
        return number, own_end

    def kill(self, number: int) -> None:
        """Kill a process, if it still runs."""
        if self._process is not None and not self._closed:
            with suppress(OSError):
                self._send(_KILL, number)

    def close(self) -> None:
        """Kill all processes and end the fork server."""
        self._closed = True
        self._close_control()

    def _close_control(self) -> None:
        for _, connection in self._pop_spares():
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


def _is_waiting(connection: socket.socket) -> bool:
    """Whether the process at the other end is still there. If not, the socket is closed."""
    try:
        connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        pass
    connection.close()
    return False


class _Forks:
    """The running forks, in the fork server: by number, the process id and a copy of the socket."""

    def __init__(self, control: socket.socket, wakeup_fd: int) -> None:
        self._running: dict[int, tuple[int, socket.socket]] = {}
        self._control = control
        self._wakeup_fd = wakeup_fd

    def fork(self, number: int, connection: socket.socket) -> bool:
        """Fork. True in the new process, which has closed the others' sockets."""
        try:
            process = os.fork()
        except OSError as error:
            _send_last(connection, messages.pack_failure(messages.Reason.NO_PROCESS, str(error)))
            return False
        if process != 0:
            self._running[number] = process, connection
            return False
        signal.set_wakeup_fd(-1)
        for received in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(received, signal.SIG_DFL)
        os.close(self._wakeup_fd)
        # Messages of a crashing C library do not belong in the server's log.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        self._control.close()
        for _, other in self._running.values():
            other.close()
        return True

    def kill(self, number: int) -> None:
        """Kill a fork. Until `reap`, its process id is not reused, so no other process can be hit."""
        if number in self._running:
            os.kill(self._running[number][0], signal.SIGKILL)

    def reap(self) -> None:
        """Collect forks that have ended, and report to the server which were killed by a signal."""
        for number, (process, connection) in list(self._running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if not ended:
                continue
            del self._running[number]
            if os.WIFSIGNALED(status):
                _send_last(connection, messages.pack_death(os.WTERMSIG(status)))
            connection.close()

    def kill_all(self) -> None:
        """Kill all forks."""
        for number in self._running:
            self.kill(number)


def _send_last(connection: socket.socket, message: bytes) -> None:
    """Send a message on behalf of a dead process, if its socket has room, and close the socket."""
    with connection, suppress(OSError):
        connection.setblocking(False)
        connection.send(message)


def main(control: socket.socket) -> None:
    """Run the fork server until the server is gone."""
    from transcribed.decoding import confinement, worker  # noqa: PLC0415 - the server needs neither

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # On SIGTERM the server first finishes its streams.
    forks = _Forks(control, writing)
    parent = os.getpid()
    worker.prepare()
    sandbox = confinement.Confinement()
    # Frozen objects are not touched by the garbage collector, so their pages stay shared with the forks.
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
                        worker.work(connection, sandbox)
                    os._exit(0)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
