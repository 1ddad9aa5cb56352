"""Signing as a client does: requests, URLs, and the messages of a stream. The server only verifies."""

from dataclasses import replace
from datetime import datetime
from urllib.parse import quote

from transcribed.wire.eventstream import Timestamp, encode, encode_headers
from transcribed.wire.sigv4 import Credentials, Request, Scope, SignatureChain, signature_of, stamp_of

_ALGORITHM = "AWS4-HMAC-SHA256"


def sign(
    request: Request, credentials: Credentials, region: str, now: datetime, token: str | None = None
) -> Request:
    """The request with a signature of all its headers in a header; `host` must be among them."""
    stamp = stamp_of(now)
    scope = Scope.of(stamp, region)
    added = [("x-amz-date", stamp)]
    if token is not None:
        added.append(("x-amz-security-token", token))
    request = replace(request, headers=(*request.headers, *added))
    names = sorted({name.lower() for name, _ in request.headers})
    parts = (
        f"Credential={credentials.access_key}/{scope}",
        f"SignedHeaders={';'.join(names)}",
        f"Signature={signature_of(request, names, credentials, scope, stamp)}",
    )
    authorization = ("authorization", f"{_ALGORITHM} {', '.join(parts)}")
    return replace(request, headers=(*request.headers, authorization))


def presign(
    request: Request, credentials: Credentials, region: str, now: datetime, token: str | None = None
) -> Request:
    """The request with a signature in its query, valid for 5 minutes; of the headers, it covers `host`."""
    stamp = stamp_of(now)
    scope = Scope.of(stamp, region)
    added = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": "300",
        "X-Amz-SignedHeaders": "host",
    }
    if token is not None:
        added["X-Amz-Security-Token"] = token
    pairs = [f"{name}={quote(value, safe='-_.~')}" for name, value in added.items()]
    request = replace(request, query="&".join([request.query, *pairs] if request.query else pairs))
    signature = signature_of(request, ["host"], credentials, scope, stamp)
    return replace(request, query=f"{request.query}&X-Amz-Signature={signature}")


class SigningChain(SignatureChain):
    """A SignatureChain that signs messages."""

    def seal(self, payload: bytes, now: datetime) -> bytes:
        """Encode and sign the next message. Its payload is an encoded message, or nothing at the end."""
        date = Timestamp(round(now.timestamp() * 1000))
        signature = self._signature(date, encode_headers({":date": date}), payload)
        self._last = signature.hex()
        return encode({":date": date, ":chunk-signature": signature}, payload)
