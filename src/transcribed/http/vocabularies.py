"""Vocabularies over HTTP: list, store, read, delete."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from transcribed.http.access import Reader, Transcriber
from transcribed.http.body import json_strings, small_body
from transcribed.http.owners import OwnerParameter, owner_of_item, owner_of_list, shows_owner
from transcribed.http.recordings import Problem
from transcribed.options import Phrase
from transcribed.service.vocabularies import MAX_BYTES, Vocabularies, decoded_lines

# In a JSON list a character may be escaped, and then takes six bytes.
_BODY_BYTES = 8 * MAX_BYTES

Name = Annotated[str, Path(description="1 to 200 letters, digits, `.`, `_`, `-`.", examples=["names"])]
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "text/plain": {"schema": {"type": "string", "example": "Siobhan\nLos Angeles\n"}},
        "text/tab-separated-values": {
            "schema": {"type": "string", "example": "Phrase\tDisplayAs\nLos-Angeles\tL.A.\n"}
        },
        "application/json": {
            "schema": {"type": "array", "items": {"type": "string"}, "example": ["Siobhan", "Los Angeles"]}
        },
    },
}
_BAD: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The name or a phrase is not valid."}
}
_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such vocabulary."}
}
_LARGE: dict[int | str, dict[str, Any]] = {413: {"model": Problem, "description": "Too many phrases."}}


class VocabularyPhrase(BaseModel):
    """A phrase that recognition favours."""

    phrase: str = Field(examples=["Los Angeles"])
    display: str | None = Field(None, description="What is shown in its place.", examples=["L.A."])
    weight: float = Field(1.0, description="A factor of how much the phrase is favoured.")


class Vocabulary(BaseModel):
    """A vocabulary."""

    name: str = Field(examples=["names"])
    phrases: list[VocabularyPhrase]


class OwnedVocabulary(BaseModel):
    """An entry in a list of the vocabularies of all owners."""

    name: str = Field(examples=["names"])
    owner: str = Field(examples=["anna"])


def router(vocabularies: Vocabularies) -> APIRouter:
    """Routes under /vocabularies."""
    routes = APIRouter(prefix="/vocabularies", tags=["vocabularies"])

    @routes.get("", summary="List the vocabularies")
    async def names(principal: Reader, owner: OwnerParameter = None) -> list[str | OwnedVocabulary]:
        """The names, sorted. A list of all owners also has each one's owner, if the server uses keys."""
        only_owner = owner_of_list(principal, owner)
        return [
            OwnedVocabulary(name=name, owner=each)
            if only_owner is None and shows_owner(principal, each)
            else name
            for name, each in await vocabularies.names(only_owner)
        ]

    @routes.put(
        "/{name}",
        summary="Store a vocabulary",
        responses=_BAD | _LARGE,
        openapi_extra={"requestBody": _BODY},
    )
    async def put(
        principal: Transcriber, name: Name, request: Request, owner: OwnerParameter = None
    ) -> Vocabulary:
        """Stores the phrases under the name, and replaces an existing vocabulary.

        The body is a text with one phrase on each line, Amazon Transcribe's table with tabs, or a JSON list
        of phrases. Streams that have begun keep their phrases.
        """
        lines = _lines(await small_body(request, _BODY_BYTES))
        phrases = await vocabularies.put(owner_of_item(principal, owner), name, lines)
        return _vocabulary(name, phrases)

    @routes.get("/{name}", summary="Read a vocabulary", responses=_BAD | _MISSING)
    async def get(principal: Reader, name: Name, owner: OwnerParameter = None) -> Vocabulary:
        """The phrases, in the order in which they were sent."""
        return _vocabulary(name, await vocabularies.get(owner_of_item(principal, owner), name))

    @routes.delete("/{name}", status_code=204, summary="Delete a vocabulary", responses=_BAD | _MISSING)
    async def delete(principal: Transcriber, name: Name, owner: OwnerParameter = None) -> None:
        """Deletes the vocabulary. Streams that have begun keep their phrases."""
        await vocabularies.delete(owner_of_item(principal, owner), name)

    return routes


def _vocabulary(name: str, phrases: Sequence[Phrase]) -> Vocabulary:
    return Vocabulary(
        name=name,
        phrases=[
            VocabularyPhrase(phrase=each.text, display=each.display, weight=each.weight) for each in phrases
        ],
    )


def _lines(body: bytes) -> list[str]:
    lines = decoded_lines(body)
    if not "".join(lines[:1]).lstrip().startswith("["):
        return lines
    return [" ".join(phrase.split()) for phrase in json_strings("\n".join(lines), "phrases")]
