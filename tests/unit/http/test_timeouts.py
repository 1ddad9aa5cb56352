import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from transcribed.errors import Unread
from transcribed.http.timeouts import SEND_TIMEOUT, Patience

InVirtualTime = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.mark.parametrize(
    ("heard_at", "given_up_at"),
    [((), SEND_TIMEOUT), ((15, 30, 40), 40 + SEND_TIMEOUT), ((15, 50), 15 + SEND_TIMEOUT)],
)
def test_who_does_not_read_is_given_up_when_nothing_comes_from_it_either(
    in_virtual_time: InVirtualTime, heard_at: tuple[float, ...], given_up_at: float
) -> None:
    async def send() -> float:
        patience, loop = Patience(), asyncio.get_running_loop()
        for at in heard_at:
            loop.call_at(at, patience.heard)
        with pytest.raises(Unread):
            await patience.until_sent(asyncio.Event().wait())  # type: ignore[arg-type]
        return loop.time()

    assert in_virtual_time(send()) == given_up_at


def test_one_message_after_the_other(in_virtual_time: InVirtualTime) -> None:
    async def send() -> None:
        patience = Patience()
        for _ in range(3):
            patience.heard()
            await patience.until_sent(asyncio.sleep(SEND_TIMEOUT - 1))
            patience.heard()

    in_virtual_time(send())
