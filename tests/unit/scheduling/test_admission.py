"""Who is let in, and what has become of streams."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.engines.base import Hypothesis, RecognitionStream, StreamStatus
from transcribed.engines.testing.scripted import Script, ScriptedEngine
from transcribed.errors import EngineFailure, LimitExceeded, UpstreamLost
from transcribed.options import Capabilities, Pace, StreamOptions
from transcribed.principal import Principal, Role
from transcribed.request_context import REQUEST, RequestContext
from transcribed.scheduling.accounts import Accounts
from transcribed.scheduling.admission import CLIENT, AdmissionLimit, AdmittedEngine, client_limit
from transcribed.scheduling.scheduler import Scheduler
from transcribed.transcript import Notice

pytestmark = pytest.mark.anyio


class _Stream:
    """Says what it is given at its end; it sends all audio to a remote service, twice."""

    def __init__(self, options: StreamOptions, *said: Hypothesis | Notice | Exception) -> None:
        self._pace = options.pace
        self._said = said
        self._seconds = 0.0
        self._finished = asyncio.Event()
        self.closed = 0

    async def send(self, samples: Samples) -> None:
        self._seconds += len(samples) / SAMPLE_RATE

    async def finish(self) -> None:
        self._finished.set()

    async def __aiter__(self) -> AsyncIterator[Hypothesis | Notice]:
        await self._finished.wait()
        for each in self._said:
            if isinstance(each, Exception):
                raise each
            yield each

    @property
    def status(self) -> StreamStatus:
        return StreamStatus(self._pace, self._seconds, 0.5, sent=2 * self._seconds)

    async def aclose(self) -> None:
        self.closed += 1
        self._finished.set()


class _Remote:
    capabilities = Capabilities("remote", ("en-US",))

    def __init__(self, *said: Hypothesis | Notice | Exception) -> None:
        self._said = said
        self.refusal: Exception | None = None
        self.door = asyncio.Event()
        self.door.set()
        self.streams: list[_Stream] = []

    async def open(self, options: StreamOptions) -> RecognitionStream:
        await self.door.wait()
        if self.refusal is not None:
            raise self.refusal
        self.streams.append(_Stream(options, *self._said))
        return self.streams[-1]


FAST, LIVE = StreamOptions(Pace.FAST), StreamOptions(Pace.LIVE)


def served(engine: _Remote, most: int | None = None, capacity: int = 2) -> AdmittedEngine:
    return AdmittedEngine(engine, AdmissionLimit(most), lambda: capacity, remote=True)


async def test_what_is_elsewhere_is_given_so_many_streams_recordings_too() -> None:
    engine = served(_Remote())
    first, second = await engine.open(LIVE), await engine.open(FAST)
    for options in (FAST, LIVE):
        with pytest.raises(LimitExceeded, match="remote is given 2 streams at once and no more"):
            await engine.open(options)
    await first.aclose()
    await first.aclose()
    third = await engine.open(FAST)
    with pytest.raises(LimitExceeded):
        await engine.open(FAST)
    assert (engine.totals.opened, engine.totals.refused, len(engine.statuses)) == (3, 3, 2)
    await second.aclose()
    await third.aclose()
    assert engine.statuses == []


async def test_a_stream_takes_its_place_while_it_is_being_opened() -> None:
    remote = _Remote()
    engine = served(remote, capacity=1)
    remote.door.clear()
    opening = asyncio.create_task(engine.open(LIVE))
    await asyncio.sleep(0)
    with pytest.raises(LimitExceeded):
        await engine.open(LIVE)
    opening.cancel()
    await asyncio.wait({opening})
    remote.door.set()
    await (await engine.open(LIVE)).aclose()


async def test_what_is_refused_elsewhere_takes_no_place() -> None:
    remote = _Remote()
    engine = served(remote, most=1, capacity=1)
    for refusal in (UpstreamLost("gone"), LimitExceeded("full")):
        remote.refusal = refusal
        with pytest.raises(type(refusal)):
            await engine.open(LIVE)
    assert (engine.totals.failed, engine.totals.refused) == (1, 1)
    remote.refusal = None
    await (await engine.open(LIVE)).aclose()


async def test_live_streams_of_all_engines_have_one_limit() -> None:
    limit = AdmissionLimit(2)
    async with Scheduler(1) as scheduler:
        local = scheduler.run(ScriptedEngine(Script(events=())))
        engines = [
            AdmittedEngine(local, limit, lambda: local.capacity),
            AdmittedEngine(_Remote(), limit, lambda: 25, remote=True),
        ]
        assert [engine.capacity for engine in engines] == [2, 2]
        streams = [await engine.open(LIVE) for engine in engines]
        for engine in engines:
            with pytest.raises(LimitExceeded, match="2 are being served"):
                await engine.open(LIVE)
        streams.append(await engines[0].open(FAST))
        for stream in streams:
            await stream.aclose()
        assert not scheduler.streams


async def test_a_place_is_free_when_the_last_word_is_out() -> None:
    remote = _Remote(Hypothesis(0, 0.0, 1.0, "a", False), Hypothesis(0, 0.0, 1.0, "a", True))
    engine = served(remote, capacity=1)
    stream = await engine.open(LIVE)
    await stream.send(silence(1.0))
    assert engine.statuses == [StreamStatus(Pace.LIVE, 1.0, 0.5, 2.0)]
    await stream.finish()
    assert [said async for said in stream] == [
        Hypothesis(0, 0.0, 1.0, "a", False),
        Hypothesis(0, 0.0, 1.0, "a", True),
    ]
    await (await engine.open(LIVE)).aclose()
    await stream.aclose()
    assert remote.streams[0].closed == 1
    assert (engine.totals.finals, engine.totals.received, engine.totals.failed) == ({None: 1}, 1.0, 0)


async def test_finals_are_counted_by_the_model_that_made_them() -> None:
    said = [
        Hypothesis(0, 0.0, 1.0, "a", final, model=model)
        for model, final in (("tiny", False), ("base", True), ("base", True), ("tiny", True), (None, False))
    ]
    engine = served(_Remote(*said))
    stream = await engine.open(LIVE)
    await stream.finish()
    models = [(engine.statuses[0].partial_model, engine.statuses[0].final_model) async for _ in stream]
    assert models == [
        ("tiny", None),
        ("tiny", "base"),
        ("tiny", "base"),
        ("tiny", "tiny"),
        (None, "tiny"),
    ]
    assert engine.totals.finals == {"base": 2, "tiny": 1}


async def test_what_was_sent_elsewhere_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    engine = served(_Remote(Notice("Told", "so"), EngineFailure("fell over")))
    with caplog.at_level(logging.INFO):
        stream = await engine.open(FAST)
        await stream.send(silence(1.5))
        assert engine.sent == 3.0
        await stream.finish()
        with pytest.raises(EngineFailure):
            [said async for said in stream]
        await stream.aclose()
    assert engine.sent == 3.0
    assert (engine.totals.failed, engine.totals.finals) == (1, {})
    assert [record.message for record in caplog.records] == [
        "A stream ended: 1.5 s of audio were received, and 3.0 s sent to remote."
    ]


# --- Shares, and who gives way


@contextmanager
def client(address: str | None, key: str | None = None, **may: float) -> Iterator[None]:
    """Somebody at an address, with a key that may have so much."""
    asking = Principal(key or "", Role.TRANSCRIBE, key, **may)  # type: ignore[arg-type]
    tokens = CLIENT.set(address), REQUEST.set(RequestContext(principal=asking))
    try:
        yield
    finally:
        CLIENT.reset(tokens[0])
        REQUEST.reset(tokens[1])


@pytest.mark.parametrize(
    ("capacity", "share", "most"),
    [(1, 0.9, 1), (9, 0.9, 9), (10, 0.9, 9), (19, 0.9, 18), (40, 0.9, 36), (40, 1.0, 40), (40, 0.01, 1)],
)
def test_a_share_leaves_whole_places_for_others(capacity: int, share: float, most: int) -> None:
    assert client_limit(capacity, share) == most


async def test_one_address_has_its_share_and_others_have_the_rest() -> None:
    engine = AdmittedEngine(_Remote(), AdmissionLimit(4, 0.75), lambda: 100, remote=True)
    with client("192.0.2.1"):
        streams = [await engine.open(LIVE) for _ in range(3)]
        with pytest.raises(LimitExceeded, match=r"3 live streams of 192\.0\.2\.1 are being served"):
            await engine.open(LIVE)
    with client("192.0.2.2"):
        other = await engine.open(LIVE)
        with pytest.raises(LimitExceeded, match="4 are being served"):
            await engine.open(LIVE)
    await streams[0].aclose()
    await streams[0].aclose()
    with client("192.0.2.1"):
        streams[0] = await engine.open(LIVE)
    for stream in (*streams, other):
        await stream.aclose()
    assert engine.totals.refused == 2


async def test_without_an_address_there_is_no_share() -> None:
    engine = AdmittedEngine(_Remote(), AdmissionLimit(4, 0.25), lambda: 100, remote=True)
    for stream in [await engine.open(LIVE) for _ in range(4)]:
        await stream.aclose()


async def fed(stream: RecognitionStream, seconds: float, part: float) -> None:
    """Audio for some part of the time."""
    for _ in range(int(seconds)):
        await stream.send(silence(part))
        await asyncio.sleep(1)


def test_the_setting_makes_no_places_that_the_machine_has_not() -> None:
    assert AdmittedEngine(_Remote(), AdmissionLimit(100), lambda: 2).capacity == 2
    assert AdmittedEngine(_Remote(), AdmissionLimit(2), lambda: 100).capacity == 2
    assert AdmittedEngine(_Remote(), AdmissionLimit(), lambda: 100).capacity == 100


def test_who_sends_next_to_nothing_gives_way(in_virtual_time: Callable[[Any], Any]) -> None:
    async def run() -> None:
        async with Scheduler(1) as scheduler:
            local = scheduler.run(ScriptedEngine(Script(events=())))
            engine = AdmittedEngine(local, AdmissionLimit(2), lambda: local.capacity)
            idle, busy = await engine.open(LIVE), await engine.open(LIVE)
            with pytest.raises(LimitExceeded, match="2 are being served"):
                await engine.open(LIVE)  # Nobody has had the time to say anything.
            await asyncio.gather(fed(idle, 6, 0.001), fed(busy, 6, 0.5))
            third = await engine.open(LIVE)
            with pytest.raises(LimitExceeded, match="another has its place"):
                _ = [said async for said in idle]
            assert len(engine.statuses) == 2
            with pytest.raises(LimitExceeded, match="2 are being served"):
                await engine.open(LIVE)
            # It counts how much came lately, not long ago.
            await asyncio.gather(fed(busy, 20, 0.001), fed(third, 20, 1.0))
            await (await engine.open(LIVE)).aclose()
            with pytest.raises(LimitExceeded, match="another has its place"):
                _ = [said async for said in busy]
            await third.aclose()
            assert (engine.totals.opened, engine.statuses) == (4, [])

    in_virtual_time(run())


def test_who_has_said_all_keeps_its_place_to_the_end(in_virtual_time: Callable[[Any], Any]) -> None:
    async def run() -> None:
        engine = served(_Remote(), capacity=1)
        stream = await engine.open(LIVE)
        await stream.finish()
        await asyncio.sleep(30)
        with pytest.raises(LimitExceeded):
            await engine.open(LIVE)
        await stream.aclose()

    in_virtual_time(run())


def test_where_an_address_has_its_share_its_own_streams_give_way(
    in_virtual_time: Callable[[Any], Any],
) -> None:
    async def run() -> None:
        engine = AdmittedEngine(_Remote(), AdmissionLimit(4, 0.5), lambda: 100, remote=True)
        with client("192.0.2.2"):
            other = await engine.open(LIVE)
        with client("192.0.2.1"):
            own = [await engine.open(LIVE) for _ in range(2)]
            await asyncio.gather(*(fed(stream, 6, 1.0) for stream in own))
            with pytest.raises(LimitExceeded, match=r"of 192\.0\.2\.1"):
                await engine.open(LIVE)
            await asyncio.sleep(60)
            own.append(await engine.open(LIVE))
        assert len(engine.statuses) == 3
        for stream in (other, *own):
            await stream.aclose()

    in_virtual_time(run())


# --- Keys


def of_keys(
    most: int | None = None,
    capacity: int = 100,
    *,
    remote: bool = True,
    said: tuple[Hypothesis, ...] = (),
    **may: Any,
) -> tuple[AdmittedEngine, AdmissionLimit]:
    limit = AdmissionLimit(most, 0.5, Accounts(**may))
    return AdmittedEngine(_Remote(*said), limit, lambda: capacity, remote=remote), limit


async def test_a_key_has_so_many_streams_and_others_are_let_in() -> None:
    engine, limit = of_keys(streams=2)
    with client("192.0.2.1", "greedy"):
        streams = [await engine.open(LIVE)]
    with client("192.0.2.2", "greedy"):
        streams.append(await engine.open(LIVE))
    with (
        client("192.0.2.3", "greedy"),
        pytest.raises(LimitExceeded, match="2 streams of the key greedy are being served") as refusal,
    ):
        await engine.open(LIVE)
    assert refusal.value.retry_after == 5
    with client("192.0.2.3", "modest"):
        streams.append(await engine.open(LIVE))
    with client("192.0.2.4", "important", streams=3):
        streams += [await engine.open(LIVE) for _ in range(3)]
    with client(None):
        streams += [await engine.open(LIVE) for _ in range(5)]
    held = {account.key: limit.open_streams(account) for account in limit.accounts.all}
    assert held == {"greedy": 2, "modest": 1, "important": 3}
    refused = {account.key: account.refused for account in limit.accounts.all}
    assert refused == {"greedy": 1, "modest": 0, "important": 0}
    for stream in streams:
        await stream.aclose()
    assert {limit.open_streams(account) for account in limit.accounts.all} == {0}
    assert [account.opened for account in limit.accounts.all] == [2, 1, 3]


async def test_recordings_are_streams_of_their_key_too() -> None:
    engine, _ = of_keys(streams=1, remote=False)
    with client(None, "a"):
        recording = await engine.open(FAST)
        for options in (FAST, LIVE):
            with pytest.raises(LimitExceeded, match="1 streams of the key a"):
                await engine.open(options)
        await recording.aclose()
        await (await engine.open(LIVE)).aclose()


def test_where_a_key_has_all_it_may_its_own_streams_give_way_and_no_others(
    in_virtual_time: Callable[[Any], Any],
) -> None:
    async def run() -> None:
        engine, limit = of_keys(most=3, streams=2)
        with client("192.0.2.2", "other"):
            other = await engine.open(LIVE)
        with client("192.0.2.1", "a"):
            own = [await engine.open(LIVE) for _ in range(2)]
            await asyncio.gather(*(fed(stream, 6, 1.0) for stream in own))
            with pytest.raises(LimitExceeded, match="of the key a"):
                await engine.open(LIVE)  # Though the other says nothing, and all places are taken.
            await asyncio.gather(fed(own[0], 60, 0.01), fed(own[1], 60, 0.02))
            own.append(await engine.open(LIVE))
            with pytest.raises(LimitExceeded, match="another has its place"):
                _ = [said async for said in own[0]]
        assert len(engine.statuses) == 3
        for stream in (other, *own):
            await stream.aclose()
        assert limit.accounts.all[1].refused == 1

    in_virtual_time(run())


def test_who_needs_two_places_gets_both(in_virtual_time: Callable[[Any], Any]) -> None:
    """Its own idle stream on another engine gives way, then another key's on this one, which is full."""

    async def run() -> None:
        limit = AdmissionLimit(None, 1.0, Accounts(streams=1))
        engines = [AdmittedEngine(_Remote(), limit, lambda: 1, remote=True) for _ in range(2)]
        with client(None, "other"):
            await engines[1].open(LIVE)
        with client(None, "a"):
            await engines[0].open(LIVE)
            await asyncio.sleep(60)
            stream = await engines[1].open(LIVE)
        assert [len(engine.statuses) for engine in engines] == [0, 1]
        await stream.aclose()

    in_virtual_time(run())


async def test_the_days_audio_ends_a_stream_behind_what_was_said() -> None:
    said = Hypothesis(0, 0.0, 1.0, "all of it", True)
    engine, limit = of_keys(seconds_a_day=2, said=(said,))
    with client(None, "a"):
        stream = await engine.open(LIVE)
        for _ in range(4):
            await stream.send(silence(0.5))
        with pytest.raises(LimitExceeded, match="has had its 2 s of audio for today") as told:
            await stream.send(silence(0.5))
        assert 0 < told.value.retry_after <= 86400
        await stream.finish()
        assert [said async for said in stream] == [said]
        with pytest.raises(LimitExceeded, match="has had its 2 s of audio for today"):
            await engine.open(FAST)
    with client(None, "b"):
        await (await engine.open(LIVE)).aclose()
    assert [(each.seconds, each.opened, each.refused) for each in limit.accounts.all] == [
        (2, 1, 2),
        (0, 1, 0),
    ]


KEYS = {None: None, "a": 1, "b": 2, "c": None}
ADDRESSES = ("192.0.2.1", "192.0.2.2", None)
OPENS = st.tuples(
    st.just("open"),
    st.sampled_from(list(KEYS)),
    st.sampled_from(ADDRESSES),
    st.integers(0, 1),
    st.booleans(),
)
CLOSES = st.tuples(st.just("close"), st.integers(0, 20))
FAILS = st.tuples(st.just("fail"), st.sampled_from(list(KEYS)), st.sampled_from(ADDRESSES))
WAITS = st.tuples(st.just("wait"), st.lists(st.integers(0, 20)))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OPENS | CLOSES | FAILS | WAITS, max_size=40))
def test_in_any_order_no_limit_is_exceeded_and_every_place_comes_back(
    in_virtual_time: Callable[[Any], Any], steps: list[tuple[Any, ...]]
) -> None:
    async def run() -> None:
        limit = AdmissionLimit(5, 0.5, Accounts())
        remotes = [_Remote(), _Remote()]
        engines = [
            AdmittedEngine(remotes[0], limit, lambda: 3, remote=True),
            AdmittedEngine(remotes[1], limit, lambda: 100),
        ]
        opened: list[tuple[RecognitionStream, str | None, str | None, bool]] = []

        def check() -> None:
            there = [each for each in opened if each[0] in limit.open]
            for key, most in KEYS.items():
                assert key is None or most is None or sum(each[1] == key for each in there) <= most
            # An engine with 3 places gives an address 2 of them, that with 100 has 5 by the limit.
            for address in ADDRESSES[:2]:
                assert sum(each[2] == address and each[3] for each in there) <= 3
            assert sum(each[3] for each in there) <= 5
            assert len(engines[0].statuses) <= 3

        for step in steps:
            match step:
                case "open", key, address, number, live:
                    with client(address, key, streams=KEYS[key] or 0):
                        try:
                            stream = await engines[number].open(LIVE if live else FAST)
                        except LimitExceeded:
                            continue
                    opened.append((stream, key, address, live or number == 0))
                case "close", which if opened:
                    await opened[which % len(opened)][0].aclose()
                case "fail", key, address:
                    remotes[0].refusal = UpstreamLost("gone")
                    with (
                        client(address, key, streams=KEYS[key] or 0),
                        pytest.raises((UpstreamLost, LimitExceeded)),
                    ):
                        await engines[0].open(LIVE)
                    remotes[0].refusal = None
                case "wait", speaking:
                    talkers = {opened[which % len(opened)][0] for which in speaking if opened}
                    await asyncio.gather(asyncio.sleep(31), *(fed(talker, 30, 1.0) for talker in talkers))
            check()
        for stream, *_ in opened:
            await stream.aclose()
        assert not limit.open
        assert {limit.open_streams(account) for account in limit.accounts.all} <= {0}
        for key, most in KEYS.items():
            with client(None, key, streams=most or 0):
                for stream in [await engines[1].open(LIVE) for _ in range(most or 5)]:
                    await stream.aclose()

    in_virtual_time(run())
