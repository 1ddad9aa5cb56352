"""Every error that a caller may meet, in one shallow tree.

A message says what went wrong and what to do about it. `code` is the name that goes on the wire: Amazon
Transcribe's where it has one for the case, else a name of the same form.
"""

from typing import ClassVar


class TranscribedError(Exception):
    """The root. Raised itself only for what no branch below describes."""

    code: ClassVar[str] = "InternalFailureException"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(TranscribedError):
    """The request cannot be served as it is; sending it again unchanged will not help."""

    code = "BadRequestException"


class InvalidName(BadRequest):
    """A media name that no store accepts."""


class UnreadableAudio(BadRequest):
    """Bytes that cannot be decoded as audio."""


class TooLarge(BadRequest):
    """More bytes than the settings allow."""


class NotFound(TranscribedError):
    """Nothing is stored under the name."""

    code = "NotFoundException"


class MediaChanged(TranscribedError):
    """A stored file was replaced or deleted while it was read."""

    code = "ConflictException"


class StorageFailure(TranscribedError):
    """The store could not be read or written."""


class StorageFull(StorageFailure):
    """The store has no room left."""


class EngineFailure(TranscribedError):
    """The recogniser failed on one stream. Other streams go on."""


class Unavailable(TranscribedError):
    """Not now: the server is starting or stopping. The same request may succeed later."""

    code = "ServiceUnavailableException"


class Stopping(Unavailable):
    """The server is stopping: what was asked for breaks off, and nothing new begins."""

    def __init__(self, message: str = "The server is stopping. Try again in a moment.") -> None:
        super().__init__(message)


class LimitExceeded(TranscribedError):
    """No more live streams can be served well now. The same request may succeed later."""

    code = "LimitExceededException"


class ConfigurationError(TranscribedError):
    """A setting that the server cannot start with."""


class Disconnected(TranscribedError):
    """The other end of a connection is gone, or has not read for longer than the time-out."""
