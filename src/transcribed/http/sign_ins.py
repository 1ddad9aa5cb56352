"""Sign-ins that failed, counted for each address, so that nobody can try secrets without end."""

import ipaddress
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from transcribed.errors import ExpiredToken, InvalidSignature, LimitExceeded, UnknownClient

MOST_ADDRESSES = 10_000
"""Of which failures are remembered; of more, those are forgotten that have not failed for the longest."""

_WINDOW_SECONDS = 60.0
_NETWORK_BITS = 64
"""Of an IPv6 address: one subscriber has all addresses that begin with them (RFC 6177)."""

_log = logging.getLogger(__name__)


class TooManyFailures(LimitExceeded):
    """An address has failed to sign in too often, lately."""


class SignIns:
    """Refuses an address where `most` sign-ins failed within a minute; 0 is no limit. `now` is in seconds.

    Then no secret of it is looked at, a right one neither: who tries secrets would be told which it is.
    """

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = now
        self._lately: OrderedDict[str, list[float]] = OrderedDict()
        self._told_at = -math.inf
        self.failed = 0
        """Sign-ins with a secret, token or signature that was not right."""
        self.refused = 0
        """Those at which it was not looked at."""

    @contextmanager
    def attempt(self, address: str) -> Iterator[None]:
        """Look at a secret within this. Raises TooManyFailures where it is not to be looked at.

        While it lasts it counts as one that failed: many at once are no way around the limit.
        """
        who, now = _one(address), self._now()
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
            # A token that has expired was right: to show it is no try at a secret.
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
        """In the log, once a minute."""
        many = 0 < self._most <= len(self._lately.get(who, ()))
        if many and now - self._told_at >= _WINDOW_SECONDS:
            self._told_at = now
            _log.warning(
                "%d sign-ins from %s failed within a minute: for now no more of its keys are looked at. "
                "For a minute nothing is said of other addresses.",
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
        """Those that last failed then or before, and of too many the oldest."""
        while self._lately:
            who, failures = next(iter(self._lately.items()))
            if failures[-1] > latest and len(self._lately) <= MOST_ADDRESSES:
                break
            del self._lately[who]


def _one(address: str) -> str:
    """Whoever has an address: of IPv6 its network."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((found, _NETWORK_BITS), strict=False))
    return str(found)
