"""`POST /tokens`: tokens, made from a key by whoever has it."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transcribed.errors import BadRequest
from transcribed.http.access import Reader
from transcribed.http.authentication import Caller
from transcribed.http.body import small_body
from transcribed.http.recordings import Problem
from transcribed.principal import Role
from transcribed.service.access_keys import AccessKeys
from transcribed.service.tokens import LONGEST_SECONDS

_BODY_BYTES = 4096


class Wanted(BaseModel):
    """What a token is to be."""

    model_config = ConfigDict(extra="forbid")

    seconds: int = Field(ge=1, le=LONGEST_SECONDS, strict=True, description="How long it is to open.")
    role: Role | None = Field(None, description="That of the key if none is named; no greater one.")


class Token(BaseModel):
    """A token; it is shown as the key is."""

    token: str = Field(examples=["eyJhbGciOiJIUzI1NiIsImtpZCI6Imxpbmd1aXN0cyIsInR5cCI6IkpXVCJ9.…"])
    expires: datetime = Field(examples=["2026-11-27T10:00:00Z"])


_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": Wanted.model_json_schema(), "example": {"seconds": 3600}}},
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {400: {"model": Problem}, 413: {"model": Problem}}


def router(keys: AccessKeys) -> APIRouter:
    """The route."""
    routes = APIRouter(tags=["tokens"])

    @routes.post(
        "/tokens", summary="Make a token", responses=_PROBLEMS, openapi_extra={"requestBody": _BODY}
    )
    async def make(_: Reader, request: Request, response: Response) -> Token:
        """Makes a token from the key that is shown, for a browser or a device that is to have no key.

        It opens what the key opens, or what a lesser role does, until it expires or the key is removed or
        rotated. A token makes no tokens.
        """
        caller: Caller = request.user
        wanted = _wanted(await small_body(request, _BODY_BYTES))
        token, expires = keys.token(caller.access, wanted.seconds, wanted.role)
        response.headers["Cache-Control"] = "no-store"
        return Token(token=token, expires=expires)

    return routes


def _wanted(body: bytes) -> Wanted:
    try:
        return Wanted.model_validate_json(body)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()
        )
        raise BadRequest(
            f'Say as JSON how long the token is to open, for example {{"seconds": 3600}} ({problems}).'
        ) from error
