"""The policy on a virtual clock: thousands of simulated streams, of which only the times count."""

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transcribed.engines.base import Costs, StepKind
from transcribed.options import Pace
from transcribed.scheduling.policy import (
    OVERHEAD,
    PROMISED_INTERVAL,
    Candidate,
    SenderClock,
    choose,
    demand,
    room,
)

LISTENING, FINALS, PARTIAL = 0.008, 0.02, 0.03
"""Seconds of a thread: for each second of audio, for each second of a segment, for each partial."""
COSTS = Costs(LISTENING + FINALS, PARTIAL)
CHUNK = 0.1
AT_ONCE, NEW, UNHEARD, ENDPOINT = 0.5, 0.15, 0.3, 0.6
BUFFERED = 5.0


@dataclass(eq=False)
class Stream:
    """What a live stream of the engine would do next, and how long it would take."""

    speech: Sequence[tuple[float, float]]
    """From where to where somebody speaks, in seconds of audio."""
    length: float
    received: float = 0.0
    sender: SenderClock = field(default_factory=SenderClock)
    heard: float = 0.0
    recognised: float = 0.0
    closed: bool = False
    segment: int = 0
    waits: list[float] = field(default_factory=list)
    """How long what was new in each partial had waited for it: since the last one, as a rule."""
    finals: list[float] = field(default_factory=list)
    """How long after its endpoint was received each came."""
    lags: list[float] = field(default_factory=list)

    pace = Pace.LIVE

    def take(self, now: float, received: float) -> None:
        self.received = min(received, self.length)
        self.sender.received(now, self.received)

    @property
    def _said(self) -> tuple[float, float]:
        never = (float("inf"), float("inf"))
        return self.speech[self.segment] if self.segment < len(self.speech) else never

    def next_step(self) -> tuple[StepKind, float] | None:
        begin, end = self._said
        if self.closed:
            return StepKind.FINAL, end
        new = min(self.received, end) - max(self.recognised, begin)
        if self.heard > begin and new >= NEW and self.received - self.heard <= UNHEARD:
            return StepKind.PARTIAL, max(self.recognised, begin)
        return (StepKind.LISTEN, self.heard) if self.received > self.heard else None

    def step(self, kind: StepKind) -> float:
        """Do it; returns what it costs. What it yields is noted by `stepped`."""
        begin, end = self._said
        self._since = max(self.recognised, begin)
        if kind is StepKind.FINAL:
            return FINALS * (end - begin)
        listened = min(AT_ONCE, self.received - self.heard)
        if self.heard + listened >= end + ENDPOINT:
            listened = end + ENDPOINT - self.heard
            self.closed = True
        self.heard += listened
        if kind is StepKind.PARTIAL:
            self.recognised = min(self.heard, end)
        return LISTENING * listened + (PARTIAL if kind is StepKind.PARTIAL else 0.0)

    def stepped(self, kind: StepKind, now: float) -> None:
        if kind is StepKind.PARTIAL:
            self.waits.append(now - self.sender.spoken_at(self._since))
        elif kind is StepKind.FINAL:
            self.finals.append(now - self.sender.spoken_at(self._said[1] + ENDPOINT))
            self.segment += 1
            self.closed = False
        self.lags.append(now - self.sender.spoken_at(self.heard))

    @property
    def interval(self) -> float:
        return fmean(self.waits)


@dataclass(eq=False)
class Recording:
    """A stream that always has a step of so many seconds to do."""

    seconds: float
    steps: int = 0
    pace = Pace.FAST

    def next_step(self) -> tuple[StepKind, float]:
        return StepKind.FINAL, 0.0

    def step(self, kind: StepKind) -> float:
        return self.seconds

    def stepped(self, kind: StepKind, now: float) -> None:
        self.steps += 1


class Machine:
    """Threads that step as the scheduler has them do, and a clock that jumps from one event to the next."""

    def __init__(self, threads: int) -> None:
        self.now = 0.0
        self.busy = 0.0
        self._threads = self._idle = threads
        self._fast_steps = self._live = 0
        self._candidates: dict[Stream | Recording, Candidate[Stream | Recording]] = {}
        self._stepping: set[Stream | Recording] = set()
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, time: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), action))

    def run(self, until: float | None = None) -> None:
        """Until some time, or until nothing happens any more."""
        while self._events and (until is None or self._events[0][0] <= until):
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = self.now if until is None else until

    def live(
        self, stream: Stream, start: float = 0.0, arrival: Callable[[float], float] = lambda spoken: spoken
    ) -> None:
        """Audio that is sent as it is spoken, and arrives then or later."""

        def opened() -> None:
            self._live += 1

        def chunk(count: int) -> None:
            stream.take(self.now, count * CHUNK)
            self._offer(stream)
            if stream.received < stream.length:
                self.at(start + arrival((count + 1) * CHUNK), lambda: chunk(count + 1))

        self.at(start, opened)
        self.at(start + arrival(CHUNK), lambda: chunk(1))

    def burst(self, stream: Stream, start: float = 0.0, faster: float = 100.0) -> None:
        """Audio that is sent much faster than real time, as far as there is room for it."""

        def chunk() -> None:
            if stream.received - stream.heard < BUFFERED:
                stream.take(self.now, stream.received + CHUNK)
                self._offer(stream)
            if stream.received < stream.length:
                self.at(self.now + CHUNK / faster, chunk)

        self._live += 1
        self.at(start, chunk)

    def fast(self, recording: Recording) -> None:
        self.at(0.0, lambda: self._offer(recording))

    def _offer(self, stream: Stream | Recording) -> None:
        following = stream.next_step()
        if stream in self._stepping or following is None:
            return
        kind, since = following
        if isinstance(stream, Stream):
            due = stream.sender.spoken_at(since)
        else:
            waiting = self._candidates.get(stream)
            due = self.now if waiting is None else waiting.due
        self._candidates[stream] = Candidate(stream, stream.pace, kind, due)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._idle and self._candidates:
            may_fast = not self._live or self._threads == 1 or self._fast_steps < self._threads - 1
            stream = choose(self._candidates.values(), self.now, only_live=not may_fast)
            if stream is None:
                return
            kind = self._candidates.pop(stream).kind
            self._idle -= 1
            self._fast_steps += stream.pace is Pace.FAST
            self._stepping.add(stream)
            cost = stream.step(kind)
            self.busy += cost
            self.at(self.now + cost, lambda stream=stream, kind=kind: self._stepped(stream, kind))  # type: ignore[misc]

    def _stepped(self, stream: Stream | Recording, kind: StepKind) -> None:
        self._idle += 1
        self._fast_steps -= stream.pace is Pace.FAST
        self._stepping.discard(stream)
        stream.stepped(kind, self.now)
        if isinstance(stream, Stream) and stream.heard >= stream.length and stream.next_step() is None:
            self._live -= 1
        self._offer(stream)
        self._dispatch()


def speaker(random: Random, length: float, longest: float = 6.0, silent: float = 1.0) -> Stream:
    """Utterances of different lengths, and pauses."""

    def speech() -> Iterator[tuple[float, float]]:
        begin = random.uniform(0.2, 2.0)
        while (end := begin + random.uniform(longest / 3, longest)) + ENDPOINT < length - CHUNK:
            yield begin, end
            begin = end + ENDPOINT + random.uniform(0.1, 2 * silent)

    return Stream(list(speech()), length)


def served(count: int, threads: int = 2) -> list[Stream]:
    """As many people as said, who hardly pause: half a minute in which all of them are there."""
    random, machine = Random(1), Machine(threads)
    streams = [speaker(random, 60.0, longest=14.0, silent=0.1) for _ in range(count)]
    for stream in streams:
        machine.live(stream, random.uniform(0.0, 3.0))
    machine.run(10.0)
    for stream in streams:
        stream.waits.clear()
    machine.run(40.0)
    return streams


def finals_of(streams: Sequence[Stream]) -> list[float]:
    return [final for stream in streams for final in stream.finals]


def percentile(values: Sequence[float], part: float) -> float:
    return sorted(values)[int(part * (len(values) - 1))]


def places(threads: int) -> int:
    """How many streams fit in which somebody speaks all the time."""
    return room((1 - OVERHEAD) * threads, 0.0, demand(COSTS))


PLACES = places(2)


def test_one_stream_has_a_partial_as_soon_as_there_is_something_new() -> None:
    (stream,) = served(1)
    assert stream.interval < 0.25
    assert max(stream.finals) < CHUNK + FINALS * 14


def test_with_as_many_streams_as_there_are_places_the_promise_is_kept() -> None:
    streams = served(PLACES)
    assert max(stream.interval for stream in streams) <= PROMISED_INTERVAL
    assert percentile(finals_of(streams), 0.95) < 0.6


def test_with_twice_as_many_it_is_not_so_that_some_must_be_refused() -> None:
    assert min(stream.interval for stream in served(2 * PLACES)) > 1.5 * PROMISED_INTERVAL


@pytest.mark.parametrize("times", [1, 1.25, 1.5])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_partials_thin_out_evenly_while_finals_keep_their_time(threads: int, times: float) -> None:
    streams = served(round(times * places(threads)), threads)
    intervals = [stream.interval for stream in streams]
    assert max(intervals) / min(intervals) < 1.3
    # A final takes up to 0.28 s itself, and on one thread it may have to wait for some others.
    assert percentile(finals_of(streams), 0.95) < 1.0
    assert max(finals_of(streams)) < 1.3


def test_a_thousand_streams_that_come_and_go_are_all_served_to_their_end() -> None:
    random, machine = Random(3), Machine(2)
    streams = [speaker(random, 8.0) for _ in range(1_000)]
    for number, stream in enumerate(streams):
        machine.live(stream, number * 8.0 / 30)  # 30 at a time.
    machine.run()
    assert all(len(stream.finals) == len(stream.speech) for stream in streams)
    assert all(stream.heard == stream.length for stream in streams)
    assert max(finals_of(streams)) < 1.0
    assert machine.busy / (2 * machine.now) > 0.9, "there was nothing to choose"


@settings(max_examples=30)
@given(
    st.integers(1, 4),
    st.floats(0.1, 2.5),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 1_000),
)
def test_nobody_starves_whoever_comes_together(
    threads: int, load: float, bursts: int, recordings: int, seed: int
) -> None:
    random, machine = Random(seed), Machine(threads)
    live = [speaker(random, 12.0) for _ in range(max(1, round(load * places(threads))))]
    early = [speaker(random, 12.0) for _ in range(bursts)]
    files = [Recording(0.2) for _ in range(recordings)]
    for stream in live:
        machine.live(stream, random.uniform(0.0, 3.0))
    for stream in early:
        machine.burst(stream)
    for recording in files:
        machine.fast(recording)
    machine.run(30.0)
    for stream in (*live, *early):
        assert len(stream.finals) == len(stream.speech)
        assert stream.heard == stream.length
    assert max((lag for stream in live for lag in stream.lags), default=0) < 1.5
    # Recordings wait for live streams, and for each other in turn.
    steps = [recording.steps for recording in files]
    assert not steps or (min(steps) > 0 and max(steps) - min(steps) <= 1)


def _nobody(machine: Machine) -> None:
    pass


def _beside(other: Callable[[Machine], None], count: int = 20) -> tuple[float, float]:
    """The 95th percentile of the finals' delays and the mean interval of live streams beside another."""
    random, machine = Random(5), Machine(2)
    streams = [speaker(random, 30.0) for _ in range(count)]
    for stream in streams:
        machine.live(stream, random.uniform(0.0, 3.0))
    other(machine)
    machine.run(40.0)
    return percentile(finals_of(streams), 0.95), fmean(stream.interval for stream in streams)


def test_a_burst_delays_others_by_no_more_than_a_step() -> None:
    finals, interval = _beside(_nobody)
    burst = speaker(Random(6), 3_000.0)
    with_burst = _beside(lambda machine: machine.burst(burst))
    a_step = FINALS * 6.0
    assert with_burst[0] < finals + a_step
    assert with_burst[1] < interval + a_step
    assert burst.heard > 30.0 - 2 * a_step, "it is heard as fast as it is spoken, at least"


def test_recordings_get_what_is_left_and_leave_one_thread() -> None:
    finals, interval = _beside(_nobody)
    a_step = 0.25
    recordings = [Recording(a_step) for _ in range(3)]

    def fill(machine: Machine) -> None:
        for recording in recordings:
            machine.fast(recording)

    with_recordings = _beside(fill)
    assert with_recordings[0] < finals + a_step
    assert with_recordings[1] < interval + a_step
    assert min(recording.steps for recording in recordings) > 0


def test_recordings_have_all_threads_where_nobody_is_live() -> None:
    machine, recordings = Machine(4), [Recording(0.2) for _ in range(4)]
    for recording in recordings:
        machine.fast(recording)
    machine.run(10.0)
    assert [recording.steps for recording in recordings] == [pytest.approx(50, abs=1)] * 4


# --- Senders that stop for a while


def _among_many(arrival: Callable[[float], float]) -> tuple[Stream, list[Stream]]:
    """A stream whose audio comes when it is said, and as many others as keep the machine busy."""
    random, machine = Random(9), Machine(2)
    streams = [speaker(random, 60.0, longest=14.0, silent=0.1) for _ in range(PLACES)]
    machine.live(streams[0], arrival=arrival)
    for stream in streams[1:]:
        machine.live(stream, random.uniform(0.0, 3.0))
    machine.run(30.0)
    for stream in streams:
        stream.waits.clear()
    machine.run(50.0)
    return streams[0], streams[1:]


def test_a_sender_that_was_held_up_and_has_caught_up_is_a_sender_like_others() -> None:
    """Four seconds of audio come at once, as after a failure of its network."""
    held_up, others = _among_many(lambda spoken: 14.0 if 10.0 < spoken < 14.0 else spoken)
    others_interval = fmean(stream.interval for stream in others)
    assert held_up.interval == pytest.approx(others_interval, rel=0.3)


def test_a_sender_that_has_paused_gets_no_more_than_others() -> None:
    """Some clients send nothing while their microphone is muted."""
    paused, others = _among_many(lambda spoken: spoken if spoken < 10.0 else spoken + 8.0)
    assert paused.interval == pytest.approx(fmean(stream.interval for stream in others), rel=0.3)
