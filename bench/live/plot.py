"""Plots word latency (p50 and p95) against the number of streams, for several servers.

    python bench/live/plot.py OUT FIGURES.json ...

OUT is an .svg or .png file; each of FIGURES was written by `python bench/live --json`.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PROMISE = 1.0


def plot(runs: Iterable[dict[str, Any]], out: Path) -> None:
    """Draw the runs. Raises SystemExit if matplotlib is missing."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - nothing else here needs it
    except ImportError:
        raise SystemExit("A picture needs matplotlib: pip install matplotlib") from None
    servers: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        if run["word"]["p50"] is not None:
            servers[run["server"]].append(run)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (name, measured) in enumerate(servers.items()):
        measured.sort(key=lambda run: run["offered"])
        counts = [run["offered"] for run in measured]
        for share, style in (("p95", "o-"), ("p50", "o:")):
            values = [max(run["word"][share], 0.01) for run in measured]
            axes.plot(counts, values, style, color=f"C{number}", label=f"{name}, {share}")
    axes.axhline(PROMISE, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xlabel="streams", ylabel="word latency, s", yscale="log", ylim=(0.01, None), xlim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def main() -> None:
    """Draw saved figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("figures", type=Path, nargs="+")
    given = parser.parse_args()
    plot((run for path in given.figures for run in json.loads(path.read_text())["runs"]), given.out)


if __name__ == "__main__":
    main()
