"""Bodies that come too slowly."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest

from transcribed.errors import BadRequest
from transcribed.http.body import BODY_SECONDS, BODY_TIMEOUT, DISCARDED_BYTES, body_in_time, discard_body

Virtual = Callable[[Any], Any]


class _Request:
    """Bodies in pieces, each after some seconds."""

    def __init__(self, pieces: Iterable[tuple[float, int]]) -> None:
        self._pieces = pieces

    async def stream(self) -> AsyncIterator[bytes]:
        for seconds, size in self._pieces:
            await asyncio.sleep(seconds)
            yield bytes(size)


async def read(pieces: Iterable[tuple[float, int]], work: float = 0.0) -> tuple[int, float]:
    """How much comes, and when it is over; of each piece there is so much work."""
    size = 0
    async for chunk in body_in_time(_Request(pieces)):  # type: ignore[arg-type]
        size += len(chunk)
        await asyncio.sleep(work)
    return size, asyncio.get_running_loop().time()


def test_a_steady_body_may_take_hours(in_virtual_time: Virtual) -> None:
    assert in_virtual_time(read([(30, 30 * 2100)] * 400)) == (400 * 63_000, 12_000)


def test_a_pause_ends_it(in_virtual_time: Virtual) -> None:
    assert in_virtual_time(read([(59, 10_000_000), (59, 5)])) == (10_000_005, 118)
    with pytest.raises(BadRequest, match="No more of the upload came for 60 seconds"):
        in_virtual_time(read([(1, 10_000_000), (61, 5)]))


def test_one_that_trickles_ends(in_virtual_time: Virtual) -> None:
    with pytest.raises(BadRequest, match="brought 6300 bytes in 63 seconds, which is too slow"):
        in_virtual_time(read([(1, 100)] * 500))


def test_what_takes_long_here_is_not_the_clients_fault(in_virtual_time: Virtual) -> None:
    assert in_virtual_time(read([(1, 100)] * 50, work=100)) == (5000, 5050)


def test_no_body_comes_for_ever(in_virtual_time: Virtual) -> None:
    with pytest.raises(BadRequest, match="within 6 hours"):
        in_virtual_time(read([(10, 100_000)] * int(BODY_SECONDS)))


@pytest.mark.parametrize(
    ("pieces", "seconds"),
    [
        ([(1, 100)] * 3, 3),
        ([(1, DISCARDED_BYTES // 4)] * 100, 5),
        ([(10, 1_000_000)] * 100, BODY_TIMEOUT),
        ([(1000, 1)], BODY_TIMEOUT),
    ],
)
def test_a_body_that_is_refused_is_not_listened_to_for_long(
    in_virtual_time: Virtual, pieces: list[tuple[float, int]], seconds: float
) -> None:
    async def discarded() -> float:
        await discard_body(_Request(pieces))  # type: ignore[arg-type]
        return asyncio.get_running_loop().time()

    assert in_virtual_time(discarded()) == seconds
