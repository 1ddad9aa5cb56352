"""Amazon's streaming protocol, both ways in, on a real server with a client of our own.

The SDKs themselves are tried elsewhere; here is what they cannot do: say each thing wrongly.
"""

import io
import itertools
import json
import math
import os
import random
import signal
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import amazon_client as amazon
import av
import httpx
import numpy as np
import psutil
import pytest
import srt as srt_parser
import webvtt
from amazon_client import PCM, SECRET, WAIT, Http2, Refused, Ws, finals, results
from h2.errors import ErrorCodes
from native_client import decoded, native, opened
from native_client import heard as native_heard
from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server

DATA = Path(__file__).parents[1] / "data"
SECOND = 32_000
KINDS = [Http2, Ws]
Kind = type[Http2] | type[Ws]
both = pytest.mark.parametrize("kind", KINDS, ids=["http2", "websocket"])


def _pcm(path: Path) -> bytes:
    return decoded(path.read_bytes()).tobytes()


def encoded(samples: bytes, codec: str, container: str, channels: int = 1) -> bytes:
    target = io.BytesIO()
    layout = "mono" if channels == 1 else "stereo"
    with av.open(target, "w", format=container) as output:
        rate = 48_000 if codec == "libopus" else 16_000
        stream = output.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(
            np.frombuffer(samples, "<i2").reshape(1, -1), format="s16", layout=layout
        )
        frame.sample_rate = 16_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return target.getvalue()


def say(client: Http2 | Ws, audio: bytes, size: int = SECOND // 10) -> None:
    for start in range(0, len(audio), size):
        client.send(audio[start : start + size])


def heard(client: Http2 | Ws, audio: bytes, size: int = SECOND // 10) -> list[str]:
    client.wait_for_headers()
    say(client, audio, size)
    client.end()
    return finals(client.events())


@pytest.fixture(scope="session")
def said() -> bytes:
    return _pcm(DATA / "test.wav")


def refusal(action: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as refused:
        action()
    return refused.value


def refused_at_once(kind: Kind, server: "Server", parameters: dict[str, str], **how: object) -> Refused:
    def try_it() -> None:
        with kind(server.address, parameters, **how) as client:  # type: ignore[arg-type]
            list(results(client.events()))

    return refusal(try_it)


# --- Whole runs


@both
@pytest.mark.parametrize(
    "name", ["test.wav", "jfk.mp3", "common_voice.mp3", "telephone.wav", "trumpet.ogg"]
)
def test_the_text_is_that_of_the_native_front_end(server: "Server", kind: Kind, name: str) -> None:
    audio = _pcm(DATA / name)
    with kind(server.address, PCM) as client:
        assert heard(client, audio) == native(server, audio)


@both
def test_results_are_as_amazon_has_them(server: "Server", said: bytes, kind: Kind) -> None:
    with kind(server.address, PCM | {"enable-partial-results-stabilization": "True"}) as client:
        client.wait_for_headers()
        for start in range(0, len(said), SECOND // 10):
            client.send(said[start : start + SECOND // 10])
            time.sleep(0.1)  # As it is spoken: of audio that comes at once there are no partials.
        client.end()
        found = list(results(client.events()))
    assert len(found) > 1
    assert len({result["ResultId"] for result in found}) == 1
    assert [result["IsPartial"] for result in found] == [True] * (len(found) - 1) + [False]
    final = found[-1]
    (alternative,) = final["Alternatives"]
    assert alternative["Transcript"] == "This is a test."
    assert [item["Content"] for item in alternative["Items"]] == ["This", "is", "a", "test", "."]
    assert all(item["Stable"] for item in alternative["Items"])
    assert final["LanguageCode"] == "en-US"
    assert 0 <= final["StartTime"] < final["EndTime"] < 1.2


def test_headers_come_before_audio_and_echo_the_parameters(guarded: "Server") -> None:
    session = str(uuid.uuid4())
    with Http2(guarded.address, PCM | {"session-id": session}) as client:
        headers = client.wait_for_headers()
        assert headers[":status"] == "200"
        assert headers["content-type"] == "application/vnd.amazon.eventstream"
        assert headers["x-amzn-transcribe-sample-rate"] == "16000"
        assert headers["x-amzn-transcribe-session-id"] == session
        uuid.UUID(headers["x-amzn-request-id"])
        client.end()
        assert finals(client.events()) == []


@pytest.mark.parametrize("codec", ["flac", "ogg-opus"])
@both
def test_containers(server: "Server", kind: Kind, codec: str) -> None:
    audio = _pcm(DATA / "jfk.mp3")
    form = ("flac", "flac") if codec == "flac" else ("libopus", "ogg")
    with kind(server.address, PCM | {"media-encoding": codec}) as client:
        texts = heard(client, encoded(audio, *form), 1000)
    assert " ".join(texts).lower().count("country") == 2


@both
def test_a_wav_header_is_noticed(server: "Server", kind: Kind) -> None:
    audio = (DATA / "test.wav").read_bytes()
    with kind(server.address, PCM | {"sample-rate": "22050"}) as client:
        assert heard(client, audio) == ["This is a test."]
    with kind(server.address, PCM) as client:
        error = refusal(lambda: heard(client, audio))
    assert error.name == "BadRequestException"
    assert "22050 Hz" in error.text


# --- How streams end


@pytest.mark.parametrize("way", ["empty event", "half", "half after audio", "signed nothing alone"])
def test_a_request_ends_in_several_ways(guarded: "Server", said: bytes, way: str) -> None:
    with Http2(guarded.address, PCM) as client:
        client.wait_for_headers()
        say(client, said)
        if way == "empty event":
            client.send(b"")
        elif way == "half":
            client.raw(b"", end=True)
        elif way == "half after audio":
            client.raw(client.signer.signed(amazon.audio_event(said[:3200])), end=True)
        else:
            client.raw(client.signer.signed(b""))
        assert finals(client.events()) == ["first", "second"]


def test_where_it_is_strict_a_request_must_say_its_end(
    scripted: "Callable[..., Server]", keys: list[str], said: bytes
) -> None:
    server = scripted(*keys, "--strict-end")
    with Http2(server.address, PCM) as client:
        assert heard(client, said) == ["first", "second"]
    with Http2(server.address, PCM) as client:
        client.wait_for_headers()
        say(client, said)
        client.raw(b"", end=True)
        error = refusal(lambda: list(results(client.events())))
    assert error.name == "BadRequestException"
    assert error.text == "A complete signal was sent without the preceding empty frame."


def test_the_last_words_of_a_websocket_that_is_closed_at_once_are_kept(
    guarded: "Server", said: bytes, eventually: Callable[..., None]
) -> None:
    session = str(uuid.uuid4())
    with Ws(guarded.address, PCM | {"session-id": session}) as client:
        say(client, said)
        client.raw(b"")
        client.socket.close()

    def kept() -> bool:
        answer = guarded.http.get(f"/transcripts/{session}.txt")
        return answer.status_code == 200 and "second" in answer.text

    eventually(kept, 5, "the last words are in the transcript")


@both
def test_what_was_said_before_a_client_died_is_kept(
    guarded: "Server", said: bytes, kind: Kind, eventually: Callable[..., None]
) -> None:
    session = str(uuid.uuid4())
    with kind(guarded.address, PCM | {"session-id": session}) as client:
        client.wait_for_headers()
        say(client, said)
        next(iter(client.events()))
        _break(client)
    eventually(lambda: guarded.streams == 0, 5, "the stream has ended")
    eventually(lambda: "second" in guarded.http.get(f"/transcripts/{session}.txt").text, 5, "it is kept")


def _break(client: Http2 | Ws) -> None:
    wire = client.socket if isinstance(client, Http2) else client.socket.socket
    if wire.fileno() == -1:
        return  # The server has closed it before.
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(client, Ws):
        wire.shutdown(socket.SHUT_RD)
    wire.close()


@both
def test_silence_is_no_time_out_but_no_audio_is(
    scripted: "Callable[..., Server]", keys: list[str], kind: Kind
) -> None:
    server = scripted(*keys, "--audio-timeout", "1.5")
    with kind(server.address, PCM) as client:
        client.wait_for_headers()
        for _ in range(25):
            client.send(bytes(3200))
            time.sleep(0.1)  # Longer in all than the time-out.
        begun = time.monotonic()
        error = refusal(lambda: list(results(client.events())))
    assert 1 < time.monotonic() - begun < 3
    assert error.name == "BadRequestException"
    assert error.text == "Your request timed out because no new audio was received for 1.5 seconds."


def test_the_time_out_says_what_amazon_says(guarded: "Server") -> None:
    """It takes the 15 s."""
    with Ws(guarded.address, PCM) as client:
        error = refusal(lambda: list(results(client.events())))
    assert error.text == "Your request timed out because no new audio was received for 15 seconds."


@both
def test_a_stream_may_not_last_for_ever(
    scripted: "Callable[..., Server]", keys: list[str], said: bytes, kind: Kind
) -> None:
    server = scripted(*keys, "--longest-stream", "1")
    with kind(server.address, PCM) as client:
        client.wait_for_headers()
        say(client, said)
        time.sleep(1.1)  # The stream grows too old.
        client.send(said[:3200])
        found = client.events()
        heard: list[str] = []
        error = refusal(lambda: heard.extend(_texts(found)))
    assert heard == ["first", "second"], "the last words come first"
    assert error.name == "LimitExceededException"


def _texts(found: Iterator[amazon.Event]) -> Iterator[str]:
    for result in results(found):
        if not result["IsPartial"]:
            yield result["Alternatives"][0]["Transcript"]


# --- Refused before it begins


@both
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"language-code": "de-DE"}, "language-code"),
        ({"sample-rate": "7999"}, "sample-rate"),
        ({"media-encoding": "mp3"}, "media-encoding"),
        ({"show-speaker-label": "true"}, "show-speaker-label"),
        ({"vocabulary-name": "mine"}, "PUT /vocabularies/mine"),
        ({"nonsense": "1"}, "nonsense"),
        ({"vocabulary-filter-name": "unknown"}, "PUT /vocabulary-filters/unknown"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(
    server: "Server", kind: Kind, changes: dict[str, str], words: str
) -> None:
    error = refused_at_once(kind, server, PCM | changes)
    assert error.name == "BadRequestException"
    assert words in error.text
    assert error.status == (400 if kind is Http2 else None)


@both
def test_one_stream_too_many_is_refused_and_the_other_goes_on(
    scripted: "Callable[..., Server]", keys: list[str], said: bytes, kind: Kind
) -> None:
    server = scripted(*keys, "--max-sessions", "1")
    with kind(server.address, PCM) as one:
        one.wait_for_headers()
        error = refused_at_once(kind, server, PCM)
        assert (error.name, error.status) == (
            "LimitExceededException",
            429 if kind is Http2 else None,
        )
        assert "1 are being served" in error.text
        say(one, said)
        one.end()
        assert finals(one.events()) == ["first", "second"]
    with kind(server.address, PCM) as following:
        assert heard(following, said) == ["first", "second"]


def test_two_channels_are_let_in_both_or_not_at_all(
    scripted: "Callable[..., Server]", keys: list[str], said: bytes
) -> None:
    server = scripted(*keys, "--max-sessions", "1")
    channels = {"enable-channel-identification": "true", "number-of-channels": "2"}
    assert refused_at_once(Http2, server, PCM | channels).status == 429
    assert server.streams == 0
    with Http2(server.address, PCM) as client:
        assert heard(client, said) == ["first", "second"]


@both
@pytest.mark.parametrize(
    ("how", "name"),
    [
        ({"secret": "another-secret-of-the-tests"}, "InvalidSignatureException"),
        ({"key": "AKIAOTHER"}, "UnrecognizedClientException"),
        ({"moment": amazon.long_ago()}, "InvalidSignatureException"),
        ({"signed": False}, "MissingAuthenticationTokenException"),
    ],
    ids=["secret", "key", "expired", "unsigned"],
)
def test_who_has_no_key_is_not_let_in(
    guarded: "Server", kind: Kind, how: dict[str, object], name: str
) -> None:
    if kind is Ws and "signed" in how:
        address = "ws://{}:{}/stream-transcription-websocket".format(*guarded.address)
        with connect(f"{address}?language-code=en-US") as ws:
            ((headers, _),) = amazon.events([ws.recv(WAIT)])  # type: ignore[list-item]
        assert headers[":exception-type"] == "BadRequestException"
        return
    error = refused_at_once(kind, guarded, PCM, **how)
    assert SECRET not in error.text
    if kind is Http2:
        assert (error.name, error.status) == (name, 403)
    else:
        assert error.name == "BadRequestException"


@pytest.mark.alone
def test_a_refusal_waits_until_the_client_listens(guarded: "Server") -> None:
    """In Node.js the JavaScript SDK listens no sooner than it sends, and misses what comes before."""
    with Ws(guarded.address, PCM, key="AKIAOTHER") as client:
        with pytest.raises(TimeoutError):
            client.socket.recv(0.2)
        client.send(bytes(3200))
        begun = time.monotonic()
        client.send(b"")
        assert refusal(lambda: list(results(client.events()))).name == "BadRequestException"
        assert time.monotonic() - begun < 0.3, "it waits no longer than that"
    with Ws(guarded.address, PCM, key="AKIAOTHER") as client:
        assert refusal(lambda: list(results(client.events()))).name == "BadRequestException"


@pytest.mark.parametrize("late", [False, True])
def test_who_is_still_sending_reads_why_it_is_refused(guarded: "Server", late: bool) -> None:
    """A connection that is closed with bytes unread is reset, and takes with it what it was told."""
    asked = {} if late else {"key": "AKIAOTHER"}
    for _ in range(4):
        with Ws(guarded.address, PCM, **asked) as client:  # type: ignore[arg-type]
            for _ in range(20):
                client.send(bytes(SECOND))
            if late:
                client.send(bytes(SECOND + 2))
                for _ in range(20):
                    client.send(bytes(SECOND))
            time.sleep(0.05)  # The refusal is on its way before anybody reads.
            error = refusal(lambda client=client: list(results(client.events())))  # type: ignore[misc]
        assert error.name == "BadRequestException"


def test_any_key_will_do_where_none_is_configured(scripted: "Callable[..., Server]", said: bytes) -> None:
    server = scripted()
    for how in ({"secret": "whatever"}, {"moment": amazon.long_ago()}):
        with Http2(server.address, PCM, **how) as client:  # type: ignore[arg-type]
            assert heard(client, said) == ["first", "second"]


def test_secrets_and_signatures_are_not_in_the_log(
    scripted: "Callable[..., Server]", keys: list[str], said: bytes
) -> None:
    server = scripted(*keys, "--log-level", "debug")
    with Ws(server.address, PCM) as client:
        signature = client.url.rpartition("X-Amz-Signature=")[2].partition("&")[0]
        assert heard(client, said) == ["first", "second"]
    refused_at_once(Ws, server, PCM, secret="another-secret-of-the-tests")  # noqa: S106
    log = server.log.read_text()
    assert "X-Amz-Signature=…" in log
    assert signature not in log
    assert SECRET not in log


def test_over_http_1_it_says_what_to_do(server: "Server") -> None:
    answer = httpx.post(f"{server.url}/stream-transcription")
    assert answer.status_code == 400
    assert answer.headers["x-amzn-errortype"] == "BadRequestException"
    assert "HTTP/2" in answer.json()["Message"]


# --- Wrong in the middle


@both
@pytest.mark.parametrize("signed", [True, False])
def test_signatures_of_messages(guarded: "Server", said: bytes, kind: Kind, signed: bool) -> None:
    if kind is Ws:
        with Ws(guarded.address, PCM, signed=signed) as client:
            assert heard(client, said) == ["first", "second"]
        return
    with Http2(guarded.address, PCM) as client:
        client.wait_for_headers()
        event = amazon.audio_event(said[:SECOND])
        client.raw(client.signer.signed(event) if signed else event)
        if signed:
            client.end()
            assert finals(client.events()) == ["first", "second"]
        else:
            error = refusal(lambda: list(results(client.events())))
            assert error.name == "BadRequestException"
            assert "not signed" in error.text


@pytest.mark.parametrize("fault", ["changed", "repeated", "left out", "of another key"])
@both
def test_a_chunk_that_was_tampered_with_ends_the_stream(
    guarded: "Server", said: bytes, kind: Kind, fault: str
) -> None:
    with kind(guarded.address, PCM, **({"signed": True} if kind is Ws else {})) as client:
        client.wait_for_headers()
        say(client, said[:SECOND])
        event = amazon.audio_event(said[:3200])
        if fault == "changed":
            honest = client.signer.signed(event)
            # The CRCs are right again, as whoever changes it would see to.
            client.raw(amazon.framed(honest[12 : -4 - len(event)], amazon.audio_event(said[3200:6400])))
        elif fault == "repeated":
            once = client.signer.signed(event)
            client.raw(once)
            client.raw(once)
        elif fault == "left out":
            client.signer.signed(event)
            client.raw(client.signer.signed(event))
        else:
            client.raw(amazon.Signer("0" * 64, "another-secret-of-the-tests").signed(event))
        error = refusal(lambda: list(results(client.events())))
    assert error.name == "BadRequestException"
    assert "signature" in error.text


@both
@pytest.mark.parametrize("seed", range(5))
def test_garbage_ends_the_stream_with_an_error(
    guarded: "Server", said: bytes, kind: Kind, seed: int
) -> None:
    with kind(guarded.address, PCM) as client:
        client.wait_for_headers()
        say(client, said)
        client.raw(random.Random(seed).randbytes(5000))
        error = refusal(lambda: list(results(client.events())))
    assert error.name == "BadRequestException"


@both
def test_a_chunk_of_more_than_a_second_is_refused(guarded: "Server", kind: Kind) -> None:
    with kind(guarded.address, PCM) as client:
        client.wait_for_headers()
        client.send(bytes(SECOND))
        client.send(bytes(SECOND + 2))
        error = refusal(lambda: list(results(client.events())))
    assert error.name == "BadRequestException"
    assert "second of audio" in error.text


def test_text_on_the_websocket_is_refused(guarded: "Server") -> None:
    with Ws(guarded.address, PCM) as client:
        client.socket.send("hello")
        error = refusal(lambda: list(results(client.events())))
    assert error.name == "BadRequestException"
    assert "binary" in error.text


@pytest.mark.parametrize("media", ["flac", "ogg-opus"])
def test_a_container_that_is_another_is_refused(guarded: "Server", said: bytes, media: str) -> None:
    with Http2(guarded.address, PCM | {"media-encoding": media}) as client:
        error = refusal(lambda: heard(client, said))
    assert error.name == "BadRequestException"
    assert media in error.text


@both
def test_a_session_id_that_comes_again_ends_the_older_stream(
    guarded: "Server", said: bytes, kind: Kind
) -> None:
    parameters = PCM | {"session-id": str(uuid.uuid4())}
    with kind(guarded.address, parameters) as older:
        older.wait_for_headers()
        say(older, said)
        guarded.wait_until_heard(len(said) / SECOND)
        with kind(guarded.address, parameters) as newer:
            newer.wait_for_headers()
            heard_before: list[str] = []
            found = older.events()
            error = refusal(lambda: heard_before.extend(_texts(found)))
            assert heard_before == ["first", "second"]
            assert error.name == "ConflictException"
            say(newer, said)
            newer.end()
            assert finals(newer.events()) == ["first", "second"]


def test_a_stop_tells_the_last_words_and_that_the_server_stops(
    scripted: "Callable[..., Server]", keys: list[str], said: bytes
) -> None:
    server = scripted(*keys)
    with Http2(server.address, PCM) as one, Ws(server.address, PCM) as other:
        for client in (one, other):
            client.wait_for_headers()
            say(client, said)
        server.wait_until_heard(len(said) / SECOND, streams=2)
        found = [iter(results(client.events())) for client in (one, other)]
        for each in found:
            next(each)
        server.stop()
        for each in found:
            last: list[str] = []

            def rest(each: Iterator[dict[str, object]] = each, last: list[str] = last) -> None:
                last.extend(result["Alternatives"][0]["Transcript"] for result in each)  # type: ignore[index]

            error = refusal(rest)
            assert last[-1] == "second"
            assert error.name == "ServiceUnavailableException"


@both
def test_while_the_model_is_loaded_streams_are_told_to_come_later(
    start_server: "Callable[..., Server]",
    keys: list[str],
    script: Path,
    tmp_path: Path,
    said: bytes,
    kind: Kind,
    eventually: Callable[..., None],
) -> None:
    pipe = tmp_path / "script.json"
    os.mkfifo(pipe)  # To be read, it waits for whoever writes.
    options = ("--engine", "scripted", "--script", str(pipe), *keys)
    server = start_server(*options, until="/live")
    eventually(lambda: _transcripts_are_open(server), 10, "it is the model alone that is waited for")
    error = refused_at_once(kind, server, PCM)
    assert error.name == "ServiceUnavailableException"
    assert "model is being loaded" in error.text
    assert error.status == (503 if kind is Http2 else None)
    # Who may not come in is told so, and nothing of what goes on inside.
    assert refused_at_once(kind, server, PCM, key="AKIAOTHER").name != "ServiceUnavailableException"
    pipe.write_bytes(script.read_bytes())
    eventually(lambda: server.http.get("/ready").status_code == 200, 10, "the model is loaded")
    with kind(server.address, PCM) as client:
        assert heard(client, said) == ["first", "second"]


def _transcripts_are_open(server: "Server") -> bool:
    return server.http.get("/transcripts").status_code == 200


@both
def test_while_the_server_stops_streams_are_told_to_come_later(
    talkative: "Callable[..., Server]", kind: Kind, eventually: Callable[..., None]
) -> None:
    server = talkative("--stop-grace", "4")
    with _unread(kind, server, {}):
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: server.http.get("/ready").status_code == 503, 5, "the server is stopping")
        error = refused_at_once(kind, server, PCM)
        assert error.name == "ServiceUnavailableException"
        assert "stopping" in error.text
        assert error.status == (503 if kind is Http2 else None)
        assert server.process.wait(WAIT) == 0
    server.assert_no_errors()


# --- Clients that do not read


TOLD = 60


@pytest.fixture
def talkative(
    tmp_path: Path, start_server: "Callable[..., Server]", keys: list[str]
) -> "Callable[..., Server]":
    """Starts a server that says 14 MB about six seconds: more than lies between it and a client."""
    words = " ".join(["somebody"] * 2000)
    events = [
        {"at": round(0.1 * number, 1), "text": f"{number} {words}", "final": True}
        for number in range(1, TOLD + 1)
    ]
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"events": events}))
    return lambda *options: start_server("--engine", "scripted", "--script", str(script), *keys, *options)


@contextmanager
def _unread(kind: Kind, server: "Server", parameters: dict[str, str]) -> Iterator[Http2 | Ws]:
    """A client that has said six seconds and leaves unread what it is told of them."""
    with kind(server.address, PCM | parameters) as client:
        client.make_no_room()
        client.wait_for_headers()
        say(client, bytes(6 * SECOND))
        server.wait_until_heard(6)
        try:
            yield client
        finally:
            _break(client)


@pytest.mark.alone
def test_clients_that_do_not_read_are_dropped_and_have_been_heard(
    talkative: "Callable[..., Server]", said: bytes, eventually: Callable[..., None]
) -> None:
    """It takes as long as the server waits for them: 20 s."""
    server = talkative("--audio-timeout", "30")
    process = psutil.Process(server.process.pid)
    some = said[: SECOND * 3 // 10]
    for kind in (Http2, Ws):
        with kind(server.address, PCM) as client:
            assert len(heard(client, some)) == 3
    before, threads, descriptors = server.resident, process.num_threads(), _descriptors(process)
    ordinary, resumable = (
        [(kind, window | {"session-id": str(uuid.uuid4())}) for kind in (Http2, Ws)]
        for window in ({}, {"session-resume-window": "5"})
    )
    clients = ordinary + resumable
    begun = time.monotonic()
    with ExitStack() as opened:
        for kind, parameters in clients:
            opened.enter_context(_unread(kind, server, parameters))
        while (count := _log_of_ends(server)) < len(clients) and time.monotonic() - begun < 60:
            assert count == 0 or time.monotonic() - begun > 15
            with Http2(server.address, PCM) as other:
                since = time.monotonic()
                assert len(heard(other, some)) == 3
                assert time.monotonic() - since < 4, "others hardly notice it"
            assert server.resident - before < 200 * 2**20
            time.sleep(0.5)  # Others are heard now and then: one behind the other would keep a core busy.
        assert count == len(clients)
        for kind, parameters in resumable:
            with kind(server.address, PCM | parameters) as again:
                again.wait_for_headers()
                again.end()
                missed = _numbers(finals(again.events()))
            assert missed == list(range(missed[0], TOLD + 1)), "from one on to the last"
        eventually(lambda: server.streams == 0, 5, "their places are free")
    for _, parameters in clients:
        kept = server.http.get(f"/transcripts/{parameters['session-id']}.txt").text.splitlines()
        assert _numbers(kept) == list(range(1, TOLD + 1))
    eventually(lambda: _descriptors(process) <= descriptors, 10, "their sockets are closed")
    eventually(lambda: process.num_threads() <= threads + 6, 10, "their threads have ended")
    server.assert_no_errors()


def _numbers(texts: Iterable[str]) -> list[int]:
    return [int(text.split(" ")[0]) for text in texts]


def _log_of_ends(server: "Server") -> int:
    return server.log.read_text().count("does not read what is sent to it")


def _descriptors(process: psutil.Process) -> int:
    # The store of transcripts opens its files when it needs them.
    return int(process.num_fds()) - len(process.open_files())


# --- Channels


def stereo(left: bytes, right: bytes) -> bytes:
    samples = [np.frombuffer(channel, "<i2") for channel in (left, right)]
    length = max(map(len, samples))
    padded = [np.pad(channel, (0, length - len(channel))) for channel in samples]
    return np.stack(padded, axis=1).tobytes()


@pytest.mark.parametrize("media", ["pcm", "flac", "ogg-opus"])
@both
def test_each_channel_has_its_own_results(server: "Server", kind: Kind, media: str) -> None:
    left, right = _pcm(DATA / "test.wav"), _pcm(DATA / "common_voice.mp3")
    audio = stereo(left, right)
    if media != "pcm":
        audio = encoded(audio, *(("flac", "flac") if media == "flac" else ("libopus", "ogg")), channels=2)
    parameters = {"enable-channel-identification": "true", "number-of-channels": "2"}
    texts: dict[str, list[str]] = {"ch_0": [], "ch_1": []}
    ids: dict[str, set[str]] = {"ch_0": set(), "ch_1": set()}
    with kind(server.address, PCM | parameters | {"media-encoding": media}) as client:
        client.wait_for_headers()
        say(client, audio, 6400 if media == "pcm" else 1000)
        client.end()
        for result in results(client.events()):
            ids[result["ChannelId"]].add(result["ResultId"])
            if not result["IsPartial"]:
                texts[result["ChannelId"]].append(result["Alternatives"][0]["Transcript"])
    assert texts["ch_0"] == ["This is a test."]
    if media == "pcm":
        assert texts["ch_1"] == native(server, right)
    assert "boy" in " ".join(texts["ch_1"])
    assert not ids["ch_0"] & ids["ch_1"]


def test_a_call_is_read_with_both_its_speakers(server: "Server") -> None:
    """Each is at its own time in the transcript's text and subtitles, though they speak at once."""
    left = _pcm(DATA / "jfk.mp3")
    right = bytes(4 * SECOND) + _pcm(DATA / "common_voice.mp3")
    audio = encoded(stereo(left, right), "flac", "flac", channels=2)
    parameters = {"enable-channel-identification": "true", "number-of-channels": "2"}
    with Http2(server.address, PCM | parameters | {"media-encoding": "flac"}) as client:
        client.wait_for_headers()
        say(client, audio, 8000)
        client.end()
        said = [result for result in results(client.events()) if not result["IsPartial"]]
    name = said[0]["ResultId"].rpartition("-")[0]
    written = {form: server.http.get(f"/transcripts/{name}.{form}").text for form in ("txt", "srt", "vtt")}

    starts = {}
    for result in said:
        starts.setdefault(result["ChannelId"], result["Alternatives"][0]["Items"][0]["StartTime"])
    assert starts["ch_0"] < 1
    assert 3.5 < starts["ch_1"] < 5
    channels = [line.partition(": ")[0] for line in written["txt"].splitlines()]
    assert set(channels) == {"ch_0", "ch_1"}
    assert channels[0] == "ch_0"
    cues = list(webvtt.from_string(written["vtt"]))
    for channel, start in starts.items():
        first = next(cue for cue in cues if cue.voice == channel)
        assert first.start_in_seconds == int(start)
    assert {cue.voice for cue in cues} == {"ch_0", "ch_1"}
    lines = list(srt_parser.parse(written["srt"]))
    assert all(line.content.startswith("-- ") for line in lines)
    assert any(one.end > other.start for one, other in itertools.pairwise(lines)), "they speak at once"
    assert [line.start for line in lines] == sorted(line.start for line in lines)


def test_one_channel_in_a_container_where_two_are_asked_for_is_refused(
    guarded: "Server", said: bytes
) -> None:
    parameters = {"enable-channel-identification": "true", "number-of-channels": "2"}
    with Http2(guarded.address, PCM | parameters | {"media-encoding": "flac"}) as client:
        error = refusal(lambda: heard(client, encoded(said, "flac", "flac"), 1000))
    assert error.name == "BadRequestException"
    assert "1 channel" in error.text


# --- Vocabulary filters


def test_vocabulary_filters_are_kept(guarded: "Server") -> None:
    http, path = guarded.http, "/vocabulary-filters/bad_words.1"
    assert http.get("/vocabulary-filters").json() == []
    assert http.get(path).status_code == 404
    expected = {"name": "bad_words.1", "words": ["darn", "heck"]}
    assert http.put(path, content="darn\r\n\nheck\ndarn\n").json() == expected
    assert http.get(path).json() == expected
    assert http.put(path, json=["Größe"]).json()["words"] == ["Größe"]
    assert http.get("/vocabulary-filters").json() == ["bad_words.1"]
    assert http.delete(path).status_code == 204
    assert http.delete(path).status_code == 404
    assert http.get("/vocabulary-filters").json() == []


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("a%2Fb", "darn", 404),
        ("a%20b", "darn", 400),
        ("x" * 201, "darn", 400),
        ("a", "", 400),
        ("a", "two words", 400),
        ("a", "...", 400),
        ("a", b"\xff", 400),
        ("a", "[1]", 400),
        ("a", '["a"', 400),
        ("a", "\n".join(f"word{number}" for number in range(10_000)), 413),
        ("a", "x" * 500_000, 413),
    ],
)
def test_what_is_no_vocabulary_filter_is_refused(
    server: "Server", name: str, body: str | bytes, status: int
) -> None:
    answer = server.http.put(f"/vocabulary-filters/{name}", content=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


@both
@pytest.mark.parametrize(
    ("method", "text", "items"),
    [
        ("mask", "This *** a ***.", ["This", "***", "a", "***", "."]),
        ("remove", "This a.", ["This", "a", "."]),
        ("tag", "This is a test.", ["This", "is", "a", "test", "."]),
    ],
)
def test_listed_words_are_filtered(
    server: "Server", said: bytes, kind: Kind, method: str, text: str, items: list[str]
) -> None:
    server.http.put("/vocabulary-filters/e2e", content="TEST\nIs\n").raise_for_status()
    session = str(uuid.uuid4())
    asked = {"vocabulary-filter-name": "e2e", "vocabulary-filter-method": method, "session-id": session}
    with kind(server.address, PCM | asked) as client:
        client.wait_for_headers()
        say(client, said)
        client.end()
        found = list(results(client.events()))
    if method != "tag":
        assert not any("test" in json.dumps(result).lower() for result in found), "partials either"
    (alternative,) = found[-1]["Alternatives"]
    assert alternative["Transcript"] == text
    assert [item["Content"] for item in alternative["Items"]] == items
    if method == "tag":
        marked = [item.get("VocabularyFilterMatch") for item in alternative["Items"]]
        assert marked == [False, True, False, True, None]
    assert server.http.get(f"/transcripts/{session}.txt").text.strip().endswith(text)
    server.http.delete("/vocabulary-filters/e2e").raise_for_status()


# --- The spoken form


SPOKEN = {"transcript-format": "spoken", "enable-partial-results-stabilization": "true"}


@pytest.fixture
def counting(tmp_path: Path, start_server: "Callable[..., Server]") -> "Callable[..., Server]":
    """Starts servers that hear numbers, in a partial and a final."""

    def start(language: str = "en-US", *options: str) -> "Server":
        script = tmp_path / "script.json"
        events = [
            {"at": 0.5, "text": "We paid $3"},
            {"at": 1.0, "text": "We paid $3 million in 1984.", "final": True},
            {"at": "end", "text": "25 came.", "final": True},
        ]
        script.write_text(json.dumps({"language": language, "events": events}))
        return start_server("--engine", "scripted", "--script", str(script), *options)

    return start


@both
def test_numbers_are_words_in_all_that_is_told_and_kept(
    counting: "Callable[..., Server]", tmp_path: Path, kind: Kind
) -> None:
    server = counting("en-US", "--vocabulary-filters", str(tmp_path / "filters"))
    server.http.put("/vocabulary-filters/five", content="five\n").raise_for_status()
    session = str(uuid.uuid4())
    asked = SPOKEN | {"vocabulary-filter-name": "five", "session-id": session}
    with kind(server.address, PCM | asked) as client:
        headers = client.wait_for_headers()
        if kind is Http2:
            assert headers["x-amzn-transcribe-transcript-format"] == "spoken"
        client.send(bytes(SECOND // 2))
        found = [next(told := results(client.events()))]
        client.send(bytes(SECOND // 2))
        client.end()
        found += told
    texts = [result["Alternatives"][0]["Transcript"] for result in found]
    said = ["We paid three million dollars in nineteen eighty four.", "Twenty *** came."]
    assert texts == ["We paid three dollars", *said]
    items = [result["Alternatives"][0]["Items"] for result in found]
    assert [item["Content"] for item in items[1]] == [*said[0][:-1].split(), "."]
    assert [item["Content"] for item in items[2]] == ["Twenty", "***", "came", "."]
    assert [item.get("VocabularyFilterMatch") for item in items[2]] == [False, True, False, None]
    assert all(item["Stable"] for item in items[1])
    times = [time for item in items[1] for time in (item["StartTime"], item["EndTime"])]
    assert times == sorted(times)
    assert server.http.get(f"/transcripts/{session}.txt").text.splitlines() == said


@both
def test_the_spoken_form_is_refused_where_it_is_not_known(
    counting: "Callable[..., Server]", kind: Kind
) -> None:
    error = refused_at_once(kind, counting("de-DE"), PCM | SPOKEN | {"language-code": "de-DE"})
    assert error.name == "BadRequestException"
    assert "spoken is for English alone here" in error.text


def test_the_native_front_end_speaks_numbers_too(counting: "Callable[..., Server]") -> None:
    server = counting()
    said = ["We paid three million dollars in nineteen eighty four.", "Twenty five came."]
    assert native_heard(server, "&transcript_format=spoken", bytes(SECOND))[0] == said
    assert native_heard(server, "", bytes(SECOND))[0][1] == "25 came."


def test_the_native_front_end_refuses_what_it_cannot_speak(counting: "Callable[..., Server]") -> None:
    with opened(counting("de-DE"), "&transcript_format=spoken") as ws:
        error = json.loads(ws.recv(WAIT))["Error"]
    assert error["Message"] == "transcript_format=spoken is for English alone, and not for de-DE."


# --- The written form


@both
def test_numbers_are_in_digits_by_default_as_at_amazon(
    tmp_path: Path, start_server: "Callable[..., Server]", kind: Kind
) -> None:
    script = tmp_path / "script.json"
    said = "We paid twelve dollars and fifty cents"
    events = [
        {"at": 0.5, "text": f"{said}"},
        {"at": "end", "text": f"{said} at half past three.", "final": True},
    ]
    script.write_text(json.dumps({"language": "en-US", "events": events}))
    server = start_server("--engine", "scripted", "--script", str(script))
    stabilised = {"enable-partial-results-stabilization": "true"}
    with kind(server.address, PCM | stabilised) as client:
        client.send(bytes(SECOND // 2))
        found = [next(told := results(client.events()))]
        client.send(bytes(SECOND // 2))
        client.end()
        found += told
    partial, final = (result["Alternatives"][0] for result in found)
    assert (partial["Transcript"], final["Transcript"]) == ("We paid $12.50", "We paid $12.50 at 3:30.")
    assert [item["Content"] for item in final["Items"]] == ["We", "paid", "$12.50", "at", "3:30", "."]
    stable = [item["Content"] for item in partial["Items"] if item["Stable"]]
    assert stable == ["We", "paid"][: len(stable)]
    asked = {"": [f"{said} at half past three."], "&transcript_format=written": [final["Transcript"]]}
    for query, texts in asked.items():
        assert native_heard(server, query, bytes(SECOND))[0] == texts


# --- Sessions that outlive a connection


@pytest.mark.parametrize("seconds", [0.7, 2.1, 3.3])
@both
def test_a_client_that_comes_back_misses_nothing_and_hears_nothing_twice(
    server: "Server", kind: Kind, seconds: float
) -> None:
    audio = _pcm(DATA / "jfk.mp3")
    parameters = PCM | {"session-id": str(uuid.uuid4()), "session-resume-window": "5"}
    cut = math.floor(seconds * 16_000) * 2
    told: dict[str, str] = {}
    with kind(server.address, parameters) as client:
        client.wait_for_headers()
        say(client, audio[:cut])
        # All that was sent has been received when words of its end are there.
        server.wait_until_heard(seconds)
        _break(client)
    with kind(server.address, parameters) as client:
        client.wait_for_headers()
        say(client, audio[cut:])
        client.end()
        for result in results(client.events()):
            if not result["IsPartial"]:
                assert result["ResultId"] not in told
                told[result["ResultId"]] = result["Alternatives"][0]["Transcript"]
    assert list(told.values()) == native(server, audio)


@both
def test_finals_that_a_client_missed_are_told_when_it_comes_back_however_late(
    scripted: "Callable[..., Server]",
    keys: list[str],
    said: bytes,
    kind: Kind,
    eventually: Callable[..., None],
) -> None:
    server = scripted(*keys, "--audio-timeout", "1")
    parameters = PCM | {"session-id": str(uuid.uuid4()), "session-resume-window": "1"}
    with kind(server.address, parameters) as client:
        client.wait_for_headers()
        client.send(said[: SECOND - 3200])
        server.wait_until_heard(0.9)
        _break(client)
    eventually(lambda: server.streams == 0, 10, "its place is given back, though it may come back")
    with kind(server.address, parameters) as client:
        client.wait_for_headers()
        say(client, said)
        client.end()
        found = [result for result in results(client.events()) if not result["IsPartial"]]
    texts = [result["Alternatives"][0]["Transcript"] for result in found]
    assert texts == ["first", "first", "second"]
    assert [int(result["ResultId"].rpartition("-")[2]) for result in found] == [0, 1, 2]
    times = [result["StartTime"] for result in found]
    assert times == sorted(times)
    assert times[1] == pytest.approx(0.9)
    kept = server.http.get(f"/transcripts/{parameters['session-id']}.txt").text
    assert kept.count("first") == 2


@pytest.mark.parametrize(
    "other", [{"enable-partial-results-stabilization": "true"}, {"transcript-format": "spoken"}]
)
def test_a_session_is_gone_on_with_as_it_began(
    guarded: "Server", said: bytes, other: dict[str, str]
) -> None:
    parameters = PCM | {"session-id": str(uuid.uuid4()), "session-resume-window": "5"}
    with Http2(guarded.address, parameters) as client:
        assert heard(client, said) == ["first", "second"]
    error = refused_at_once(Http2, guarded, parameters | other)
    assert error.name == "BadRequestException"
    assert "other parameters" in error.text


def test_a_client_that_comes_back_before_it_is_missed_takes_the_session_over(
    guarded: "Server", said: bytes
) -> None:
    parameters = PCM | {"session-id": str(uuid.uuid4()), "session-resume-window": "5"}
    with Http2(guarded.address, parameters) as older:
        older.wait_for_headers()
        say(older, said[: SECOND // 2 + 3200])
        first = iter(results(older.events()))
        assert next(first)["Alternatives"][0]["Transcript"] == "first"
        older.send(bytes(3200))
        guarded.wait_until_heard(0.7)
        with Http2(guarded.address, parameters) as newer:
            newer.wait_for_headers()
            assert refusal(lambda: list(first)).name == "ConflictException"
            say(newer, said)
            newer.end()
            assert finals(newer.events()) == ["second"]


@pytest.mark.parametrize("code", [ErrorCodes.CANCEL, ErrorCodes.NO_ERROR])
def test_a_request_that_is_reset_has_not_ended(
    guarded: "Server", said: bytes, code: ErrorCodes, eventually: Callable[..., None]
) -> None:
    """Its connection stands, so that nothing but the reset says so; NO_ERROR looks like an end at first."""
    parameters = PCM | {"session-id": str(uuid.uuid4()), "session-resume-window": "5"}
    told: dict[str, str] = {}

    def hear(heard: Iterable[dict[str, Any]]) -> None:
        for result in heard:
            if not result["IsPartial"]:
                told[result["ResultId"]] = result["Alternatives"][0]["Transcript"]

    def noticed() -> int:
        return guarded.log.read_text().count("A connection ended")

    before = noticed()
    with Http2(guarded.address, parameters) as client:
        client.wait_for_headers()
        say(client, said[: SECOND - 3200])
        guarded.wait_until_heard(0.9)
        hear(itertools.islice(results(client.events()), 1))
        client.reset(code)
        eventually(lambda: noticed() == before + 1, 5, "the server has noticed the reset")
        with Http2(guarded.address, parameters) as again:
            again.wait_for_headers()
            say(again, said[SECOND - 3200 :])
            again.end()
            hear(results(again.events()))
    assert list(told.values()) == ["first", "second"]
    numbers = [result_id.rpartition("-")[2] for result_id in told]
    assert numbers == ["0", "1"]


# --- Nothing is left


@both
@pytest.mark.parametrize("media", ["pcm", "flac"])
def test_clients_that_die_leave_nothing(
    scripted: "Callable[..., Server]",
    keys: list[str],
    said: bytes,
    kind: Kind,
    media: str,
    eventually: Callable[..., None],
) -> None:
    server = scripted(*keys)
    process = psutil.Process(server.process.pid)
    audio = said if media == "pcm" else encoded(said, "flac", "flac")

    def kill(count: int) -> None:
        clients = [kind(server.address, PCM | {"media-encoding": media}) for _ in range(count)]
        for client in clients:
            client.wait_for_headers()
            say(client, audio)
        assert server.streams == count
        for client in clients:
            _break(client)
        eventually(lambda: server.streams == 0, 10, "the streams have ended")

    # Decoders that wait are made when the first is needed: a client that dies at once may need none.
    with kind(server.address, PCM | {"media-encoding": media}) as whole:
        whole.wait_for_headers()
        say(whole, audio)
        whole.end()
        assert list(results(whole.events()))
    for _ in range(2):
        kill(10)
    threads, before = process.num_threads(), _descriptors(process)
    for _ in range(3):
        kill(10)
    # asyncio's few own may be made meanwhile; of those of 30 streams none is left.
    eventually(lambda: process.num_threads() <= threads + 6, 10, "the threads have ended")
    eventually(lambda: _descriptors(process) <= before, 10, "the sockets and pipes are closed")
    server.assert_no_errors()
