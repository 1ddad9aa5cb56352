"""A short run of what `python tests/fuzz` does at length."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import containers
import mutations
import offline
import served
import served_containers

if TYPE_CHECKING:
    from tests.conftest import Server


def test_only_documented_errors_come_of_mutated_streams() -> None:
    figures = offline.run(8000, seed=1)
    for error in offline.DOCUMENTED:
        assert any(error in end for end in figures.ends), f"{error!r} was not reached"
    assert figures.most_memory > mutations.MAX_MESSAGE, "a message as long as one may be was held"


def test_reading_mutated_streams_leaks_nothing() -> None:
    assert offline.grown(500, 10, seed=1) < 2**19


def test_a_server_survives_mutated_streams(
    tmp_path: Path, run_server: Callable[..., AbstractContextManager["Server"]]
) -> None:
    launcher = [sys.executable, str(served.WATCHED)]
    with run_server(*served.options(tmp_path), launcher=launcher) as server:
        ends, before, after = served.attack(server, 200, seed=1)
    assert after.left_behind(before) == {}
    assert {"Http2: BadRequestException", "Ws: BadRequestException", "Http2: in good order"} <= set(ends)


def test_a_server_survives_mutated_containers(
    tmp_path: Path, run_server: Callable[..., AbstractContextManager["Server"]]
) -> None:
    launcher = [sys.executable, str(served.WATCHED)]
    kept = containers.recordings()
    with run_server(*served_containers.options(tmp_path), launcher=launcher) as server:
        figures, before, after = served_containers.attack(server, kept, range(150), seed=1)
    assert after.left_behind(before) == {}
    assert after.resident < before.resident + served_containers.MOST_GROWTH
    assert figures.most_memory < served_containers.MOST_MEMORY
    # Of each kind of answer there were some.
    assert {"uploaded: 200", "uploaded: 415", "streamed: in good order", "live: in good order"} <= set(
        figures.ends
    )
    assert len(figures.lateness) > 1
    assert max(figures.lateness) < served_containers.LATE
