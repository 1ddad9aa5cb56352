"""The shape of errors, which the path decides."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI, Query
from starlette.exceptions import HTTPException

from transcribed.errors import (
    AccessDenied,
    BadRequest,
    InvalidField,
    LimitExceeded,
    MissingField,
    Stopping,
    StorageFull,
    TooLarge,
    TranscribedError,
    UnknownClient,
    UnknownModel,
    UnreadableAudio,
)
from transcribed.http import errors
from transcribed.wire.openai import Error

INVALID, LIMIT, SERVER = "invalid_request_error", "rate_limit_error", "server_error"


def answered(failure: Exception, path: str = "/v1/x", method: str = "GET") -> httpx.Response:
    app = FastAPI()
    errors.install(app)

    @app.get("/x")
    @app.get("/v1/x")
    async def fail(number: int = Query(0)) -> int:
        raise failure

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path)

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("failure", "status", "kind", "param", "code"),
    [
        (BadRequest("no"), 400, INVALID, None, None),
        (InvalidField("no", "language"), 400, INVALID, "language", "invalid_value"),
        (MissingField("no", "file"), 400, INVALID, "file", "missing_required_parameter"),
        (UnreadableAudio("no"), 400, INVALID, "file", "invalid_value"),
        (UnknownClient("no"), 401, "authentication_error", None, "invalid_api_key"),
        (AccessDenied("no"), 403, INVALID, None, "access_denied"),
        (UnknownModel("no", "model"), 404, INVALID, "model", "model_not_found"),
        (TooLarge("no"), 413, INVALID, None, None),
        (LimitExceeded("no", retry_after=7), 429, LIMIT, None, "rate_limit_exceeded"),
        (TranscribedError("no"), 500, SERVER, None, None),
        (ZeroDivisionError("secret"), 500, SERVER, None, None),
        (Stopping("no"), 503, SERVER, None, None),
        (StorageFull("secret"), 507, SERVER, None, None),
        (HTTPException(406, "no"), 406, INVALID, None, None),
    ],
)
def test_below_its_path_errors_have_openais_shape(
    failure: Exception, status: int, kind: str, param: str | None, code: str | None
) -> None:
    answer = answered(failure)
    assert answer.status_code == status
    error = Error.model_validate(answer.json().pop("error"))
    assert (error.type, error.param, error.code) == (kind, param, code)
    assert error.message
    assert "secret" not in answer.text
    assert answer.headers.get("retry-after") == ("7" if status == 429 else None)
    assert ("www-authenticate" in answer.headers) == (status == 401)
    elsewhere = answered(failure, "/x")
    assert elsewhere.status_code == (415 if isinstance(failure, UnreadableAudio) else status)
    assert [*elsewhere.json()] == ["detail"]


def test_so_has_what_no_route_answers() -> None:
    for path, method, status, says in (
        ("/v1/audio/transcription", "GET", 404, "/v1/audio/transcriptions"),
        ("/v1", "GET", 404, "/v1/audio/transcriptions"),
        ("/v1/x", "DELETE", 405, "Use GET."),
        ("/v1/x?number=one", "GET", 400, "number: Input should be a valid integer"),
    ):
        answer = answered(BadRequest("no"), path, method)
        assert answer.status_code == status
        assert says in answer.json()["error"]["message"]
    assert answered(BadRequest("no"), "/v1/x?number=one").json()["error"]["param"] == "number"
    for path in ("/v10/x", "/unknown", "/audio/transcriptions"):
        assert (
            answered(BadRequest("no"), path).json()["detail"].startswith(f"There is nothing at '{path}'.")
        )


@pytest.mark.parametrize(
    "path", ["/audio/transcriptions", "/api/v1/audio/translations", "/v1/v1/audio/transcriptions"]
)
def test_a_client_whose_base_url_is_wrong_is_told_the_right_one(path: str) -> None:
    answer = answered(BadRequest("no"), path, "POST")
    assert answer.status_code == 404
    assert "base URL end in /v1." in answer.json()["error"]["message"]
