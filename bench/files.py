"""Recordings through a server: latency, speed and memory.

    python bench/files.py SPEECH [--runs N]

SPEECH is a folder that holds test.wav and derived_longform/train_clean_mix_dev_15min.flac.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from running import RunningServer, machine, running_server, transcript_of


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as cache:
        first, *later = (_ready_after(Path(cache)) for _ in range(given.runs + 1))
    print(f"ready, first start ever     {first:6.2f} s")
    print(f"ready, later starts         {_spread(later)} s")
    with running_server() as server:
        _short(server, given.speech / "test.wav", given.runs)
        _long(server, given.speech / "derived_longform" / "train_clean_mix_dev_15min.flac")


def _ready_after(cache: Path) -> float:
    with running_server(cache) as server:
        return server.ready_after


def _short(server: RunningServer, path: Path, runs: int) -> None:
    name = server.upload(path)
    firsts, lasts = [], []
    for _ in range(runs):
        times = [at for at, message in server.results(name) if "Transcript" in message]
        firsts.append(times[0])
        lasts.append(times[-1])
    print(f"test.wav, first partial     {_spread(firsts)} s")
    print(f"test.wav, last final        {_spread(lasts)} s")


def _long(server: RunningServer, path: Path) -> None:
    name = server.upload(path)
    before = server.process.cpu_times()
    memory = [server.memory()]
    partials = finals = 0
    for at, message in server.results(name):
        if "Done" in message:
            seconds, taken = message["Done"]["AudioSeconds"], at
            continue
        final = transcript_of(message)[1]
        finals += final
        partials += not final
        memory.append(server.memory())
    after = server.process.cpu_times()
    cpu = after.user + after.system - before.user - before.system
    quarter = len(memory) // 4
    print(f"{seconds / 60:.0f} minutes, speed           {seconds / taken:6.1f} times real time")
    print(f"{seconds / 60:.0f} minutes, results         {partials} partials, {finals} finals")
    print(f"{seconds / 60:.0f} minutes, CPU             {1000 * cpu / seconds:6.1f} ms a second of audio")
    print(
        f"{seconds / 60:.0f} minutes, memory          {max(memory):6.0f} MiB at most; "
        f"mean of the first quarter {statistics.mean(memory[1:quarter]):.0f}, "
        f"of the last {statistics.mean(memory[-quarter:]):.0f}"
    )


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
