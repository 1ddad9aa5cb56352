"""The proxy that the fault runs rely on: a fault that did not happen proves nothing."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from fault_proxy import Fault, FaultProxy, Place, Spot, Units, Way, What
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from transcribed.wire.eventstream import Decoder, decode, encode

HEAD = b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n"
MESSAGE = encode({":message-type": "event"}, b"x" * 100)
MESSAGES = 4

pytestmark = pytest.mark.anyio


def frame(content: bytes, mask: bytes = b"", opcode: int = 2) -> bytes:
    masked = bytes(byte ^ mask[n % 4] for n, byte in enumerate(content)) if mask else content
    size = bytes([len(content)]) if len(content) < 126 else b"\x7e" + len(content).to_bytes(2, "big")
    return bytes([0x80 | opcode, size[0] | (0x80 if mask else 0)]) + size[1:] + mask + masked


frames = st.builds(
    frame,
    st.one_of(st.just(MESSAGE), st.just(encode({}, b"")), st.binary(max_size=300)),
    st.one_of(st.just(b""), st.binary(min_size=4, max_size=4)),
    st.sampled_from([2, 8, 9]),
)


@example([frame(bytes(7) + b"\x01" + bytes(8))], b"", [])
@given(st.lists(frames, max_size=6), st.binary(max_size=1), st.lists(st.integers(0, 2_000)))
def test_units_are_the_same_however_bytes_are_cut(sent: list[bytes], rest: bytes, cuts: list[int]) -> None:
    data = HEAD + b"".join(sent) + rest
    units, at = Units(), 0
    found = []
    for cut in [*sorted(cuts), len(data)]:
        found += units.push(data[at : max(at, cut)])
        at = max(at, cut)
    assert [unit.data for unit in found] == [HEAD, *sent]
    assert units.rest == rest
    for unit in found:
        spans = sorted(span for place, span in unit.places.items() if place is not Place.BETWEEN)
        assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
        assert spans[-1][1] == len(unit.data)


@pytest.mark.parametrize("mask", [b"", b"\x01\x02\x03\x04"])
def test_the_places_of_a_message_are_found_behind_the_mask(mask: bytes) -> None:
    units = Units()
    head, found = units.push(HEAD + frame(MESSAGE, mask))
    header = len(frame(MESSAGE, mask)) - len(MESSAGE)
    payload = len(found.data) - 104
    assert head.places == {Place.HEAD: (0, len(HEAD)), Place.BETWEEN: (len(HEAD), len(HEAD))}
    assert found.places == {
        Place.FRAME: (0, header),
        Place.PRELUDE: (header, header + 12),
        Place.HEADERS: (header + 12, payload),
        Place.PAYLOAD: (payload, payload + 100),
        Place.CRC: (payload + 100, payload + 104),
        Place.BETWEEN: (payload + 104, payload + 104),
    }


@dataclass
class Peer:
    """A server that answers each message with one of its own, and what it has seen."""

    received: list[bytes] = field(default_factory=list)
    closed: list[int | None] = field(default_factory=list)

    async def __call__(self, connection: ServerConnection) -> None:
        try:
            async for message in connection:
                assert isinstance(message, bytes)
                self.received.append(message)
                await connection.send(encode({":event-type": "TranscriptEvent"}, b"{}"))
        except ConnectionClosed:
            pass
        finally:
            self.closed.append(connection.close_code)


@dataclass(frozen=True)
class Run:
    """What a client saw: messages, and the code of the close (1006: none came)."""

    received: list[bytes]
    code: int | None


@asynccontextmanager
async def proxied(port: Callable[[], int]) -> AsyncIterator[tuple[FaultProxy, Peer]]:
    peer = Peer()
    upstream, own = port(), port()
    async with (
        serve(peer, "127.0.0.1", upstream, compression=None, ping_interval=None),
        FaultProxy(own, ("127.0.0.1", upstream)) as proxy,
    ):
        yield proxy, peer


async def run(proxy: FaultProxy, *faults: Fault, patience: float = 10) -> Run:
    """Send messages one after the other, each when the last was answered."""
    proxy.expect(faults)
    received: list[bytes] = []
    async with connect(
        proxy.url.replace("http", "ws"),
        compression=None,
        close_timeout=0.2,
        proxy=None,
        ping_interval=None,
    ) as client:
        try:
            for _ in range(MESSAGES):
                await client.send(MESSAGE)
                async with asyncio.timeout(patience):
                    answer = await client.recv()
                assert isinstance(answer, bytes)
                received.append(answer)
        except ConnectionClosed:
            pass
    return Run(received, client.close_code)


async def test_without_a_fault_all_is_as_without_the_proxy(new_port: Callable[[], int]) -> None:
    async with proxied(new_port) as (proxy, peer):
        assert (await run(proxy)).code == 1000
        assert peer.received == [MESSAGE] * MESSAGES
        assert proxy.connections == 1
        assert proxy.struck == []
    assert peer.closed == [1000]


MESSAGE_PLACES = [Place.FRAME, Place.PRELUDE, Place.HEADERS, Place.PAYLOAD, Place.CRC, Place.BETWEEN]


@pytest.mark.parametrize("what", [What.CUT, What.RESET])
@pytest.mark.parametrize("way", list(Way))
@pytest.mark.parametrize("place", MESSAGE_PLACES)
async def test_a_connection_breaks_where_it_shall(
    new_port: Callable[[], int], what: What, way: Way, place: Place
) -> None:
    # Behind the head there is a place between, too.
    fault = Fault(what, Spot(way, place, message=2 + (place is Place.BETWEEN), part=0.5))
    async with proxied(new_port) as (proxy, peer):
        found = await run(proxy, fault)
        assert proxy.struck == [fault]
        assert found.code == 1006
        whole = 3 if way is Way.DOWN or place is Place.BETWEEN else 2
        assert len(peer.received) == whole
        # What was whole may be lost with a reset, as it is on a network.
        expected = 3 if way is Way.DOWN and place is Place.BETWEEN else 2
        assert len(found.received) == expected if what is What.CUT else len(found.received) <= expected
        # It is of the first connection alone.
        assert (await run(proxy)).code == 1000


@pytest.mark.parametrize("what", [What.CUT, What.RESET])
@pytest.mark.parametrize("way", list(Way))
async def test_the_upgrade_breaks(new_port: Callable[[], int], what: What, way: Way) -> None:
    async with proxied(new_port) as (proxy, peer):
        fault = Fault(what, Spot(way, Place.HEAD, part=0.5))
        with pytest.raises((WebSocketException, OSError, EOFError)):
            await run(proxy, fault)
        assert proxy.struck == [fault]
        assert peer.received == []


async def test_a_refused_connection_is_reset_and_the_next_is_not(new_port: Callable[[], int]) -> None:
    async with proxied(new_port) as (proxy, _):
        with pytest.raises((WebSocketException, OSError, EOFError)):
            await run(proxy, Fault(What.REFUSE))
        assert (await run(proxy)).code == 1000


async def test_for_some_time_nobody_listens(new_port: Callable[[], int]) -> None:
    async with proxied(new_port) as (proxy, _):
        proxy.expect([Fault(What.AWAY, seconds=0.3)])
        began, refused = time.monotonic(), 0
        while refused < 2 or time.monotonic() < began + 0.2:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                with pytest.raises(OSError, match="reset"):
                    await reader.readexactly(1)
                writer.close()
            except ConnectionRefusedError:
                refused += 1
            await asyncio.sleep(0.01)
        await proxy.listens.wait()
        assert time.monotonic() > began + 0.25
        assert (await run(proxy)).code == 1000


async def test_an_answer_takes_the_place_of_the_upgrade(new_port: Callable[[], int]) -> None:
    fault = Fault(What.ANSWER, status=503, name="ServiceUnavailableException", text="Not now.")
    async with proxied(new_port) as (proxy, peer):
        with pytest.raises(InvalidStatus) as refused:
            await run(proxy, fault)
        response = refused.value.response
        assert response.status_code == 503
        assert response.headers["x-amzn-errortype"] == "ServiceUnavailableException"
        assert json.loads(response.body or b"") == {"Message": "Not now."}
        assert peer.received == []


@pytest.mark.parametrize("way", list(Way))
async def test_a_delay_holds_up_one_direction(new_port: Callable[[], int], way: Way) -> None:
    async with proxied(new_port) as (proxy, peer):
        began = time.monotonic()
        found = await run(proxy, Fault(What.DELAY, Spot(way, Place.PAYLOAD, 1, 0.5), seconds=0.3))
        assert time.monotonic() - began >= 0.3
        assert found.code == 1000
        assert peer.received == [MESSAGE] * MESSAGES


@pytest.mark.parametrize("way", list(Way))
async def test_in_silence_nothing_comes_and_nothing_ends(new_port: Callable[[], int], way: Way) -> None:
    async with proxied(new_port) as (proxy, peer):
        with pytest.raises(TimeoutError):
            await run(proxy, Fault(What.SILENCE, Spot(way, Place.PAYLOAD, 1, 0.5)), patience=0.3)
        assert len(peer.received) == (1 if way is Way.UP else 2)
        assert len(proxy.struck) == 1
        assert (await run(proxy)).code == 1000


@pytest.mark.parametrize("way", list(Way))
async def test_a_half_closed_direction_has_ended(new_port: Callable[[], int], way: Way) -> None:
    async with proxied(new_port) as (proxy, peer):
        found = await run(proxy, Fault(What.HALF_CLOSE, Spot(way, Place.CRC, 1, 0.5)))
        assert found.code == 1006
        assert len(found.received) == 1
        assert len(peer.received) == (1 if way is Way.UP else 2)


@pytest.mark.parametrize("place", [Place.PRELUDE, Place.HEADERS, Place.PAYLOAD, Place.CRC])
@pytest.mark.parametrize("part", [0.0, 0.99])
async def test_a_bit_changes_where_it_shall(new_port: Callable[[], int], place: Place, part: float) -> None:
    async with proxied(new_port) as (proxy, peer):
        found = await run(proxy, Fault(What.FLIP, Spot(Way.UP, place, 2, part)))
        assert found.code == 1000
        changed = [
            n for n, (was, is_) in enumerate(zip(MESSAGE, peer.received[2], strict=True)) if was != is_
        ]
        ((start, end),) = [
            (start - 4, end - 4)
            for unit in Units().push(HEAD + frame(MESSAGE))
            for found_place, (start, end) in unit.places.items()
            if found_place is place
        ]
        assert changed == [start + int(part * (end - start))]
        assert peer.received[:2] + peer.received[3:] == [MESSAGE] * 3


@pytest.mark.parametrize("way", list(Way))
async def test_an_exception_message_takes_the_place_of_the_rest(
    new_port: Callable[[], int], way: Way
) -> None:
    fault = Fault(
        What.EXCEPTION, Spot(way, Place.BETWEEN, 2), name="LimitExceededException", text="Slowly."
    )
    async with proxied(new_port) as (proxy, _):
        found = await run(proxy, fault)
        assert found.code == 1000
        last = decode(found.received[-1])
        assert last.headers[":exception-type"] == "LimitExceededException"
        assert json.loads(last.payload) == {"Message": "Slowly."}
        assert _messages(found.received[:-1]) == 1


async def test_a_close_comes_with_its_code(new_port: Callable[[], int]) -> None:
    async with proxied(new_port) as (proxy, _):
        found = await run(proxy, Fault(What.CLOSE, Spot(Way.DOWN, Place.BETWEEN, 2), status=1012))
        assert found.code == 1012
        assert len(found.received) == 1


async def test_what_is_open_at_the_end_is_closed(new_port: Callable[[], int]) -> None:
    async with proxied(new_port) as (proxy, _):
        proxy.expect([Fault(What.SILENCE, Spot(Way.UP, Place.FRAME))])
        client = await connect(proxy.url.replace("http", "ws"), compression=None, proxy=None)
        await client.send(MESSAGE)
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(5):
            await client.recv()


def _messages(received: Sequence[bytes]) -> int:
    decoder = Decoder()
    return len([message for data in received for message in decoder.push(data)])
