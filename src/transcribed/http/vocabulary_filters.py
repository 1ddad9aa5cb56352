"""Vocabulary filters over HTTP."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from transcribed.errors import BadRequest
from transcribed.http.access import Reader, Transcriber
from transcribed.http.body import small_body
from transcribed.http.owners import Asked, is_told, owner_of_list, owner_of_one
from transcribed.http.recordings import Problem
from transcribed.service.vocabulary_filters import MAX_BYTES, VocabularyFilters

# A JSON list has quotation marks and commas, and may write a letter as \u0000.
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
    """A list of words in a list of everybody's."""

    name: str = Field(examples=["unwanted"])
    owner: str = Field(examples=["anna"])


def router(filters: VocabularyFilters) -> APIRouter:
    """Routes over the lists."""
    routes = APIRouter(prefix="/vocabulary-filters", tags=["vocabulary filters"])

    @routes.get("", summary="List the vocabulary filters")
    async def names(who: Reader, owner: Asked = None) -> list[str | OwnedFilter]:
        """Their names, in order. In a list of everybody's, each with its owner, where keys are used."""
        whose = owner_of_list(who, owner)
        return [
            OwnedFilter(name=name, owner=each) if whose is None and is_told(who, each) else name
            for name, each in await filters.names(whose)
        ]

    @routes.put(
        "/{name}",
        summary="Keep a vocabulary filter",
        responses=_BAD | _LARGE,
        openapi_extra={"requestBody": _BODY},
    )
    async def put(who: Transcriber, name: Name, request: Request, owner: Asked = None) -> VocabularyFilter:
        """Keeps the words under the name, in place of those that it had.

        The body is a text with a word on each line, or a JSON list. A filter looks at each word by itself,
        whatever its case. Streams that have begun go on with the words that they began with.
        """
        lines = _lines(await small_body(request, _BODY_BYTES))
        words = await filters.put(owner_of_one(who, owner), name, lines)
        return VocabularyFilter(name=name, words=list(words))

    @routes.get("/{name}", summary="Read a vocabulary filter", responses=_BAD | _MISSING)
    async def get(who: Reader, name: Name, owner: Asked = None) -> VocabularyFilter:
        """The words, in the order in which they were given."""
        return VocabularyFilter(name=name, words=list(await filters.get(owner_of_one(who, owner), name)))

    @routes.delete(
        "/{name}", status_code=204, summary="Delete a vocabulary filter", responses=_BAD | _MISSING
    )
    async def delete(who: Transcriber, name: Name, owner: Asked = None) -> None:
        """Removes the list. Streams that have begun go on with it."""
        await filters.delete(owner_of_one(who, owner), name)

    return routes


def _lines(body: bytes) -> list[str]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequest("The body is not UTF-8. Send the words as UTF-8.") from None
    if not text.lstrip().startswith("["):
        return text.splitlines()
    try:
        words: list[str] = json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequest("The body begins as a JSON list, and is not valid JSON.") from None
    if not all(isinstance(word, str) for word in words):
        raise BadRequest("The JSON list holds something that is no string. Send words.")
    return words
