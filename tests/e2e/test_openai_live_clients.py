"""Clients of OpenAI's realtime API, unchanged, against a real server."""

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from client_programs import run_python_client
from native_client import decoded
from realtime_contract import Contract
from websockets.sync.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server

TEST = Path(__file__).parents[1] / "data" / "test.wav"
SAID = "This is a test."
BEARER = {"Authorization": "Bearer any"}
WAIT = 30


def _url(server: "Server") -> str:
    return f"{server.url}/v1"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, sentence: bytes) -> Callable[[int], Path]:
    """The sentence as 16-bit samples of a rate, and a second of silence, in a file."""

    def path(rate: int) -> Path:
        samples = np.concatenate([decoded(sentence, rate)[:, 0], np.zeros(rate, np.int16)])
        file = tmp_path_factory.mktemp("said") / "said.pcm"
        file.write_bytes(samples.astype("<i2").tobytes())
        return file

    return path


TURNS: dict[str, Any] = {
    "server": {
        "type": "server_vad",
        "silence_duration_ms": 300,
        "threshold": 0.5,
        "prefix_padding_ms": 300,
    },
    "meaning": {"type": "semantic_vad", "eagerness": "high"},
    "client": None,
}


@pytest.mark.parametrize("turns", TURNS)
def test_a_live_session_in_python(server: "Server", said: Callable[[int], Path], turns: str) -> None:
    asked = json.dumps({"turn_detection": TURNS[turns]})
    events = run_python_client("python_openai", "realtime.py", _url(server), said(24_000), asked)
    contract = Contract()
    for event in events:
        contract.check(event)
    assert not contract.errors
    (completed,) = (event for event in events if event["type"].endswith("transcription.completed"))
    assert completed["transcript"] == SAID
    assert completed["usage"]["type"] == "duration"
    assert ("input_audio_buffer.speech_started" in contract.kinds) == (turns != "client")


def test_a_live_stream_of_livekit(server: "Server") -> None:
    """The server finds the turns of one model; of the other livekit does, and commits."""
    asked = json.dumps({"realtime": True, "models": ["gpt-4o-transcribe", "gpt-realtime-whisper"]})
    events = run_python_client("python_livekit", "client.py", _url(server), TEST, asked)
    finals = [event["alternatives"][0]["text"] for event in events if event["type"] == "final_transcript"]
    assert finals == [SAID, SAID], events
    kinds = [event["type"] for event in events]
    assert kinds.count("recognition_usage") == 2
    for start, end in zip(_places(kinds, "start_of_speech"), _places(kinds, "end_of_speech"), strict=True):
        assert start < end


def _places(kinds: list[str], kind: str) -> list[int]:
    return [place for place, each in enumerate(kinds) if each == kind]


@pytest.mark.parametrize("way", ["server_vad", "local_vad"])
def test_a_live_stream_of_pipecat(server: "Server", spoken: Path, way: str) -> None:
    frames = run_python_client("python_pipecat", "client.py", _url(server), spoken, way)
    assert [each["text"] for each in frames if each["frame"] == "TranscriptionFrame"] == [SAID], frames
    assert "ErrorFrame" not in {each["frame"] for each in frames}
    interim = "".join(each["text"] for each in frames if each["frame"] == "InterimTranscriptionFrame")
    assert SAID.startswith(interim)
    proposed = [each["frame"] for each in frames if each["frame"].startswith("Proposed")]
    assert len(proposed) == (2 if way == "server_vad" else 0)


def _beta_session(language: str) -> dict[str, Any]:
    return {
        "type": "transcription_session.update",
        "session": {
            "input_audio_format": "pcm16",
            "input_audio_transcription": {
                "model": "gpt-4o-mini-transcribe",
                "prompt": "",
                "language": language,
            },
            "turn_detection": {"type": "server_vad"},
            "input_audio_noise_reduction": None,
        },
    }


@pytest.mark.parametrize("silence", [0, 1])
def test_home_assistant_speaks_live(server: "Server", sentence: bytes, silence: int) -> None:
    """The integration openai_stt: shapes of the beta, and a commit at the end even where a turn has ended.

    The first transcript is its answer.
    """
    audio = decoded(sentence, 24_000).tobytes() + bytes(48_000 * silence)
    url = f"{server.url.replace('http', 'ws', 1)}/v1/realtime?intent=transcription"
    headers = BEARER | {"OpenAI-Beta": "realtime=v1"}
    with connect(url, additional_headers=headers, open_timeout=WAIT, close_timeout=WAIT) as ws:
        ws.send(json.dumps(_beta_session("en-US")))
        for start in range(0, len(audio), 2048):
            chunk = b64encode(audio[start : start + 2048]).decode()
            ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": chunk}))
        ws.send(json.dumps({"type": "input_audio_buffer.commit"}))
        contract = Contract()
        while not (event := contract.read(ws.recv(WAIT)))["type"].endswith("transcription.completed"):
            pass
    assert event["transcript"] == SAID
    assert contract.kinds[0] == "transcription_session.created"
    assert "transcription_session.updated" in contract.kinds


def test_keys_and_the_secrets_that_they_make(
    start_server: "Callable[..., Server]", script: Path, tmp_path: Path
) -> None:
    """A secret for a browser opens sessions of its configuration, and nothing else."""
    key = "a-key-of-this-test"
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text(f"app {key}\n")
    server = start_server("--engine", "scripted", "--script", str(script), "--access-keys", str(keys))
    (answers,) = run_python_client("python_openai", "keys.py", _url(server), key)
    assert answers["made"]["value"].startswith("ek_")
    assert int(answers["models"].pop("key")) > 0
    assert answers["models"] == {
        "secret": "PermissionDeniedError access_denied",
        "unknown": "AuthenticationError invalid_api_key",
    }
    events = answers["events"]
    assert {name: event["type"] for name, event in events.items()} == {
        "key": "session.created",
        "secret": "session.created",
        "unknown": "error",
    }
    silence = [events[name]["session"]["audio"]["input"]["turn_detection"] for name in ("key", "secret")]
    assert silence[0].get("silence_duration_ms") != silence[1]["silence_duration_ms"] == 700
    assert events["unknown"]["error"]["code"] == "invalid_api_key"
