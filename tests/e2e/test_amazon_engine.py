"""The engine that is Amazon Transcribe, against our own front, which Amazon's SDKs take for Amazon.

What Amazon alone does, and what a front of ours never does, is said by small servers that know no more than
how to say it.
"""

import asyncio
import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from amazon_client import KEY, REGION, SECRET
from amazon_environment import without_amazon
from fault_proxy import Fault, FaultProxy, Place, Spot, Way, What
from native_client import decoded, native
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from transcribed import errors
from transcribed.audio.formats import SAMPLE_RATE, Samples, silence
from transcribed.engines.amazon.engine import load
from transcribed.engines.amazon.opening import AmazonEngine
from transcribed.engines.amazon.settings import AmazonSettings, Timeouts
from transcribed.engines.amazon.streams import AmazonStream
from transcribed.engines.base import Hypothesis, RecognitionStream, StreamStatus
from transcribed.engines.testing.levels import level
from transcribed.options import Pace, Stability, StreamOptions
from transcribed.wire.eventstream import decode, encode

if TYPE_CHECKING:
    from tests.conftest import Server

DATA = Path(__file__).parents[1] / "data"
RECORDINGS = ["test.wav", "jfk.mp3", "common_voice.mp3", "telephone.wav", "trumpet.ogg"]
WAIT = 30
FAST = StreamOptions(pace=Pace.FAST)
LIVE = StreamOptions(pace=Pace.LIVE)
SOON = Timeouts(open=5, send=1, last_words=1, close=1, ping=0.2, pong=0.6)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Of Amazon's settings there are none but these."""
    without_amazon(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return monkeypatch


def engine_at(url: str, **settings: Any) -> AmazonEngine:
    return load(AmazonSettings(**({"region": REGION, "endpoint_url": url, "speed": 50.0} | settings)))


def samples_of(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32_768)


def recording(name: str) -> bytes:
    return decoded((DATA / name).read_bytes()).tobytes()


@asynccontextmanager
async def opened(engine: AmazonEngine, options: StreamOptions = LIVE) -> AsyncIterator[AmazonStream]:
    stream = await engine.open(options)
    try:
        async with asyncio.timeout(WAIT):
            yield stream
    finally:
        await stream.aclose()


async def say(stream: RecognitionStream, audio: Samples, size: int = 1_600) -> None:
    for start in range(0, len(audio), size):
        await stream.send(audio[start : start + size])


async def say_all(stream: RecognitionStream, audio: Samples) -> None:
    with suppress(errors.TranscribedError):  # The reader is told.
        await say(stream, audio)
    await stream.finish()


async def heard(engine: AmazonEngine, audio: Samples, options: StreamOptions = FAST) -> list[Hypothesis]:
    async with opened(engine, options) as stream:
        sending = asyncio.create_task(say_all(stream, audio))
        try:
            return [hypothesis async for hypothesis in stream]
        finally:
            await sending


async def refusal(
    engine: AmazonEngine, options: StreamOptions = LIVE, audio: Samples | None = None
) -> tuple[list[Hypothesis], errors.TranscribedError]:
    """What was heard, and the error behind it."""
    found: list[Hypothesis] = []
    try:
        async with opened(engine, options) as stream:
            sending = asyncio.create_task(say_all(stream, silence(0.5) if audio is None else audio))
            try:
                async for hypothesis in stream:
                    found.append(hypothesis)  # noqa: PERF401 - what came before an error counts
            finally:
                await sending
    except errors.TranscribedError as error:
        return found, error
    return pytest.fail("Nothing was refused.")


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(WAIT):
            while not condition():  # noqa: ASYNC110 - it is seen from outside alone
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"Not within {WAIT} s: {what}")


def finals(hypotheses: Sequence[Hypothesis]) -> list[str]:
    return [hypothesis.text for hypothesis in hypotheses if hypothesis.final]


# --- Whole runs


@pytest.mark.parametrize("pace", list(Pace))
@pytest.mark.parametrize("name", RECORDINGS)
async def test_the_text_is_that_of_the_native_front(server: "Server", name: str, pace: Pace) -> None:
    audio = recording(name)
    found = await heard(engine_at(server.url), samples_of(audio), StreamOptions(pace=pace))
    assert finals(found) == await asyncio.to_thread(native, server, audio)


async def test_hypotheses_are_what_the_script_says(guarded: "Server") -> None:
    engine = engine_at(guarded.url)
    async with opened(engine, StreamOptions(pace=Pace.FAST, stability=Stability.HIGH)) as stream:
        await say_all(stream, silence(1.2))
        found = [hypothesis async for hypothesis in stream]
    shown = [(h.segment, h.text, h.final, h.start, h.end, h.words[0].stable) for h in found]
    assert shown == [
        (0, "first", True, 0.0, 0.5, True),
        (1, "sec", False, 0.5, 1.0, False),
        (1, "second", True, 0.5, 1.2, True),
    ]
    assert [(word.text, word.start, word.end, word.confidence) for word in found[-1].words] == [
        ("second", 0.5, 1.2, 1.0)
    ]
    assert found[-1].language is None
    assert stream.status == StreamStatus(Pace.FAST, 1.2, 0.0, 1.2)


async def test_who_asks_for_no_partials_gets_none(guarded: "Server") -> None:
    found = await heard(engine_at(guarded.url), silence(1.2), replace(FAST, partials=False))
    assert [(h.segment, h.text) for h in found] == [(0, "first"), (1, "second")]


async def test_recordings_are_sent_at_their_speed_and_live_audio_at_once(guarded: "Server") -> None:
    engine = engine_at(guarded.url, speed=2.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await heard(engine, silence(4.0), FAST)
    assert loop.time() - began >= (4.0 - 0.2) / 2
    began = loop.time()
    await heard(engine, silence(4.0), LIVE)
    assert loop.time() - began < 1.7


# --- Who is let in


async def test_wrong_keys_are_refused_each_in_its_way(
    guarded: "Server", account: pytest.MonkeyPatch
) -> None:
    url = guarded.url
    account.setenv("AWS_SECRET_ACCESS_KEY", "another")
    _, error = await refusal(engine_at(url))
    assert type(error) is errors.InvalidSignature
    assert "clock" in error.message
    account.setenv("AWS_ACCESS_KEY_ID", "AKIDUNKNOWN")
    _, error = await refusal(engine_at(url))
    assert type(error) is errors.UnknownClient
    assert "does not know the access key" in error.message


async def test_a_clock_that_is_wrong_is_said_to_be(guarded: "Server") -> None:
    long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=10)  # noqa: TID251 - it is a date
    engine = engine_at(guarded.url)
    with mock.patch("botocore.auth.get_current_datetime", return_value=long_ago):
        _, error = await refusal(engine)
    assert type(error) is errors.InvalidSignature
    assert "clock" in error.message


async def test_a_language_that_is_not_known_is_a_bad_request(guarded: "Server") -> None:
    _, error = await refusal(engine_at(guarded.url), StreamOptions(language="tlh-QO"))
    assert type(error) is errors.BadRequest
    assert "tlh-QO" in error.message


async def test_what_is_asked_for_all_streams_is_asked(guarded: "Server") -> None:
    _, error = await refusal(engine_at(guarded.url, default_parameters={"show-speaker-label": "true"}))
    assert type(error) is errors.BadRequest
    assert "show-speaker-label" in error.message


async def test_where_there_is_no_place_left_the_limit_is_said(scripted: "Callable[..., Server]") -> None:
    server = scripted("--max-sessions", "1")
    engine = engine_at(server.url)
    async with opened(engine) as first:
        await say(first, silence(0.3))
        await asyncio.to_thread(server.wait_until_heard, 0.3)
        other = engine_at(server.url)
        _, error = await refusal(other)
        assert type(error) is errors.LimitExceeded
        assert "Service Quotas" in error.message


# --- Ends


async def test_a_server_that_stops_says_its_last_words_first(scripted: "Callable[..., Server]") -> None:
    server = scripted()
    async with opened(engine_at(server.url)) as stream:
        await say(stream, silence(1.2))
        await asyncio.to_thread(server.wait_until_heard, 1.2)
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        said = aiter(stream)
        assert [(await anext(said)).text for _ in range(3)] == ["first", "sec", "second"]
        with pytest.raises(errors.Unavailable, match="stopping"):
            await anext(said)
        await stopping
        with pytest.raises(errors.Unavailable):
            await stream.send(silence(0.1))


async def test_a_server_that_dies_is_lost(scripted: "Callable[..., Server]") -> None:
    server = scripted()
    async with opened(engine_at(server.url)) as stream:
        await say(stream, silence(0.8))
        assert (await anext(aiter(stream))).text == "first"
        server.process.kill()
        with pytest.raises(errors.UpstreamLost, match="broke off"):
            await anext(aiter(stream))
        with pytest.raises(errors.UpstreamLost):
            await stream.send(silence(0.1))
    server.process.wait(10)  # Else its end is asked for where it is not known yet that it is over.


# --- Without anybody there


async def test_without_credentials_nothing_is_asked(account: pytest.MonkeyPatch) -> None:
    account.delenv("AWS_ACCESS_KEY_ID")
    account.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(errors.NoCredentials, match="AWS_ACCESS_KEY_ID"):
        await engine_at("http://127.0.0.1:1").open(LIVE)


async def test_a_host_that_there_is_not_is_lost_or_its_region_is_wrong() -> None:
    with pytest.raises(errors.UpstreamLost, match=r"nowhere\.invalid:1 is not found"):
        await engine_at("http://nowhere.invalid:1").open(LIVE)
    engine = load(AmazonSettings(region="eu-north-99"))
    with pytest.raises(errors.ConfigurationError, match=r"Check the region, here eu-north-99.* eu-west-1"):
        await engine.open(LIVE)


async def test_where_nobody_listens_the_place_is_said(free_port: int) -> None:
    with pytest.raises(errors.UpstreamLost, match=f"127.0.0.1:{free_port} cannot be reached"):
        await engine_at(f"http://127.0.0.1:{free_port}").open(LIVE)


async def test_who_does_not_answer_is_waited_for_no_longer_than_set(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        engine = engine_at(f"http://127.0.0.1:{free_port}", timeouts=replace(SOON, open=0.2))
        with pytest.raises(errors.UpstreamLost, match=r"not answered within 0\.2 s"):
            await engine.open(LIVE)


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (403, "UnrecognizedClientException", errors.UnknownClient),
        (403, "ExpiredTokenException:http://amazon", errors.ExpiredCredentials),
        (403, "", errors.AccessDenied),
        (429, "", errors.LimitExceeded),
        (503, "", errors.Unavailable),
        (404, "", errors.EngineFailure),
    ],
)
async def test_what_is_refused_before_the_stream_is_refused_at_once(
    free_port: int, status: int, name: str, kind: type[errors.TranscribedError]
) -> None:
    async with FaultProxy(free_port, ("127.0.0.1", 1)) as proxy:
        proxy.expect([Fault(What.ANSWER, status=status, name=name, text="Not you.")])
        with pytest.raises(errors.TranscribedError) as refused:
            await engine_at(proxy.url).open(LIVE)
    assert type(refused.value) is kind
    assert "Not you." in refused.value.message or kind is errors.EngineFailure


# --- TLS


async def test_over_tls_with_a_certificate_that_is_trusted(
    scripted: "Callable[..., Server]",
    environment: dict[str, str],
    free_port: int,
    account: pytest.MonkeyPatch,
) -> None:
    scripted("--tls", "--tls-port", str(free_port))
    url = f"https://localhost:{free_port}"
    with pytest.raises(errors.ConfigurationError, match=r"is not trusted.*AWS_CA_BUNDLE"):
        await engine_at(url).open(LIVE)
    account.setenv("AWS_CA_BUNDLE", str(Path(environment["TRANSCRIBED_CERTIFICATES"]) / "ca.pem"))
    assert finals(await heard(engine_at(url), silence(1.2))) == ["first", "second"]


# --- Servers that say what ours never does


Serving = Callable[[ServerConnection], Coroutine[Any, Any, None]]
TRANSCRIPT = {
    ":message-type": "event",
    ":event-type": "TranscriptEvent",
    ":content-type": "application/json",
}


def result(text: str, *, final: bool = True, start: float = 0.0, end: float = 0.5) -> dict[str, Any]:
    items = [{"Type": "pronunciation", "Content": word} for word in text.split()]
    return {
        "ResultId": "3f",
        "StartTime": start,
        "EndTime": end,
        "IsPartial": not final,
        "Alternatives": [{"Transcript": text, "Items": items}],
    }


def event(*results: dict[str, Any]) -> bytes:
    return encode(TRANSCRIPT, json.dumps({"Transcript": {"Results": results}}).encode())


def exception(name: str, text: str) -> bytes:
    return encode(
        {":message-type": "exception", ":exception-type": name}, json.dumps({"Message": text}).encode()
    )


async def audio_until_its_end(connection: ServerConnection) -> bytes:
    """All that is sent before the empty event."""
    audio = b""
    async for message in connection:
        assert isinstance(message, bytes)
        piece = decode(message).payload
        if not piece:
            break
        audio += piece
    return audio


@pytest.fixture
async def serving(new_port: Callable[[], int]) -> AsyncIterator[Callable[[Serving], Awaitable[str]]]:
    """Servers that do to each connection what they are told; their addresses."""
    async with AsyncExitStack() as running:

        async def start(work: Serving) -> str:
            handling: set[asyncio.Task[Any] | None] = set()

            async def handle(connection: ServerConnection) -> None:
                handling.add(asyncio.current_task())
                with suppress(ConnectionClosed, asyncio.CancelledError):
                    await work(connection)

            def stop() -> None:
                for task in handling:
                    if task is not None:
                        task.cancel()

            port = new_port()
            await running.enter_async_context(serve(handle, "127.0.0.1", port, close_timeout=1))
            running.callback(stop)
            return f"http://127.0.0.1:{port}"

        yield start


Start = Callable[[Serving], Awaitable[str]]


async def test_results_of_all_shapes_are_segments_in_their_order(serving: Start) -> None:
    async def say_them(connection: ServerConnection) -> None:
        await audio_until_its_end(connection)
        await connection.send(event())
        await connection.send(event(result("", final=False)))
        await connection.send(event(result("one", final=False), result("one two", final=False)))
        await connection.send(event(result("one two", final=False, end=0.6)))
        await connection.send(event(result("one two."), result("three", final=False, start=0.6, end=0.7)))
        await connection.send(encode({":message-type": "event", ":event-type": "New"}, b"?"))
        await connection.send(event(result("", start=0.6, end=0.7)))
        await connection.send(event(result("", start=0.7, end=0.8), result("four", start=0.8, end=99.0)))

    engine = engine_at(await serving(say_them))
    found = await heard(engine, silence(1.0))
    assert [(h.segment, h.text, h.final, h.start, h.end) for h in found] == [
        (0, "one", False, 0.0, 0.5),
        (0, "one two", False, 0.0, 0.5),
        (0, "one two.", True, 0.0, 0.5),
        (1, "three", False, 0.6, 0.7),
        (1, "", True, 0.6, 0.7),
        (2, "four", True, 0.8, 1.0),
    ]


async def test_what_was_said_comes_before_the_error(serving: Start) -> None:
    async def fail(connection: ServerConnection) -> None:
        await connection.send(event(result("one")))
        await connection.send(exception("InternalFailureException", "Oh."))

    found, error = await refusal(engine_at(await serving(fail)))
    assert [h.text for h in found] == ["one"]
    assert type(error) is errors.Unavailable
    assert "Oh." in error.message


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (event(result("one"))[:-1] + b"?", "checksum of a message is wrong"),
        (b"\0" + event(result("one")), "checksum of a message's lengths"),
        (event(result("one"))[:-1], "says that it has"),
        (b"", "at least 16 bytes"),
        ("one", "is text"),
        (encode(TRANSCRIPT, b"{"), "TranscriptEvent cannot be read"),
        (encode(TRANSCRIPT, b"x" * (2**20 - 200)) + b"x" * 200, "closed|broke"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_lost(
    serving: Start, message: str | bytes, text: str
) -> None:
    async def send(connection: ServerConnection) -> None:
        await connection.send(event(result("zero")))
        await connection.send(message)
        await connection.wait_closed()

    found, error = await refusal(engine_at(await serving(send)))
    assert [h.text for h in found] == ["zero"]
    assert type(error) is errors.UpstreamLost
    assert re.search(text, error.message)


async def test_an_error_of_the_other_kind_is_one_too(serving: Start) -> None:
    headers = {":message-type": "error", ":error-code": "ThrottlingException", ":error-message": "Slowly."}

    async def fail(connection: ServerConnection) -> None:
        await connection.send(encode(headers))

    _, error = await refusal(engine_at(await serving(fail)))
    assert type(error) is errors.LimitExceeded
    assert "Slowly." in error.message


async def test_an_end_before_ours_is_lost(serving: Start) -> None:
    async def end(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.close(1000)

    _, error = await refusal(engine_at(await serving(end), speed=1.0), FAST, silence(2.0))
    assert type(error) is errors.UpstreamLost
    assert "1000" in error.message


@pytest.mark.parametrize("code", [1001, 1011, None])
async def test_an_end_that_is_no_good_one_is_lost_though_it_is_behind_ours(
    serving: Start, code: int | None
) -> None:
    async def end(connection: ServerConnection) -> None:
        await audio_until_its_end(connection)
        await connection.send(event(result("one")))
        if code is None:
            connection.transport.close()
        else:
            await connection.close(code)

    found, error = await refusal(engine_at(await serving(end)))
    assert [h.text for h in found] == ["one"]
    assert type(error) is errors.UpstreamLost


async def test_an_end_behind_ours_without_a_code_is_a_good_one(serving: Start) -> None:
    async def end(connection: ServerConnection) -> None:
        await audio_until_its_end(connection)
        await connection.send(event(result("one")))
        connection.transport.write(b"\x88\x00")
        await connection.wait_closed()

    assert finals(await heard(engine_at(await serving(end)), silence(0.5))) == ["one"]


async def test_a_proxy_that_cannot_be_used_is_a_setting(account: pytest.MonkeyPatch) -> None:
    account.setenv("https_proxy", "socks5h://127.0.0.1:1")
    with pytest.raises(errors.ConfigurationError, match="proxy"):
        await engine_at("https://transcribe.invalid").open(LIVE)


async def test_who_says_nothing_behind_the_end_is_given_up(serving: Start) -> None:
    async def wait(connection: ServerConnection) -> None:
        await audio_until_its_end(connection)
        for _ in range(3):
            await asyncio.sleep(SOON.last_words * 0.7)
            await connection.send(event(result("still")))
        await connection.wait_closed()

    found, error = await refusal(engine_at(await serving(wait), timeouts=SOON))
    assert [h.text for h in found] == ["still"] * 3
    assert type(error) is errors.UpstreamLost
    assert "after the end of the audio" in error.message


async def test_who_takes_no_audio_is_given_up(serving: Start) -> None:
    async def take_nothing(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await asyncio.sleep(WAIT)

    url = await serving(take_nothing)
    # Without pings: a server that does not read answers none.
    engine = engine_at(url, timeouts=replace(SOON, ping=WAIT, pong=WAIT))
    async with opened(engine) as stream:
        with pytest.raises(errors.UpstreamLost, match=r"taken no audio|broke off"):
            await say(stream, silence(3600.0), SAMPLE_RATE)


async def test_a_dead_way_is_noticed(guarded: "Server", free_port: int) -> None:
    async with FaultProxy(free_port, guarded.address) as proxy:
        proxy.expect([Fault(What.SILENCE, Spot(Way.UP, Place.PAYLOAD, message=8))])
        timeouts = replace(SOON, pong=2)
        # Without silence in the gap, which would be the message at which it falls silent.
        engine = engine_at(proxy.url, timeouts=timeouts, silence_after=WAIT)
        async with opened(engine) as stream:
            await say(stream, silence(0.7))
            assert (await anext(aiter(stream))).text == "first"
            await until(lambda: not stream.status.lag, "all is sent")
            # As long as the other end answers, it may be silent.
            await asyncio.sleep(2 * (timeouts.ping + timeouts.pong))
            await say(stream, silence(1.0))
            with pytest.raises(errors.UpstreamLost, match=r"not answered for 2 s"):
                await anext(aiter(stream))
        assert proxy.struck


async def test_the_end_is_said_however_a_stream_is_left(serving: Start) -> None:
    ended = asyncio.Event()

    async def listen(connection: ServerConnection) -> None:
        audio = await audio_until_its_end(connection)
        assert len(audio) == 2 * 1_600
        ended.set()

    engine = engine_at(await serving(listen))
    async with opened(engine) as stream:
        await say(stream, silence(0.1))
        await until(lambda: not stream.status.lag, "all is sent")
    async with asyncio.timeout(WAIT):
        await ended.wait()


async def test_a_stream_is_left_in_time_though_the_other_end_does_not_answer(serving: Start) -> None:
    async def sleep(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await asyncio.sleep(WAIT)

    engine = engine_at(await serving(sleep), timeouts=replace(SOON, close=0.5, send=WAIT, ping=WAIT))
    stream = await engine.open(LIVE)
    sending = asyncio.create_task(say(stream, silence(600.0), 16_000))
    reading = asyncio.create_task(anext(aiter(stream), None))
    await asyncio.sleep(0.1)
    async with asyncio.timeout(2.0):
        await asyncio.gather(stream.aclose(), stream.aclose())
        assert await reading is None
        await sending
    await stream.aclose()


async def test_an_opening_that_is_given_up_leaves_nothing(serving: Start) -> None:
    open_now = 0

    async def count(connection: ServerConnection) -> None:
        nonlocal open_now
        open_now += 1
        try:
            await connection.wait_closed()
        finally:
            open_now -= 1

    engine = engine_at(await serving(count))
    for patience in (0.0, 0.001, 0.003, 0.005, 0.01, 0.02):
        opening = asyncio.create_task(engine.open(LIVE))
        await asyncio.sleep(patience)
        if not opening.cancel():
            await (await opening).aclose()
        await asyncio.wait([opening])
        if not opening.cancelled():
            await opening.result().aclose()
    await until(lambda: not open_now, "all connections are closed")


async def test_a_sender_waits_while_five_seconds_wait(serving: Start) -> None:
    audio = b""

    async def listen(connection: ServerConnection) -> None:
        nonlocal audio
        audio = await audio_until_its_end(connection)

    engine = engine_at(await serving(listen), speed=20.0)
    longest = 0.0
    async with opened(engine, FAST) as stream:
        for _ in range(20):
            await stream.send(silence(1.0))
            longest = max(longest, stream.status.lag)
        await stream.finish()
        assert [h async for h in stream] == []
        assert stream.status == StreamStatus(Pace.FAST, 20.0, 0.0, 20.0)
    assert 5.0 < longest <= 6.0
    assert len(audio) == 20 * 32_000


async def test_to_a_late_reader_of_live_audio_old_partials_do_not_come(serving: Start) -> None:
    async def talk(connection: ServerConnection) -> None:
        for number in range(100):
            await connection.send(event(result(f"one {number}", final=False)))
        await connection.send(event(result("one.")))
        await connection.send(event(result("two", final=False)))
        await audio_until_its_end(connection)

    url = await serving(talk)
    async with opened(engine_at(url), LIVE) as late:
        await say_all(late, silence(0.1))
        assert [h.text async for h in late][-3:] == ["one 99", "one.", "two"]
    async with opened(engine_at(url), FAST) as every:
        await say_all(every, silence(0.1))
        assert len([h async for h in every]) == 102


# --- Silence in gaps


async def test_gaps_are_bridged_and_times_stand_still_in_them(
    start_server: "Callable[..., Server]", tmp_path: Path
) -> None:
    script = tmp_path / "levels.json"
    script.write_text(json.dumps({"levels": ["one", "two", "three"]}))
    server = start_server("--engine", "scripted", "--script", str(script), "--audio-timeout", "2")
    engine = engine_at(server.url, silence_after=0.5)

    async with opened(engine) as stream:
        await until(lambda: (stream.status.sent or 0) >= 0.5, "silence before the first audio is bridged")
        await say(stream, level(1, 0.2))
        # There is a gap behind the word, which is longer than the server waits for audio.
        await until(lambda: (stream.status.sent or 0) >= 0.7 + 0.5, "a gap behind a word is bridged")
        await say(stream, silence(0.4))
        await say(stream, level(2, 0.3))
        await say(stream, silence(0.4))
        await until(lambda: (stream.status.sent or 0) >= 2.6, "a gap between words is bridged")
        await say(stream, level(3, 0.2))
        await stream.finish()
        found = [h async for h in stream if h.final]
    assert [h.text for h in found] == ["one", "two", "three"]
    times = [time for h in found for word in h.words for time in (word.start, word.end)]
    assert times == pytest.approx([0.0, 0.2, 0.6, 0.9, 1.3, 1.5], abs=0.002)
    assert stream.status.received == pytest.approx(1.5)
    assert stream.status.sent is not None
    assert stream.status.sent > 1.5


# --- Credentials that change


async def test_renewed_credentials_are_taken_by_the_next_stream(
    guarded: "Server", account: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account.delenv("AWS_ACCESS_KEY_ID")
    account.delenv("AWS_SECRET_ACCESS_KEY")
    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\n"
        "import datetime, json, pathlib\n"
        f"key = pathlib.Path({str(tmp_path / 'key')!r}).read_text()\n"
        "until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=1)\n"
        f"print(json.dumps({{'Version': 1, 'AccessKeyId': key, 'SecretAccessKey': {SECRET!r},\n"
        "                  'Expiration': until.isoformat()}))\n"
    )
    program.chmod(0o700)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {program}\n")
    engine = engine_at(guarded.url)
    (tmp_path / "key").write_text("AKIDEXPIRED")
    _, error = await refusal(engine)
    assert type(error) is errors.UnknownClient
    (tmp_path / "key").write_text(KEY)
    assert finals(await heard(engine, silence(1.2))) == ["first", "second"]


async def test_keys_that_were_refused_are_read_again(
    guarded: "Server", account: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account.delenv("AWS_ACCESS_KEY_ID")
    account.delenv("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = AKIDOLD\naws_secret_access_key = s\n")
    engine = engine_at(guarded.url)
    await refusal(engine)
    file.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    assert finals(await heard(engine, silence(1.2))) == ["first", "second"]
