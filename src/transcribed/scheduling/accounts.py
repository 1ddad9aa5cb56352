"""The use of each key on each day, and its limits. Pure.

Days are in UTC, by the wall clock. Unlike `service/clock_steps.py`, this module needs no protection against
steps of that clock: while it is wrong, audio is counted on another day, and nothing is lost.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from transcribed.clock import utc_now
from transcribed.errors import LimitExceeded
from transcribed.principal import Principal
from transcribed.storage.keys import KeyUsage

_TOLERANCE = 1e-6
"""Seconds of audio, less than one sample. Sums that differ by less are equal, except for rounding."""


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

    `seconds` is the audio that this process counted, and `opened` the streams; `saved` and `saved_streams`
    are the part of these that the store has. `others` is all other audio in the store, in seconds: that of
    other servers, and of this one before its start.
    """

    day: date
    seconds: float = 0.0
    opened: int = 0
    saved: float = 0.0
    saved_streams: int = 0
    others: float = 0.0
    allowed: float = math.inf
    """The largest permitted value of `seconds`."""

    @property
    def is_saved(self) -> bool:
        return self.seconds - self.saved < _TOLERANCE and self.opened == self.saved_streams


class Account:
    """The use of a key and its limits. The account of the key None is that of requests without a key."""

    def __init__(self, key: str | None, day: date) -> None:
        self.key = key
        self.streams = math.inf
        """The largest number of streams at once."""
        self.seconds_a_day = math.inf
        self.refused = 0
        """Streams that were refused, or were ended because the key had used up its audio for the day."""
        self.day = _Day(day)
        self._seconds_before = 0.0
        self._opened_before = 0

    @property
    def seconds(self) -> float:
        """Seconds of audio that this process counted on all days."""
        return self._seconds_before + self.day.seconds

    @property
    def opened(self) -> int:
        """Streams that were opened in this process on all days."""
        return self._opened_before + self.day.opened

    @property
    def seconds_today(self) -> float:
        """Seconds of audio today on all servers, as far as this server knows."""
        return self.day.seconds + self.day.others

    @property
    def is_exhausted(self) -> bool:
        """Whether the key has used up its audio for the day. Streams add theirs to `day.seconds`."""
        return self.day.seconds >= self.day.allowed

    def set_limits(self, streams: float, seconds_a_day: float) -> None:
        """Set the limits; 0 means no limit."""
        self.streams = streams or math.inf
        self.seconds_a_day = seconds_a_day or math.inf
        self.set_others(self.day.others)

    def set_others(self, others: float) -> None:
        """Set the seconds of audio that other servers counted today."""
        self.day.others = others
        self.day.allowed = self.seconds_a_day - others

    def start_day(self, day: date) -> _Day:
        """Start another day. Returns the use on the previous day."""
        past, self.day = self.day, _Day(day)
        self._seconds_before += past.seconds
        self._opened_before += past.opened
        self.set_others(0.0)
        return past


@dataclass
class UnsavedUsage:
    """Usage that the store does not have yet. Call `mark_saved` when the store has added `used`."""

    used: list[KeyUsage] = field(default_factory=list)
    _days: list[tuple[_Day, float, int]] = field(default_factory=list)

    def add(self, key: str, day: _Day) -> None:
        """Add the usage of a key on a day since it was last saved."""
        if not day.is_saved:
            self.used.append(
                KeyUsage(key, day.day, day.seconds - day.saved, day.opened - day.saved_streams)
            )
            self._days.append((day, day.seconds, day.opened))

    def mark_saved(self) -> None:
        """Note that the store has this usage."""
        for day, seconds, opened in self._days:
            day.saved, day.saved_streams = seconds, opened


class Accounts:
    """The accounts of all keys that have opened a stream since the start. `now` is the wall clock.

    `streams` (at once) and `seconds_a_day` (of audio) are the limits of keys without limits of their own; 0
    means no limit.
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
        self._keyless = Account(None, self._today)
        self._accounts: dict[str, Account] = {}
        self._past_days: list[tuple[str, _Day]] = []
        self._totals: Mapping[str, float] = {}

    @property
    def all(self) -> list[Account]:
        """The accounts of keys, without that of requests without a key."""
        return list(self._accounts.values())

    @property
    def today(self) -> date:
        """The current day."""
        return self._today

    @property
    def seconds_left(self) -> int:
        """Seconds to the end of the day, rounded up."""
        return seconds_left(self._now())

    def account(self, principal: Principal) -> Account:
        """The account of a principal's key, with its limits."""
        self.roll_over()
        if principal.key is None:
            return self._keyless
        account = self._accounts.get(principal.key)
        if account is None:
            account = self._accounts[principal.key] = Account(principal.key, self._today)
            account.set_others(self._totals.get(principal.key, 0.0))
        streams, seconds = principal.streams, principal.seconds_a_day
        account.set_limits(
            self._streams if streams is None else streams,
            self._seconds_a_day if seconds is None else seconds,
        )
        return account

    def roll_over(self) -> bool:
        """Start the next day if it is time, and return whether it was. All keys then have no use."""
        today = day_of(self._now())
        if today == self._today:
            return False
        self._today, self._totals = today, {}
        self._past_days += [(key, account.start_day(today)) for key, account in self._accounts.items()]
        return True

    def limit_error(self, account: Account) -> LimitExceeded:
        """The error for a key that has used up the audio of its day."""
        wait = self.seconds_left
        return LimitExceeded(
            f"The key {account.key} has had its {account.seconds_a_day:g} s of audio for today. It has as "
            f"much again from 00:00 UTC on, in {wait} s.",
            retry_after=wait,
        )

    def unsaved(self) -> UnsavedUsage:
        """The usage that the store does not have yet.

        Must be called again only after the previous usage was saved, or could not be written.
        """
        self._past_days = [(key, day) for key, day in self._past_days if not day.is_saved]
        unsaved = UnsavedUsage()
        for key, day in self._past_days:
            unsaved.add(key, day)
        for key, account in self._accounts.items():
            unsaved.add(key, account.day)
        return unsaved

    def set_totals(self, day: date, totals: Mapping[str, float]) -> None:
        """Take the store's seconds of audio of each key on a day. Not during a write to the store."""
        if day == self._today:
            self._totals = totals
            for key, account in self._accounts.items():
                account.set_others(max(0.0, totals.get(key, 0.0) - account.day.saved))
