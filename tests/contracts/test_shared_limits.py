"""Servers that share a database count a key's day together."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.sync.client import connect

from transcribed.clock import utc_now
from transcribed.scheduling.accounts import seconds_left

if TYPE_CHECKING:
    from tests.conftest import Server

WAIT = 20
SECRET = "a-secret-of-the-tests"  # noqa: S105
SECOND = bytes(32_000)
TEST_SECONDS = 60


@pytest.fixture(autouse=True)
def within_one_day() -> None:
    """A test that begins right before midnight in UTC would find another day's account at its end."""
    left = seconds_left(utc_now())
    if left < TEST_SECONDS:
        time.sleep(left + 1)


def last(server: "Server", seconds: int) -> str:
    """What comes last of a live stream."""
    own = {"Authorization": f"Bearer {SECRET}"}
    with connect(f"{server.stream_url}?format=json", additional_headers=own, open_timeout=WAIT) as ws:
        for _ in range(seconds):
            ws.send(SECOND)
        ws.send(b"")
        while True:
            (kind,) = json.loads(ws.recv(WAIT))
            if kind != "Transcript":
                return str(kind)


def test_a_second_server_and_one_that_starts_later_go_on_with_a_keys_day(
    run_server: "Callable[..., AbstractContextManager[Server]]",
    postgresql_place: str,
    tmp_path: Path,
    eventually: Callable[..., None],
) -> None:
    keys, script = tmp_path / "keys", tmp_path / "script.json"
    keys.write_text(f"shared {SECRET}\n")
    keys.chmod(0o600)
    script.write_text('{"events": []}')
    options = ["--engine", "scripted", "--script", str(script), "--access-keys", str(keys)]
    options += ["--transcripts", postgresql_place, "--key-seconds-a-day", "4"]
    with ExitStack() as running:
        one, two = (running.enter_context(run_server(*options)) for _ in range(2))
        assert last(two, 1) == last(one, 3) == "Done"
        for server in (one, two):
            eventually(lambda: last(server, 0) == "Error", WAIT, "the day is full there too")  # noqa: B023
    with run_server(*options) as three:
        assert last(three, 0) == "Error"
