"""What keys used, by a clock that the tests set."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.principal import ANYBODY, Principal, Role
from transcribed.scheduling.accounts import Account, Accounts, seconds_left
from transcribed.storage.keys import KeyUsage

NOON = datetime(2026, 2, 28, 12, tzinfo=UTC)
TODAY, TOMORROW = date(2026, 2, 28), date(2026, 3, 1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Store:
    """What servers have written, as a database adds it up."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, date], float] = {}
        self.streams: dict[tuple[str, date], int] = {}

    def keep(self, *servers: Accounts) -> None:
        for server in servers:
            server.roll_over()
            unsaved = server.unsaved()
            for used in unsaved.used:
                place = used.key, used.day
                self.seconds[place] = self.seconds.get(place, 0.0) + used.audio_seconds
                self.streams[place] = self.streams.get(place, 0) + used.streams
            unsaved.mark_saved()
            day = server.today
            server.set_totals(
                day, {key: seconds for (key, at), seconds in self.seconds.items() if at == day}
            )


def key(name: str, **more: float) -> Principal:
    return Principal(name, Role.TRANSCRIBE, name, **more)  # type: ignore[arg-type]


def hear(account: Account, seconds: float) -> None:
    account.day.opened += 1
    account.day.seconds += seconds


def test_a_key_may_have_what_it_says_or_what_the_settings_say() -> None:
    accounts = Accounts(streams=3, seconds_a_day=60)
    plain = accounts.account(key("plain"))
    assert (plain.streams, plain.seconds_a_day) == (3, 60)
    own = accounts.account(key("own", streams=5, seconds_a_day=0.5))
    assert (own.streams, own.seconds_a_day) == (5, 0.5)
    free = accounts.account(key("free", streams=0, seconds_a_day=0))
    hear(free, 1e9)
    assert not free.is_exhausted
    assert free.streams > 1e9
    assert accounts.account(key("plain", streams=4)) is plain
    assert plain.streams == 4
    assert [account.key for account in accounts.all] == ["plain", "own", "free"]


def test_who_needs_no_key_has_no_limit_and_no_account() -> None:
    accounts = Accounts(streams=1, seconds_a_day=1)
    anybody = accounts.account(ANYBODY)
    hear(anybody, 100)
    assert not anybody.is_exhausted
    assert accounts.all == accounts.unsaved().used == []


def test_what_was_spent_is_there_again_the_next_day() -> None:
    clock = Clock()
    accounts = Accounts(seconds_a_day=60, now=clock)
    account = accounts.account(key("a"))
    hear(account, 59)
    assert not account.is_exhausted
    account.day.seconds += 1
    assert account.is_exhausted
    refusal = accounts.limit_error(account)
    assert refusal.retry_after == 12 * 3600
    assert refusal.message == (
        "The key a has had its 60 s of audio for today. It has as much again from 00:00 UTC on, in 43200 s."
    )
    clock.now += timedelta(seconds=refusal.retry_after - 1)
    assert accounts.account(key("a")).is_exhausted
    assert not accounts.roll_over()
    clock.now += timedelta(seconds=1)
    assert not accounts.account(key("a")).is_exhausted
    assert (account.seconds, account.opened, account.day.seconds) == (60, 1, 0)
    assert accounts.unsaved().used == [KeyUsage("a", TODAY, 60, 1)]


@pytest.mark.parametrize(
    ("moment", "left"),
    [
        (datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC), 1),
        (datetime(2026, 3, 1, tzinfo=UTC), 86400),
        (datetime.fromisoformat("2026-03-01T01:00:00+02:00"), 3600),
    ],
)
def test_the_day_ends_at_midnight_in_utc(moment: datetime, left: int) -> None:
    assert seconds_left(moment) == left


def test_servers_and_restarts_share_a_keys_day() -> None:
    store = Store()
    one, two = Accounts(seconds_a_day=100, now=Clock()), Accounts(seconds_a_day=100, now=Clock())
    hear(one.account(key("a")), 60)
    hear(two.account(key("a")), 39)
    assert not one.account(key("a")).is_exhausted
    store.keep(one, two, one)
    hear(one.account(key("a")), 1)
    assert one.account(key("a")).is_exhausted
    store.keep(one, two)
    assert two.account(key("a")).is_exhausted
    again = Accounts(seconds_a_day=100, now=Clock())
    store.keep(again)
    assert again.account(key("a")).is_exhausted
    assert store.seconds == {("a", TODAY): 100}
    assert store.streams == {("a", TODAY): 3}


def test_what_comes_while_it_is_written_is_written_later() -> None:
    accounts = Accounts(now=Clock())
    account = accounts.account(key("a"))
    hear(account, 1.5)
    unsaved = accounts.unsaved()
    hear(account, 2.5)
    assert unsaved.used == [KeyUsage("a", TODAY, 1.5, 1)]
    unsaved.mark_saved()
    assert accounts.unsaved().used == [KeyUsage("a", TODAY, 2.5, 1)]


def test_what_could_not_be_written_stays_to_be_written() -> None:
    clock = Clock()
    accounts = Accounts(now=clock)
    hear(accounts.account(key("a")), 1.5)
    assert accounts.unsaved().used == accounts.unsaved().used
    clock.now += DAY
    hear(accounts.account(key("a")), 2.5)
    unsaved = accounts.unsaved()
    assert unsaved.used == [KeyUsage("a", TODAY, 1.5, 1), KeyUsage("a", TOMORROW, 2.5, 1)]
    unsaved.mark_saved()
    assert accounts.unsaved().used == []


def test_what_is_read_of_another_day_is_not_todays() -> None:
    clock = Clock()
    accounts = Accounts(seconds_a_day=10, now=clock)
    account = accounts.account(key("a"))
    clock.now += DAY
    accounts.roll_over()
    accounts.set_totals(TODAY, {"a": 100})
    assert not account.is_exhausted
    accounts.set_totals(TOMORROW, {"a": 100})
    assert account.is_exhausted


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from("ab"),
            st.floats(0, 1e4),
            st.sampled_from([0, 0, 0, 1, 20, 30, -25]),
            st.booleans(),
        )
    )
)
def test_nothing_is_lost_or_counted_twice_wherever_the_clock_goes(
    steps: list[tuple[int, str, float, int, bool]],
) -> None:
    store, clock = Store(), Clock()
    servers = [Accounts(now=clock), Accounts(now=clock)]
    heard: dict[tuple[str, date], float] = {}
    for number, name, seconds, hours, keeps in steps:
        clock.now += hours * HOUR
        hear(servers[number].account(key(name)), seconds)
        place = name, clock.now.date()
        heard[place] = heard.get(place, 0.0) + seconds
        if keeps:
            store.keep(servers[number])
    store.keep(*servers)
    store.keep(*servers)
    assert store.seconds == pytest.approx(heard)
    assert sum(store.streams.values()) == len(steps)
    for server in servers:
        for account in server.all:
            total = account.day.seconds + account.day.others
            assert total == pytest.approx(heard.get((account.key or "", clock.now.date()), 0.0))
