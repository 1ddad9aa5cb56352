"""Amazon's exceptions as errors of this project, with advice: pure."""

import json
from collections.abc import Mapping

from transcribed.errors import (
    AccessDenied,
    BadRequest,
    Conflict,
    EngineFailure,
    ExpiredCredentials,
    InvalidSignature,
    LimitExceeded,
    TranscribedError,
    Unavailable,
    UnknownClient,
    UpstreamLost,
)

_NO_ADVICE = ""
_SIGNATURE = (
    "Check the secret access key and this machine's clock, which may be five minutes off at most, and that "
    "nothing on the way changes the host or the path."
)
_KEY = "Check the access key, and that it is one of the region's partition."
_LIMIT = "Try later, or ask Amazon for more concurrent streams (Service Quotas, Amazon Transcribe)."

_KINDS: Mapping[str, tuple[type[TranscribedError], str]] = {
    "AccessDenied": (
        AccessDenied,
        "The credentials need the permission transcribe:StartStreamTranscriptionWebSocket.",
    ),
    "BadRequest": (BadRequest, _NO_ADVICE),
    "Conflict": (Conflict, _NO_ADVICE),
    "ExpiredToken": (ExpiredCredentials, "Renew the credentials: log in again."),
    "IncompleteSignature": (InvalidSignature, _SIGNATURE),
    "InternalFailure": (Unavailable, _NO_ADVICE),
    "InternalServerError": (Unavailable, _NO_ADVICE),
    "InvalidClientTokenId": (UnknownClient, _KEY),
    "InvalidSignature": (InvalidSignature, _SIGNATURE),
    "LimitExceeded": (LimitExceeded, _LIMIT),
    "MissingAuthenticationToken": (AccessDenied, _SIGNATURE),
    "RequestExpired": (InvalidSignature, _SIGNATURE),
    "Serialization": (BadRequest, _NO_ADVICE),
    "ServiceUnavailable": (Unavailable, _NO_ADVICE),
    "SignatureDoesNotMatch": (InvalidSignature, _SIGNATURE),
    "Throttling": (LimitExceeded, _LIMIT),
    "TooManyRequests": (LimitExceeded, _LIMIT),
    "UnrecognizedClient": (UnknownClient, _KEY),
    "Validation": (BadRequest, _NO_ADVICE),
}
"""The kind of error and the advice, by the exception's name without the suffix "Exception"."""

_BAD_REQUESTS: Mapping[str, str] = {
    "signature": "InvalidSignature",
    "access key": "UnrecognizedClient",
    "security token": "UnrecognizedClient",
}
"""The exception that a BadRequest stands for, by words of its message."""

_STATUS: Mapping[int, str] = {
    400: "BadRequest",
    401: "AccessDenied",
    403: "AccessDenied",
    409: "Conflict",
    429: "LimitExceeded",
}
_SHOWN = 300


def refusal(name: str, message: str) -> TranscribedError:
    """Return the error for an exception of Amazon's.

    `name` may have a namespace before "#", a URL after ":", and the suffix "Exception".
    """
    plain = name.partition(":")[0].rpartition("#")[2].removesuffix("Exception")
    kind, advice = _KINDS.get(plain, (EngineFailure, _NO_ADVICE))
    lower = message.lower()
    if kind is BadRequest and "no new audio" in lower:
        # Silence is sent when no audio comes, so the connection must have stalled.
        kind = UpstreamLost
    elif "expired" in lower and "token" in lower:
        kind, advice = _KINDS["ExpiredToken"]
    elif kind is BadRequest:
        # Over a WebSocket, Amazon reports other refusals as BadRequest, too.
        about = next((about for words, about in _BAD_REQUESTS.items() if words in lower), "BadRequest")
        kind, advice = _KINDS[about]
    reason = " ".join(message.split())[:_SHOWN] or "it does not say why"
    reason = reason if reason.endswith((".", "!", "?")) else f"{reason}."
    return kind(f"Amazon Transcribe answers {plain or 'with an unknown error'}: {reason} {advice}".rstrip())


def refusal_of_status(status: int, headers: Mapping[str, str], body: bytes) -> TranscribedError:
    """Return the error for an HTTP response to the handshake. Header names are in lower case."""
    message = _message(body)
    name = headers.get("x-amzn-errortype", "")
    if name:
        return refusal(name, message)
    if status >= 500:  # noqa: PLR2004 - HTTP's limit
        return Unavailable(f"Amazon Transcribe, or a proxy before it, answers {status}. {message}".strip())
    if status in _STATUS:
        return refusal(_STATUS[status], message or f"HTTP {status}")
    return EngineFailure(
        f"The endpoint answers with HTTP {status}, and does not speak the protocol of Amazon Transcribe. "
        "Check the endpoint."
    )


def _message(body: bytes) -> str:
    """Return the message of a JSON body; empty for any other body."""
    try:
        members = json.loads(body)
    except ValueError:
        return ""
    found = members.get("Message") or members.get("message") if isinstance(members, dict) else None
    return found if isinstance(found, str) else ""
