"""The figures of a run, from the scores of its streams to a row of the table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import jiwer
import numpy as np
from client import Stream
from dialects import DIALECTS
from material import Material
from measure import Cost
from scoring import score
from whisper_normalizer.english import EnglishTextNormalizer


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of figures in seconds; None without figures."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Percentiles":
        """Return the percentiles of values."""
        if not values:
            return cls(0, None, None, None)
        p50, p95, p99 = (round(float(value), 3) for value in np.percentile(values, (50, 95, 99)))
        return cls(len(values), p50, p95, p99)


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of a run. Latencies and WER cover served streams; shares are of the reference's words.

    `final_by_server` is measured from the end of the segment that the server reports. `worst_stream_p95` is
    the largest p95 of a stream. CPU is in seconds per second of audio sent, memory in MiB.
    """

    server: str
    offered: int
    seconds: float
    served: int
    refused: int
    failed: int
    word: Percentiles
    worst_stream_p95: float | None
    final: Percentiles
    final_by_server: Percentiles
    refusal: Percentiles
    updates_per_second: float
    wer: float | None
    words: int
    words_wrong: float
    words_unplaced: float
    cpu: float
    memory_idle: float
    memory_peak: float
    memory_per_stream: float
    client_cpu: float
    client_late: float
    client_blocked: float
    others_cpu: float
    problems: dict[str, int]

    def as_json(self) -> dict[str, object]:
        """Return all figures as JSON."""
        return asdict(self)


def summarise(
    server: str, seconds: float, materials: list[Material], streams: list[Stream], cost: Cost
) -> Run:
    """Return the figures of a run from its streams."""
    shown = DIALECTS[server].shown
    served = [
        (material, score(material.words, shown(stream.messages)))
        for material, stream in zip(materials, streams, strict=True)
        if stream.outcome == "served"
    ]
    scores = [result for _, result in served]
    outcomes = Counter(stream.outcome for stream in streams)
    words = sum(result.words for result in scores)
    sent = sum(stream.seconds for stream in streams)
    heard = sum(material.seconds for material, _ in served)
    by_stream = [float(np.percentile(s.latencies, 95)) for s in scores if s.latencies]
    return Run(
        server=server,
        offered=len(streams),
        seconds=seconds,
        served=outcomes["served"],
        refused=outcomes["refused"],
        failed=outcomes["failed"],
        word=Percentiles.of([value for s in scores for value in s.latencies]),
        worst_stream_p95=round(max(by_stream), 3) if by_stream else None,
        final=Percentiles.of([value for s in scores for value in s.finals]),
        final_by_server=Percentiles.of([value for s in scores for value in s.finals_by_server]),
        refusal=Percentiles.of([s.refused_after for s in streams if s.refused_after is not None]),
        updates_per_second=round(_share(sum(s.updates for s in scores), heard), 2),
        wer=wer_of([(material.text, result.text) for material, result in served]),
        words=words,
        words_wrong=round(_share(sum(s.words - s.right for s in scores), words), 4),
        words_unplaced=round(_share(sum(s.unplaced for s in scores), words), 4),
        cpu=round(_share(cost.server_cpu, sent), 4),
        memory_idle=round(cost.idle, 1),
        memory_peak=round(cost.peak, 1),
        memory_per_stream=round(_share(cost.peak - cost.idle, len(served)), 2),
        client_cpu=round(_share(cost.client_cpu, cost.seconds), 3),
        client_late=round(max(stream.late for stream in streams), 3),
        client_blocked=round(max(stream.blocked for stream in streams), 3),
        others_cpu=round(_share(cost.others_cpu, cost.seconds), 3),
        problems=dict(Counter(stream.detail[:200] for stream in streams if stream.detail)),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def wer_of(texts: list[tuple[str, str]]) -> float | None:
    """Return the WER in percent of pairs of reference and transcript, after Whisper's normaliser."""
    normalise = EnglishTextNormalizer()
    pairs = [(normalise(reference), normalise(said)) for reference, said in texts]
    if not pairs:
        return None
    references, found = map(list, zip(*pairs, strict=True))
    return round(100 * float(jiwer.wer(references, found)), 2)


_COLUMNS = {
    "server": 15,
    "streams": 7,
    "ref.": 4,
    "fail": 4,
    "word p50": 8,
    "p95": 6,
    "p99": 6,
    "worst": 6,
    "final p50": 9,
    "p95 ": 6,
    "upd/s": 5,
    "WER %": 5,
    "wrong": 5,
    "unseen": 6,
    "CPU": 5,
    "MB/str": 6,
    "late": 5,
    "others": 6,
}


def heading() -> str:
    """Return the header of the table."""
    return " ".join(f"{name:>{width}}" for name, width in _COLUMNS.items())


def row(run: Run) -> str:
    """Return a run as a row of the table."""
    values = [
        run.server,
        str(run.offered),
        str(run.refused),
        str(run.failed),
        _seconds(run.word.p50),
        _seconds(run.word.p95),
        _seconds(run.word.p99),
        _seconds(run.worst_stream_p95),
        _seconds(run.final.p50),
        _seconds(run.final.p95),
        f"{run.updates_per_second:.2f}",
        "-" if run.wer is None else f"{run.wer:.1f}",
        f"{100 * run.words_wrong:.1f}",
        f"{100 * run.words_unplaced:.1f}",
        f"{run.cpu:.3f}",
        f"{run.memory_per_stream:.1f}",
        f"{run.client_late:.2f}",
        f"{run.others_cpu:.2f}",
    ]
    return " ".join(f"{value:>{width}}" for value, width in zip(values, _COLUMNS.values(), strict=True))


def notes(run: Run) -> list[str]:
    """Return remarks about figures for which the table has no column."""
    lines = [f"  {count} x {problem}" for problem, count in run.problems.items()]
    if run.refusal.count:
        lines.append(f"  refused after {run.refusal.p50:.3f} s (p95 {run.refusal.p95:.3f})")
    if run.final_by_server.count:
        lines.append(
            f"  final, from the end that the server states: p50 {run.final_by_server.p50:.2f}, "
            f"p95 {run.final_by_server.p95:.2f} s ({run.final_by_server.count} finals)"
        )
    lines.append(
        f"  clients: {run.client_cpu:.2f} of a core, blocked {run.client_blocked:.3f} s at most; "
        f"memory {run.memory_idle:.0f} MiB idle, {run.memory_peak:.0f} at most"
    )
    return lines


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
