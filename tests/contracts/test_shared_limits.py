"""Servers that share a database count a key's day together."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
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


def test_servers_go_on_with_what_a_key_used_on_another(
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

    def is_full() -> bool:
        time.sleep(0.2)  # Each try is a stream, and `eventually` asks a hundred times a second.
        return last(two, 0) == "Error"

    with run_server(*options) as two:
        assert last(two, 1) == "Done"
        with run_server(*options) as one:
            assert last(one, 3) == "Done"
        eventually(is_full, WAIT, "the other server has read what the first wrote at its stop")
