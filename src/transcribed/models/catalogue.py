"""The models that can be pulled. Their list is `catalogue.json`, beside this module."""

import difflib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from transcribed.errors import NotFound, shown
from transcribed.models.digests import KINDS

MOONSHINE_STREAMING = "moonshine-streaming"
WHISPER = "whisper"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SIMILAR = 0.5
_MOST_SIMILAR = 3


def is_name(name: str) -> bool:
    """Whether this can be the name of a model or of a file in it: no path, and not hidden."""
    return _NAME.fullmatch(name) is not None


def _name(name: str) -> str:
    if not is_name(name):
        raise ValueError(f"{shown(name)} is not the name of a model or file")
    return name


def _digests(digests: dict[str, str]) -> dict[str, str]:
    if not digests or not digests.keys() <= KINDS:
        raise ValueError(f"the kinds of digests are {', '.join(sorted(KINDS))}")
    return digests


Name = Annotated[str, AfterValidator(_name)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ModelFile(_Record):
    """A file of a model: its size in bytes, and its digests as hexadecimal digits by kind."""

    name: Name
    size: int = Field(ge=0)
    digests: Annotated[dict[str, str], AfterValidator(_digests)]


class CatalogueModel(_Record):
    """A model that can be pulled.

    It has either an `address` and `files` below it, or a `repository` on the hub. The hub lists the files
    of a repository itself, so `bytes` is then the approximate size.
    """

    name: Name
    family: str
    language: str
    licence: str
    address: str = ""
    files: tuple[ModelFile, ...] = ()
    repository: str = ""
    bytes: int = 0

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if bool(self.address and self.files) == bool(self.repository):
            raise ValueError(f"{self.name} needs either an address and files, or a repository")
        return self

    @property
    def size(self) -> int:
        """Its size in bytes; an approximate one if the hub lists its files."""
        return sum(file.size for file in self.files) or self.bytes


class Catalogue:
    """Models by name, in the order in which they are listed."""

    def __init__(self, models: Sequence[CatalogueModel]) -> None:
        self.models = {model.name: model for model in models}

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Parse the content of `catalogue.json`. Raises ValueError."""
        return cls(TypeAdapter(tuple[CatalogueModel, ...]).validate_json(content))

    def __getitem__(self, name: str) -> CatalogueModel:
        """The model of that name. Raises NotFound, which names similar ones."""
        if name in self.models:
            return self.models[name]
        raise NotFound(
            f"There is no model {shown(name)}.{did_you_mean(name, self.models)} "
            "`transcribed models list` shows all that can be pulled."
        )


def did_you_mean(name: str, names: Sequence[str] | dict[str, CatalogueModel]) -> str:
    """A sentence that suggests similar names, with a space before it; empty if there are none."""
    similar = difflib.get_close_matches(name.lower(), names, _MOST_SIMILAR, _SIMILAR)
    return f" Did you mean {' or '.join(similar)}?" if similar else ""


@cache
def catalogue() -> Catalogue:
    """The catalogue of this version."""
    return Catalogue.parse(Path(__file__).with_name("catalogue.json").read_bytes())
