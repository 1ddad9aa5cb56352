"""Kills of a server with jobs, at random moments: no job may be lost, and none may be done twice."""

import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conftest import Server

JOBS = 4
"""Jobs that are submitted to each server before it is killed."""
LEASE = ("--job-lease", "1", "--jobs", "2")
_MOST_SECONDS = 60


def killed_and_finished(
    start: "Callable[[], AbstractContextManager[Server]]", runs: int, chance: random.Random
) -> None:
    """Kill `runs` servers that share a database, and see what the last one makes of all their jobs.

    `start` starts a server whose library has the recording talk.wav.
    """
    submitted: list[str] = []
    numbers = itertools.count()
    for _ in range(runs):
        with start() as server:
            for _ in range(JOBS):
                name = f"job-{next(numbers)}"
                answer = server.http.post("/jobs", json={"Recording": "talk.wav", "Name": name})
                assert answer.status_code == 201, answer.text
                submitted.append(name)
            time.sleep(chance.uniform(0, 0.6))
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
    with start() as server:
        end = time.monotonic() + _MOST_SECONDS
        while (found := _jobs(server)) and time.monotonic() < end:
            if all(job["Status"] in {"COMPLETED", "FAILED"} for job in found.values()):
                break
            time.sleep(0.1)
        assert sorted(found) == sorted(submitted)
        for job in found.values():
            # A server that is killed three times while it runs a job gives it up, and says so.
            given_up = "The server ended 3 times" in (job["Failure"] or "")
            assert job["Status"] == "COMPLETED" or given_up, job
        transcripts = _transcripts(server)
        results = Counter(job["Transcript"] for job in found.values() if job["Transcript"])
        assert set(results.values()) <= {1}
        assert Counter(transcripts) == results, "each transcript is of one job, and whole"


def _jobs(server: "Server") -> dict[str, Any]:
    return {job["Name"]: job for job in _pages(server, "/jobs", "Jobs")}


def _transcripts(server: "Server") -> list[str]:
    found = _pages(server, "/transcripts", "Transcripts")
    for each in found:
        assert each["Ended"] is not None, each
        whole = server.http.get(f"/transcripts/{each['SessionId']}.txt").text
        assert whole.split() == ["first", "second"], whole
    return [each["SessionId"] for each in found]


def _pages(server: "Server", path: str, member: str) -> list[dict[str, Any]]:
    found, before = [], None
    while True:
        query = {"limit": "200"} | ({"before": before} if before else {})
        page = server.http.get(path, params=query).json()
        found += page[member]
        before = page["Next"]
        if before is None:
            return found
