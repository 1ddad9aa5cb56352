"""`POST /tokens`: creates a token from the key of the request."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from transcribed.http.access import Reader
from transcribed.http.authentication import Caller
from transcribed.http.body import small_body
from transcribed.http.problems import parsed
from transcribed.http.recordings import Problem
from transcribed.principal import Role
from transcribed.service.access_keys import AccessKeys
from transcribed.service.tokens import LONGEST_SECONDS

_BODY_BYTES = 4096
_HOW = 'Send the validity of the token as JSON, for example {"seconds": 3600}'


class TokenRequest(BaseModel):
    """The body of a request for a token."""

    model_config = ConfigDict(extra="forbid")

    seconds: int = Field(ge=1, le=LONGEST_SECONDS, strict=True, description="The validity of the token.")
    role: Role | None = Field(
        None, description="The token's role: by default the key's, and never a greater one."
    )


class Token(BaseModel):
    """A token, which is sent like a key's secret."""

    token: str = Field(examples=["eyJhbGciOiJIUzI1NiIsImtpZCI6Imxpbmd1aXN0cyIsInR5cCI6IkpXVCJ9.…"])
    expires: datetime = Field(examples=["2026-11-27T10:00:00Z"])


_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {"schema": TokenRequest.model_json_schema(), "example": {"seconds": 3600}}
    },
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {400: {"model": Problem}, 413: {"model": Problem}}


def router(keys: AccessKeys) -> APIRouter:
    """The route `/tokens`."""
    routes = APIRouter(tags=["tokens"])

    @routes.post(
        "/tokens", summary="Make a token", responses=_PROBLEMS, openapi_extra={"requestBody": _BODY}
    )
    async def make(_: Reader, request: Request, response: Response) -> Token:
        """Creates a token from the key of the request, for a browser or device without a key of its own.

        It has the key's role or a lesser one, until it expires or the key is removed or rotated. A token
        cannot create tokens.
        """
        caller: Caller = request.user
        request_body = parsed(TokenRequest, await small_body(request, _BODY_BYTES), _HOW)
        token, expires = keys.token(caller.access, request_body.seconds, request_body.role)
        response.headers["Cache-Control"] = "no-store"
        return Token(token=token, expires=expires)

    return routes
