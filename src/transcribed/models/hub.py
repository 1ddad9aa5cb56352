"""The files of a repository on the Hugging Face hub, with the digests that the hub publishes."""

import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from transcribed.errors import PullFailed, shown
from transcribed.models.catalogue import ModelFile
from transcribed.models.digests import GIT_BLOB, SHA256

HUB = "https://huggingface.co"

_WANTED = re.compile(r"((preprocessor_)?config|tokenizer|vocabulary)\.json|model\.bin|vocabulary\.txt")
_REQUIRED = frozenset({"config.json", "model.bin"})
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Revision:
    """A fixed revision of a repository: where its files are, and those that belong to the model."""

    address: str
    files: tuple[ModelFile, ...]


class _LargeFile(BaseModel):
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class _Sibling(BaseModel):
    rfilename: str
    size: int | None = Field(None, ge=0)
    blob_id: str | None = Field(None, alias="blobId", pattern="^[0-9a-f]{40}$")
    lfs: _LargeFile | None = None


class _Repository(BaseModel):
    sha: str
    siblings: list[Any]


def listing(repository: str) -> str:
    """The address at which the hub describes a repository."""
    return f"{HUB}/api/models/{repository}?blobs=true"


def revision(repository: str, found: object) -> Revision:
    """The current revision, from the hub's response `found`. Raises PullFailed if that is something else.

    Source: https://huggingface.co/docs/hub/api, `?blobs=true`.
    """
    try:
        told = _Repository.model_validate(found)
        # Other files of the repository may be of any form.
        siblings = [
            TypeAdapter(_Sibling).validate_python(each)
            for each in told.siblings
            if isinstance(each, dict) and _WANTED.fullmatch(str(each.get("rfilename")))
        ]
        files = tuple(map(_file, siblings))
    except (ValidationError, ValueError) as error:
        raise PullFailed(
            f"The answer about {repository} is not the hub's, but {shown(found, 100)}. Is the mirror one "
            "of the hub?"
        ) from error
    if not _COMMIT.fullmatch(told.sha):
        raise PullFailed(f"The revision of {repository} is no commit: {shown(told.sha)}.")
    if missing := _REQUIRED - {file.name for file in files}:
        raise PullFailed(f"The repository {repository} has no {' and no '.join(sorted(missing))}.")
    return Revision(f"{HUB}/{repository}/resolve/{told.sha}", files)


def _file(sibling: _Sibling) -> ModelFile:
    if sibling.lfs is not None:
        return ModelFile(
            name=sibling.rfilename, size=sibling.lfs.size, digests={SHA256: sibling.lfs.sha256}
        )
    if sibling.blob_id is None or sibling.size is None:
        raise ValueError(f"no size or digest of {sibling.rfilename}")
    return ModelFile(name=sibling.rfilename, size=sibling.size, digests={GIT_BLOB: sibling.blob_id})
