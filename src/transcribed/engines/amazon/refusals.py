"""What Amazon refuses, as our errors: which kind, and what to do about it."""

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
        "Whoever the credentials are of needs the permission transcribe:StartStreamTranscriptionWebSocket.",
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
"""By the exception's name, without "Exception" at its end."""

_IN_A_STREAM: Mapping[str, str] = {
    "signature": "InvalidSignature",
    "access key": "UnrecognizedClient",
    "security token": "UnrecognizedClient",
}
"""What a BadRequest is about, by words of its message."""

_STATUS: Mapping[int, str] = {
    400: "BadRequest",
    401: "AccessDenied",
    403: "AccessDenied",
    409: "Conflict",
    429: "LimitExceeded",
}
_SHOWN = 300


def refusal(name: str, message: str) -> TranscribedError:
    """An exception of Amazon's by its name, with or without namespace, address and "Exception"."""
    plain = name.partition(":")[0].rpartition("#")[2].removesuffix("Exception")
    kind, advice = _KINDS.get(plain, (EngineFailure, _NO_ADVICE))
    lower = message.lower()
    if kind is BadRequest and "no new audio" in lower:
        # It is the way there that had stopped: silence is sent where no audio comes.
        kind = UpstreamLost
    elif "expired" in lower and "token" in lower:
        kind, advice = _KINDS["ExpiredToken"]
    elif kind is BadRequest:
        # In the middle of a stream, as which a WebSocket's refusals come, there is no other exception.
        about = next((about for words, about in _IN_A_STREAM.items() if words in lower), "BadRequest")
        kind, advice = _KINDS[about]
    said = " ".join(message.split())[:_SHOWN] or "it does not say why"
    said = said if said.endswith((".", "!", "?")) else f"{said}."
    return kind(f"Amazon Transcribe answers {plain or 'nothing known'}: {said} {advice}".rstrip())


def refusal_of_status(status: int, headers: Mapping[str, str], body: bytes) -> TranscribedError:
    """An HTTP answer in place of a WebSocket. The names of the headers are in lower case."""
    message = _message(body)
    name = headers.get("x-amzn-errortype", "")
    if name:
        return refusal(name, message)
    if status >= 500:  # noqa: PLR2004 - HTTP's limit
        return Unavailable(
            f"Amazon Transcribe, or what is in front of it, answers {status}. {message}".strip()
        )
    if status in _STATUS:
        return refusal(_STATUS[status], message or f"HTTP {status}")
    return EngineFailure(
        f"What answers in Amazon Transcribe's place, with HTTP {status}, does not speak its protocol. "
        "Check the endpoint."
    )


def _message(body: bytes) -> str:
    """Of a JSON body; nothing where it is another."""
    try:
        members = json.loads(body)
    except ValueError:
        return ""
    found = members.get("Message") or members.get("message") if isinstance(members, dict) else None
    return found if isinstance(found, str) else ""
