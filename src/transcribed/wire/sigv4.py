"""Amazon's Signature Version 4, checked and made: of requests, of URLs, and of the messages of a stream.

What is signed is put in the form in which botocore and the other SDKs put it: the path without empty and
dot segments and encoded once more, the query as it is on the wire and sorted, white space in headers
collapsed. There is no clock here: `now` is an argument, in UTC. No secret is in a message or a `repr`.
"""

import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote, unquote

from transcribed.errors import (
    IncompleteSignature,
    InvalidSignature,
    MissingAuthentication,
    UnknownClient,
    shown,
)
from transcribed.wire.eventstream import Message, Timestamp, encode, encode_headers

EMPTY_PAYLOAD = sha256(b"").hexdigest()
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EVENTS_PAYLOAD = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
MAX_SKEW = timedelta(minutes=5)
"""By which a client's clock may differ from ours."""
MAX_EXPIRES = 300
"""Seconds for which a signed URL may be valid."""

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "transcribe"
_TERMINATOR = "aws4_request"
_NEEDED = ("Credential", "SignedHeaders", "Date", "Signature")
_STAMP = "%Y%m%dT%H%M%SZ"
_DAY_LENGTH = 8
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_SECONDS = re.compile(r"[1-9][0-9]{0,2}")
_SECRET_PARAMETERS = {"access_token", "x-amz-signature", "x-amz-security-token"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key; the token is that of a session, and is not checked."""

    access_key: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body. `path` and `query` are as on the wire, headers are in their order.

    `payload_hash` is the SHA-256 of the body; of a body that is a stream of signed messages, of nothing.
    """

    method: str
    path: str
    query: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    payload_hash: str = EMPTY_PAYLOAD


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signing key is for: one day (`20261125`), region and service."""

    day: str
    region: str
    service: str = _SERVICE

    def __str__(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/{_TERMINATOR}"


@dataclass(frozen=True, slots=True)
class Signed:
    """A request whose signature is right: who made it, and when."""

    credentials: Credentials
    scope: Scope
    moment: datetime
    signature: str = field(repr=False)

    def chain(self) -> "SignatureChain":
        """The signatures of the messages that follow."""
        return SignatureChain(self.credentials, self.scope.region, self.signature, self.moment)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says of its signature; `expires` is that of a URL, in seconds."""

    credential: str
    stamp: str
    signed_headers: Sequence[str]
    signature: str
    expires: int | None


def verify(
    request: Request, secret_of: Callable[[str], str | None], now: datetime, region: str | None = None
) -> Signed:
    """Check a request's signature, in its query or in its headers, by the secret of its access key.

    Without `region` any will do. Raises MissingAuthentication, IncompleteSignature, UnknownClient and
    InvalidSignature.
    """
    claim = _claim(request)
    access_key, scope = _credential(claim.credential)
    secret = secret_of(access_key)
    if secret is None:
        raise UnknownClient(
            f"This server does not know the access key {shown(access_key)}. Use one that it was given."
        )
    moment = _moment(claim.stamp)
    if scope != (expected := Scope(claim.stamp[:_DAY_LENGTH], region or scope.region)):
        raise InvalidSignature(
            f"Credential should be scoped to {shown(expected)}, not to {shown(scope)}: set the "
            "client's region and service so."
        )
    _check_time(moment, claim.expires, now)
    credentials = Credentials(access_key, secret)
    signature = _signature(request, claim.signed_headers, credentials, scope, claim.stamp)
    if not hmac.compare_digest(signature, claim.signature):
        raise InvalidSignature(
            "The request signature we calculated does not match the signature you provided. Check the "
            "secret access key, and that nothing on the way changes the host, the path or a signed header."
        )
    return Signed(credentials, scope, moment, signature)


def sign(request: Request, credentials: Credentials, region: str, now: datetime) -> Request:
    """The request with a signature in its headers, over all its headers; `host` must be among them."""
    stamp = _stamp(now)
    scope = Scope(stamp[:_DAY_LENGTH], region)
    added = [("x-amz-date", stamp)]
    if credentials.token is not None:
        added.append(("x-amz-security-token", credentials.token))
    request = replace(request, headers=(*request.headers, *added))
    names = sorted({name.lower() for name, _ in request.headers})
    signature = _signature(request, names, credentials, scope, stamp)
    parts = (
        f"Credential={credentials.access_key}/{scope}",
        f"SignedHeaders={';'.join(names)}",
        f"Signature={signature}",
    )
    authorization = ("authorization", f"{_ALGORITHM} {', '.join(parts)}")
    return replace(request, headers=(*request.headers, authorization))


def presign(
    request: Request, credentials: Credentials, region: str, now: datetime, expires: int = MAX_EXPIRES
) -> Request:
    """The request with a signature in its query for `expires` seconds; of its headers over `host` alone."""
    stamp = _stamp(now)
    scope = Scope(stamp[:_DAY_LENGTH], region)
    added = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.token is not None:
        added["X-Amz-Security-Token"] = credentials.token
    pairs = [f"{name}={quote(value, safe='-_.~')}" for name, value in added.items()]
    request = replace(request, query="&".join([request.query, *pairs] if request.query else pairs))
    signature = _signature(request, ["host"], credentials, scope, stamp)
    return replace(request, query=f"{request.query}&X-Amz-Signature={signature}")


class SignatureChain:
    """The signatures of a stream's messages: each over the one before, the first over the request's."""

    def __init__(self, credentials: Credentials, region: str, signature: str, since: datetime) -> None:
        self._secret = credentials.secret
        self._region = region
        self._last = signature
        self._since = since

    def open(self, message: Message, now: datetime) -> bytes:
        """What the next message wraps: an encoded message, or nothing at the end. Raises InvalidSignature.

        It may have been signed at any time since the request was. Amazon takes nothing older than five
        minutes, which breaks off a recording that is sent faster than it is read. A message cannot be
        replayed without that: it is signed for its place in this stream alone.
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

    def seal(self, payload: bytes, now: datetime) -> bytes:
        """The next message, encoded and signed, around an encoded message, or around nothing at the end."""
        date = Timestamp(_milliseconds(now))
        signature = self._signature(date, encode_headers({":date": date}), payload)
        self._last = signature.hex()
        return encode({":date": date, ":chunk-signature": signature}, payload)

    def _signature(self, date: Timestamp, headers: bytes, payload: bytes) -> bytes:
        stamp = _stamp(datetime.fromtimestamp(date // 1000, UTC))
        scope = Scope(stamp[:_DAY_LENGTH], self._region)
        hashes = (sha256(headers).hexdigest(), sha256(payload).hexdigest())
        to_sign = "\n".join((f"{_ALGORITHM}-PAYLOAD", stamp, str(scope), self._last, *hashes))
        return _hmac(_signing_key(self._secret, scope), to_sign)


def redacted(query: str) -> str:
    """A query for a log: without what would let a reader come in by it."""
    return "&".join(
        f"{name}=…" if unquote(name).lower() in _SECRET_PARAMETERS else f"{name}{equals}{value}"
        for name, equals, value in (pair.partition("=") for pair in query.split("&"))
    )


def _claim(request: Request) -> _Claim:
    expires = None
    fields = _amz_parameters(request.query)
    if "X-Amz-Signature" in fields:
        expires = _expires(fields.get("X-Amz-Expires", ""))
    else:
        fields = _amz_headers(request)
    if (algorithm := fields.get("X-Amz-Algorithm", "")) != _ALGORITHM:
        raise IncompleteSignature(
            f"Requests are signed with {_ALGORITHM} here, not with {shown(algorithm)}."
        )
    if missing := [name for name in _NEEDED if not fields.get(f"X-Amz-{name}")]:
        raise IncompleteSignature(f"The signature comes without its {' and '.join(missing)}.")
    credential, signed_headers, stamp, signature = (fields[f"X-Amz-{name}"] for name in _NEEDED)
    if not _SIGNATURE.fullmatch(signature):
        raise IncompleteSignature("The Signature must be 64 hexadecimal digits.")
    names = signed_headers.split(";")
    if "host" not in names and ":authority" not in names:
        raise InvalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    return _Claim(credential, stamp, names, signature, expires)


def _amz_parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if name.startswith("X-Amz-"):
            if name in found:
                raise IncompleteSignature(f"The query has {shown(name)} twice.")
            found[name] = unquote(value)
    return found


def _amz_headers(request: Request) -> dict[str, str]:
    """What the headers say of the signature, by the names that it has in a query."""
    authorization = _header(request, "authorization")
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
    date = _header(request, "date")
    found["X-Amz-Date"] = _header(request, "x-amz-date") or (_stamp_of_date(date) if date else "")
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
    raise IncompleteSignature(
        f"The credential must be written KEY/DAY/REGION/{_SERVICE}/{_TERMINATOR}, not {shown(text)}."
    )


def _check_time(moment: datetime, expires: int | None, now: datetime) -> None:
    signed, skew = _stamp(moment), f"{MAX_SKEW.seconds // 60} min."
    if moment > now + MAX_SKEW:
        raise InvalidSignature(
            f"Signature not yet current: {signed} is still later than {_stamp(now + MAX_SKEW)} "
            f"({_stamp(now)} + {skew}) Set the client's clock."
        )
    if expires is None and moment < now - MAX_SKEW:
        raise InvalidSignature(
            f"Signature expired: {signed} is now earlier than {_stamp(now - MAX_SKEW)} "
            f"({_stamp(now)} - {skew}) Set the client's clock."
        )
    if expires is not None and moment + timedelta(seconds=expires) < now:
        raise InvalidSignature(
            f"Signature expired: the URL was signed at {signed} for {expires} s, and now is {_stamp(now)}. "
            "Sign a new one for each connection."
        )


def _signature(
    request: Request, signed_headers: Sequence[str], credentials: Credentials, scope: Scope, stamp: str
) -> str:
    declared = _header(request, "x-amz-content-sha256")
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
        # HTTP/2's own name for it, which a server hands over as `host`.
        found = values.get("host" if name == ":authority" else name)
        if found is None:
            raise InvalidSignature(
                f"The header {shown(name)} is among the signed ones and did not arrive. Something on the "
                "way has removed it, or the client did not send it."
            )
        yield f"{name}:{','.join(found)}"


def _header(request: Request, name: str) -> str | None:
    found = [value for each, value in request.headers if each.lower() == name]
    if len(found) > 1:
        raise IncompleteSignature(f"The request has the header {name} more than once.")
    return found[0] if found else None


@lru_cache(maxsize=256)
def _signing_key(secret: str, scope: Scope) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (scope.day, scope.region, scope.service, _TERMINATOR):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _stamp(moment: datetime) -> str:
    return moment.strftime(_STAMP)


def _moment(stamp: str) -> datetime:
    try:
        moment = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        moment = None
    if moment is None or _stamp(moment) != stamp:
        raise IncompleteSignature(f"X-Amz-Date must be written 20261125T090000Z, not {shown(stamp)}.")
    return moment


def _stamp_of_date(date: str) -> str:
    try:
        moment = parsedate_to_datetime(date)
        return _stamp(moment.astimezone(UTC) if moment.tzinfo else moment)
    except (ValueError, OverflowError):
        raise IncompleteSignature(f"The header Date is none: {shown(date)}.") from None


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
