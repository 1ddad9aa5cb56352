"""What each key has used today, and what it may have: pure.

A day is one of UTC, by the wall clock, which is asked here alone. It need not be believed: where it was
wrong, audio counts on another day's account, and none is lost.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from transcribed.clock import utc_now
from transcribed.errors import LimitExceeded
from transcribed.principal import Principal
from transcribed.storage.keys import KeyUsage

_SAME = 1e-6
"""Seconds of audio, less than a sample: by so much sums of the same parts differ."""


def day_of(moment: datetime) -> date:
    """The day in UTC."""
    return moment.astimezone(UTC).date()


def seconds_left(moment: datetime) -> int:
    """To the end of a moment's day in UTC, rounded up."""
    start = datetime.combine(day_of(moment), time(), UTC)
    return math.ceil((start + timedelta(days=1) - moment).total_seconds())


@dataclass(eq=False, slots=True)
class _Day:
    """A key's day; `heard` is in seconds of audio, since this server has counted.

    `others` is what it had of other servers, and of this one before its start, as far as that is known.
    """

    day: date
    heard: float = 0.0
    begun: int = 0
    kept: float = 0.0
    kept_streams: int = 0
    others: float = 0.0
    room: float = math.inf
    """What may be heard here in all."""

    @property
    def is_kept(self) -> bool:
        return self.heard - self.kept < _SAME and self.begun == self.kept_streams


class Account:
    """A key's; the one of the key None is of all who need none, and is kept nowhere."""

    def __init__(self, key: str | None, day: date) -> None:
        self.key = key
        self.streams = math.inf
        """The most at once."""
        self.seconds_a_day = math.inf
        self.refused = 0
        """Streams that there was no place for, or that broke off at the day's limit."""
        self.day = _Day(day)
        self._before = 0.0
        self._begun_before = 0

    @property
    def heard(self) -> float:
        """Seconds of audio since the server's start."""
        return self._before + self.day.heard

    @property
    def begun(self) -> int:
        """Streams since the server's start."""
        return self._begun_before + self.day.begun

    @property
    def today(self) -> float:
        """Seconds of audio today, on all servers, as far as it is known here."""
        return self.day.heard + self.day.others

    @property
    def spent(self) -> bool:
        """Whether it had all of its audio for today. What is heard is added to `day.heard`."""
        return self.day.heard >= self.day.room

    def allow(self, streams: float, seconds_a_day: float) -> None:
        """What it may have; 0 is no limit."""
        self.streams = streams or math.inf
        self.seconds_a_day = seconds_a_day or math.inf
        self.know(self.day.others)

    def know(self, others: float) -> None:
        """What other servers heard today."""
        self.day.others = others
        self.day.room = self.seconds_a_day - others

    def turn(self, day: date) -> _Day:
        """Begin another day; returns the one before."""
        over, self.day = self.day, _Day(day)
        self._before += over.heard
        self._begun_before += over.begun
        self.know(0.0)
        return over


@dataclass
class Unkept:
    """What is to be written: `used` is added to what is there, and then it is `kept`."""

    used: list[KeyUsage] = field(default_factory=list)
    _days: list[tuple[_Day, float, int]] = field(default_factory=list)

    def add(self, key: str, day: _Day) -> None:
        """What came to a day since it was last kept."""
        if not day.is_kept:
            self.used.append(KeyUsage(key, day.day, day.heard - day.kept, day.begun - day.kept_streams))
            self._days.append((day, day.heard, day.begun))

    def kept(self) -> None:
        """It has been written."""
        for day, heard, begun in self._days:
            day.kept, day.kept_streams = heard, begun


class Accounts:
    """Of all keys that asked for something since the start. `now` is the wall clock.

    `streams` at once and `seconds_a_day` of audio are for keys of which nothing else is said; 0 is no
    limit.
    """

    def __init__(
        self,
        streams: int = 0,
        seconds_a_day: float = 0,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._streams = streams
        self._seconds_a_day = seconds_a_day
        self._now = now
        self._today = day_of(now())
        self._nobody = Account(None, self._today)
        self._of: dict[str, Account] = {}
        self._over: list[tuple[str, _Day]] = []
        self._totals: Mapping[str, float] = {}

    @property
    def all(self) -> list[Account]:
        """Those of keys."""
        return list(self._of.values())

    @property
    def today(self) -> date:
        """The day that is counted now."""
        return self._today

    @property
    def seconds_left(self) -> int:
        """To the end of the day."""
        return seconds_left(self._now())

    def of(self, principal: Principal) -> Account:
        """The account of the key that somebody showed, with what it may have."""
        self.turn()
        if principal.key is None:
            return self._nobody
        account = self._of.get(principal.key)
        if account is None:
            account = self._of[principal.key] = Account(principal.key, self._today)
            account.know(self._totals.get(principal.key, 0.0))
        streams, seconds = principal.streams, principal.seconds_a_day
        account.allow(
            self._streams if streams is None else streams,
            self._seconds_a_day if seconds is None else seconds,
        )
        return account

    def turn(self) -> bool:
        """Whether another day has begun. Then everybody has their audio again, as far as is known."""
        today = day_of(self._now())
        if today == self._today:
            return False
        self._today, self._totals = today, {}
        self._over += [(key, account.turn(today)) for key, account in self._of.items()]
        return True

    def refusal(self, account: Account) -> LimitExceeded:
        """What a key is told that had all of its audio for today."""
        wait = self.seconds_left
        return LimitExceeded(
            f"The key {account.key} has had its {account.seconds_a_day:g} s of audio for today. It has as "
            f"much again from 00:00 UTC on, in {wait} s.",
            retry_after=wait,
        )

    def unkept(self) -> Unkept:
        """What is to be written. Nobody asks for it again until it is kept, or could not be."""
        self._over = [(key, day) for key, day in self._over if not day.is_kept]
        unkept = Unkept()
        for key, day in self._over:
            unkept.add(key, day)
        for key, account in self._of.items():
            unkept.add(key, account.day)
        return unkept

    def know(self, day: date, totals: Mapping[str, float]) -> None:
        """What keys had in all on a day, as it is written; nothing is being written meanwhile."""
        if day == self._today:
            self._totals = totals
            for key, account in self._of.items():
                account.know(max(0.0, totals.get(key, 0.0) - account.day.kept))
