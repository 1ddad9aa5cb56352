"""The errors that callers may get, in one shallow class hierarchy.

A message says what went wrong and what to do about it. `code` is the name in the protocols: Amazon
Transcribe's if it has one for the case, otherwise a name of the same form.
"""

from typing import ClassVar

RETRY_SECONDS = 5
"""Seconds after which to retry when the server lacks capacity: by then it has ended silent streams."""


class TranscribedError(Exception):
    """The base class. Raised itself only for failures that no subclass describes."""

    code: ClassVar[str] = "InternalFailureException"
    default_client_message: ClassVar[str | None] = None
    """The message for clients, for kinds of errors whose own messages may contain paths and addresses."""

    def __init__(self, message: str, client_message: str | None = None) -> None:
        """`client_message` is the message for clients, if `message` is for the server's operator only."""
        super().__init__(message)
        self.message = message
        self.client_message = client_message or self.default_client_message or message


def shown(value: object, most: int = 40) -> str:
    """A value of unknown origin, quoted for a message, and truncated to `most` characters."""
    text = str(value)
    return repr(text if len(text) <= most else f"{text[:most]}…")


class BadRequest(TranscribedError):
    """The request is not valid; sending it again unchanged will not help."""

    code = "BadRequestException"


class InvalidName(BadRequest):
    """A media name that no store accepts."""


class InvalidField(BadRequest):
    """A field of a request is not valid. `field` is its name in the client's protocol."""

    def __init__(self, message: str, field: str | None = None, client_message: str | None = None) -> None:
        super().__init__(message, client_message)
        self.field = field


class MissingField(InvalidField):
    """A required field of a request is missing."""


class UnreadableAudio(BadRequest):
    """Bytes that cannot be decoded as audio."""


class TooLarge(BadRequest):
    """More bytes than the settings allow."""


class NoAudio(BadRequest):
    """No new audio of a live stream arrived for longer than the time-out."""


class MalformedMessage(BadRequest):
    """Bytes that are not an event-stream message, or one that exceeds a limit."""


class IncompleteSignature(BadRequest):
    """A signature of which a part is missing, or whose format is unknown."""

    code = "IncompleteSignatureException"


class AccessDenied(TranscribedError):
    """The client is not permitted to do this, or has not proved that it is."""

    code = "AccessDeniedException"


class MissingAuthentication(AccessDenied):
    """A request without credentials."""

    code = "MissingAuthenticationTokenException"


class UnknownClient(AccessDenied):
    """Credentials that belong to no key of this server."""

    code = "UnrecognizedClientException"


class ExpiredToken(UnknownClient):
    """A token of one of this server's keys that has expired."""


class InvalidSignature(AccessDenied):
    """A signature that does not match the request or message, or whose date is too far off."""

    code = "InvalidSignatureException"


class ForeignHost(AccessDenied):
    """A request for a host name that is not this server's, as after DNS rebinding."""


class ForeignOrigin(AccessDenied):
    """A request of a web page of another origin that is not allowed."""


class NoCredentials(AccessDenied):
    """No credentials to sign requests to a remote engine with."""


class NotFound(TranscribedError):
    """Nothing is stored under the name."""

    code = "NotFoundException"


class UnknownModel(NotFound):
    """No engine and no model has the name. `field` is the name of the field that has it."""

    def __init__(self, message: str, field: str | None = None, client_message: str | None = None) -> None:
        super().__init__(message, client_message)
        self.field = field


class MediaChanged(TranscribedError):
    """A stored file was replaced or deleted while it was read."""

    code = "ConflictException"


class Conflict(TranscribedError):
    """Another stream with the same session id has replaced this one."""

    code = "ConflictException"


class StorageFailure(TranscribedError):
    """The store could not be read or written."""

    default_client_message = "The store failed; the server's log has the cause."


class StorageFull(StorageFailure):
    """The store is full."""

    default_client_message = "The store is full. Delete something, then retry."


class StorageUnavailable(StorageFailure):
    """The store does not answer, or refuses; this may be temporary or need a repair."""

    code = "ServiceUnavailableException"
    default_client_message = (
        "The store does not answer, or refuses; the server's log has the cause. Try again later."
    )


class EngineFailure(TranscribedError):
    """The engine failed in one stream. Other streams continue."""


class Unavailable(TranscribedError):
    """The server is starting or stopping. The same request may succeed later."""

    code = "ServiceUnavailableException"


class Stopping(Unavailable):
    """The server is stopping: running requests are interrupted, and new ones are refused."""

    def __init__(
        self,
        message: str = "The server is stopping. Try again in a moment.",
        client_message: str | None = None,
    ) -> None:
        super().__init__(message, client_message)


class UpstreamLost(Unavailable):
    """A remote engine is unreachable, closed the connection, or sent an invalid response."""


class ExpiredCredentials(Unavailable):
    """The credentials for a remote engine have expired; new ones may be available by now."""


class LimitExceeded(TranscribedError):
    """The client has reached one of its limits, or the server its capacity.

    The same request may succeed after `retry_after` seconds.
    """

    code = "LimitExceededException"

    def __init__(
        self, message: str, client_message: str | None = None, *, retry_after: int = RETRY_SECONDS
    ) -> None:
        super().__init__(message, client_message)
        self.retry_after = retry_after


class ConfigurationError(TranscribedError):
    """A setting that the server cannot start with."""

    default_client_message = "The server is not configured for this; its log has the details."


class DamagedModel(ConfigurationError):
    """A folder that should be a model is not one, or its files are missing or altered."""


class PullFailed(TranscribedError):
    """A model could not be pulled: its source fails, or is not what it should be."""


class Disconnected(TranscribedError):
    """The other end of a connection has closed it or was lost."""


class Unread(Disconnected):
    """The other end has read nothing for longer than the time-out."""
