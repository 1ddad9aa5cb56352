"""What is wrong with the parameters or the body of a request, in words. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from transcribed.errors import BadRequest

M = TypeVar("M", bound=BaseModel)
_UNKNOWN = "extra_forbidden"


def parsed(model: type[M], body: bytes, how: str) -> M:
    """A JSON body as a model. Raises BadRequest: `how` to send it, and what is wrong with this one."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise BadRequest(f"{how} ({problems(error.errors(), model)}).") from error


def problems(errors: Sequence[Mapping[str, Any]], model: type[BaseModel] | None = None) -> str:
    """The errors of a ValidationError, each after the name of its field.

    After a name that is unknown, the names that the `model` has are listed.
    """
    described = [f"{_name(error)}: {_message(error)}" for error in errors]
    if model is not None and any(error["type"] == _UNKNOWN for error in errors):
        known = (field.alias or name for name, field in model.model_fields.items())
        described.append(f"there are {', '.join(known)}")
    return "; ".join(described)


def _name(error: Mapping[str, Any]) -> str:
    return ".".join(map(str, error["loc"])) or "body"


def _message(error: Mapping[str, Any]) -> str:
    return "this name is not known" if error["type"] == _UNKNOWN else str(error["msg"])
