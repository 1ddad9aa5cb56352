"""Every error that a caller may meet, in one shallow tree.

A message says what went wrong and what to do about it. `code` is the name that goes on the wire: Amazon
Transcribe's where it has one for the case, else a name of the same form.
"""

from typing import ClassVar

RETRY_SECONDS = 5
"""After which it may be tried again where the server is busy: streams that say nothing give way by then."""


class TranscribedError(Exception):
    """The root. Raised itself only for what no branch below describes."""

    code: ClassVar[str] = "InternalFailureException"
    told_at_most: ClassVar[str | None] = None
    """What clients are told of the kind, where a message may name paths and addresses."""

    def __init__(self, message: str, told: str | None = None) -> None:
        """`told` is for clients, where the message is for whoever runs the server."""
        super().__init__(message)
        self.message = message
        self.told = told or self.told_at_most or message


def shown(value: object, most: int = 40) -> str:
    """A value that came from outside, in quotes, as a message may show it: of a long one the beginning."""
    text = str(value)
    return repr(text if len(text) <= most else f"{text[:most]}…")


class BadRequest(TranscribedError):
    """The request cannot be served as it is; sending it again unchanged will not help."""

    code = "BadRequestException"


class InvalidName(BadRequest):
    """A media name that no store accepts."""


class UnreadableAudio(BadRequest):
    """Bytes that cannot be decoded as audio."""


class TooLarge(BadRequest):
    """More bytes than the settings allow."""


class MalformedMessage(BadRequest):
    """Bytes that are no event-stream message, or one beyond its limits."""


class IncompleteSignature(BadRequest):
    """A signature of which something is missing, or that is written in no way we know."""

    code = "IncompleteSignatureException"


class AccessDenied(TranscribedError):
    """Whoever asks has not shown that they may."""

    code = "AccessDeniedException"


class MissingAuthentication(AccessDenied):
    """A request without a signature."""

    code = "MissingAuthenticationTokenException"


class UnknownClient(AccessDenied):
    """Signed with an access key that is none of this server's."""

    code = "UnrecognizedClientException"


class ExpiredToken(UnknownClient):
    """A token of a key of this server's, shown too late."""


class InvalidSignature(AccessDenied):
    """A signature that is not that of the request or message, or not of this time."""

    code = "InvalidSignatureException"


class ForeignHost(AccessDenied):
    """Asked for by a name that is not this server's, which a page may do whose name resolves to it."""


class ForeignOrigin(AccessDenied):
    """Asked by a web page of another origin, which nobody has allowed."""


class NoCredentials(AccessDenied):
    """There is nothing to sign requests to a remote recogniser with."""


class NotFound(TranscribedError):
    """Nothing is stored under the name."""

    code = "NotFoundException"


class MediaChanged(TranscribedError):
    """A stored file was replaced or deleted while it was read."""

    code = "ConflictException"


class Conflict(TranscribedError):
    """Another stream with the same session's id has taken this one's place."""

    code = "ConflictException"


class StorageFailure(TranscribedError):
    """The store could not be read or written."""

    told_at_most = "The store failed on this; the server's log says how."


class StorageFull(StorageFailure):
    """The store has no room left."""

    told_at_most = "The store has no room left. Delete something, then retry."


class StorageUnavailable(StorageFailure):
    """The store does not answer or refuses, for now or until its owner mends it."""

    code = "ServiceUnavailableException"
    told_at_most = "The store does not answer, or refuses; the server's log says how. Try again later."


class EngineFailure(TranscribedError):
    """The recogniser failed on one stream. Other streams go on."""


class Unavailable(TranscribedError):
    """Not now: the server is starting or stopping. The same request may succeed later."""

    code = "ServiceUnavailableException"


class Stopping(Unavailable):
    """The server is stopping: what was asked for breaks off, and nothing new begins."""

    def __init__(
        self, message: str = "The server is stopping. Try again in a moment.", told: str | None = None
    ) -> None:
        super().__init__(message, told)


class UpstreamLost(Unavailable):
    """A remote recogniser cannot be reached, has gone, or answers what cannot be read."""


class ExpiredCredentials(Unavailable):
    """What requests to a remote recogniser are signed with has run out; there may be new ones by now."""


class LimitExceeded(TranscribedError):
    """Whoever asks has all that they may have, or the server all that it can serve well.

    The same request may succeed in `retry_after` seconds.
    """

    code = "LimitExceededException"

    def __init__(self, message: str, told: str | None = None, *, retry_after: int = RETRY_SECONDS) -> None:
        super().__init__(message, told)
        self.retry_after = retry_after


class ConfigurationError(TranscribedError):
    """A setting that the server cannot start with."""

    told_at_most = "The server is not set up for this; its log says how."


class Disconnected(TranscribedError):
    """The other end of a connection is gone."""


class Unread(Disconnected):
    """The other end has not read for longer than the time-out."""
