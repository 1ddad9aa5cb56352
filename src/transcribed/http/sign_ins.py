"""Limits the failed sign-ins of each address, so that secrets cannot be guessed by trying many."""

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from transcribed.errors import ExpiredToken, InvalidSignature, LimitExceeded, UnknownClient
from transcribed.http.addresses import subscriber

MOST_ADDRESSES = 10_000
"""The most addresses to remember. Beyond that, those whose last failure is the oldest are forgotten."""

_WINDOW_SECONDS = 60.0

_log = logging.getLogger(__name__)


class TooManyFailures(LimitExceeded):
    """Too many sign-ins of an address failed within a minute."""


class SignIns:
    """Refuses the sign-ins of an address if `most` have failed within a minute; 0 means no limit.

    Credentials are then refused unchecked, even correct ones: otherwise an attacker would learn which
    secret is correct. `now` is a monotonic clock, in seconds.
    """

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = now
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        self._logged_at = -math.inf
        self.failed = 0
        """Sign-ins with wrong credentials."""
        self.refused = 0
        """Sign-ins whose credentials were not checked."""

    @contextmanager
    def attempt(self, address: str, *, link: bool = False) -> Iterator[None]:
        """A context in which to check credentials. Raises TooManyFailures if they must not be checked.

        Until the context ends it counts as a failure, so that concurrent attempts cannot exceed the limit.
        Attempts with a `link` are counted separately: a web page can make its user's browser send wrong
        credentials in links, and could otherwise lock the user out.
        """
        source, now = f"{subscriber(address)}{' by links' if link else ''}", self._now()
        if self._most:
            failures = [at for at in self._failures.get(source, ()) if now - at < _WINDOW_SECONDS]
            if len(failures) >= self._most:
                self.refused += 1
                raise self._too_many(address, math.ceil(failures[0] + _WINDOW_SECONDS - now))
            self._failures[source] = [*failures, now]
            self._failures.move_to_end(source)
            self._forget_old(now - _WINDOW_SECONDS)
        failed = False
        try:
            yield
        except (UnknownClient, InvalidSignature) as error:
            # An expired token was valid before, so it is not a guess.
            failed = not isinstance(error, ExpiredToken)
            raise
        finally:
            if failed:
                self.failed += 1
                self._log_limit(source, now)
            else:
                self._remove_failure(source, now)

    def _too_many(self, address: str, seconds: int) -> TooManyFailures:
        return TooManyFailures(
            f"{self._most} sign-ins from {address} failed within a minute. Check the key, and try again in "
            f"{seconds} s.",
            retry_after=seconds,
        )

    def _log_limit(self, source: str, now: float) -> None:
        """Log that an address has reached the limit, at most once a minute."""
        many = 0 < self._most <= len(self._failures.get(source, ()))
        if many and now - self._logged_at >= _WINDOW_SECONDS:
            self._logged_at = now
            _log.warning(
                "%d sign-ins from %s failed within a minute: further ones are refused for now. Other "
                "addresses are not logged for a minute.",
                self._most,
                source,
            )

    def _remove_failure(self, source: str, at: float) -> None:
        left = list(self._failures.get(source, ()))
        if at in left:
            left.remove(at)
        if left:
            self._failures[source] = left
        else:
            self._failures.pop(source, None)

    def _forget_old(self, latest: float) -> None:
        """Remove addresses whose last failure was at `latest` or before, and the oldest of too many."""
        while self._failures:
            source, failures = next(iter(self._failures.items()))
            if failures[-1] > latest and len(self._failures) <= MOST_ADDRESSES:
                break
            del self._failures[source]
