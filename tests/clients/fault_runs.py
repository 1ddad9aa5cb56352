"""Random audio whose words are known, random faults, and what must be the same with them and without.

The upstream is a server with the scripted engine and LEVEL_SCRIPT (engines/testing/levels.py): what it
hears depends on the audio alone. So whatever happens to connections, the finals are those of an
undisturbed run, each of them once, in their order, with their times. Everything here is decided by a seed.
"""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace

import numpy as np
from fault_proxy import Fault, FaultProxy, Place, Spot, Way, What

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.amazon.engine import load
from transcribed.engines.amazon.settings import AmazonSettings, Timeouts
from transcribed.engines.base import Engine, Hypothesis, RecognitionStream
from transcribed.engines.failover.engine import FailoverEngine
from transcribed.engines.failover.rules import FailoverRules
from transcribed.engines.testing.levels import STEPS, LevelEngine, LevelScript, level
from transcribed.errors import TranscribedError
from transcribed.options import Pace, StreamOptions
from transcribed.scheduling.scheduler import Scheduler
from transcribed.transcript import Notice

LEVEL_SCRIPT = LevelScript(levels=tuple(f"w{number}" for number in range(1, STEPS)))
PAUSE = LEVEL_SCRIPT.pause
CHUNK = SAMPLE_RATE // 10
CHUNK_SECONDS = 0.1
GIVE_UP_SECONDS = 60
SPEED = 25.0
"""Times as fast as speech."""
TIMEOUTS = Timeouts(open=1.0, send=1.0, last_words=1.0, close=0.5, ping=0.2, pong=0.5)
RULES = FailoverRules(
    first_delay=0.02,
    busy_delay=0.05,
    longest_delay=0.2,
    tries=40,
    return_first=0.1,
    return_longest=0.4,
    opening=2.0,
    sending=3.0,
    last_words=3.0,
    draining=1.0,
    closing=1.0,
)
_WITH_PARTIALS = 0.8
_SLOWLY = 0.03
_NORMAL_CLOSE = 1000
_OUTAGE = Fault(What.REFUSE)
_PLACES = (Place.FRAME, Place.PRELUDE, Place.HEADERS, Place.PAYLOAD, Place.CRC, Place.BETWEEN)
_RETRYABLE = (
    ("LimitExceededException", "Your account has too many streams."),
    ("ThrottlingException", "Rate exceeded"),
    ("InternalFailureException", "A problem occurred while processing the audio."),
    ("ServiceUnavailableException", "The service is currently unavailable."),
)
_ANSWERS = (
    (403, "ExpiredTokenException"),
    (429, "ThrottlingException"),
    (429, "LimitExceededException"),
    (500, "InternalFailureException"),
    (502, ""),
    (503, "ServiceUnavailableException"),
    (504, ""),
)
_REFUSALS = ((403, "AccessDeniedException"), (403, "UnrecognizedClientException"))
_CLOSE_CODES = (1001, 1011, 1012, 1013)
_IN_GOOD_ORDER = 0.03
"""Of streams that the service closes with 1000, long before their end. Nobody could tell a close behind it
from the one that is due; so it is none of those that are sent at once."""
_ROUNDED = 0.002
"""Times are in milliseconds on the wire, from the beginning of whichever stream it is."""


# --- Audio


def audio(seed: int, most_segments: int = 8) -> Samples:
    """Words, each at most once, in segments of 1 to 4, with pauses between them that end a segment."""
    rng = random.Random(seed)
    levels = rng.sample(range(1, STEPS), STEPS - 1)
    parts = [level(0, rng.uniform(0, 0.5))]
    for _ in range(rng.randint(1, most_segments)):
        for _ in range(rng.randint(1, 4)):
            parts.append(level(levels.pop(), rng.uniform(0.06, 0.3)))
            if rng.random() < 0.5:
                parts.append(level(0, rng.uniform(0.01, PAUSE - 0.1)))
        parts.append(level(0, rng.uniform(PAUSE + 0.02, 1.2)))
    if rng.random() < 0.5:  # Speech to the last sample.
        parts.append(level(levels.pop(), rng.uniform(0.06, 0.3)))
    return np.concatenate(parts)


# --- Faults


def faults(seed: int, samples: int, *, refusals: bool = False) -> list[Fault]:
    """What happens to the first connections of a stream of so much audio; each kind is as likely.

    `refusals`: also such as no retry helps against.
    """
    rng = random.Random(seed)
    kinds = [what for what in What if what is not What.NOTHING]
    answers = _ANSWERS + _REFUSALS * refusals
    messages = samples // CHUNK + 1
    if rng.random() < _IN_GOOD_ORDER:
        return [
            Fault(
                What.CLOSE,
                Spot(Way.UP, Place.BETWEEN, 1 + rng.randrange(messages // 3)),
                status=_NORMAL_CLOSE,
            )
        ]
    return [_fault(rng, rng.choice(kinds), messages, answers) for _ in range(rng.choice((1, 1, 2, 3)))]


def _fault(rng: random.Random, what: What, messages: int, answers: Sequence[tuple[int, str]]) -> Fault:
    """`messages` of audio go up, with their end; fewer come down."""
    place, way = rng.choice((*_PLACES, *_PLACES, Place.HEAD)), rng.choice(list(Way))
    number = 0 if place is Place.HEAD else rng.randrange(messages if way is Way.UP else messages // 4 + 1)
    spot: Spot | None = Spot(way, place, number, rng.random())
    behind = Spot(way, Place.BETWEEN, 1 + number)
    status, name, text = 0, "", ""
    match what:
        case What.REFUSE | What.AWAY:
            spot = None
        case What.ANSWER:
            spot, (status, name), text = None, rng.choice(answers), "Not now."
        case What.FLIP:
            # Audio that is changed is refused by the server, and no retry would help: it is not in here.
            places = (Place.PRELUDE, Place.HEADERS, Place.PAYLOAD, Place.CRC)
            spot = Spot(Way.DOWN, rng.choice(places), number, rng.random())
        case What.EXCEPTION:
            spot, (name, text) = behind, rng.choice(_RETRYABLE)
        case What.CLOSE:
            spot, status = behind, rng.choice(_CLOSE_CODES)
    return Fault(what, spot, rng.uniform(0.01, 0.3), status, name, text)


# --- Runs


@dataclass(frozen=True)
class Heard:
    """What a stream gave."""

    said: Sequence[Hypothesis]
    notices: Sequence[Notice]

    @property
    def finals(self) -> list[tuple[str, float, float]]:
        """Texts and times."""
        return [(h.text, h.start, h.end) for h in self.said if h.final]

    def problems(self, expected: "Heard") -> Iterator[str]:
        """How it differs from what it should be, and where it is not in order."""
        mine, theirs = self.finals, expected.finals
        if [text for text, *_ in mine] != [text for text, *_ in theirs]:
            yield f"finals {mine}, and not {theirs}"
        elif any(
            abs(a - b) > _ROUNDED
            for x, y in zip(mine, theirs, strict=True)
            for a, b in zip(x[1:], y[1:], strict=True)
        ):
            yield f"times {mine}, and not {theirs}"
        final: set[int] = set()
        for before, hypothesis in zip((None, *self.said), self.said, strict=False):
            number = hypothesis.segment
            if number in final:
                yield f"something of segment {number} behind its final"
            if before is not None and number != before.segment + before.final:
                yield f"segment {number} behind segment {before.segment}"
            if hypothesis.final:
                final.add(number)
            words = [word.text for word in hypothesis.words]
            if " ".join(words) != hypothesis.text:
                yield f"words {words} of {hypothesis.text!r}"
        if self.said and (self.said[0].segment != 0 or not self.said[-1].final):
            yield "no first segment, or no last final"


@dataclass(frozen=True)
class Lane:
    """A gateway's engine behind a proxy of its own: one stream after the other, so that faults are one's.

    `outage`: nothing gets through the proxy at all, once a run's faults are over.
    """

    name: str
    engine: Engine
    proxy: FaultProxy
    fallback: bool = False
    outage: bool = False

    async def undisturbed(self, samples: Samples) -> Heard:
        """What a stream gives without faults."""
        self.proxy.expect([])
        return await heard(self.engine, samples, StreamOptions())

    async def run(self, seed: int, samples: Samples, expected: Heard) -> "Run":
        """One stream and its faults."""
        rng = random.Random(seed)
        planned = faults(seed, len(samples), refusals=self.fallback)
        after = itertools.repeat(_OUTAGE) if self.outage else ()
        self.proxy.expect(itertools.chain(planned, after))
        options = StreamOptions(pace=rng.choice(list(Pace)), partials=rng.random() < _WITH_PARTIALS)
        pace = rng.choice((0.0, CHUNK_SECONDS / SPEED))
        if any(fault.status == _NORMAL_CLOSE for fault in planned):
            pace = _SLOWLY
        try:
            found = await heard(self.engine, samples, options, pace)
            problems = list(found.problems(expected))
        except (TranscribedError, TimeoutError) as error:
            problems = [f"{type(error).__name__}: {error}"]
        return Run(seed, self.name, planned, list(self.proxy.struck), self.proxy.connections, problems)


@dataclass(frozen=True)
class Run:
    """What came of a stream: the faults that were planned and that happened, and what was wrong."""

    seed: int
    lane: str
    planned: Sequence[Fault]
    struck: Sequence[Fault]
    connections: int
    problems: Sequence[str]


@asynccontextmanager
async def lanes(
    upstream: tuple[str, int],
    ports: Iterator[int],
    kinds: Sequence[str] = ("plain", "short", "fallback", "outage"),
) -> AsyncIterator[list[Lane]]:
    """A lane of each kind. The keys of the upstream are in the environment, as users have them.

    `plain` retries; the streams of `short` are replaced all the while; `fallback` fails over to an engine
    in this process and comes back; in an `outage` the fallback does all but what came before.
    """
    async with AsyncExitStack() as opened:
        made = []
        scheduler = await opened.enter_async_context(Scheduler(1))
        other = scheduler.run(LevelEngine(LEVEL_SCRIPT))
        for kind in kinds:
            proxy = await opened.enter_async_context(FaultProxy(next(ports), upstream))
            settings = AmazonSettings(
                region="us-east-1", endpoint_url=proxy.url, speed=SPEED, timeouts=TIMEOUTS
            )
            rules = replace(
                RULES,
                lifetime=0.15 if kind == "short" else None,
                tries_before_fallback=0 if kind == "outage" else 1,
            )
            fallback = other if kind in {"fallback", "outage"} else None
            engine = FailoverEngine(load(settings), fallback, rules)
            made.append(Lane(kind, engine, proxy, fallback is not None, kind == "outage"))
        yield made


async def heard(
    engine: Engine,
    samples: Samples,
    options: StreamOptions,
    pace: float = 0.0,
    patience: float = GIVE_UP_SECONDS,
) -> Heard:
    """Send audio in chunks of a tenth of a second, `pace` seconds apart, to the end.

    Raises TranscribedError where the stream does, and TimeoutError where it does not end.
    """
    said: list[Hypothesis] = []
    notices: list[Notice] = []
    async with asyncio.timeout(patience):
        stream = await engine.open(options)
        sending = asyncio.create_task(_send(stream, samples, pace))
        try:
            async for event in stream:
                if isinstance(event, Notice):
                    notices.append(event)
                else:
                    said.append(event)
            await sending
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError, TranscribedError):
                await sending
            await stream.aclose()
    return Heard(said, notices)


async def _send(stream: RecognitionStream, samples: Samples, pace: float) -> None:
    for start in range(0, len(samples), CHUNK):
        await stream.send(samples[start : start + CHUNK])
        if pace:
            await asyncio.sleep(pace)
    await stream.finish()
