"""A bounded queue of a stream's events, for one producer and one consumer on the same event loop."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class EventQueue(Generic[T]):
    """Events in order, followed by the end of the stream or its failure.

    The bound is `limit` events. Since `put` always accepts an event, a producer checks `full`, or awaits
    `wait_for_room`, before. With `latest_partial`, a partial replaces the one directly before
    it, because a live client that reads late has no use for old ones. `on_room` is called when a full queue
    has room again.
    """

    def __init__(
        self, limit: int = 64, *, latest_partial: bool = False, on_room: Callable[[], None] = lambda: None
    ) -> None:
        self._events: deque[T] = deque()
        self._limit = limit
        self._latest_partial = latest_partial
        self._on_room = on_room
        self._news = asyncio.Event()
        self._taken = asyncio.Event()
        self.ended = False
        self.failure: Exception | None = None

    @property
    def full(self) -> bool:
        """Whether the queue holds as many events as its limit."""
        return len(self._events) >= self._limit

    def put(self, event: T) -> None:
        """Add an event without waiting, even to a full queue."""
        if self._latest_partial and self._events and _is_partial(self._events[-1]) and _is_partial(event):
            self._events.pop()
        self._events.append(event)
        self._news.set()

    def put_back(self, events: Iterable[T]) -> None:
        """Insert events, in their order, before all others."""
        self._events.extendleft(reversed(list(events)))

    def end(self, failure: Exception | None = None) -> None:
        """End the stream and wake all waiters. Only the first call has an effect."""
        if not self.ended:
            self.ended, self.failure = True, failure
            self.wake_waiters()

    def wake_waiters(self) -> None:
        """Let all waiters return, so that they can check conditions other than the queue's."""
        self._news.set()
        self._taken.set()

    def take(self) -> T | None:
        """Remove and return the next event, or return None if there is none yet."""
        if not self._events:
            return None
        full = self.full
        event = self._events.popleft()
        if full and not self.full:
            self._taken.set()
            self._on_room()
        return event

    async def wait_for_event(self) -> None:
        """Wait for an event to take, the end, or `wake_waiters`."""
        while not self._events and not self.ended and not self._news.is_set():
            await self._news.wait()
        self._news.clear()

    async def wait_for_room(self) -> None:
        """Wait until the queue is not full, or has ended."""
        while self.full and not self.ended:
            await self.wait_for_take()

    async def wait_for_take(self) -> None:
        """Wait until a full queue has room again, for the end, or for `wake_waiters`."""
        self._taken.clear()
        await self._taken.wait()

    async def __aiter__(self) -> AsyncGenerator[T, None]:
        """Yield all events in order, then raise the failure, if there is one."""
        while True:
            while (event := self.take()) is not None:
                yield event
            if self.ended:
                break
            await self.wait_for_event()
        if self.failure is not None:
            raise self.failure


def _is_partial(event: object) -> bool:
    # Only hypotheses and segments have the attribute `final`.
    return getattr(event, "final", True) is False
