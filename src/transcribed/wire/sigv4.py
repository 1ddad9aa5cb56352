"""Verification of Amazon's Signature Version 4 of requests, of URLs, and of an event stream's messages.

The canonical request is that of botocore and the other SDKs: the path is normalised and percent-encoded
once more, the query is sorted but otherwise as on the wire, and white space in headers is collapsed. This
module has no clock: `now` is an argument, in UTC. Secrets occur in no error message and no `repr`.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html (signatures of messages)
"""

import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256
from typing import Self
from urllib.parse import quote, unquote

from transcribed.errors import (
    IncompleteSignature,
    InvalidSignature,
    MissingAuthentication,
    UnknownClient,
    shown,
)
from transcribed.wire.eventstream import Message, Timestamp, encode_headers

EMPTY_PAYLOAD = sha256(b"").hexdigest()
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EVENTS_PAYLOAD = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
MAX_SKEW = timedelta(minutes=5)
"""The largest accepted difference between the client's clock and ours."""
MAX_EXPIRES = 300
"""The longest validity of a signed URL in seconds."""

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "transcribe"
_TERMINATOR = "aws4_request"
_STAMP_FORMAT = "%Y%m%dT%H%M%SZ"
_DAY_LENGTH = 8
_REQUIRED = ("Credential", "SignedHeaders", "Date", "Signature")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_SECONDS = re.compile(r"[1-9][0-9]{0,2}")
# The credential contains an id, or a secret if a client's user confuses the two.
_SECRET_PARAMETERS = {
    "access_token",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-signature",
    "x-amz-security-token",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key with its secret."""

    access_key: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body. `path`, `query` and `headers` are as on the wire.

    `payload_hash` is the SHA-256 of the body in hexadecimal; that of nothing for a body of signed messages.
    """

    method: str
    path: str
    query: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    payload_hash: str = EMPTY_PAYLOAD

    def header(self, name: str) -> str | None:
        """The value of a header, by its name in lower case. Raises IncompleteSignature if there are two."""
        found = [value for each, value in self.headers if each.lower() == name]
        if len(found) > 1:
            raise IncompleteSignature(f"The request has the header {name} more than once.")
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of a signing key: a day (`20261125`), a region and a service."""

    day: str
    region: str
    service: str = _SERVICE

    @classmethod
    def of(cls, stamp: str, region: str) -> Self:
        """The scope of a signature with this time stamp."""
        return cls(stamp[:_DAY_LENGTH], region)

    def __str__(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/{_TERMINATOR}"


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
    """The valid signature of a request: its signer's credentials, its scope, and when it was made."""

    credentials: Credentials
    scope: Scope
    moment: datetime
    signature: str = field(repr=False)

    def chain(self) -> "SignatureChain":
        """The chain of signatures of the messages that follow the request."""
        return SignatureChain(self.credentials, self.scope.region, self.signature, self.moment)


@dataclass(frozen=True, slots=True)
class _Claim:
    """The signature that a request claims to have; `expires` is the validity of a URL in seconds."""

    credential: str
    stamp: str
    signed_headers: Sequence[str]
    signature: str
    expires: int | None


def verify(request: Request, secret_of: Callable[[str], str | None], now: datetime) -> VerifiedSignature:
    """Verify the signature in a request's query or headers with the secret of its access key.

    Any region is accepted. Raises MissingAuthentication, IncompleteSignature, UnknownClient and
    InvalidSignature.
    """
    claim = _claim(request)
    access_key, scope = _credential(claim.credential)
    secret = secret_of(access_key)
    if secret is None:
        # The id is not quoted: who confuses the two fields of a client's settings has put the secret there.
        raise UnknownClient(
            "This server does not know the access key that signs. Use one that it was given: "
            "AWS_ACCESS_KEY_ID is its id, AWS_SECRET_ACCESS_KEY its secret."
        )
    moment = _moment(claim.stamp)
    if scope != (expected := Scope.of(claim.stamp, scope.region)):
        raise InvalidSignature(
            f"Credential should be scoped to {shown(expected)}, not to {shown(scope)}: set the "
            "client's region and service so."
        )
    _check_time(moment, claim.expires, now)
    credentials = Credentials(access_key, secret)
    signature = signature_of(request, claim.signed_headers, credentials, scope, claim.stamp)
    if not hmac.compare_digest(signature, claim.signature):
        raise InvalidSignature(
            "The request signature we calculated does not match the signature you provided. Check the "
            "secret access key, and that nothing on the way changes the host, the path or a signed header."
        )
    return VerifiedSignature(credentials, scope, moment, signature)


class SignatureChain:
    """The signatures of a stream's messages. Each covers the previous one, and the first the request's.

    `signature` is the request's, and `since` the time at which it was made.
    """

    def __init__(self, credentials: Credentials, region: str, signature: str, since: datetime) -> None:
        self._secret = credentials.secret
        self._region = region
        self._last = signature
        self._since = since

    def open(self, message: Message, now: datetime) -> bytes:
        """Verify the next message. Returns its payload: an encoded message, or nothing at the end.

        Raises InvalidSignature. A message may have been signed at any time since the request was: Amazon's
        limit of five minutes would break off a recording that is sent faster than it is recognised. Replays
        are excluded nevertheless, because a signature depends on the message's position in this stream.
        """
        match message.headers:
            case {":date": Timestamp() as date, ":chunk-signature": bytes() as signature}:
                pass
            case _:
                raise InvalidSignature(
                    "A message is not signed: it has no :date (a timestamp) or no :chunk-signature (bytes)."
                )
        if not _milliseconds(self._since - MAX_SKEW) <= date <= _milliseconds(now + MAX_SKEW):
            raise InvalidSignature(
                f"A message was signed {date} ms after 1970: before its stream began, or later than now. "
                "Set the client's clock."
            )
        signed = {name: value for name, value in message.headers.items() if name != ":chunk-signature"}
        expected = self._signature(date, encode_headers(signed), message.payload)
        if not hmac.compare_digest(expected, signature):
            raise InvalidSignature(
                "The signature of a message does not match: it was changed, one is missing or came twice, "
                "or the secret access key is not the one that signed the request."
            )
        self._last = signature.hex()
        return message.payload

    def _signature(self, date: Timestamp, headers: bytes, payload: bytes) -> bytes:
        stamp = stamp_of(datetime.fromtimestamp(date // 1000, UTC))
        scope = Scope.of(stamp, self._region)
        hashes = (sha256(headers).hexdigest(), sha256(payload).hexdigest())
        to_sign = "\n".join((f"{_ALGORITHM}-PAYLOAD", stamp, str(scope), self._last, *hashes))
        return _hmac(_signing_key(self._secret, scope), to_sign)


def redacted(query: str) -> str:
    """A query for the log, without the parameters that would let a reader of the log use it."""
    return "&".join(
        f"{name}=…" if unquote(name).lower() in _SECRET_PARAMETERS else f"{name}{equals}{value}"
        for name, equals, value in (pair.partition("=") for pair in query.split("&"))
    )


def _claim(request: Request) -> _Claim:
    expires = None
    fields = _query_fields(request.query)
    if "X-Amz-Signature" in fields:
        expires = _expires(fields.get("X-Amz-Expires", ""))
    else:
        fields = _header_fields(request)
    if fields.get("X-Amz-Algorithm") != _ALGORITHM:
        # What came in its place is not quoted: it may be a secret.
        raise IncompleteSignature(f"Requests are signed with {_ALGORITHM} here, and this one is not.")
    if missing := [name for name in _REQUIRED if not fields.get(f"X-Amz-{name}")]:
        raise IncompleteSignature(f"The signature comes without its {' and '.join(missing)}.")
    credential, signed_headers, stamp, signature = (fields[f"X-Amz-{name}"] for name in _REQUIRED)
    if not _SIGNATURE.fullmatch(signature):
        raise IncompleteSignature("The Signature must be 64 hexadecimal digits.")
    names = signed_headers.split(";")
    if "host" not in names and ":authority" not in names:
        raise InvalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    return _Claim(credential, stamp, names, signature, expires)


def _query_fields(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name.startswith("X-Amz-"):
            if name in found:
                raise IncompleteSignature(f"The query has {shown(name)} twice.")
            found[name] = unquote(value)
    return found


def _header_fields(request: Request) -> dict[str, str]:
    """The fields of a signature in the headers, under the names of the query's parameters."""
    authorization = request.header("authorization")
    if authorization is None:
        raise MissingAuthentication(
            "The request is not signed. Give the client an access key and its secret: "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    algorithm, _, parts = authorization.strip().partition(" ")
    found = {"X-Amz-Algorithm": algorithm}
    for part in parts.split(","):
        name, _, value = part.strip().partition("=")
        found[f"X-Amz-{name}"] = value
    date = request.header("date")
    found["X-Amz-Date"] = request.header("x-amz-date") or (_stamp_of_date(date) if date else "")
    return found


def _expires(seconds: str) -> int:
    if not _SECONDS.fullmatch(seconds) or int(seconds) > MAX_EXPIRES:
        raise IncompleteSignature(
            f"X-Amz-Expires is {shown(seconds)}, and must be a number from 1 to {MAX_EXPIRES} (seconds)."
        )
    return int(seconds)


def _credential(text: str) -> tuple[str, Scope]:
    access_key, *scope = text.rsplit("/", 4)
    match scope:
        case [day, region, service, terminator] if access_key and region and terminator == _TERMINATOR:
            return access_key, Scope(day, region, service)
    raise IncompleteSignature(f"The credential must be written KEY/DAY/REGION/{_SERVICE}/{_TERMINATOR}.")


def _check_time(moment: datetime, expires: int | None, now: datetime) -> None:
    signed, skew = stamp_of(moment), f"{MAX_SKEW.seconds // 60} min."
    if moment > now + MAX_SKEW:
        raise InvalidSignature(
            f"Signature not yet current: {signed} is still later than {stamp_of(now + MAX_SKEW)} "
            f"({stamp_of(now)} + {skew}) Set the client's clock."
        )
    if expires is None and moment < now - MAX_SKEW:
        raise InvalidSignature(
            f"Signature expired: {signed} is now earlier than {stamp_of(now - MAX_SKEW)} "
            f"({stamp_of(now)} - {skew}) Set the client's clock."
        )
    if expires is not None and moment + timedelta(seconds=expires) < now:
        raise InvalidSignature(
            f"Signature expired: the URL was signed at {signed} for {expires} s, and now is "
            f"{stamp_of(now)}. Sign a new one for each connection."
        )


def _moment(stamp: str) -> datetime:
    try:
        moment = datetime.strptime(stamp, _STAMP_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        moment = None
    if moment is None or stamp_of(moment) != stamp:
        raise IncompleteSignature(f"X-Amz-Date must be written 20261125T090000Z, not {shown(stamp)}.")
    return moment


def _stamp_of_date(date: str) -> str:
    try:
        moment = parsedate_to_datetime(date)
        return stamp_of(moment.astimezone(UTC) if moment.tzinfo else moment)
    except (ValueError, OverflowError):
        raise IncompleteSignature(f"The header Date is none: {shown(date)}.") from None


def signature_of(
    request: Request, signed_headers: Sequence[str], credentials: Credentials, scope: Scope, stamp: str
) -> str:
    """The signature of a request in hexadecimal. Raises InvalidSignature if a signed header is missing."""
    declared = request.header("x-amz-content-sha256")
    canonical = "\n".join(
        (
            request.method.upper(),
            _canonical_path(request.path),
            _canonical_query(request.query),
            *_canonical_headers(request.headers, signed_headers),
            "",
            ";".join(signed_headers),
            declared if declared in (UNSIGNED_PAYLOAD, EVENTS_PAYLOAD) else request.payload_hash,
        )
    )
    to_sign = "\n".join((_ALGORITHM, stamp, str(scope), sha256(canonical.encode()).hexdigest()))
    return _hmac(_signing_key(credentials.secret, scope), to_sign).hex()


def _canonical_path(path: str) -> str:
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    first = "/" if path.startswith("/") or not path else ""
    last = "/" if path.endswith("/") and segments else ""
    return quote(first + "/".join(segments) + last, safe="/~")


def _canonical_query(query: str) -> str:
    pairs = (pair.partition("=") for pair in query.split("&")) if query else ()
    ordered = sorted((name, value) for name, _, value in pairs if name != "X-Amz-Signature")
    return "&".join(f"{name}={value}" for name, value in ordered)


def _canonical_headers(headers: Iterable[tuple[str, str]], signed: Iterable[str]) -> Iterable[str]:
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(" ".join(value.split()))
    for name in signed:
        # HTTP/2 sends `:authority`, which ASGI servers present as `host`.
        found = values.get("host" if name == ":authority" else name)
        if found is None:
            raise InvalidSignature(
                f"The header {shown(name)} is among the signed ones and did not arrive. Something on the "
                "way has removed it, or the client did not send it."
            )
        yield f"{name}:{','.join(found)}"


@lru_cache(maxsize=256)
def _signing_key(secret: str, scope: Scope) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (scope.day, scope.region, scope.service, _TERMINATOR):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def stamp_of(moment: datetime) -> str:
    """The time stamp of a signature, such as 20261125T090000Z, of a moment in UTC."""
    return moment.strftime(_STAMP_FORMAT)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
