"""Who is connected, and who of them has to go."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from transcribed.errors import TooLarge
from transcribed.http import connections as rules
from transcribed.http.connections import Bounds, Connection, Connections, Unfinished
from transcribed.http.proxies import Proxies
from transcribed.http.sockets import Peer
from transcribed.scheduling.admission import CLIENT, client_limit

NOW = 1000.0
HERE, THERE, ELSEWHERE = "127.0.0.1", "192.0.2.1", "192.0.2.2"


def connection(
    host: str = THERE, *, port: int = 1, age: float = 0.0, quiet: float | None = None, **what: Any
) -> Connection:
    """One that has been there for `age` seconds, and quiet for as long, or so long."""
    made = Connection(Peer(host, port, 3000), NOW - age, active=NOW - (age if quiet is None else quiet))
    for name, value in what.items():
        setattr(made, name, value)
    return made


def reasons(connections: list[Connection], bounds: Bounds | None = None) -> dict[str, list[int]]:
    """Who has to go and why, by their places in the list."""
    found = rules.to_be_closed(connections, NOW, bounds or Bounds(1000, 1000))
    return {reason: sorted(map(connections.index, some)) for reason, some in found.items()}


def test_a_connection_that_asks_for_nothing_has_to_go_in_time() -> None:
    silent = [connection(age=14.9), connection(age=15.1), connection(age=500.0, requests=1, running=1)]
    assert reasons(silent) == {"asked for nothing": [1]}


def test_an_idle_one_has_to_go_and_one_with_something_running_not() -> None:
    idle = [
        connection(age=500, quiet=74.9, requests=3),
        connection(age=500, quiet=75.1, requests=3),
        connection(age=500, quiet=499, requests=3, running=1),
        connection(age=500, quiet=75.1, requests=1, running=1, websocket=True),
        connection(age=500, quiet=5.1, requests=1, websocket=True),
    ]
    assert reasons(idle) == {"were idle": [1, 4]}


@pytest.mark.parametrize("websocket", [False, True])
def test_one_address_may_have_all_but_what_is_kept_for_others(websocket: bool) -> None:
    active = {"requests": 1, "running": 1, "websocket": websocket}
    some = [connection(port=port, age=port, quiet=0, **active) for port in range(1, 11)]
    assert reasons(some, Bounds(100, 100, 0.08)) == {"were more than one address's share": [0, 1]}
    assert reasons(some, Bounds(100, 100, 0.1)) == {}
    others = [connection(ELSEWHERE, port=port, quiet=0, **active) for port in range(10)]
    assert reasons([*some, *others], Bounds(100, 100, 0.1)) == {}
    here = [connection(HERE, port=port, quiet=0, **active) for port in range(50)]
    assert reasons(here, Bounds(100, 100, 0.1)) == {}


def test_a_named_proxy_has_no_share() -> None:
    some = [connection(port=port, requests=1, running=1) for port in range(10)]
    assert len(reasons(some, Bounds(100, 100, 0.08))) == 1
    assert reasons(some, Bounds(100, 100, 0.08, Proxies.of(["192.0.2.0/24"]))) == {}


def test_all_addresses_of_one_ipv6_network_have_one_share() -> None:
    one = [connection(host=f"2001:db8::{number}", requests=1, running=1) for number in range(10)]
    others = [connection(host=f"2001:db8:0:{number}::1", requests=1, running=1) for number in range(1, 11)]
    assert {
        reason: len(some) for reason, some in reasons([*one, *others], Bounds(100, 100, 0.08)).items()
    } == {"were more than one address's share": 2}
    proxies = Proxies.of(["2001:db8::4", "2001:db8::5"])
    assert reasons([*one, *others], Bounds(100, 100, 0.08, proxies)) == {}


def test_websockets_and_others_have_a_share_each() -> None:
    some = [connection(port=port, requests=1, running=1, websocket=port % 2 == 0) for port in range(20)]
    assert reasons(some, Bounds(100, 100, 0.1)) == {}


def test_where_many_are_there_the_quietest_of_who_has_most_go_first() -> None:
    many = [connection(THERE, port=port, age=10 + port) for port in range(4)]
    few = [connection(ELSEWHERE, port=port, age=14.5) for port in range(2)]
    active = [connection(THERE, port=9, age=50, quiet=9, requests=1, running=1)]
    fresh = [connection(THERE, port=10, age=0.9)]
    everybody = [*many, *few, *active, *fresh]
    assert reasons(everybody, Bounds(12, 12)) == {}
    assert reasons(everybody, Bounds(10, 10)) == {"were quiet while others wanted in": [3]}
    assert reasons(everybody, Bounds(4, 4)) == {"were quiet while others wanted in": [0, 1, 2, 3, 4]}
    # Nobody who is busy, or has just come, has to go for others.
    assert reasons(everybody, Bounds(1, 1)) == {"were quiet while others wanted in": [0, 1, 2, 3, 4, 5]}


def test_a_busy_one_that_is_quiet_goes_too_where_there_is_a_press() -> None:
    some = [connection(port=port, age=60, quiet=port, requests=1, running=1) for port in range(8, 13)]
    assert reasons(some, Bounds(4, 4)) == {"were quiet while others wanted in": [3, 4]}


def unfinished(size: int, age: float) -> Connection:
    made = connection(websocket=True, requests=1, running=1)
    made.unfinished, made.receiving = Unfinished(0, NOW - age, size), asyncio.Timeout(None)
    return made


@pytest.mark.parametrize(
    ("size", "age", "goes"),
    [
        (1024 * 1024, 1, False),
        (rules.MESSAGE_BYTES + 1, 0.1, True),
        (3000, 59, False),
        (3000, 5000, False),  # Pings of a client that only listens.
        (9000, 61, True),
        (9000, 59, False),
        (70_000, 1000, True),
    ],
)
def test_a_message_has_to_be_whole_in_time_and_size(size: int, age: float, goes: bool) -> None:
    one = unfinished(size, age)
    assert rules.unfinished([one], NOW) == [one] * goes


def test_where_larger_messages_are_taken_they_may_be_larger() -> None:
    one = unfinished(rules.MESSAGE_BYTES + 1, 0.1)
    one.message_bytes = rules.REALTIME_MESSAGE_BYTES
    assert rules.unfinished([one], NOW) == []
    one.unfinished = Unfinished(0, NOW, rules.REALTIME_MESSAGE_BYTES + 1)
    assert rules.unfinished([one], NOW) == [one]


def test_of_all_unfinished_messages_together_the_largest_go() -> None:
    small = [unfinished(1000, 1) for _ in range(100)]
    large = [unfinished(1024 * 1024 - number, 1) for number in range(100)]
    gone = rules.unfinished([*small, *reversed(large)], NOW)
    assert gone == large[: len(gone)]
    left = sum(one.unfinished.size for one in [*small, *large] if one not in gone and one.unfinished)
    assert rules.UNFINISHED_BYTES - 1024 * 1024 < left <= rules.UNFINISHED_BYTES


def test_what_has_been_read_counts_from_the_last_whole_message() -> None:
    one = unfinished(0, 0)
    one.unfinished = Unfinished(5000, NOW)
    rules.measure(one, 5600, NOW + 1)
    assert one.unfinished.size == 600
    new = connection(websocket=True, whole=40_000)
    rules.measure(new, 40_300, NOW)
    assert new.unfinished is not None
    assert (new.unfinished.size, new.unfinished.since) == (300, NOW)


# --- Around an application

SCOPE = {"client": (THERE, "5000"), "server": ("0.0.0.0", "3000")}  # noqa: S104
HTTP, WEBSOCKET = SCOPE | {"type": "http", "path": "/"}, SCOPE | {"type": "websocket"}


class Client:
    """Sends nothing until it is told to, and keeps what it hears."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.heard: list[Message] = []

    async def receive(self) -> Message:
        return await self.messages.get()

    async def send(self, message: Message) -> None:
        self.heard.append(message)


async def begun(connections: Connections, scope: Scope, app: Any) -> tuple[Client, "asyncio.Task[None]"]:
    """A request, and the application at work on it."""
    client = Client()
    task = asyncio.create_task(connections.watched(app)(scope, client.receive, client.send))  # type: ignore[arg-type]
    for _ in range(5):
        await asyncio.sleep(0)
    return client, task


async def one_message(_: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "said", "message": await receive()})


Virtual = Callable[[Any], Any]


def test_what_reaches_the_application_is_counted(in_virtual_time: Virtual) -> None:
    async def run() -> None:
        connections = Connections(Bounds(10, 10))
        client, task = await begun(connections, HTTP, one_message)
        (known,) = connections.all.values()
        assert known.peer == Peer(THERE, 5000, 3000)
        assert (known.requests, known.running) == (1, 1)
        await asyncio.sleep(3)
        client.messages.put_nowait({"type": "http.request"})
        await task
        assert (known.requests, known.running, known.active) == (1, 0, 3.0)
        connections.keep({known.peer})
        assert connections.all
        connections.keep(set())
        assert not connections.all

    in_virtual_time(run())


def test_of_many_requests_one_begins_in_a_turn_of_the_event_loop(in_virtual_time: Virtual) -> None:
    begun_at: list[int] = []
    turn = 0

    async def app(*_: Any) -> None:
        begun_at.append(turn)

    async def run() -> None:
        nonlocal turn
        watched, client = Connections(Bounds(10, 10)).watched(app), Client()
        tasks = [asyncio.create_task(watched(HTTP, client.receive, client.send)) for _ in range(8)]  # type: ignore[arg-type]
        while not all(task.done() for task in tasks):
            turn += 1
            await asyncio.sleep(0)

    in_virtual_time(run())
    assert len(begun_at) == len(set(begun_at)) == 8
    assert begun_at == sorted(begun_at)


def test_the_address_is_known_to_what_runs_for_it(in_virtual_time: Virtual) -> None:
    seen: list[str | None] = []

    async def app(*_: Any) -> None:
        seen.append(await asyncio.create_task(clients()))

    async def clients() -> str | None:
        return CLIENT.get()

    async def run() -> None:
        connections = Connections(Bounds(10, 10))
        for host in (THERE, HERE, "::1", "::ffff:192.0.2.7", "2001:db8::1:2:3:4"):
            _, task = await begun(connections, HTTP | {"client": (host, "1")}, app)
            await task

    in_virtual_time(run())
    assert seen == [THERE, None, None, "192.0.2.7", "2001:db8::/64"]


def test_an_unfinished_message_ends_in_an_error_for_its_receiver(in_virtual_time: Virtual) -> None:
    async def run() -> None:
        connections = Connections(Bounds(10, 10))
        read = 200
        connections.bytes_read = lambda _: read
        _, task = await begun(connections, WEBSOCKET, one_message)
        (known,) = connections.all.values()
        await asyncio.sleep(1)
        rules.measure(known, read + 5_000_000, 1.0)
        (out,) = rules.unfinished([known], 1.0)
        assert out.receiving is not None
        out.receiving.reschedule(1.0)
        with pytest.raises(TooLarge, match="5000000 bytes of it have come"):
            await task
        assert known.running == 0

    in_virtual_time(run())


def test_there_are_so_many_websockets_and_no_more(in_virtual_time: Virtual) -> None:
    async def run() -> None:
        connections = Connections(Bounds(2, 2))
        held = [await begun(connections, WEBSOCKET, one_message) for _ in range(2)]
        client, refused = await begun(connections, WEBSOCKET, one_message)
        client.messages.put_nowait({"type": "websocket.connect"})
        await refused
        assert [message["type"] for message in client.heard] == ["websocket.close"]
        held[0][0].messages.put_nowait({"type": "websocket.receive", "text": "a"})
        await held[0][1]
        client, let_in = await begun(connections, WEBSOCKET, one_message)
        assert not let_in.done()
        for task in (held[1][1], let_in):
            task.cancel()

    in_virtual_time(run())


def test_the_more_requests_run_the_fewer_may_be_one_connections(in_virtual_time: Virtual) -> None:
    async def run() -> None:
        connections = Connections(Bounds(10, 10, 0.9))
        running = []
        for port in range(1, 61):
            scope = HTTP | {"client": (THERE, str(port))}
            running += [await begun(connections, scope, one_message) for _ in range(100)]
        refused = [client.heard[0] for client, _ in running if client.heard]
        assert {message["status"] for message in refused} == {503}
        # There is room for others yet.
        other, task = await begun(connections, HTTP | {"client": (ELSEWHERE, "1")}, one_message)
        assert not other.heard
        held = [known.running for known in connections.all.values()]
        most = client_limit(rules.REQUESTS, 0.9)
        assert most < sum(held) <= most + len(held)
        assert (min(held), max(held)) == (1, 100)
        for each in (task, *(one for _, one in running)):
            each.cancel()

    in_virtual_time(run())
