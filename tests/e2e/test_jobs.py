"""Jobs on a real server, through /jobs and `transcribed jobs`."""

import json
import random
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from job_kills import LEASE, killed_and_finished
from native_client import answer, opened

from transcribed.service.jobs import MOST_WATCHERS

if TYPE_CHECKING:
    from tests.conftest import Server

DATA = Path(__file__).parents[1] / "data"
WAIT = 60
SECRETS = {"anna": "a-secret-of-anna", "bert": "a-secret-of-bert", "boss": "a-secret-of-boss"}
Job = dict[str, Any]


def headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {SECRETS[key]}"}


def submit(server: "Server", recording: str, key: str | None = None, **more: Any) -> Job:
    answered = server.http.post("/jobs", json={"Recording": recording, **more}, headers=headers(key))
    assert answered.status_code == 201, answered.text
    job: Job = answered.json()
    assert answered.headers["location"] == f"/jobs/{job['Name']}"
    assert job["Status"] == "QUEUED"
    return job


def followed(server: "Server", name: str, key: str | None = None) -> list[tuple[str, Job]]:
    """The events of a job, up to the end of their stream."""
    events, kind = [], ""
    with server.http.stream("GET", f"/jobs/{name}/events", headers=headers(key), timeout=WAIT) as told:
        assert told.status_code == 200
        assert told.headers["content-type"].startswith("text/event-stream")
        for line in told.iter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                events.append((kind, json.loads(value)))
    return events


def ended(server: "Server", name: str, key: str | None = None) -> Job:
    kind, job = followed(server, name, key)[-1]
    assert kind == "job"
    assert job["Status"] in {"COMPLETED", "FAILED"}
    return job


@pytest.fixture(scope="module")
def queue(
    run_server: "Callable[..., AbstractContextManager[Server]]",
    script: Path,
    sentence: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> "Iterator[Server]":
    """A server that runs no jobs, so that they wait; at most five may."""
    with run_server(
        "--engine", "scripted", "--script", str(script), "--jobs", "0", "--most-jobs", "5"
    ) as running:
        running.upload("talk.wav", sentence)
        yield running


def test_the_words_are_those_of_stream(server: "Server") -> None:
    name = f"{uuid.uuid4()}.mp3"
    server.upload(name, (DATA / "jfk.mp3").read_bytes())
    with opened(server) as ws:
        ws.send(name)
        finals, done = answer(ws)
    job = ended(server, submit(server, name)["Name"])
    assert job["Status"] == "COMPLETED", job
    assert job["AudioSeconds"] == job["Duration"] == done["AudioSeconds"]
    found = server.http.get(f"/transcripts/{job['Transcript']}").json()
    assert found["Source"] == "job"
    results = found["Transcript"]["Results"]
    assert [each["Alternatives"][0]["Transcript"] for each in results] == finals
    streamed = server.http.get(f"/transcripts/{done['SessionId']}").json()["Transcript"]["Results"]
    for result in (*results, *streamed):
        del result["ResultId"]
    assert results == streamed


def test_a_job_is_listed_read_and_deleted(server: "Server", sentence: bytes) -> None:
    recording, name = f"{uuid.uuid4()}.wav", f"job-{uuid.uuid4()}"
    server.upload(recording, sentence)
    submit(server, recording, Name=name, Tags={"Größe": "1"}, LanguageCode="en-US")
    job = ended(server, name)
    assert server.http.get(f"/jobs/{name}").json() == job
    assert (job["Media"], job["Recording"]) == (f"audio://{recording}", recording)
    assert (job["Tags"], job["LanguageCode"], job["Warnings"]) == ({"Größe": "1"}, "en-US", [])
    page = server.http.get("/jobs", params={"name": name.upper(), "status": "COMPLETED"}).json()
    assert page == {"Jobs": [job], "Next": None}
    assert server.http.get("/jobs", params={"name": name, "status": "FAILED"}).json()["Jobs"] == []
    seen = server.http.get(f"/jobs/{name}/events", headers={"Last-Event-ID": "COMPLETED"})
    assert seen.status_code == 204
    assert server.http.delete(f"/jobs/{name}").status_code == 204
    for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
        assert server.http.request(method, f"/jobs/{name}{path}").status_code == 404
    assert server.http.get(f"/transcripts/{job['Transcript']}").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"Recording": "nothing.wav"}, 404, "Upload it first"),
        ({"Recording": "a/b.wav"}, 400, "not a valid name"),
        ({"Media": "s3://bucket/talk.wav"}, 400, "audio://NAME"),
        ({"Media": "talk.wav"}, 400, "audio://NAME"),
        ({}, 400, "Name one recording"),
        ({"Recording": "talk.wav", "Media": "audio://talk.wav"}, 400, "Name one recording"),
        ({"Recording": "talk.wav", "Langage": "en-US"}, 400, "Langage"),
        ({"Recording": "talk.wav", "LanguageCode": "tlh"}, 400, "'tlh'"),
        ({"Recording": "talk.wav", "Engine": "none"}, 400, "none"),
        ({"Recording": "talk.wav", "Track": 0}, 400, "Track"),
        ({"Recording": "talk.wav", "VocabularyFilters": ["none"]}, 400, "vocabulary filter 'none'"),
        ({"Recording": "talk.wav", "Name": "no name"}, 400, "not a valid name of a job"),
        ({"Recording": "talk.wav", "Tags": {"a": 1}}, 400, "Tags.a"),
        ([], 400, "JSON"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    queue: "Server", body: object, status: int, said: str
) -> None:
    answered = queue.http.post("/jobs", json=body)
    assert (answered.status_code, said in answered.json()["detail"]) == (status, True), answered.text
    assert queue.http.get("/jobs").json()["Jobs"] == []


def test_the_queue_is_bounded(queue: "Server") -> None:
    names = [submit(queue, "talk.wav", Name=f"n{number}")["Name"] for number in range(5)]
    refused = queue.http.post("/jobs", json={"Recording": "talk.wav"})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    first = queue.http.get("/jobs?limit=3").json()
    second = queue.http.get("/jobs", params={"limit": 3, "before": first["Next"]}).json()
    assert [job["Name"] for job in first["Jobs"] + second["Jobs"]] == names[::-1]
    assert queue.http.post("/jobs", json={"Recording": "talk.wav", "Name": "n0"}).status_code == 409
    assert queue.http.get("/jobs?before=x").status_code == 400
    assert queue.http.patch("/audio/talk.wav", json={"Name": "speech.wav"}).status_code == 200
    assert queue.http.get("/jobs/n0").json()["Recording"] == "speech.wav"
    assert queue.http.patch("/audio/speech.wav", json={"Name": "talk.wav"}).status_code == 200
    for name in names:
        assert queue.http.delete(f"/jobs/{name}").status_code == 204


def test_a_deleted_job_tells_who_follows_it(queue: "Server") -> None:
    submit(queue, "talk.wav", Name="one")
    with queue.http.stream("GET", "/jobs/one/events", timeout=WAIT) as told:
        lines = told.iter_lines()
        assert next(lines) == "event: job"
        with httpx.Client(base_url=queue.url) as other:
            assert other.delete("/jobs/one").status_code == 204
        assert "event: error" in list(lines)


def test_who_stops_following_makes_room(queue: "Server", eventually: Callable[..., None]) -> None:
    submit(queue, "talk.wav", Name="one")

    def follow() -> int:
        with queue.http.stream("GET", "/jobs/one/events", timeout=WAIT) as told:
            return told.status_code

    for _ in range(MOST_WATCHERS + 5):
        follow()
    eventually(lambda: follow() == 200, 5, "those who have gone are not counted")
    assert queue.http.delete("/jobs/one").status_code == 204


def test_a_running_job_is_cancelled_by_deleting_it(
    server: "Server", repeated: Callable[[int], bytes], eventually: Callable[..., None]
) -> None:
    name = f"{uuid.uuid4()}.wav"
    server.upload(name, repeated(300))
    job = submit(server, name)["Name"]
    progress = 0.0
    with server.http.stream("GET", f"/jobs/{job}/events", timeout=WAIT) as told:
        for line in told.iter_lines():
            if line.startswith("data: "):
                now = json.loads(line.removeprefix("data: "))
                progress = now["AudioSeconds"]
                if progress > 0:
                    break
    assert now["Duration"] == pytest.approx(300 * 2.15, abs=10)
    assert 0 < progress < now["Duration"]
    assert server.http.delete(f"/jobs/{job}").status_code == 204
    eventually(lambda: server.streams == 0, 10, "the job's stream has ended")
    assert server.http.get("/transcripts", params={"recording": name}).json()["Transcripts"] == []
    server.http.delete(f"/audio/{name}")


def test_owners_see_their_own_jobs(
    run_server: "Callable[..., AbstractContextManager[Server]]",
    script: Path,
    sentence: bytes,
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys"
    roles = {"anna": "transcribe", "bert": "read", "boss": "admin"}
    keys.write_text("".join(f"{key} {SECRETS[key]} {role} {key}\n" for key, role in roles.items()))
    keys.chmod(0o600)
    options = ["--engine", "scripted", "--script", str(script), "--access-keys", str(keys)]
    with run_server(*options) as server:
        ask = server.http.request
        files = {"file": ("talk.wav", sentence, "audio/wav")}
        assert ask("POST", "/audio", files=files, headers=headers("anna")).status_code == 200
        submit(server, "talk.wav", "anna", Name="one")
        job = ended(server, "one", "anna")
        assert (job["Status"], job["Key"], job["Owner"]) == ("COMPLETED", "anna", "anna")
        for method, path in (("GET", "/jobs/one"), ("GET", "/jobs/one/events"), ("DELETE", "/jobs/one")):
            status = 403 if method == "DELETE" else 404
            assert ask(method, path, headers=headers("bert")).status_code == status
            assert ask(method, f"{path}?owner=anna", headers=headers("bert")).status_code == 403
            assert ask(method, path, headers={"Authorization": ""}).status_code == 401
        assert ask("GET", "/jobs", headers=headers("bert")).json()["Jobs"] == []
        refused = ask("POST", "/jobs", json={"Recording": "talk.wav"}, headers=headers("bert"))
        assert refused.status_code == 403
        assert ask("POST", "/jobs?owner=boss", json={}, headers=headers("anna")).status_code == 403
        assert ask("GET", "/jobs", headers=headers("boss")).json()["Jobs"] == [job]
        assert ask("GET", "/jobs/one", headers=headers("boss")).status_code == 404
        assert ask("GET", "/jobs/one?owner=anna", headers=headers("boss")).json() == job
        assert ask("DELETE", "/jobs/one?owner=anna", headers=headers("boss")).status_code == 204
        usage = ask("GET", "/metrics", headers=headers("boss")).text
        assert 'transcribed_key_streams_opened_total{key="anna"} 1.0' in usage
        assert "transcribed_jobs_completed_total 1.0" in usage
        for secret in SECRETS.values():
            assert secret not in server.log.read_text()


def test_a_stopped_server_leaves_its_jobs_to_the_next(
    run_server: "Callable[..., AbstractContextManager[Server]]",
    repeated: Callable[[int], bytes],
    tmp_path: Path,
) -> None:
    place = ["--transcripts", str(tmp_path / "transcripts.db"), "--audio", str(tmp_path / "audio")]
    with run_server(*place, "--model", "tiny") as server:
        server.upload("long.wav", repeated(60))
        submit(server, "long.wav", Name="one")
        with server.http.stream("GET", "/jobs/one/events", timeout=WAIT) as told:
            for line in told.iter_lines():
                if line.startswith("data: ") and json.loads(line[6:])["AudioSeconds"] > 0:
                    break
        server.stop()
    with run_server(*place, "--model", "tiny") as server:
        job = ended(server, "one")
        assert job["Status"] == "COMPLETED", job
        (found,) = server.http.get("/transcripts").json()["Transcripts"]
        assert found["SessionId"] == job["Transcript"]
        text = server.http.get(f"/transcripts/{job['Transcript']}.txt").text
        assert text.count("This is a test.") == 60


def test_killed_servers_lose_no_job_and_do_none_twice(
    run_server: "Callable[..., AbstractContextManager[Server]]",
    script: Path,
    sentence: bytes,
    tmp_path: Path,
) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "talk.wav").write_bytes(sentence)
    place = ["--transcripts", str(tmp_path / "transcripts.db"), "--audio", str(tmp_path / "audio")]
    start = partial(run_server, "--engine", "scripted", "--script", str(script), *place, *LEASE)
    killed_and_finished(start, 4, random.Random())


def test_the_commands(
    queue: "Server", run: Callable[..., "subprocess.CompletedProcess[str]"], sentence: bytes
) -> None:
    at = {"TRANSCRIBED_SERVER": queue.url}
    for name in ("part-1.wav", "part-2.wav"):
        queue.upload(name, sentence)
    done = run("jobs", "submit", "--prefix", "part-", settings=at)
    names = done.stdout.split()
    assert (done.returncode, len(names)) == (0, 2), done.stderr
    done = run("jobs", "submit", "talk.wav", "--name", "one", "--language", "en-US", settings=at)
    assert (done.returncode, done.stdout) == (0, "one\n"), done.stderr
    done = run("jobs", "submit", "talk.wav", "none.wav", settings=at)
    assert done.returncode == 1
    assert "none.wav: There is no recording" in done.stderr
    names += ["one", *done.stdout.split()]
    listed = run("jobs", "list", settings=at).stdout.splitlines()
    assert listed[0].split() == ["JOB", "STATUS", "RECORDING", "SUBMITTED", "PROGRESS"]
    assert [line.split()[:3] for line in listed[2:3]] == [["one", "QUEUED", "talk.wav"]]
    assert len(listed) == 5
    as_json = json.loads(run("jobs", "list", "--json", "--status", "QUEUED", settings=at).stdout)
    assert [job["Name"] for job in as_json] == names[::-1]
    assert re.search("LanguageCode +en-US", run("jobs", "show", "one", settings=at).stdout)
    done = run("jobs", "cancel", *names, "unknown", settings=at)
    assert (done.returncode, "unknown: There is no job" in done.stderr) == (1, True)
    assert "There are no jobs." in run("jobs", "list", settings=at).stderr
    assert run("jobs", "submit", settings=at).returncode == 2
    assert run("jobs", "submit", "a", "b", "--name", "c", settings=at).returncode == 2
    lost = run("jobs", "list", "--server", "http://127.0.0.1:1")
    assert (lost.returncode, "No server answers" in lost.stderr) == (1, True)
    assert run("jobs", "list", "--server", "localhost:1").returncode == 1


def test_a_command_follows_a_job_with_a_key(
    guarded: "Server",
    run: Callable[..., "subprocess.CompletedProcess[str]"],
    sentence: bytes,
    tmp_path: Path,
) -> None:
    name = f"{uuid.uuid4()}.wav"
    guarded.upload(name, sentence)
    secret = guarded.http.headers["authorization"].removeprefix("Bearer ")
    (tmp_path / "secret").write_text(f"{secret}\n")
    at = {"TRANSCRIBED_SERVER": guarded.url}
    done = run("jobs", "submit", name, "--follow", settings=at | {"TRANSCRIBED_SECRET": secret})
    assert done.returncode == 0, done.stderr
    assert "COMPLETED 1 s" in done.stderr
    job = done.stdout.strip()
    shown = run("jobs", "show", job, "--json", "--secret-file", str(tmp_path / "secret"), settings=at)
    assert json.loads(shown.stdout)["Status"] == "COMPLETED"
    refused = run("jobs", "list", settings=at)
    assert (refused.returncode, "key" in refused.stderr) == (1, True)
