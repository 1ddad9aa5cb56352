"""Simulates a service of live streams in virtual time, with the policy, meters and load of the scheduler.

Steps have given costs with noise, on cores that other programs and the server itself use, too. The same
seed gives the same run. Times are in seconds.
"""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from transcribed.engines.base import Costs, Effort, Hypothesis, StepKind
from transcribed.options import Pace
from transcribed.scheduling.effort import StreamEffort
from transcribed.scheduling.load import Load
from transcribed.scheduling.meter import Meter, Step
from transcribed.scheduling.policy import Candidate, SenderClock, choose
from transcribed.scheduling.processors import share_beside

CHUNK = 0.1
LISTENING, FINALS = 0.003, 0.017
"""Cost of a second of audio."""
PARTIAL, MORE_PARTIAL = 0.024, 0.024
"""Cost of a partial of reduced effort, and for each second of new audio in it."""
COSTS = Costs(LISTENING + FINALS, PARTIAL + MORE_PARTIAL * 0.7)
"""The costs of a busy machine."""
FULL_EFFORT = 1.8
"""How many times as much a partial of full effort costs."""
ENDPOINT = 0.5
WORD = 0.3
HELD_BACK = 0.1
"""The part of words that are uncertain in the first partial that has them, and are shown with the next."""
SERVER = 0.08
"""The part of the machine that the server needs beside its steps."""


@dataclass(eq=False)
class Speaker:
    """A live stream: utterances of 3 to 12 s with pauses of 0.5 to 1 s."""

    random: Random
    start: float
    length: float
    meter: Meter
    effort: StreamEffort = field(default_factory=StreamEffort)
    sender: SenderClock = field(default_factory=SenderClock)
    received: float = 0.0
    heard: float = 0.0
    recognised: float = 0.0
    closed: bool = False
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """When each word was shown, and how long after it had been spoken."""
    efforts: list[Effort | None] = field(default_factory=list)
    """The effort of each partial, and None for each final."""

    def __post_init__(self) -> None:
        self.begin = self.end = 0.0
        self._next_utterance(0.3)

    def _next_utterance(self, after: float) -> None:
        self.begin = after + self.random.uniform(0.0, 0.5)
        self.end = self.begin + self.random.uniform(3.0, 12.0)
        self.recognised = self.begin
        self.closed = False
        words = int((self.end - self.begin) / WORD)
        self._words = [self.begin + WORD * (number + 1) for number in range(words)]

    def next_step(self) -> tuple[StepKind, float] | None:
        if self.closed:
            return StepKind.FINAL, self.end
        backlog = self.received - self.heard
        new = min(self.received, self.end) - self.recognised
        if self.received >= self.begin + 0.45 and new >= 0.08 and backlog <= 0.3:
            return StepKind.PARTIAL, max(self.recognised, self.begin + 0.37)
        return (StepKind.LISTEN, self.heard) if backlog > 0.03 else None

    def step(self, kind: StepKind, effort: Effort) -> tuple[float, float, float]:
        """Do a step. Return what it costs, and the seconds of audio heard and of audio recognised first."""
        if kind is StepKind.FINAL:
            return FINALS * (self.end - self.begin), 0.0, 0.0
        heard = min(0.5, self.received - self.heard, self.end + ENDPOINT - self.heard)
        self.heard += heard
        self.closed = self.heard >= self.end + ENDPOINT
        cost, new = LISTENING * heard, 0.0
        if kind is StepKind.PARTIAL:
            end = min(self.heard, self.end)
            new = end - self.recognised
            times = 1.0 if effort is Effort.REDUCED else FULL_EFFORT
            cost += times * (PARTIAL + MORE_PARTIAL * new)
            self.recognised = end
        return cost, heard, new

    def stepped(self, kind: StepKind, effort: Effort, now: float) -> list[Hypothesis]:
        """Show what a step has recognised."""
        if kind is StepKind.FINAL:
            self.efforts.append(None)
            self._show(self.end, now, 0.0)
            said = Hypothesis(0, self.begin, self.end, "said", final=True)
            self._next_utterance(self.heard)
            return [said]
        if kind is StepKind.PARTIAL:
            self.efforts.append(effort)
            self._show(self.recognised, now, HELD_BACK)
        return []

    def _show(self, end: float, now: float, held_back: float) -> None:
        left = []
        for word in self._words:
            if word > end or (word > end - 2 * WORD and self.random.random() < held_back):
                left.append(word)
            else:
                self.latencies.append((now, now - self.start - word))
        self._words = left


class SimulatedService:
    """Threads that step as the scheduler has them do, on as many cores."""

    def __init__(self, measured: Costs = COSTS, cores: int = 2, seed: int = 1) -> None:
        self.now = 0.0
        self._others = 0
        self.slower = 1.0
        """By how much everything costs more, as where others displace what is in caches."""
        self.meter = Meter(measured, reduces=True)
        self.load = Load(cores)
        self.load.loaded(measured.share)
        self.streams: list[Speaker] = []
        self._random = Random(seed)
        self._cores = self._idle = cores
        self._open: set[Speaker] = set()
        self._candidates: dict[Speaker, Candidate[Speaker]] = {}
        self._stepping: set[Speaker] = set()
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    @property
    def others(self) -> int:
        """Other programs that always compute. All that compute share the cores evenly."""
        return self._others

    @others.setter
    def others(self, count: int) -> None:
        self._others = count
        self.load.beside(share_beside(count, self._cores, self._cores))

    def run(self, seconds: float) -> None:
        """Serve for so long."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = until

    def offer(self, count: int, length: float, over: float = 5.0, *, admit: bool = True) -> list[Speaker]:
        """Offer streams of some length, one after the other. Return those that are let in."""
        found = []
        for _ in range(count):
            if not admit or self.load.admits(self.meter, self.now):
                found.append(self._opened(length))
            self.run(over / count)
        return found

    def p95(self, streams: list[Speaker], since: float) -> float:
        """The word latency of 95 of 100 words that were shown since some time."""
        latencies = sorted(value for each in streams for shown, value in each.latencies if shown >= since)
        return latencies[int(0.95 * (len(latencies) - 1))]

    def _opened(self, length: float) -> Speaker:
        stream = Speaker(Random(self._random.random()), self.now, length, self.meter)
        self.load.opened(self.meter)
        self._open.add(stream)
        self._at(self.now + CHUNK * (1 + self._random.random()), lambda: self._received(stream))
        return stream

    def _received(self, stream: Speaker) -> None:
        stream.received += CHUNK
        stream.sender.received(self.now, stream.received)
        if stream.received >= stream.length:
            self._open.discard(stream)
            self._candidates.pop(stream, None)
            self.load.closed(self.meter)
        else:
            self._at(self.now + CHUNK, lambda: self._received(stream))
            self._queue(stream)

    def _at(self, time: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), action))

    def _queue(self, stream: Speaker) -> None:
        following = stream.next_step()
        if stream in self._open and stream not in self._stepping and following is not None:
            due = stream.sender.spoken_at(following[1])
            self._candidates[stream] = Candidate(stream, Pace.LIVE, following[0], due)
            self._dispatch()

    def _dispatch(self) -> None:
        while self._idle and self._candidates:
            stream = choose(self._candidates.values(), self.now)
            assert stream is not None
            candidate = self._candidates.pop(stream)
            self._idle -= 1
            self._stepping.add(stream)
            effort = stream.effort.of(candidate.kind, self.load.rule)
            arrived = stream.sender.arrived_at(candidate.due - stream.sender.spoken_at(0.0))
            cost, heard, recognised = stream.step(candidate.kind, effort)
            cost *= self.slower * self._random.uniform(0.7, 1.3)
            computing = self._cores - self._idle + self.others
            speed = min(1.0, self._cores * (1 - SERVER) / computing)
            ended = self.now + cost / speed + 0.0003
            conditions = (self.now, self._idle == 0, max(candidate.due, arrived), cost, heard, recognised)
            self._at(ended, lambda c=candidate, e=effort, x=conditions: self._stepped(c, e, *x))  # type: ignore[misc]

    def _stepped(
        self,
        candidate: Candidate[Speaker],
        effort: Effort,
        began: float,
        busy: bool,
        due: float,
        cost: float,
        heard: float,
        recognised: float,
    ) -> None:
        stream = candidate.stream
        self._idle += 1
        self._stepping.discard(stream)
        events = stream.stepped(candidate.kind, effort, self.now)
        taken, waited = self.now - began, self.now - due
        step = Step(candidate.kind, effort, cost, taken, heard, recognised, waited, events)
        self.meter.record(self.now, step)
        self.load.record(self.now, step, busy=busy)
        self._queue(stream)
        self._dispatch()


def is_served(count: int, others: int = 0) -> bool:
    """Whether so many streams, of which none is refused, show 95 of 100 words within a second."""
    service = SimulatedService()
    service.others = others
    streams = service.offer(count, 40.0, admit=False)
    service.run(30.0)
    return service.p95(streams, since=10.0) <= 1.0
