"""Clients of OpenAI's API, unchanged, against a real server.

Each is in an environment of its own, installed from a lock file below tests/clients.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from client_programs import run_client, run_python_client
from environments import CLIENTS, node_environment

if TYPE_CHECKING:
    from tests.conftest import Server

TEST = Path(__file__).parents[1] / "data" / "test.wav"
SAID = "This is a test."
SEGMENTED = {"srt": "1\n00:00:00,", "vtt": "WEBVTT\n\n00:00:00."}


def _url(server: "Server") -> str:
    return f"{server.url}/v1"


# --- Recordings, with OpenAI's own packages


@pytest.fixture(scope="module")
def in_python(server: "Server") -> Any:
    recordings = server.http.get("/audio").json()
    (answers,) = run_python_client("python_openai", "files.py", _url(server), TEST)
    server.assert_no_errors()
    assert server.http.get("/audio").json() == recordings
    return answers


@pytest.fixture(scope="module")
def in_node(server: "Server") -> Any:
    node_environment()
    (answers,) = run_client("node", CLIENTS / "javascript" / "openai.mjs", _url(server), TEST)
    server.assert_no_errors()
    return answers


@pytest.fixture(scope="module", params=["in_python", "in_node"])
def answers(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_a_recording_in_each_format(answers: Any) -> None:
    told = answers["transcriptions"]
    assert told["json"]["text"] == SAID
    assert told["json"]["usage"] == {"type": "duration", "seconds": 2}
    assert told["text"].strip() == SAID
    for name, start in SEGMENTED.items():
        assert told[name].startswith(start), told[name]
        assert SAID in told[name]
    whole = told["verbose_json"]
    assert whole["text"] == " ".join(segment["text"].strip() for segment in whole["segments"]) == SAID
    assert whole["duration"] == pytest.approx(1.15, abs=0.01)
    assert whole["language"] in {"english", "en"}
    assert all(0 <= segment["start"] < segment["end"] <= 1.15 for segment in whole["segments"])
    assert not whole.get("words")


def test_words_have_their_times(answers: Any) -> None:
    words = answers["words"]["words"]
    assert " ".join(word["word"].strip() for word in words) in {SAID, SAID.rstrip(".")}
    times = [time for word in words for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert times[-1] <= 1.2


def test_probabilities_are_those_of_the_words(answers: Any) -> None:
    told = answers["logprobs"]
    assert "".join(each["token"] for each in told["logprobs"]).strip() == told["text"] == SAID
    assert all(bytes(map(int, each["bytes"])).decode() == each["token"] for each in told["logprobs"])
    assert all(each["logprob"] <= 0 for each in told["logprobs"])


def test_deltas_are_the_text(answers: Any) -> None:
    *deltas, done = answers["stream"]
    assert {event["type"] for event in deltas} == {"transcript.text.delta"}
    assert done["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in deltas) == done["text"] == SAID
    assert done["usage"]["type"] == "duration"


def test_the_models(answers: Any, server: "Server") -> None:
    names = [model["id"] for model in answers["models"]]
    assert names == [model["id"] for model in server.http.get("/v1/models").json()["data"]]
    assert all(model["object"] == "model" for model in answers["models"])


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("model", 404, {"class": "NotFoundError", "code": "model_not_found"}),
        ("language", 400, {"class": "BadRequestError", "param": "language"}),
    ],
)
def test_errors_are_those_of_the_package(
    answers: Any, name: str, status: int, error: dict[str, str]
) -> None:
    told = answers["refused"][name]
    assert told["status"] == status
    assert told["type"] == "invalid_request_error"
    assert told | error == told


def test_other_ways_to_ask_in_python(in_python: Any) -> None:
    answers = in_python
    for name in ("bytes", "unnamed", "hinted"):
        assert answers[name]["text"] == SAID, name
    told = answers["translations"]
    assert told["json"]["text"] == told["verbose_json"]["text"] == told["text"].strip() == SAID
    assert all(SAID in told[name] for name in SEGMENTED)
    assert answers["async"]["json"]["text"] == SAID
    assert [text.strip() for text in answers["async"]["text"]] == [SAID] * 3
    assert answers["async"]["stream"][-1]["text"] == SAID
    assert answers["model"] == answers["models"][0]
    params = {
        "translated language": "language",
        "format": "response_format",
        "diarized": "response_format",
    }
    refused = answers["refused"]
    assert {name: refused[name]["param"] for name in params} == params
    assert {refused[name]["class"] for name in (*params, "empty", "picture")} == {"BadRequestError"}
    assert answers["refused"]["path"]["class"] == "NotFoundError"


# --- Recordings, with what is built on them


def test_litellm(server: "Server") -> None:
    (answers,) = run_python_client("python_litellm", "client.py", _url(server), TEST)
    ways = ("default", "json", "text", "words")
    assert {name: answers[name]["text"].strip() for name in ways} == dict.fromkeys(ways, SAID)
    assert [word["word"].strip() for word in answers["words"]["words"]][:3] == ["This", "is", "a"]
    assert answers["refused"]["status"] == 400
    assert answers["refused"]["param"] == "language"


def test_livekit_recognizes_a_recording(server: "Server") -> None:
    """It asks differently for each of these models."""
    models = ["gpt-4o-mini-transcribe", "whisper-1", "gpt-transcribe"]
    asked = json.dumps({"realtime": False, "models": models})
    events = run_python_client("python_livekit", "client.py", _url(server), TEST, asked)
    assert {event["type"] for event in events} == {"final_transcript"}
    assert [event["alternatives"][0]["text"] for event in events] == [SAID] * len(models)


def test_pipecat_posts_what_it_cuts_out(server: "Server", spoken: Path) -> None:
    frames = run_python_client("python_pipecat", "client.py", _url(server), spoken, "files")
    assert frames == [{"frame": "TranscriptionFrame", "text": SAID}]
