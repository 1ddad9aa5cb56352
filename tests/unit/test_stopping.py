"""The end that comes in time, of real processes."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Grace is taken off what a stop may take, so that nobody waits for a quarter of a minute.
_STOPS = """
import asyncio, logging, sys, threading, time
logging.basicConfig(format="%(levelname)s %(message)s")
from transcribed.stopping import StopSignals

def copy_for_ever():
    time.sleep(600)

async def wait_for_ever():
    await asyncio.sleep(600)

async def main():
    stopping = asyncio.Event()
    StopSignals(stopping.set, -12.5)
    hangs = sys.argv[1]
    if hangs == "thread":
        threading.Thread(target=copy_for_ever, name="copying").start()
    if hangs == "task":
        asyncio.get_running_loop().waits = asyncio.create_task(wait_for_ever())
    print("here", flush=True)
    if hangs == "loop":
        time.sleep(600)
    await stopping.wait()
    print("stopping", flush=True)
    if hangs == "task":
        await asyncio.sleep(600)

asyncio.run(main())
"""


@contextmanager
def process(folder: Path, hangs: str) -> Iterator["subprocess.Popen[str]"]:
    """One that hangs in some way."""
    script = folder / "stops.py"
    script.write_text(_STOPS)
    command = [sys.executable, str(script), hangs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "here\n"
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_that_is_done_in_time_is_left_alone(tmp_path: Path, number: signal.Signals) -> None:
    with process(tmp_path, "nothing") as running:
        running.send_signal(number)
        out, log = running.communicate(timeout=20)
        assert (running.returncode, out, log) == (0, "stopping\n", "")


@pytest.mark.parametrize(
    ("hangs", "named"),
    [
        ("thread", "the thread copying in copy_for_ever"),
        ("task", "the task wait_for_ever"),
        ("loop", "the thread MainThread in main"),
    ],
)
def test_whatever_hangs_the_process_ends_and_says_what(tmp_path: Path, hangs: str, named: str) -> None:
    with process(tmp_path, hangs) as running:
        began = time.monotonic()
        running.send_signal(signal.SIGTERM)
        _, log = running.communicate(timeout=20)
        assert running.returncode == 1
        assert time.monotonic() - began < 5
        assert log.startswith("ERROR The stop takes longer than it may")
        assert named in log


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with process(tmp_path, "loop") as running:
        running.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 128 + signal.SIGINT
