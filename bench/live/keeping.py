"""The cost of storing the transcripts of live streams: the same streams with and without it, in turn.

    python bench/live/keeping.py SPEECH [--streams 24] [--pairs 2] [--seconds 40]

It has the requirements of bench/live. The waits for the store are read from the server's log: the time from
a final, or the end of a transcript, until it is committed and may be sent.
"""

import argparse
import re
import tempfile
from pathlib import Path
from statistics import mean

from audio import RATE
from material import Library, Material
from measure import drive
from report import Percentiles, Run, heading, row, summarise
from servers import started

_WARM_UP = 10.0
_WAIT = re.compile(r"Waited ([\d.]+) ms for the store")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--words", type=Path, default=Path("bench/results/words.json"))
    parser.add_argument("--streams", type=int, default=24)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=40)
    given = parser.parse_args()
    library = Library(given.speech, given.words)
    materials = [library.sequence(given.seconds, f"1 {number}") for number in range(given.streams)]
    runs: dict[bool, list[Run]] = {True: [], False: []}
    waits: list[float] = []
    print(heading(), flush=True)
    for pair in range(given.pairs):
        for keeps in (pair % 2 == 0, pair % 2 == 1):  # Whatever drifts, neither always comes first.
            run, waited = _run(materials, given.seconds, keeps=keeps)
            runs[keeps].append(run)
            waits += waited
            print(row(run), "kept" if keeps else "not kept", flush=True)
    print(f"waits for the store, s: {Percentiles.of([wait / 1e3 for wait in waits])}")
    for what, figure in [
        ("word p50", lambda run: run.word.p50),
        ("word p95", lambda run: run.word.p95),
        ("final p50", lambda run: run.final.p50),
        ("CPU", lambda run: run.cpu),
        ("updates", lambda run: 1 / run.updates_per_second),
        ("streams served", lambda run: 1 / run.served),
    ]:
        kept, not_kept = (mean(figure(run) for run in runs[keeps]) for keeps in (True, False))
        print(f"{what}: not kept / kept = {not_kept / kept:.3f}")


def _run(materials: list[Material], seconds: float, *, keeps: bool) -> tuple[Run, list[float]]:
    options = ["--log-level", "debug", *([] if keeps else ["--transcripts", "none"])]
    first = materials[0]
    warming = Material(first.samples[: round(_WARM_UP * RATE)], first.text, first.words)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with started("transcribed", options, log) as server:
            drive(server, [warming], 0, "warm")
            streams, cost = drive(server, materials, 5, "1")
        waits = [float(found) for found in _WAIT.findall(log.read_text())]
    return summarise("transcribed", seconds, materials, streams, cost), waits


if __name__ == "__main__":
    main()
