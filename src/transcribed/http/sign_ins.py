"""Limits the failed sign-ins of each address, so that nobody can guess secrets without end."""

import ipaddress
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from transcribed.errors import ExpiredToken, InvalidSignature, LimitExceeded, UnknownClient

MOST_ADDRESSES = 10_000
"""The most addresses to remember. Beyond that, those whose last failure is the oldest are forgotten."""

_WINDOW_SECONDS = 60.0
_NETWORK_BITS = 64
"""The first bits of an IPv6 address: a subscriber has all addresses with the same (RFC 6177)."""

_log = logging.getLogger(__name__)


class TooManyFailures(LimitExceeded):
    """Too many sign-ins of an address failed within a minute."""


class SignIns:
    """Refuses the sign-ins of an address if `most` have failed within a minute; 0 is no limit.

    Their credentials are not checked, so that right ones are refused too: otherwise somebody who guesses
    would learn which are right. `now` is a monotonic clock, in seconds.
    """

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = now
        self._lately: OrderedDict[str, list[float]] = OrderedDict()
        self._told_at = -math.inf
        self.failed = 0
        """Sign-ins with wrong credentials."""
        self.refused = 0
        """Sign-ins whose credentials were not checked."""

    @contextmanager
    def attempt(self, address: str, *, link: bool = False) -> Iterator[None]:
        """A context in which credentials are checked. Raises TooManyFailures if they are not to be.

        Until it ends it counts as a failure, so that many at once cannot exceed the limit. Credentials in a
        `link` are counted apart: a web page can have its reader's browser send wrong ones, and would lock
        its reader out otherwise.
        """
        who, now = f"{_one(address)}{' by links' if link else ''}", self._now()
        if self._most:
            failures = [at for at in self._lately.get(who, ()) if now - at < _WINDOW_SECONDS]
            if len(failures) >= self._most:
                self.refused += 1
                raise self._too_many(address, math.ceil(failures[0] + _WINDOW_SECONDS - now))
            self._lately[who] = [*failures, now]
            self._lately.move_to_end(who)
            self._forget(now - _WINDOW_SECONDS)
        failed = False
        try:
            yield
        except (UnknownClient, InvalidSignature) as error:
            # A token that has expired was right once, so it is no guess.
            failed = not isinstance(error, ExpiredToken)
            raise
        finally:
            if failed:
                self.failed += 1
                self._tell(who, now)
            else:
                self._forgive(who, now)

    def _too_many(self, address: str, seconds: int) -> TooManyFailures:
        return TooManyFailures(
            f"{self._most} sign-ins from {address} failed within a minute. See which key is right, and "
            f"show it in {seconds} s.",
            retry_after=seconds,
        )

    def _tell(self, who: str, now: float) -> None:
        """Log that an address has reached the limit, at most once a minute."""
        many = 0 < self._most <= len(self._lately.get(who, ()))
        if many and now - self._told_at >= _WINDOW_SECONDS:
            self._told_at = now
            _log.warning(
                "%d sign-ins from %s failed within a minute: further ones are refused for now. Other "
                "addresses are not logged for a minute.",
                self._most,
                who,
            )

    def _forgive(self, who: str, at: float) -> None:
        left = list(self._lately.get(who, ()))
        if at in left:
            left.remove(at)
        if left:
            self._lately[who] = left
        else:
            self._lately.pop(who, None)

    def _forget(self, latest: float) -> None:
        """Remove addresses whose last failure was at `latest` or before, and the oldest of too many."""
        while self._lately:
            who, failures = next(iter(self._lately.items()))
            if failures[-1] > latest and len(self._lately) <= MOST_ADDRESSES:
                break
            del self._lately[who]


def _one(address: str) -> str:
    """An IPv4 address, or the network of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((found, _NETWORK_BITS), strict=False))
    return str(found)
