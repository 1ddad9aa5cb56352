"""What the tests of single rooms share."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings

from transcribed.decoding.decoders import Decoders
from transcribed.decoding.forkserver import ForkServer

settings.register_profile("transcribed", deadline=None, derandomize=True)
settings.load_profile("transcribed")

T = TypeVar("T")
# In which a decoding process that is not waiting for this one has sent something.
_PROCESS_SECONDS = 0.5


class _Selector(selectors.DefaultSelector):
    """Where the loop would wait for its clock, the clock is moved on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.threads:
            # What a thread does takes no time either: the clock stands until it is done.
            return super().select(None)
        # Nor does what another process does, unless it waits itself.
        ready = super().select(_PROCESS_SECONDS if len(self.get_map()) > 1 else 0)
        if not ready:
            self.now += timeout
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock moves only when there is nothing else to do."""

    def __init__(self) -> None:
        self._waiting = _Selector()
        super().__init__(self._waiting)

    def time(self) -> float:
        return self._waiting.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        def done(_: object) -> None:
            self._waiting.threads -= 1

        self._waiting.threads += 1
        call = super().run_in_executor(executor, func, *args)
        call.add_done_callback(done)
        return call


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def data() -> Path:
    """The recordings described in tests/data/README.md."""
    return Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """What decoding processes are forked of: one for all tests."""
    server = ForkServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def decoders(fork_server: ForkServer) -> Decoders:
    """Decoding processes, each as long as its source."""
    return Decoders(fork_server)


@pytest.fixture
def in_virtual_time() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine on a loop whose clock starts at 0 and costs nothing."""

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            return runner.run(coroutine)

    return run
