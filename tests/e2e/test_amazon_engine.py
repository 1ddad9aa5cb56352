"""The engine that is Amazon Transcribe, against our own front, which Amazon's SDKs take for Amazon.

What Amazon alone does, and what a front of ours never does, is said by small servers that know no more than
how to say it.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from amazon_client import KEY, REGION, SECRET
from native_client import decoded, native

from transcribed import errors
from transcribed.audio.formats import Samples, silence
from transcribed.engines.amazon.engine import load
from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.engines.amazon.streams import AmazonEngine, AmazonStream
from transcribed.engines.base import Hypothesis, Pace, RecognitionStream, StreamOptions, StreamStatus
from transcribed.recognition.stabilizer import Stability

if TYPE_CHECKING:
    from tests.conftest import Server

DATA = Path(__file__).parents[1] / "data"
RECORDINGS = ["test.wav", "jfk.mp3", "common_voice.mp3", "telephone.wav", "trumpet.ogg"]
WAIT = 30
FAST = StreamOptions(pace=Pace.FAST)
LIVE = StreamOptions(pace=Pace.LIVE)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Of Amazon's settings there are none but these."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return monkeypatch


@pytest.fixture
def keys(tmp_path: Path) -> list[str]:
    """Options of a server with the tests' access key."""
    path = tmp_path / "keys"
    path.write_text(f"{KEY} {SECRET}\n")
    path.chmod(0o600)
    return ["--access-keys", str(path)]


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


async def test_hypotheses_are_what_the_script_says(
    scripted: "Callable[..., Server]", keys: list[str]
) -> None:
    engine = engine_at(scripted(*keys).url)
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


async def test_who_asks_for_no_partials_gets_none(scripted: "Callable[..., Server]") -> None:
    found = await heard(engine_at(scripted().url), silence(1.2), replace(FAST, partials=False))
    assert [(h.segment, h.text) for h in found] == [(0, "first"), (1, "second")]


async def test_recordings_are_sent_at_their_speed_and_live_audio_at_once(
    scripted: "Callable[..., Server]",
) -> None:
    engine = engine_at(scripted().url, speed=2.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await heard(engine, silence(4.0), FAST)
    assert loop.time() - began >= (4.0 - 0.2) / 2
    began = loop.time()
    await heard(engine, silence(4.0), LIVE)
    assert loop.time() - began < 1.7


# --- Who is let in


async def test_wrong_keys_are_refused_each_in_its_way(
    scripted: "Callable[..., Server]", keys: list[str], account: pytest.MonkeyPatch
) -> None:
    url = scripted(*keys).url
    account.setenv("AWS_SECRET_ACCESS_KEY", "another")
    _, error = await refusal(engine_at(url))
    assert type(error) is errors.InvalidSignature
    assert "clock" in error.message
    account.setenv("AWS_ACCESS_KEY_ID", "AKIDUNKNOWN")
    _, error = await refusal(engine_at(url))
    assert type(error) is errors.UnknownClient
    assert "AKIDUNKNOWN" in error.message


async def test_a_clock_that_is_wrong_is_said_to_be(
    scripted: "Callable[..., Server]", keys: list[str]
) -> None:
    long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=10)  # noqa: TID251 - it is a date
    engine = engine_at(scripted(*keys).url)
    with mock.patch("botocore.auth.get_current_datetime", return_value=long_ago):
        _, error = await refusal(engine)
    assert type(error) is errors.InvalidSignature
    assert "clock" in error.message


async def test_a_language_that_is_not_known_is_a_bad_request(
    scripted: "Callable[..., Server]", keys: list[str]
) -> None:
    _, error = await refusal(engine_at(scripted(*keys).url), StreamOptions(language="tlh-QO"))
    assert type(error) is errors.BadRequest
    assert "tlh-QO" in error.message


async def test_what_is_asked_for_all_streams_is_asked(scripted: "Callable[..., Server]") -> None:
    _, error = await refusal(engine_at(scripted().url, asked={"show-speaker-label": "true"}))
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
