"""`transcribed doctor amazon`: checks whether this machine can use Amazon Transcribe."""

import asyncio
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from transcribed.audio.formats import Samples
from transcribed.clock import utc_now
from transcribed.engines.amazon.settings import AmazonSettings
from transcribed.engines.base import Hypothesis, RecognitionStream
from transcribed.errors import ConfigurationError, TranscribedError, Unavailable
from transcribed.options import Pace, StreamOptions

if TYPE_CHECKING:
    from transcribed.engines.amazon.account import Account

OK, FAILED, NOT_TRIED = 0, 1, 3
"""Exit codes; the last one if nothing fails but the user declines the stream."""

_SECONDS = 3
_ANSWER_SECONDS = 10.0
_STREAM_SECONDS = 60.0
_WORST_CLOCK = 300.0
_PACKAGES = ("botocore", "websockets")
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


def check_amazon(settings: AmazonSettings, *, agreed: bool) -> int:
    """Run all checks, print a line for each, and return the exit code.

    `agreed` says that the user agrees to the cost of a stream.
    """
    report = _Report()
    if not report.check("extra", _extra):
        return FAILED
    from transcribed.engines.amazon.account import Account  # noqa: PLC0415 - it needs the extra

    try:
        account = Account(settings)
    except TranscribedError as error:
        report.fail("profile", error.message)
        return FAILED
    service = _Service(account)
    report.check("credentials", lambda: _found(account))
    report.check("region", lambda: _region(account))
    if report.check("endpoint", lambda: account.endpoint) and report.check("service", service.answers):
        report.check("clock", service.clock)
    if report.failed:
        report.say("-", "stream", "not tried. Do what the lines above say first.")
        return FAILED
    click.echo(_costs(account.endpoint))
    if not (agreed or _agreed()):
        report.say("-", "stream", "not tried.")
        return NOT_TRIED
    report.check("stream", lambda: asyncio.run(_stream(settings)))
    return FAILED if report.failed else OK


class _Report:
    """Prints a line for each check and records whether any failed."""

    def __init__(self) -> None:
        self.failed = False

    def check(self, name: str, find: Callable[[], str]) -> bool:
        """Run a check and print its finding or its error. Return whether it succeeded."""
        try:
            self.say("ok", name, find())
        except TranscribedError as error:
            self.fail(name, error.message)
            return False
        return True

    def fail(self, name: str, why: str) -> None:
        self.failed = True
        self.say("FAILS", name, why)

    def say(self, state: str, name: str, what: str) -> None:
        click.echo(f"{state:<7}{name:<13}{what}")


def _extra() -> str:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"{' and '.join(missing)} not installed. Run: pip install 'transcribed[amazon]'"
        )
    return ", ".join(f"{name} {version(name)}" for name in _PACKAGES)


def _found(account: "Account") -> str:
    return f"found ({account.credentials().method})"


def _region(account: "Account") -> str:
    # With an endpoint that is not Amazon's, any region will do.
    region, known = account.region, account.regions
    return region if region in known else f"{region}, which is not one of {', '.join(known)}"


@dataclass
class _Service:
    """The service at the endpoint."""

    account: "Account"
    _date: str | None = field(default=None, init=False)

    def answers(self) -> str:
        """Send a request. Any HTTP response shows that the service is reachable and trusted."""
        place = urlsplit(self.account.endpoint)
        url = f"{place.scheme}://{place.netloc}/"
        trust = self.account.trust() if place.scheme == "https" else None
        began = time.monotonic()
        try:
            # Like the engine, this uses the proxies of the environment.
            with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS, context=trust) as answer:  # noqa: S310
                status, headers = answer.status, answer.headers
        except urllib.error.HTTPError as error:
            status, headers = error.code, error.headers
            error.close()
        except (OSError, ValueError) as error:
            raise Unavailable(_unreachable(place.netloc, error)) from error
        self._date = headers["date"]
        return f"answers in {time.monotonic() - began:.2f} s, with HTTP status {status}"

    def clock(self) -> str:
        """Compare this machine's clock with the service's. Signatures are valid for five minutes."""
        now = utc_now()
        try:
            service_time = parsedate_to_datetime(self._date or "")
        except ValueError:
            return "unknown: the service did not send its time"
        off = (now - service_time.astimezone(UTC)).total_seconds()
        if abs(off) > _WORST_CLOCK:
            raise ConfigurationError(
                f"{abs(off):.0f} seconds {'fast' if off > 0 else 'slow'}; signatures would be refused. Set "
                "this machine's clock, for example with: timedatectl set-ntp true"
            )
        return f"right within {max(1.0, abs(off)):.0f} s"


def _unreachable(place: str, error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    match reason:
        case socket.gaierror():
            return (
                f"There is no host of {place}. Does the region have Amazon Transcribe, and does DNS work?"
            )
        case ssl.SSLCertVerificationError():
            return (
                f"The certificate of {place} is not trusted: {reason.verify_message}. If it is of an "
                "authority of your own, name its file in AWS_CA_BUNDLE."
            )
        case TimeoutError():
            return f"{place} does not answer. Does a firewall let connections out to its port?"
        case _:
            return f"{place} cannot be reached: {reason}"


def _costs(endpoint: str) -> str:
    host = urlsplit(endpoint).hostname or ""
    if host.endswith(_AMAZON):
        price = (
            "Amazon bills it, as 15 seconds, the least there is: about 0.01 US dollars "
            "(https://aws.amazon.com/transcribe/pricing)"
        )
    else:
        price = f"{host} is not Amazon's, and costs what its owner asks"
    return f"\nThe last check is a real stream of {_SECONDS:g} seconds. {price}.\n"


def _agreed() -> bool:
    if not sys.stdin.isatty():
        click.echo("Standard input is not a terminal. Agree to the stream with --yes.")
        return False
    return click.confirm("Open it?", err=True)


async def _stream(settings: AmazonSettings) -> str:
    """Transcribe a stream of three seconds of speech."""
    from transcribed.engines.amazon import engine  # noqa: PLC0415 - it needs the extra
    from transcribed.engines.moonshine.shipped import shipped_speech  # noqa: PLC0415 - nothing else needs it

    began = time.monotonic()
    hypotheses: list[Hypothesis] = []
    first = 0.0
    try:
        async with asyncio.timeout(_STREAM_SECONDS):
            stream = await engine.load(settings).open(StreamOptions(pace=Pace.FAST))
            opened = time.monotonic() - began
            sending = asyncio.create_task(_send(stream, shipped_speech("two_cities.wav", _SECONDS)))
            try:
                async for event in stream:
                    if isinstance(event, Hypothesis):
                        first = first or time.monotonic() - began
                        hypotheses.append(event)
                await sending
            finally:
                sending.cancel()
                await stream.aclose()
    except TimeoutError:
        raise Unavailable(f"The stream did not end within {_STREAM_SECONDS:g} seconds.") from None
    text = " ".join(hypothesis.text for hypothesis in hypotheses if hypothesis.final)
    words = f'first words after {first:.1f} s: "{text}"' if hypotheses else "no words came"
    return f"open after {opened:.2f} s, {words}, ended in good order after {time.monotonic() - began:.1f} s"


async def _send(stream: RecognitionStream, samples: Samples) -> None:
    await stream.send(samples)
    await stream.finish()
