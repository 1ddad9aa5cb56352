"""Servers that share a PostgreSQL share the queue of jobs."""

import json
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from job_kills import LEASE, killed_and_finished

if TYPE_CHECKING:
    from tests.conftest import Server

Start = Callable[..., "AbstractContextManager[Server]"]


@pytest.fixture
def start(
    run_server: "Start", postgresql_place: str, sentence: bytes, tmp_path: Path
) -> "Callable[..., AbstractContextManager[Server]]":
    """Starts servers with one database and one library."""
    script = tmp_path / "script.json"
    events = [
        {"at": 0.5, "text": "first", "final": True},
        {"at": "end", "text": "second", "final": True},
    ]
    script.write_text(json.dumps({"events": events}))
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "talk.wav").write_bytes(sentence)
    place = ["--transcripts", postgresql_place, "--audio", str(tmp_path / "audio")]
    return partial(run_server, "--engine", "scripted", "--script", str(script), *place)


def test_a_job_of_one_server_is_done_by_another(start: "Start", eventually: Callable[..., None]) -> None:
    with start("--jobs", "0") as asked, start() as working:
        names = [f"{number}" for number in range(6)]
        for name in names:
            answered = asked.http.post("/jobs", json={"Recording": "talk.wav", "Name": name})
            assert answered.status_code == 201, answered.text

        def are_done() -> bool:
            jobs = asked.http.get("/jobs").json()["Jobs"]
            return sorted(job["Name"] for job in jobs if job["Status"] == "COMPLETED") == names

        eventually(are_done, 20, "the other server has done the jobs")
        assert "transcribed_jobs_completed_total 6.0" in working.http.get("/metrics").text
        assert len(working.http.get("/transcripts").json()["Transcripts"]) == 6


def test_killed_servers_lose_no_job_and_do_none_twice(start: "Start") -> None:
    killed_and_finished(partial(start, *LEASE), 2, random.Random())
