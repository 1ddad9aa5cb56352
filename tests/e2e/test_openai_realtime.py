"""OpenAI's realtime transcription, message by message, with speech and a real server."""

import base64
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pytest
from amazon_client import KEY
from hypothesis import example, given, settings
from hypothesis import strategies as st
from native_client import decoded, heard
from properties import SHARED_FIXTURES
from pydantic import SecretStr
from realtime_client import AT_16_KHZ, BY_COMMIT, COMPLETED, DELTA, FAILED, WAIT, RealtimeClient, realtime
from websockets.exceptions import ConnectionClosed

from transcribed.clock import utc_now
from transcribed.principal import Role
from transcribed.service.key_file import AccessKey
from transcribed.service.tokens import make_token
from transcribed.wire.openai_realtime import LANGUAGE_FIELD

if TYPE_CHECKING:
    from tests.conftest import Server

DATA = Path(__file__).parents[1] / "data"
TEST = "This is a test."
SECOND = bytes(48_000)
"""A second of silence at 24 kHz."""


@pytest.fixture(scope="module")
def speech(sentence: bytes) -> bytes:
    """ "This is a test.", 1.15 s at 24 kHz."""
    return decoded(sentence, 24_000).tobytes()


@pytest.fixture
def session(server: "Server") -> Iterator[RealtimeClient]:
    with realtime(server) as client:
        yield client


def _input(**fields: Any) -> dict[str, Any]:
    return {"type": "transcription", "audio": {"input": fields}}


def _closed(client: RealtimeClient) -> int | None:
    """Read to the end of the session. Returns its close code."""
    with suppress(ConnectionClosed):
        while True:
            client.next()
    return client.ws.close_code


# --- Turns of the server


def test_each_speech_is_an_item(session: RealtimeClient, speech: bytes) -> None:
    session.append((speech + SECOND) * 3)
    assert session.completed(3) == [TEST] * 3
    session.until("conversation.item.done")
    session.contract.check_end()
    items = list(session.contract.items.values())
    assert [item.told for item in items] == [TEST] * 3
    starts = [item.started for item in items]
    assert starts == sorted(starts, key=float)
    assert all(item.stopped - item.started < 1_500 for item in items if item.stopped and item.started)
    assert session.contract.kinds[0] == "session.created"


def test_the_words_are_those_of_stream(server: "Server") -> None:
    audio = decoded((DATA / "jfk.mp3").read_bytes()).tobytes()
    finals, _ = heard(server, "", audio)
    with realtime(server) as client:
        client.update(AT_16_KHZ)
        client.append(audio)
        client.commit()
        said = client.completed()
        while " ".join(said) != " ".join(finals):
            said += client.completed()
            assert len(said) <= len(finals)


@pytest.mark.parametrize("turns", ["server", "client"])
def test_however_the_audio_is_split_the_items_are_the_same(
    server: "Server", speech: bytes, turns: str
) -> None:
    audio, seen = speech + SECOND + speech + SECOND[:4_800], []
    for chunk in (len(audio), 4_800, 1_001):
        with realtime(server) as client:
            if turns == "client":
                client.update(BY_COMMIT)
            client.append(audio, chunk)
            client.commit()
            client.completed(2 if turns == "server" else 1)
            client.until("conversation.item.done")
            seen.append([(i.started, i.stopped, i.transcript) for i in client.contract.items.values()])
    assert seen[0] == seen[1] == seen[2]
    assert [each[-1] for each in seen[0]] == ([TEST] * 2 if turns == "server" else [f"{TEST} {TEST}"])


def test_words_come_while_they_are_spoken(session: RealtimeClient) -> None:
    audio = decoded((DATA / "jfk.mp3").read_bytes(), 24_000).tobytes()
    early: str | None = None
    for start in range(0, len(audio), 4_800):
        session.append(audio[start : start + 4_800])
        with suppress(TimeoutError):
            event = session.next(0.1)
            if event["type"] == DELTA and session.contract.items[event["item_id"]].stopped is None:
                early = event["item_id"]
                break
    assert early is not None
    told = session.contract.items[early].told
    session.commit()
    while session.contract.items[early].transcript is None:
        session.next()
    assert str(session.contract.items[early].transcript).startswith(told)


def test_silence_of_the_clients_choice_ends_a_turn(server: "Server", speech: bytes) -> None:
    said = []
    for silence in (200, 1_500):
        with realtime(server) as client:
            client.update(_input(turn_detection={"type": "server_vad", "silence_duration_ms": silence}))
            client.append(speech + SECOND + speech + 2 * SECOND)
            said += client.completed()
    assert said == [TEST, f"{TEST} {TEST}"]


# --- Commits of the client


def test_an_item_is_what_was_said_between_two_commits(session: RealtimeClient, speech: bytes) -> None:
    session.update(BY_COMMIT)
    for _ in range(2):
        session.append(speech + SECOND + speech)
        session.commit()
    assert session.completed(2) == [f"{TEST} {TEST}"] * 2
    assert "input_audio_buffer.speech_started" not in session.contract.kinds


def test_a_commit_of_nothing_and_a_second_commit_are_errors(session: RealtimeClient, speech: bytes) -> None:
    session.commit(event_id="first")
    assert session.error()["event_id"] == "first"
    session.append(speech)
    session.commit()
    session.commit(event_id="third")
    assert session.completed() == [TEST]
    error = session.error()
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "third")
    session.append(speech)
    session.commit()
    assert session.completed() == [TEST]


def test_what_is_cleared_is_no_item(session: RealtimeClient, speech: bytes) -> None:
    session.update(BY_COMMIT)
    session.append(speech)
    session.clear()
    session.until("input_audio_buffer.cleared")
    session.commit()
    assert session.error()["code"] == "input_audio_buffer_commit_empty"
    session.append(speech)
    session.commit()
    assert session.completed() == [TEST]


# --- Changes of the configuration


def test_audio_may_come_before_the_configuration_and_speech_may_go_on_after_it(
    session: RealtimeClient, speech: bytes
) -> None:
    middle = len(speech) // 2 & ~1
    session.append(speech + SECOND + speech[:middle])
    session.send("session.update", session=_input(transcription={"language": "en"}))
    session.append(speech[middle:] + SECOND)
    session.send("session.update", session=BY_COMMIT)
    before = session.until("session.updated")
    after = session.until("session.updated")
    first = [event["transcript"] for event in before if event["type"] == COMPLETED]
    second = [event["transcript"] for event in after if event["type"] == COMPLETED]
    assert first[0] == TEST
    assert len(first) == 2
    assert second[0].lower().endswith("test.")
    assert after[-1]["session"]["audio"]["input"]["transcription"]["language"] == "en"


def test_what_recognition_does_not_depend_on_is_changed_beside_it(
    session: RealtimeClient, speech: bytes
) -> None:
    session.append(speech[: len(speech) // 2 & ~1])
    session.until("input_audio_buffer.speech_started")
    found = session.update(_input(noise_reduction={"type": "near_field"}))
    assert found["audio"]["input"]["noise_reduction"] == {"type": "near_field"}
    session.append(speech[len(speech) // 2 & ~1 :] + SECOND)
    assert session.completed() == [TEST]


@pytest.mark.parametrize(("codec", "kind"), [("pcm_mulaw", "audio/pcmu"), ("pcm_alaw", "audio/pcma")])
def test_the_audio_of_telephones(session: RealtimeClient, sentence: bytes, codec: str, kind: str) -> None:
    frame = av.AudioFrame.from_ndarray(decoded(sentence, 8_000).T, format="s16", layout="mono")
    frame.sample_rate = 8_000
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.sample_rate, encoder.format, encoder.layout = 8_000, "s16", "mono"
    audio = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    session.update(_input(format={"type": kind}))
    session.append(audio + SECOND[:0] + audio)
    session.commit()
    assert TEST.lower().rstrip(".") in session.completed()[0].lower()


def test_the_names_of_the_beta(server: "Server", speech: bytes) -> None:
    with realtime(server, headers={"OpenAI-Beta": "realtime=v1"}) as client:
        assert client.next()["type"] == "transcription_session.created"
        client.send(
            "transcription_session.update",
            session={
                "input_audio_format": "pcm16",
                "input_audio_transcription": {"model": "whisper-1", "language": "en-US"},
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
            },
        )
        updated = client.until("transcription_session.updated")[-1]["session"]
        assert updated["input_audio_transcription"] == {"model": "whisper-1", "language": "en-US"}
        client.append(speech + SECOND)
        assert client.completed() == [TEST]
        assert "conversation.item.created" in client.contract.kinds


# --- What is not valid


BAD: list[tuple[str | bytes, str | None]] = [
    (b"\0\0", None),
    ("not JSON", None),
    ('{"type": "input_audio_buffer.append", "audio": "?"}', "audio"),
    ('{"type": "response.create"}', "type"),
    ('{"type": "session.update", "session": {"audio": 5}}', "session.audio"),
]


def test_what_is_not_valid_is_answered_and_no_audio_is_lost(session: RealtimeClient, speech: bytes) -> None:
    middle = len(speech) // 2 & ~1
    session.append(speech[:middle])
    for message, _ in BAD[:-1]:
        session.ws.send(message)
    session.append(speech[middle:] + SECOND)
    assert session.completed() == [TEST]
    session.ws.send(BAD[-1][0])
    session.error()
    assert [error["param"] for error in session.contract.errors] == [param for _, param in BAD]
    assert {error["type"] for error in session.contract.errors} == {"invalid_request_error"}


def test_a_language_that_is_not_known_is_an_error_and_changes_nothing(
    session: RealtimeClient, speech: bytes
) -> None:
    session.send("session.update", session=_input(transcription={"language": "tlh"}), event_id="e")
    error = session.error()
    assert (error["param"], error["event_id"]) == ("session.audio.input.transcription.language", "e")
    session.append(speech + SECOND)
    assert session.completed() == [TEST]


@pytest.mark.parametrize("query", ["", "?intent=transcription&model=gpt-4o-transcribe", "?model=moonshine"])
def test_any_model_may_be_named(server: "Server", speech: bytes, query: str) -> None:
    with realtime(server, query) as client:
        client.append(speech + SECOND)
        assert client.completed() == [TEST]


def test_a_message_may_be_large_and_arrive_slowly(session: RealtimeClient, speech: bytes) -> None:
    session.update(BY_COMMIT)
    audio = base64.b64encode(speech + bytes(9_000_000)).decode()
    message = json.dumps({"type": "input_audio_buffer.append", "audio": audio}).encode()
    third = len(message) // 3 + 1
    head = bytes([0x81, 0xFF]) + len(message).to_bytes(8, "big") + bytes(4)  # Masked with zeros.
    for at in range(0, len(message), third):
        session.ws.socket.sendall((head if at == 0 else b"") + message[at : at + third])
        time.sleep(0.3)  # Meanwhile it is looked at how large it is.
    session.clear()
    session.until("input_audio_buffer.cleared")
    session.append(speech)
    session.commit()
    assert session.completed() == [TEST]
    assert "error" not in session.contract.kinds


def test_a_message_that_is_too_large_for_any_ends_the_session_and_loses_nothing_before_it(
    session: RealtimeClient, speech: bytes
) -> None:
    session.append(speech + SECOND)
    assert session.completed() == [TEST]
    with suppress(ConnectionClosed):  # While it is sent, or after.
        session.append(bytes(22_500_000), 22_500_000)
    # The connection may be reset before the client has read the close, since it is still sending.
    assert _closed(session) in {1002, 1006}
    assert "error" not in session.contract.kinds


def test_who_goes_without_a_word_leaves_its_place(
    server: "Server", speech: bytes, eventually: Callable[..., None]
) -> None:
    with realtime(server) as client:
        client.append(speech)
        client.until("input_audio_buffer.speech_started")
        assert server.streams >= 1
        client.ws.socket.close()
    eventually(lambda: server.streams == 0, WAIT, "the place is free again")


def _event(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields})


ACTIONS = {
    "commit": _event("input_audio_buffer.commit"),
    "clear": _event("input_audio_buffer.clear"),
    "server": _event("session.update", session=_input(turn_detection={"type": "server_vad"})),
    "client": _event("session.update", session=BY_COMMIT),
    "beta": _event("transcription_session.update", session={"turn_detection": None}),
    "quiet": _event("session.update", session=_input(noise_reduction={"type": "far_field"})),
    "bad": "bad",
}
"""What a client may send, besides "speech", "pause" and "blip"."""


@settings(SHARED_FIXTURES, max_examples=25)
@given(actions=st.lists(st.sampled_from([*ACTIONS, "speech", "speech", "pause", "blip"]), max_size=9))
@example(actions=["speech", "commit", "commit", "clear", "clear", "commit"])
@example(actions=["client", "speech", "server", "pause", "commit", "client", "commit"])
@example(actions=["speech", "client", "clear", "speech", "bad", "commit"])
def test_whatever_a_client_does_its_events_keep_their_order_and_no_speech_is_lost(
    server: "Server", speech: bytes, actions: list[str]
) -> None:
    last = {"type": "server_vad", "silence_duration_ms": 777}
    audio = {"speech": speech, "pause": SECOND, "blip": bytes(960)}
    with realtime(server) as client:
        for action in actions:
            if action in ACTIONS:
                client.ws.send(ACTIONS[action])
            else:
                client.append(audio[action])
        client.send("session.update", session=_input(turn_detection=last))
        while client.until("session.updated")[-1]["session"]["audio"]["input"]["turn_detection"] != (
            last | {"prefix_padding_ms": 300}
        ):
            pass
        client.contract.check_end()
        heard = " ".join(client.contract.transcripts).lower().count("test")
    if "clear" not in actions:
        assert heard == actions.count("speech")
    empty = "input_audio_buffer_commit_empty"
    assert {error["code"] for error in client.contract.errors} <= {empty, None}


# --- Places, time-outs and failures


@pytest.fixture(scope="module")
def small(script: Path, run_server: "Callable[..., AbstractContextManager[Server]]") -> "Iterator[Server]":
    """A server with one place, which waits 1.5 s for audio, and hears what the script says."""
    options = ("--max-sessions", "1", "--audio-timeout", "1.5")
    with run_server("--engine", "scripted", "--script", str(script), *options) as server:
        yield server
        server.assert_no_errors()


def test_who_is_quiet_gives_its_place_back_and_goes_on_later(
    small: "Server", eventually: Callable[..., None]
) -> None:
    with realtime(small) as one, realtime(small) as other:
        one.append(2 * SECOND)
        assert one.completed(2) == ["first", "second"]
        eventually(lambda: small.streams == 0, WAIT, "the place is free")
        other.append(2 * SECOND)
        assert other.completed() == ["first"]
        one.append(SECOND)
        assert one.error()["type"] == "rate_limit_error"
        assert _closed(one) == 1013
        assert other.completed() == ["second"]
        other.append(SECOND)
        assert other.completed() == ["first"]
        assert "error" not in other.contract.kinds


def test_an_engine_that_fails_fails_its_item_and_the_session_goes_on(
    tmp_path: Path, run_server: "Callable[..., AbstractContextManager[Server]]"
) -> None:
    script = tmp_path / "script.json"
    events = [{"at": 0.5, "text": "first"}, {"at": 1.0, "error": "the recogniser fell over"}]
    script.write_text(json.dumps({"events": events}))
    with run_server("--engine", "scripted", "--script", str(script)) as server, realtime(server) as client:
        client.append(SECOND + SECOND[:9_600])
        failed = client.until(FAILED)[-1]
        assert failed["error"]["type"] == "server_error"
        client.append(SECOND[:33_600])
        client.commit()
        client.until("input_audio_buffer.speech_started")
        client.until(COMPLETED)


def test_what_was_said_when_the_server_stops_is_an_item(
    tmp_path: Path, run_server: "Callable[..., AbstractContextManager[Server]]"
) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"events": [{"at": 0.2, "text": "without a final"}]}))
    with run_server("--engine", "scripted", "--script", str(script)) as server, realtime(server) as client:
        client.append(SECOND)
        client.until("input_audio_buffer.speech_started")
        server.process.send_signal(signal.SIGTERM)
        client.until("conversation.item.done")
        client.contract.check_end()
        assert _closed(client) == 1001
        assert server.process.wait(WAIT) == 0


# --- Keys


def test_browsers_show_the_key_as_a_subprotocol(guarded: "Server") -> None:
    secret = guarded.http.headers["authorization"].split()[1]
    protocols = ["realtime", f"openai-insecure-api-key.{secret}", "openai-beta.realtime-v1"]
    with realtime(guarded, subprotocols=protocols) as client:
        assert client.ws.subprotocol == "realtime"
        assert client.next()["type"] == "transcription_session.created"


def test_a_wrong_key_is_told_as_openai_tells_it(guarded: "Server") -> None:
    with realtime(guarded, headers={"Authorization": "Bearer sk-wrong"}) as client:
        told = json.loads(client.ws.recv(WAIT))
        assert told["type"] == "error"
        assert told["error"]["code"] == "invalid_api_key"
        with pytest.raises(ConnectionClosed):
            client.ws.recv(WAIT)
        assert client.ws.close_code == 1008


def _client_secret(server: "Server", **body: Any) -> str:
    answer = server.http.post("/v1/realtime/client_secrets", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["session"]["object"] == "realtime.transcription_session"
    secret: str = answer.json()["value"]
    return secret


def test_a_client_secret_opens_sessions_with_its_configuration_and_nothing_else(
    guarded: "Server", small: "Server"
) -> None:
    for server in (guarded, small):
        secret = _client_secret(server, expires_after={"seconds": 10}, session=BY_COMMIT)
        with realtime(server, subprotocols=["realtime", f"openai-insecure-api-key.{secret}"]) as client:
            assert client.next()["session"]["audio"]["input"]["turn_detection"] is None
    secret = _client_secret(guarded)
    shown = {"Authorization": f"Bearer {secret}"}
    for method, path in (("GET", "/audio"), ("POST", "/v1/realtime/client_secrets"), ("GET", "/v1/models")):
        assert guarded.http.request(method, path, headers=shown).status_code == 403


def test_a_client_secret_in_the_shape_of_the_beta(guarded: "Server") -> None:
    asked = {"input_audio_format": "g711_ulaw", "turn_detection": None}
    answer = guarded.http.post("/v1/realtime/transcription_sessions", json=asked).json()
    assert (answer["input_audio_format"], answer["turn_detection"]) == ("g711_ulaw", None)
    headers = {
        "Authorization": f"Bearer {answer['client_secret']['value']}",
        "OpenAI-Beta": "realtime=v1",
    }
    with realtime(guarded, headers=headers) as client:
        assert client.next()["session"]["input_audio_format"] == "g711_ulaw"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ("no JSON", None),
        ("[]", None),
        ('{"expires_after": {"seconds": 5}}', "expires_after.seconds"),
        ('{"session": {"type": "realtime"}}', "session.type"),
        ('{"session": {"audio": {"input": {"turn_detection": 5}}}}', "session.audio.input.turn_detection"),
        ('{"session": {"audio": {"input": {"transcription": {"language": "xx"}}}}}', LANGUAGE_FIELD),
        (
            '{"session": {"audio": {"input": {"transcription": {"prompt": "%s"}}}}}' % ("x" * 5_000),
            "session",
        ),
    ],
)
def test_a_client_secret_that_cannot_be_made(guarded: "Server", body: str, param: str | None) -> None:
    answer = guarded.http.post("/v1/realtime/client_secrets", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_client_secret_of_another_server_may_ask_for_what_this_one_cannot_do(guarded: "Server") -> None:
    secret = guarded.http.headers["authorization"].split()[1]
    key = AccessKey(KEY, SecretStr(secret), KEY)
    session = _input(transcription={"language": "xx"}, turn_detection=None)
    token = make_token(key, Role.TRANSCRIBE, utc_now() + timedelta(minutes=1), session)
    with realtime(guarded, headers={"Authorization": f"Bearer ek_{token}"}) as client:
        client.append(SECOND)
        assert client.error()["param"] == LANGUAGE_FIELD
        client.update(_input(transcription={"language": "en"}))
        client.append(SECOND)
        client.commit()
        assert client.completed() == ["first second"]
        assert client.contract.kinds.count("error") == 1


def test_a_session_is_one_transcript(server: "Server", speech: bytes) -> None:
    with realtime(server) as client:
        session = client.next()["session"]["id"].removeprefix("sess_")
        for _ in range(2):
            client.append(speech)
            client.commit()
            assert client.completed() == [TEST]
    transcripts = server.http.get("/transcripts", params={"limit": 5}).json()["Transcripts"]
    (found,) = [each for each in transcripts if each["SessionId"].replace("-", "") == session]
    text = server.http.get(f"/transcripts/{found['SessionId']}.txt").text
    assert text.split() == f"{TEST} {TEST}".split()
