"""What is wrong with the parameters or the body of a request, in words. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

_UNKNOWN = "extra_forbidden"


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
