"""Several engines on one server, and its numbers, on a real server with the real model."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from native_client import WAIT, answer, decoded, heard, opened, stream
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed

if TYPE_CHECKING:
    from tests.conftest import Server


def numbers(server: "Server") -> dict[tuple[str, str, str], float]:
    """Of each metric, by name, engine and pace."""
    families = text_string_to_metric_families(server.http.get("/metrics").text)
    found: Counter[tuple[str, str, str]] = Counter()
    for sample in (sample for family in families for sample in family.samples):
        key = sample.name, sample.labels.get("engine", ""), sample.labels.get("pace", "")
        found[key] += sample.value
    return found


@pytest.fixture(scope="module")
def both(run_server: "Callable[..., AbstractContextManager[Server]]", script: Path) -> "Iterator[Server]":
    """A server with two engines, shared by the tests."""
    with run_server("--engine", "scripted", "--script", str(script), "--also", "moonshine") as server:
        yield server
        assert server.streams == 0


def test_a_stream_may_ask_for_an_engine(both: "Server", sentence: bytes) -> None:
    audio = decoded(sentence).tobytes()
    assert heard(both, "", audio)[0] == ["first", "second"]
    assert heard(both, "&engine=scripted", audio)[0] == ["first", "second"]
    assert heard(both, "&engine=moonshine", audio)[0] == ["This is a test."]
    both.upload("test.wav", sentence)
    with opened(both, "&engine=moonshine") as ws:
        ws.send("test.wav")
        assert answer(ws)[0] == ["This is a test."]
    kept = both.http.get("/transcripts", params={"limit": 4}).json()["Transcripts"]
    assert [each["Engine"] for each in kept] == ["moonshine", "moonshine", "scripted", "scripted"]


def test_an_engine_that_is_not_there_is_refused_with_those_that_are(both: "Server") -> None:
    with opened(both, "&engine=vosk") as ws:
        assert json.loads(ws.recv(WAIT))["Error"] == {
            "Code": "BadRequestException",
            "Message": "There is no engine 'vosk' here. Ask for scripted or moonshine, or for none.",
        }
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(WAIT)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_health_names_all_engines(both: "Server") -> None:
    health = both.http.get("/health").json()
    assert (health["engine"], health["languages"]) == ("scripted", ["en-US"])
    assert health["models"] == []
    assert [bool(each.pop("models")) for each in health["engines"]] == [False, True]
    assert [each.pop("places") > 0 for each in health["engines"]] == [True, True]
    assert health["engines"] == [
        {"name": name, "languages": ["en-US"], "features": features, "streams": 0}
        for name, features in (("scripted", []), ("moonshine", ["vocabulary-name", "vocabulary-names"]))
    ]


def test_results_and_streams_bear_the_names_of_loaded_models(both: "Server", sentence: bytes) -> None:
    (models,) = [each["models"] for each in both.http.get("/health").json()["engines"] if each["models"]]
    audio = decoded(sentence).tobytes()
    with opened(both, "&engine=moonshine") as ws:
        ws.send(audio)
        ws.send(bytes(64_000))
        results = []
        while not results or results[-1]["IsPartial"]:
            results += json.loads(ws.recv(WAIT))["Transcript"]["Results"]
        (running,) = both.http.get("/streams").json()
        assert running["final_model"] == results[-1]["Model"]
        assert running["partial_model"] == results[-2]["Model"]
        ws.send(b"")
        transcript = answer(ws)[1]["SessionId"]
    assert {result["Model"] for result in results} <= set(models)
    (kept,) = both.http.get(f"/transcripts/{transcript}").json()["Transcript"]["Results"]
    assert kept["Model"] == results[-1]["Model"]


def test_one_limit_holds_for_the_live_streams_of_all_engines(scripted: "Callable[..., Server]") -> None:
    server = scripted("--also", "moonshine", "--max-sessions", "1")
    with opened(server, "&engine=moonshine") as first:
        first.send(bytes(32_000))
        server.wait_until_heard(1.0)
        assert heard(server, "", bytes(3_200))[1]["Code"] == "LimitExceededException"
        first.send(b"")
        answer(first)
    assert heard(server, "", bytes(32_000))[0] == ["first", "second"]
    found = numbers(server)
    assert found["transcribed_streams_refused_total", "scripted", ""] == 1


def test_metrics_are_those_of_the_streams(both: "Server", sentence: bytes) -> None:
    before = numbers(both)
    assert before["transcribed_streams", "scripted", "live"] == 0
    assert before["transcribed_places", "moonshine", ""] > 0
    with opened(both) as ws:
        ws.send(bytes(32_000))
        both.wait_until_heard(1.0)
        during = numbers(both)
        assert during["transcribed_streams", "scripted", "live"] == 1
        assert during["transcribed_streams", "moonshine", "live"] == 0
        stream(ws, bytes(16_000))
        answer(ws)
    heard(both, "&engine=moonshine", decoded(sentence).tobytes())
    after = numbers(both)
    assert after["transcribed_streams", "scripted", "live"] == 0

    def grown(name: str, engine: str) -> float:
        return after[name, engine, ""] - before.get((name, engine, ""), 0)

    assert grown("transcribed_streams_opened_total", "scripted") == 1
    assert grown("transcribed_finals_total", "scripted") == 2
    assert grown("transcribed_finals_total", "moonshine") == 1
    assert grown("transcribed_audio_received_seconds_total", "scripted") == pytest.approx(1.5)
    assert grown("transcribed_audio_received_seconds_total", "moonshine") == pytest.approx(1.15, abs=0.01)
    assert not any(name == "transcribed_audio_sent_seconds_total" for name, _, _ in after)
    assert after["process_cpu_seconds_total", "", ""] > 0


def test_metrics_come_in_either_format(both: "Server") -> None:
    plain = both.http.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert 'transcribed_build_info{version="' in plain.text
    newer = httpx.get(f"{both.url}/metrics", headers={"accept": "application/openmetrics-text"})
    assert newer.headers["content-type"].startswith("application/openmetrics-text")
    assert newer.text.endswith("# EOF\n")
