"""OpenAI's API of transcription: errors, models and transcripts as its clients read them.

The shapes are those of the types of the package `openai` 3.57.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from transcribed.errors import (
    AccessDenied,
    BadRequest,
    InvalidField,
    LimitExceeded,
    MissingAuthentication,
    MissingField,
    NotFound,
    TranscribedError,
    UnknownClient,
    UnknownModel,
    UnreadableAudio,
    shown,
)
from transcribed.options import Capabilities, ignoring_case, one_of
from transcribed.wire.languages import matching

PREFIX = "/v1"
"""The path below which everything is OpenAI's."""
REALTIME_PATH = f"{PREFIX}/realtime"
"""The path of realtime sessions."""

FILE = "file"
"""The field of a form with the recording."""

ErrorType = Literal["invalid_request_error", "authentication_error", "rate_limit_error", "server_error"]

_KINDS: dict[type[TranscribedError], tuple[ErrorType, str | None]] = {
    MissingAuthentication: ("authentication_error", "invalid_api_key"),
    UnknownClient: ("authentication_error", "invalid_api_key"),
    AccessDenied: ("invalid_request_error", "access_denied"),
    UnknownModel: ("invalid_request_error", "model_not_found"),
    NotFound: ("invalid_request_error", "not_found"),
    MissingField: ("invalid_request_error", "missing_required_parameter"),
    InvalidField: ("invalid_request_error", "invalid_value"),
    UnreadableAudio: ("invalid_request_error", "invalid_value"),
    BadRequest: ("invalid_request_error", None),
    LimitExceeded: ("rate_limit_error", "rate_limit_exceeded"),
    TranscribedError: ("server_error", None),
}


class Error(BaseModel):
    """What went wrong, in responses and in events. `param` is the name of the field at fault."""

    message: str
    type: ErrorType
    param: str | None = None
    code: str | None = None


def openai_error(error: TranscribedError) -> Error:
    """An error as OpenAI's clients read it: by the nearest of its classes that has a type there."""
    kind, code = next(_KINDS[each] for each in type(error).__mro__ if each in _KINDS)
    param = error.field if isinstance(error, InvalidField | UnknownModel) else None
    if isinstance(error, UnreadableAudio):
        param = FILE
    return Error(message=error.client_message, type=kind, param=param, code=code)


def error_body(error: Error) -> dict[str, Any]:
    """The body of a response that reports an error."""
    return {"error": error.model_dump()}


def is_below(path: str) -> bool:
    """Whether a path belongs to OpenAI's API."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def is_meant(path: str) -> bool:
    """Whether a client of OpenAI whose base URL is wrong would send a file to this path."""
    return path.endswith(("/audio/transcriptions", "/audio/translations"))


class Model(BaseModel):
    """An engine or a model that a request can name. `created` is in seconds since 1970."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str = "transcribed"


class Models(BaseModel):
    """All that a request can name, the default first."""

    data: list[Model]
    object: Literal["list"] = "list"


def chosen_engine(model: str | None, loaded: Sequence[Capabilities]) -> tuple[Capabilities, str | None]:
    """The engine and the model that a client names. An unknown name, such as whisper-1, means the default.

    `loaded` are the capabilities of the engines, the default first; there is at least one.
    """
    for can in loaded:
        if model is not None and model.lower() == can.name.lower():
            return can, None
    for can in loaded:
        if model is not None and (found := ignoring_case(model, can.models)) is not None:
            return can, found
    return loaded[0], None


def chosen_language(asked: str | None, can: Capabilities, field: str = "language") -> str | None:
    """The engine's spelling of the language that a client asks for; None if it asks for none.

    Raises InvalidField for a language that the engine does not know.
    """
    if asked is None or not asked.strip():
        return None
    found = matching(asked, can.languages)
    if found is None:
        raise InvalidField(
            f"The language {shown(asked)} is not recognised by {can.name}. Ask for "
            f"{one_of(can.languages)}, or leave `{field}` out.",
            field,
        )
    return found
