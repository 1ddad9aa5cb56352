import logging
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.errors import (
    ExpiredToken,
    InvalidSignature,
    MissingAuthentication,
    StorageUnavailable,
    UnknownClient,
)
from transcribed.http import sign_ins
from transcribed.http.sign_ins import SignIns, TooManyFailures

ATTACKER, OTHER = "192.0.2.1", "192.0.2.2"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def fail(counted: SignIns, address: str, times: int) -> None:
    for number in range(times):
        wrong = [UnknownClient, InvalidSignature][number % 2]("wrong")
        with pytest.raises(type(wrong)), counted.attempt(address):
            raise wrong


def check(counted: SignIns, address: str) -> None:
    with counted.attempt(address):
        pass


def test_so_many_may_fail_within_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    counted = SignIns(3, clock)
    fail(counted, ATTACKER, 1)
    clock.now += 20
    with caplog.at_level(logging.WARNING):
        fail(counted, ATTACKER, 1)
        assert caplog.records == []
        fail(counted, ATTACKER, 1)
    assert len(caplog.records) == 1
    with pytest.raises(
        TooManyFailures, match=r"3 sign-ins from 192\.0\.2\.1 failed within a minute"
    ) as told:
        check(counted, ATTACKER)
    assert told.value.retry_after == 40
    check(counted, OTHER)
    assert (counted.failed, counted.refused) == (3, 1)
    clock.now += told.value.retry_after - 0.5
    with pytest.raises(TooManyFailures):
        check(counted, ATTACKER)
    clock.now += 0.5
    fail(counted, ATTACKER, 1)
    with pytest.raises(TooManyFailures):
        check(counted, ATTACKER)


def test_while_a_secret_is_looked_at_it_counts_as_wrong() -> None:
    """As where it is looked for in a database: many at once are no way around the limit."""
    counted = SignIns(3)
    with ExitStack() as looking:
        for _ in range(3):
            looking.enter_context(counted.attempt(ATTACKER))
        with pytest.raises(TooManyFailures):
            check(counted, ATTACKER)
        check(counted, OTHER)
    for _ in range(10):
        check(counted, ATTACKER)
    assert (counted.failed, counted.refused) == (0, 1)


@pytest.mark.parametrize(
    "error", [ExpiredToken, StorageUnavailable, MissingAuthentication, KeyboardInterrupt]
)
def test_what_is_no_try_at_a_secret_does_not_count(error: type[BaseException]) -> None:
    counted = SignIns(2)
    for _ in range(5):
        with pytest.raises(error), counted.attempt(ATTACKER):
            raise error("not now")
    check(counted, ATTACKER)
    assert (counted.failed, counted.refused) == (0, 0)


def test_nobody_is_refused_without_a_limit() -> None:
    counted = SignIns(0)
    fail(counted, ATTACKER, 1000)
    assert (counted.failed, counted.refused) == (1000, 0)


def test_links_are_counted_apart() -> None:
    counted = SignIns(2)
    for _ in range(2):
        with pytest.raises(UnknownClient), counted.attempt(ATTACKER, link=True):
            raise UnknownClient("wrong")
    with (
        pytest.raises(TooManyFailures, match=r"from 192\.0\.2\.1 failed"),
        counted.attempt(ATTACKER, link=True),
    ):
        pass
    check(counted, ATTACKER)
    fail(counted, OTHER, 2)
    with counted.attempt(OTHER, link=True):
        pass


def test_all_addresses_of_one_ipv6_network_are_one() -> None:
    counted = SignIns(2)
    fail(counted, "2001:db8::1", 1)
    fail(counted, "2001:db8::ffff:1", 1)
    with pytest.raises(TooManyFailures):
        check(counted, "2001:db8::2")
    check(counted, "2001:db8:0:1::1")
    fail(counted, "::ffff:192.0.2.1", 2)
    check(counted, "::ffff:192.0.2.2")
    fail(counted, "a name", 1)


@pytest.fixture
def few() -> Iterator[None]:
    before, sign_ins.MOST_ADDRESSES = sign_ins.MOST_ADDRESSES, 5
    yield
    sign_ins.MOST_ADDRESSES = before


@pytest.mark.usefixtures("few")
def test_of_too_many_addresses_those_that_failed_last_are_remembered() -> None:
    counted = SignIns(1)
    for number in range(10):
        fail(counted, f"198.51.100.{number}", 1)
    for number in reversed(range(10)):
        with suppress(TooManyFailures):
            check(counted, f"198.51.100.{number}")
            assert number < 5
    assert counted.refused == 5


@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sampled_from([0, 0, 0.5, 10, 20, 60]), st.sampled_from([ATTACKER, OTHER])), max_size=60
    ),
)
def test_within_no_minute_more_are_looked_at(most: int, steps: list[tuple[float, str]]) -> None:
    clock = Clock()
    counted = SignIns(most, clock)
    failed: dict[str, list[float]] = {ATTACKER: [], OTHER: []}
    for pause, address in steps:
        clock.now += pause
        recent = [at for at in failed[address] if at > clock.now - 60]
        if len(recent) < most:
            fail(counted, address, 1)
            failed[address].append(clock.now)
        else:
            with pytest.raises(TooManyFailures) as told:
                check(counted, address)
            assert recent[0] + 60 <= clock.now + told.value.retry_after < recent[0] + 61
