"""What a stream says and its reader has not taken yet: bounded, with an end. One event loop's alone."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_UNREAD = 64
"""Events that a stream may hold unread before it says no more."""


def _nothing() -> None:
    pass


class EventQueue(Generic[T]):
    """Events in their order, and behind the last one the end or a failure.

    `newest`: of partials that follow one another only the newest is kept, since to a live stream's reader
    who is late an old one is worth nothing. `drained` is called whenever there is room again. Whoever puts
    looks at `full`, or waits for `room`, before; what is put all the same is taken.
    """

    def __init__(
        self, most: int = MOST_UNREAD, *, newest: bool = False, drained: Callable[[], None] = _nothing
    ) -> None:
        self._events: deque[T] = deque()
        self._most = most
        self._newest = newest
        self._drained = drained
        self._news = asyncio.Event()
        self._taken = asyncio.Event()
        self.ended = False
        self.failure: Exception | None = None

    @property
    def full(self) -> bool:
        """Whether as many events wait as may: one should be taken before another is put."""
        return len(self._events) >= self._most

    def put(self, event: T) -> None:
        """Say something. Never waits."""
        if self._newest and self._events and _is_partial(self._events[-1]) and _is_partial(event):
            self._events.pop()
        self._events.append(event)
        self._news.set()

    def put_back(self, events: Iterable[T]) -> None:
        """Say something again, before all else."""
        self._events.extendleft(reversed(list(events)))

    def end(self, failure: Exception | None = None) -> None:
        """No more is said; whoever waits is told. The first end counts."""
        if not self.ended:
            self.ended, self.failure = True, failure
            self.wake()

    def wake(self) -> None:
        """Let whoever waits here look at what else has changed."""
        self._news.set()
        self._taken.set()

    def take(self) -> T | None:
        """The next event; None where there is none now."""
        if not self._events:
            return None
        full = self.full
        event = self._events.popleft()
        if full and not self.full:
            self._taken.set()
            self._drained()
        return event

    async def news(self) -> None:
        """Wait for more to take, the end, or `wake`."""
        while not self._events and not self.ended and not self._news.is_set():
            await self._news.wait()
        self._news.clear()

    async def room(self) -> None:
        """Wait until it is not full, or has ended."""
        while self.full and not self.ended:
            await self.taken()

    async def taken(self) -> None:
        """Wait for room, the end, or `wake`."""
        self._taken.clear()
        await self._taken.wait()

    async def __aiter__(self) -> AsyncGenerator[T, None]:
        """All events, in their order. Raises the failure behind them."""
        while True:
            while (event := self.take()) is not None:
                yield event
            if self.ended:
                break
            await self.news()
        if self.failure is not None:
            raise self.failure


def _is_partial(event: object) -> bool:
    """Of all that is said only hypotheses and segments have a `final`."""
    return getattr(event, "final", True) is False
