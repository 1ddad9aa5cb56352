"""Client secrets: what a browser opens a realtime session with, instead of a key."""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, ValidationError

from transcribed.errors import BadRequest, InvalidField, Unavailable
from transcribed.http.access import Transcriber
from transcribed.http.authentication import Caller
from transcribed.http.body import small_body
from transcribed.options import Capabilities
from transcribed.service.access_keys import AccessKeys
from transcribed.wire.openai import PREFIX, chosen_engine, chosen_language
from transcribed.wire.openai_realtime import LANGUAGE_FIELD, SessionConfig, session_changes

SHORTEST_SECONDS, LONGEST_SECONDS = 10, 7200
"""The least and the greatest validity of a client secret, as at OpenAI."""
USUAL_SECONDS, BETA_SECONDS = 600, 60
"""The validity unless another one is asked for: of a client secret, and of one of the beta."""
CONFIG_BYTES = 4096
"""The largest configuration: it is part of the secret, which is sent in a header."""

_BODY_BYTES = 64 * 1024


class _ExpiresAfter(BaseModel):
    seconds: int = Field(USUAL_SECONDS, ge=SHORTEST_SECONDS, le=LONGEST_SECONDS)


class _Body(BaseModel):
    expires_after: _ExpiresAfter | None = None
    session: dict[str, Any] | None = None


class ClientSecret(BaseModel):
    """A client secret. `expires_at` is in seconds since 1970, `session` the configuration."""

    value: str = Field(examples=["ek_eyJhbGciOiJIUzI1NiIsImtpZCI6Imxpbmd1aXN0cyIsInR5cCI6IkpXVCJ9.…"])
    expires_at: int = Field(examples=[1_795_000_000])
    session: dict[str, Any]


def router(keys: AccessKeys, capabilities: Callable[[], Sequence[Capabilities]]) -> APIRouter:
    """The routes. `capabilities` are those of the engines, the default first; it may raise Unavailable."""
    routes = APIRouter(prefix=f"{PREFIX}/realtime", tags=["OpenAI"])

    def configured(changes: Mapping[str, Any]) -> SessionConfig:
        config = SessionConfig().updated(session_changes(changes))
        asked = config.audio.input.transcription
        with suppress(Unavailable):
            can, _ = chosen_engine(asked.model, capabilities())
            chosen_language(asked.language, can, LANGUAGE_FIELD)
        return config

    @routes.post(
        "/client_secrets",
        summary="Make a client secret",
        openapi_extra=_example({"expires_after": {"seconds": 600}, "session": {"type": "transcription"}}),
    )
    async def client_secret(_: Transcriber, request: Request, response: Response) -> ClientSecret:
        """A secret that opens realtime sessions with the configuration of the request, for some minutes."""
        body = _parsed(await _json(request))
        seconds = USUAL_SECONDS if body.expires_after is None else body.expires_after.seconds
        config = configured(body.session or {})
        value, expires_at = _made(keys, request, response, config, seconds)
        return ClientSecret(value=value, expires_at=expires_at, session=_shown(config, beta=False))

    @routes.post(
        "/transcription_sessions",
        summary="Make a client secret, in the shape of OpenAI's beta",
        openapi_extra=_example({"input_audio_format": "pcm16"}),
    )
    async def transcription_session(_: Transcriber, request: Request, response: Response) -> dict[str, Any]:
        """The same in the shape of the API's beta; the secret is `client_secret.value`."""
        config = configured(await _json(request))
        value, expires_at = _made(keys, request, response, config, BETA_SECONDS)
        return _shown(config, beta=True) | {"client_secret": {"value": value, "expires_at": expires_at}}

    return routes


def _example(body: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": True}
    return {"requestBody": {"content": {"application/json": {"schema": schema, "example": body}}}}


def _made(
    keys: AccessKeys, request: Request, response: Response, config: SessionConfig, seconds: int
) -> tuple[str, int]:
    contents = config.model_dump(mode="json", exclude_defaults=True)
    size = len(json.dumps(contents))
    if size > CONFIG_BYTES:
        raise InvalidField(
            f"The configuration takes {size} bytes, and a client secret holds {CONFIG_BYTES}. Send long "
            "prompts with session.update.",
            "session",
        )
    caller: Caller = request.user
    value, expires = keys.client_secret(caller.access, seconds, contents)
    response.headers["Cache-Control"] = "no-store"
    return value, int(expires.timestamp())


def _shown(config: SessionConfig, *, beta: bool) -> dict[str, Any]:
    return config.shown(f"sess_{secrets.token_hex(16)}", None, beta=beta)


async def _json(request: Request) -> Mapping[str, Any]:
    body = await small_body(request, _BODY_BYTES)
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON. Send the configuration as a JSON object.") from error
    if not isinstance(content, dict):
        raise BadRequest("The body is not a JSON object. Send the configuration as a JSON object.")
    return content


def _parsed(content: Mapping[str, Any]) -> _Body:
    try:
        return _Body.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidField(f"{field} is not valid: {first['msg']}.", field) from error
