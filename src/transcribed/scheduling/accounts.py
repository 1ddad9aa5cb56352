"""The use of each key, by the day, and its limits. Pure.

Days are in UTC, by the wall clock, which is read here alone. Steps of that clock need no care as they do in
`service/clock_steps.py`: while it is wrong, audio is counted on another day, and nothing is deleted.
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
"""Seconds of audio, less than a sample: sums that differ by less are equal, but for rounding."""


def day_of(moment: datetime) -> date:
    """The day of a moment, in UTC."""
    return moment.astimezone(UTC).date()


def seconds_left(moment: datetime) -> int:
    """Seconds from a moment to the end of its day in UTC, rounded up."""
    start = datetime.combine(day_of(moment), time(), UTC)
    return math.ceil((start + timedelta(days=1) - moment).total_seconds())


@dataclass(eq=False, slots=True)
class _Day:
    """The use of a key on one day.

    `heard` is the audio that this process counted, in seconds, and `begun` the streams; `kept` and
    `kept_streams` are the part of these that the store has. `others` is the audio that the store has beside
    `kept`: that of other servers, and of this one before its start.
    """

    day: date
    heard: float = 0.0
    begun: int = 0
    kept: float = 0.0
    kept_streams: int = 0
    others: float = 0.0
    room: float = math.inf
    """The most that `heard` may be."""

    @property
    def is_kept(self) -> bool:
        return self.heard - self.kept < _SAME and self.begun == self.kept_streams


class Account:
    """The use of a key and its limits. The account of the key None is that of requests without a key."""

    def __init__(self, key: str | None, day: date) -> None:
        self.key = key
        self.streams = math.inf
        """The most streams at once."""
        self.seconds_a_day = math.inf
        self.refused = 0
        """Streams that were refused, or ended because the audio of the day was used up."""
        self.day = _Day(day)
        self._before = 0.0
        self._begun_before = 0

    @property
    def heard(self) -> float:
        """Seconds of audio that this process counted, on all days."""
        return self._before + self.day.heard

    @property
    def begun(self) -> int:
        """Streams that began in this process, on all days."""
        return self._begun_before + self.day.begun

    @property
    def today(self) -> float:
        """Seconds of audio today, on all servers, as far as this one knows."""
        return self.day.heard + self.day.others

    @property
    def spent(self) -> bool:
        """Whether the audio of the day is used up. Streams add theirs to `day.heard`."""
        return self.day.heard >= self.day.room

    def allow(self, streams: float, seconds_a_day: float) -> None:
        """Set the limits; 0 is no limit."""
        self.streams = streams or math.inf
        self.seconds_a_day = seconds_a_day or math.inf
        self.know(self.day.others)

    def know(self, others: float) -> None:
        """Set what other servers heard today."""
        self.day.others = others
        self.day.room = self.seconds_a_day - others

    def turn(self, day: date) -> _Day:
        """Begin another day; returns the use on the one before."""
        over, self.day = self.day, _Day(day)
        self._before += over.heard
        self._begun_before += over.begun
        self.know(0.0)
        return over


@dataclass
class Unkept:
    """What the store does not have yet: `used`. Call `kept` when the store has added it."""

    used: list[KeyUsage] = field(default_factory=list)
    _days: list[tuple[_Day, float, int]] = field(default_factory=list)

    def add(self, key: str, day: _Day) -> None:
        """Add what was used on a day since it was last kept."""
        if not day.is_kept:
            self.used.append(KeyUsage(key, day.day, day.heard - day.kept, day.begun - day.kept_streams))
            self._days.append((day, day.heard, day.begun))

    def kept(self) -> None:
        """Note that the store has it."""
        for day, heard, begun in self._days:
            day.kept, day.kept_streams = heard, begun


class Accounts:
    """The accounts of all keys that opened a stream since the start. `now` is the wall clock.

    `streams` at once and `seconds_a_day` of audio are the limits of keys that have none of their own; 0 is
    no limit.
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
        """Of keys, without that of requests without one."""
        return list(self._of.values())

    @property
    def today(self) -> date:
        """The day on which audio is counted now."""
        return self._today

    @property
    def seconds_left(self) -> int:
        """Seconds to the end of the day, rounded up."""
        return seconds_left(self._now())

    def of(self, principal: Principal) -> Account:
        """The account of a principal's key, with its limits."""
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
        """Begin the next day if it is time, and return whether it was. The use of all keys is 0 then."""
        today = day_of(self._now())
        if today == self._today:
            return False
        self._today, self._totals = today, {}
        self._over += [(key, account.turn(today)) for key, account in self._of.items()]
        return True

    def refusal(self, account: Account) -> LimitExceeded:
        """The error for a key that has used up the audio of its day."""
        wait = self.seconds_left
        return LimitExceeded(
            f"The key {account.key} has had its {account.seconds_a_day:g} s of audio for today. It has as "
            f"much again from 00:00 UTC on, in {wait} s.",
            retry_after=wait,
        )

    def unkept(self) -> Unkept:
        """What the store does not have yet. Asked for again only when it is kept, or was not written."""
        self._over = [(key, day) for key, day in self._over if not day.is_kept]
        unkept = Unkept()
        for key, day in self._over:
            unkept.add(key, day)
        for key, account in self._of.items():
            unkept.add(key, account.day)
        return unkept

    def know(self, day: date, totals: Mapping[str, float]) -> None:
        """Take what the store has: seconds of audio of each key on a day. Nothing is being written."""
        if day == self._today:
            self._totals = totals
            for key, account in self._of.items():
                account.know(max(0.0, totals.get(key, 0.0) - account.day.kept))
