"""The Amazon engine behind a network that breaks: no final is lost, none comes twice.

A server of this project stands for Amazon. bench/faults.py does the same a thousand times and more.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import fault_runs
import numpy as np
import pytest
from fault_proxy import Fault, FaultProxy, Place, Spot, Way, What
from fault_runs import LEVEL_SCRIPT, Heard, Lane, heard
from websockets.asyncio.client import connect

from transcribed.audio.formats import Samples
from transcribed.engines.base import Hypothesis
from transcribed.engines.testing.levels import LevelEngine
from transcribed.options import StreamOptions
from transcribed.scheduling.scheduler import Scheduler
from transcribed.transcript import Word

if TYPE_CHECKING:
    from tests.conftest import Server

pytestmark = pytest.mark.anyio

MESSAGE_PLACES = (Place.FRAME, Place.PRELUDE, Place.HEADERS, Place.PAYLOAD, Place.CRC, Place.BETWEEN)
SEED = 5
"""Of audio with several segments, and speech to its last sample."""
RANDOM_RUNS = 24


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def upstream(
    run_server: Callable[..., AbstractContextManager["Server"]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Server"]:
    script = tmp_path_factory.mktemp("spelled") / "script.json"
    script.write_text(LEVEL_SCRIPT.model_dump_json())
    with run_server("--engine", "scripted", "--script", str(script), "--max-sessions", "1000") as server:
        yield server


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-tests")


@pytest.fixture
def lanes(upstream: "Server", keys: None, new_port: Callable[[], int]) -> Callable[..., Any]:
    def opened(*kinds: str) -> Any:
        ports = (new_port() for _ in itertools.count())
        return fault_runs.lanes(upstream.address, ports, kinds)

    return opened


async def alone(samples: Samples) -> Heard:
    """What the same recogniser makes of it in this process."""
    async with Scheduler(1) as scheduler:
        return await heard(scheduler.run(LevelEngine(LEVEL_SCRIPT)), samples, StreamOptions())


@pytest.fixture(scope="module")
def samples() -> Samples:
    return fault_runs.audio(SEED)


async def _each(lanes: Sequence[Lane], faults: Sequence[Fault], samples: Samples) -> None:
    """Every fault alone, in lanes that take turns; each must happen."""
    expected = await alone(samples)
    assert len(expected.finals) > 3
    waiting = iter(faults)

    async def work(lane: Lane) -> None:
        for fault in waiting:
            lane.proxy.expect([fault])
            found = await heard(lane.engine, samples, StreamOptions(), pace=0.1 / fault_runs.SPEED)
            assert list(found.problems(expected)) == [], fault
            assert lane.proxy.struck == [fault]
            assert lane.proxy.connections > 1 or fault.what in {What.DELAY, What.CLOSE}, fault

    async with asyncio.TaskGroup() as tasks:
        for lane in lanes:
            tasks.create_task(work(lane))


async def test_without_faults_the_engine_hears_what_the_upstream_hears(
    lanes: Callable[..., Any], samples: Samples
) -> None:
    async with lanes("plain") as (lane,):
        found = await lane.undisturbed(samples)
        assert list(found.problems(await alone(samples))) == []
        assert lane.proxy.connections == 1


@pytest.mark.parametrize("what", [What.CUT, What.RESET, What.HALF_CLOSE])
async def test_a_connection_may_break_at_any_place(
    lanes: Callable[..., Any], samples: Samples, what: What
) -> None:
    spots = [Spot(way, Place.HEAD, 0, part) for way in Way for part in (0.0, 0.5)]
    spots += [Spot(Way.UP, place, 20, 0.5) for place in MESSAGE_PLACES]
    spots += [Spot(Way.DOWN, place, 3, 0.5) for place in MESSAGE_PLACES]
    async with lanes("plain", "plain", "plain", "plain") as opened:
        await _each(opened, [Fault(what, spot) for spot in spots], samples)


async def test_a_connection_may_be_refused_or_fall_silent_or_change_a_bit(
    lanes: Callable[..., Any], samples: Samples
) -> None:
    faults = [Fault(What.REFUSE), Fault(What.AWAY, seconds=0.2)]
    faults += [
        Fault(What.ANSWER, status=status, name=name, text="Not now.")
        for status, name in [(429, "ThrottlingException"), (500, "InternalFailureException"), (503, "")]
    ]
    faults += [Fault(What.SILENCE, Spot(way, Place.HEAD)) for way in Way]
    faults += [Fault(What.SILENCE, Spot(Way.UP, Place.PAYLOAD, 20, 0.5))]
    faults += [Fault(What.SILENCE, Spot(Way.DOWN, Place.BETWEEN, 3))]
    faults += [Fault(What.DELAY, Spot(way, Place.PAYLOAD, 3, 0.5), seconds=0.3) for way in Way]
    places = (Place.PRELUDE, Place.HEADERS, Place.PAYLOAD, Place.CRC)
    faults += [Fault(What.FLIP, Spot(Way.DOWN, place, 3, 0.5)) for place in places]
    async with lanes("plain", "plain", "plain", "plain") as opened:
        for lane in opened:
            lane.proxy.expect([])
        await _each(opened, faults, samples)


async def test_the_service_may_end_a_stream(lanes: Callable[..., Any], samples: Samples) -> None:
    names = ("LimitExceededException", "ThrottlingException", "ServiceUnavailableException")
    faults = [
        Fault(What.EXCEPTION, Spot(way, Place.BETWEEN, 4), name=name, text="Not now.")
        for way in Way
        for name in names
    ]
    faults += [
        Fault(What.CLOSE, Spot(Way.UP, Place.BETWEEN, 9), status=code) for code in (1000, 1001, 1011)
    ]
    async with lanes("plain", "plain", "plain") as opened:
        await _each(opened, faults, samples)


@pytest.mark.parametrize("kind", ["plain", "short", "fallback", "outage"])
async def test_random_faults_lose_and_double_nothing(lanes: Callable[..., Any], kind: str) -> None:
    async with lanes(kind, kind) as opened:
        seeds = iter(range(RANDOM_RUNS // 4))

        async def work(lane: Lane) -> None:
            for seed in seeds:
                samples = fault_runs.audio(seed, most_segments=5)
                run = await lane.run(seed, samples, await alone(samples))
                assert run.problems == [], run

        async with asyncio.TaskGroup() as tasks:
            for lane in opened:
                tasks.create_task(work(lane))


# --- That the runs would notice


def _heard(*finals: tuple[int, str]) -> Heard:
    said = [
        Hypothesis(segment, float(n), n + 0.5, text, True, tuple(Word(word) for word in text.split()))
        for n, (segment, text) in enumerate(finals)
    ]
    return Heard(said, [])


@pytest.mark.parametrize(
    "found",
    [
        _heard((0, "a b")),
        _heard((0, "a b"), (1, "c"), (2, "c")),
        _heard((0, "a b"), (1, "b c")),
        _heard((0, "a b"), (2, "c")),
        _heard((1, "a b"), (2, "c")),
        _heard((0, "a b"), (0, "c")),
        Heard([replace(h, start=h.start + 0.01) for h in _heard((0, "a b"), (1, "c")).said], []),
        Heard([replace(h, final=False) for h in _heard((0, "a b"), (1, "c")).said], []),
        Heard([replace(h, words=()) for h in _heard((0, "a b"), (1, "c")).said], []),
    ],
)
def test_what_is_lost_or_doubled_or_out_of_order_is_noticed(found: Heard) -> None:
    expected = _heard((0, "a b"), (1, "c"))
    assert list(expected.problems(expected)) == []
    assert list(found.problems(expected)) != []


async def test_a_connection_alone_does_lose_what_breaks_it(
    lanes: Callable[..., Any], samples: Samples
) -> None:
    async with lanes("plain") as (lane,):
        bare = replace(lane, engine=lane.engine.primary)
        cut = Fault(What.CUT, Spot(Way.UP, Place.PAYLOAD, 20, 0.5))
        lane.proxy.expect([cut])
        with pytest.raises(fault_runs.TranscribedError):
            await heard(bare.engine, samples, StreamOptions())
        assert lane.proxy.struck == [cut]


# --- Through a whole gateway


@asynccontextmanager
async def gateway(
    run_server: Callable[..., AbstractContextManager["Server"]],
    upstream: "Server",
    new_port: Callable[[], int],
    *options: str,
) -> AsyncIterator[tuple["Server", FaultProxy]]:
    async with FaultProxy(new_port(), upstream.address) as proxy:
        own = {
            "AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING": proxy.url,
            "AWS_ACCESS_KEY_ID": "AKIATEST",
            "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests",
            "AWS_REGION": "us-east-1",
        }
        launcher = ["env", *(f"{name}={value}" for name, value in own.items())]
        with run_server("--engine", "amazon", *options, launcher=launcher) as server:
            yield server, proxy


async def _streamed(server: "Server", samples: Samples) -> list[str]:
    """The finals of live audio over /stream."""
    finals: list[str] = []
    async with connect(f"{server.stream_url}?format=json&encoding=pcm", proxy=None) as client:
        data = np.rint(samples * 32768).astype("<i2").tobytes()
        for start in range(0, len(data), 3_200):
            await client.send(data[start : start + 3_200])
        await client.send(b"")
        while True:
            async with asyncio.timeout(30):
                message = json.loads(await client.recv())
            if "Done" in message:
                return finals
            assert "Error" not in message, message
            if "Transcript" in message:
                (result,) = message["Transcript"]["Results"]
                if not result["IsPartial"]:
                    finals.append(result["Alternatives"][0]["Transcript"])


async def test_a_gateway_s_client_notices_nothing(
    run_server: Callable[..., AbstractContextManager["Server"]],
    upstream: "Server",
    new_port: Callable[[], int],
    samples: Samples,
) -> None:
    expected = [text for text, *_ in (await alone(samples)).finals]
    faults = [
        Fault(What.REFUSE),
        Fault(What.ANSWER, status=503, name="ServiceUnavailableException", text="Not now."),
        Fault(What.CUT, Spot(Way.UP, Place.PAYLOAD, 30, 0.5)),
        Fault(What.RESET, Spot(Way.DOWN, Place.CRC, 4, 0.5)),
        Fault(What.FLIP, Spot(Way.DOWN, Place.PAYLOAD, 4, 0.5)),
        Fault(What.HALF_CLOSE, Spot(Way.DOWN, Place.HEADERS, 4, 0.5)),
        Fault(What.EXCEPTION, Spot(Way.UP, Place.BETWEEN, 20), name="InternalFailureException", text="Oh."),
    ]
    async with gateway(run_server, upstream, new_port) as (server, proxy):
        for fault in faults:
            proxy.expect([fault])
            assert await _streamed(server, samples) == expected, fault
            assert proxy.struck == [fault]


async def test_a_gateway_without_its_upstream_has_its_fallback(
    run_server: Callable[..., AbstractContextManager["Server"]],
    upstream: "Server",
    new_port: Callable[[], int],
    sentence: bytes,
) -> None:
    async with gateway(run_server, upstream, new_port, "--fallback", "moonshine") as (server, proxy):
        proxy.expect(itertools.repeat(Fault(What.REFUSE)))
        server.upload("test.wav", sentence)
        async with connect(f"{server.stream_url}?format=json", proxy=None) as client:
            await client.send("test.wav")
            messages = []
            while not messages or "Done" not in messages[-1]:
                async with asyncio.timeout(30):
                    messages.append(json.loads(await client.recv()))
    results = [m["Transcript"]["Results"][0] for m in messages if "Transcript" in m]
    assert results[-1]["Alternatives"][0]["Transcript"] == "This is a test."
    warnings = [message["Warning"] for message in messages if "Warning" in message]
    assert len(warnings) == 1, messages
