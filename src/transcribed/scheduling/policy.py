"""Who steps next, as a pure function."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from transcribed.engines.base import Pace, StepKind

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Candidate(Generic[S]):
    """A stream with something to do."""

    stream: S
    pace: Pace
    kind: StepKind
    waiting_since: float
    """When it last became able to step, or last finished a step; any clock."""


def choose(candidates: Iterable[Candidate[S]]) -> S | None:
    """The stream that steps next.

    Live streams go before those that take their audio as fast as it is recognised. Among live ones, finals
    and listening go before partials, which can be left out; among equals, the one that waits longest.
    """
    chosen = min(candidates, key=_rank, default=None)
    return None if chosen is None else chosen.stream


def _rank(candidate: Candidate[S]) -> tuple[bool, bool, float]:
    return (
        candidate.pace is not Pace.LIVE,
        candidate.pace is Pace.LIVE and candidate.kind is StepKind.PARTIAL,
        candidate.waiting_since,
    )
