"""Vocabulary filters over HTTP: list, store, read, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from transcribed.errors import BadRequest
from transcribed.http.access import Reader, Transcriber
from transcribed.http.body import json_strings, small_body
from transcribed.http.owners import OwnerParameter, owner_of_item, owner_of_list, shows_owner
from transcribed.http.recordings import Problem
from transcribed.service.vocabulary_filters import MAX_BYTES, VocabularyFilters

# In a JSON list the words are in quotes with commas between, and a letter may be escaped as \u0000.
_BODY_BYTES = 8 * MAX_BYTES

Name = Annotated[str, Path(description="1 to 200 letters, digits, `.`, `_`, `-`.", examples=["unwanted"])]
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "text/plain": {"schema": {"type": "string", "example": "darn\nheck\n"}},
        "application/json": {
            "schema": {"type": "array", "items": {"type": "string"}, "example": ["darn", "heck"]}
        },
    },
}
_BAD: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The name or a word is not valid."}
}
_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such filter."}
}
_LARGE: dict[int | str, dict[str, Any]] = {413: {"model": Problem, "description": "Too many words."}}


class VocabularyFilter(BaseModel):
    """A list of words."""

    name: str = Field(examples=["unwanted"])
    words: list[str] = Field(examples=[["darn", "heck"]])


class OwnedFilter(BaseModel):
    """An entry in a list of the vocabulary filters of all owners."""

    name: str = Field(examples=["unwanted"])
    owner: str = Field(examples=["anna"])


def router(filters: VocabularyFilters) -> APIRouter:
    """Routes under /vocabulary-filters."""
    routes = APIRouter(prefix="/vocabulary-filters", tags=["vocabulary filters"])

    @routes.get("", summary="List the vocabulary filters")
    async def names(principal: Reader, owner: OwnerParameter = None) -> list[str | OwnedFilter]:
        """The names, sorted. A list of all owners also has each filter's owner, if the server uses keys."""
        only_owner = owner_of_list(principal, owner)
        return [
            OwnedFilter(name=name, owner=each)
            if only_owner is None and shows_owner(principal, each)
            else name
            for name, each in await filters.names(only_owner)
        ]

    @routes.put(
        "/{name}",
        summary="Store a vocabulary filter",
        responses=_BAD | _LARGE,
        openapi_extra={"requestBody": _BODY},
    )
    async def put(
        principal: Transcriber, name: Name, request: Request, owner: OwnerParameter = None
    ) -> VocabularyFilter:
        """Stores the words under the name, and replaces an existing list.

        The body is a text with one word on each line, or a JSON list. A filter matches single words, in
        upper or lower case. Streams that have begun keep their words.
        """
        lines = _lines(await small_body(request, _BODY_BYTES))
        words = await filters.put(owner_of_item(principal, owner), name, lines)
        return VocabularyFilter(name=name, words=list(words))

    @routes.get("/{name}", summary="Read a vocabulary filter", responses=_BAD | _MISSING)
    async def get(principal: Reader, name: Name, owner: OwnerParameter = None) -> VocabularyFilter:
        """The words, in the order in which they were sent."""
        return VocabularyFilter(
            name=name, words=list(await filters.get(owner_of_item(principal, owner), name))
        )

    @routes.delete(
        "/{name}", status_code=204, summary="Delete a vocabulary filter", responses=_BAD | _MISSING
    )
    async def delete(principal: Transcriber, name: Name, owner: OwnerParameter = None) -> None:
        """Deletes the list. Streams that have begun keep their words."""
        await filters.delete(owner_of_item(principal, owner), name)

    return routes


def _lines(body: bytes) -> list[str]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequest("The body is not UTF-8. Send the words as UTF-8.") from None
    if not text.lstrip().startswith("["):
        return text.splitlines()
    return json_strings(text, "words")
