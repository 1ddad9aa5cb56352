"""Errors as HTTP responses: a status, and a body with the error's message for clients.

The body is `{"error": {"message": …, "type": …}}` below OpenAI's path, and `{"detail": …}` elsewhere.
"""

import logging
from collections.abc import Mapping
from copy import copy
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from transcribed.errors import (
    AccessDenied,
    BadRequest,
    Conflict,
    Disconnected,
    ForeignHost,
    InvalidField,
    LimitExceeded,
    MediaChanged,
    MissingAuthentication,
    NotFound,
    StorageFull,
    StorageUnavailable,
    TooLarge,
    TranscribedError,
    Unavailable,
    UnknownClient,
    UnreadableAudio,
    shown,
)
from transcribed.http.body import discard_body
from transcribed.http.problems import problems
from transcribed.request_context import REQUEST
from transcribed.service import trail
from transcribed.wire import openai

_STATUS: dict[type[TranscribedError], int] = {
    TooLarge: 413,
    UnreadableAudio: 415,
    BadRequest: 400,
    ForeignHost: 421,
    MissingAuthentication: 401,
    UnknownClient: 401,
    AccessDenied: 403,
    NotFound: 404,
    MediaChanged: 409,
    Conflict: 409,
    StorageFull: 507,
    StorageUnavailable: 503,
    LimitExceeded: 429,
    Unavailable: 503,
    Disconnected: 400,
    TranscribedError: 500,
}
_METHOD_NOT_ALLOWED = 405

_log = logging.getLogger(__name__)


def status_of(error: TranscribedError) -> int:
    """The HTTP status of an error: that of the nearest of its classes that has one."""
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def response(
    path: str,
    error: TranscribedError,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    before_routes: bool = False,
    as_openai: bool = False,
) -> Response:
    """A response that reports an error to the client of a path, with the header Retry-After if it has one.

    `status` of None is the error's own. `before_routes` means that the client may be Amazon's as well,
    `as_openai` that it is OpenAI's, whatever the path.
    """
    told = with_request_id(error)
    status = status_of(error) if status is None else status
    if as_openai or openai.is_below(path):
        # The clients of OpenAI know 415 as nothing special, and OpenAI answers 400.
        status = _STATUS[BadRequest] if isinstance(error, UnreadableAudio) else status
        content = openai.error_body(openai.openai_error(told))
    else:
        content = {"detail": told.client_message}
        if before_routes:
            content |= {"Code": told.code, "Message": told.client_message}
    return JSONResponse(content, status, retry_after(error) | dict(headers or {}))


def install(app: FastAPI) -> None:
    """Handle exceptions of all routes: a TranscribedError by its status, all others by 500."""
    app.add_exception_handler(TranscribedError, _answer)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(Exception, _unexpected)


def log_hidden(error: TranscribedError) -> None:
    """Log the message of an error whose clients get another one."""
    if error.client_message != error.message:
        _log.error("The client was not told the cause of a failure: %s", error.message)


def log_failure(request: Request, error: TranscribedError) -> None:
    """Log the error of a request if it is the server's, or if the client gets another message."""
    if status_of(error) == _STATUS[TranscribedError]:
        _log.error("%s %s failed.", request.method, request.url.path, exc_info=error)
    else:
        log_hidden(error)


def with_request_id(error: TranscribedError) -> TranscribedError:
    """The error for the client, with the request's id in its message if only the log has the cause."""
    context = REQUEST.get()
    is_hidden = error.client_message != error.message or error.default_client_message is not None
    if context is None or not (is_hidden or status_of(error) == _STATUS[TranscribedError]):
        return error
    extended = copy(error)
    extended.client_message = f"{error.client_message} Request id: {context.id}."
    return extended


async def _answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, TranscribedError)  # noqa: S101 - it is installed for this class
    trail.record_refusal(error, f"{request.method} {request.url.path}")
    log_failure(request, error)
    return response(request.url.path, error, headers=_challenge(error))


def retry_after(error: TranscribedError) -> dict[str, str]:
    """The header Retry-After, in seconds, for errors that have one; otherwise empty."""
    return {"retry-after": str(error.retry_after)} if isinstance(error, LimitExceeded) else {}


def _challenge(error: TranscribedError) -> dict[str, str]:
    """The header WWW-Authenticate, which every 401 needs (RFC 6750, section 3); otherwise empty."""
    match error:
        case MissingAuthentication():
            return {"WWW-Authenticate": 'Bearer realm="transcribed"'}
        case UnknownClient():
            return {"WWW-Authenticate": 'Bearer realm="transcribed", error="invalid_token"'}
    return {}


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is installed for this class
    path = request.url.path
    is_meant = request.method == "POST" and openai.is_meant(path)
    if error.status_code in {_STATUS[NotFound], _METHOD_NOT_ALLOWED}:
        # An unread body closes the connection, perhaps before the client has read the response.
        await discard_body(request)
    if not (openai.is_below(path) or is_meant):
        if error.detail == HTTPStatus.NOT_FOUND.phrase:
            error.detail = (
                f"There is nothing at {shown(path, 80)}. All requests that are answered are listed at "
                "/docs; /stream and /vosk are WebSockets."
            )
        return await http_exception_handler(request, error)
    if error.status_code == _STATUS[NotFound] or is_meant:
        refused: TranscribedError = NotFound(
            f"{request.method} {shown(path, 80)} is not known here. Recordings are sent to "
            f"{openai.PREFIX}/audio/transcriptions: let the client's base URL end in {openai.PREFIX}."
        )
    elif error.status_code == _METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "another method")
        refused = BadRequest(f"{shown(path, 80)} does not take {request.method}. Use {allowed}.")
    else:
        refused = BadRequest(error.detail)
    status = _STATUS[NotFound] if is_meant else error.status_code
    return response(path, refused, status, error.headers, as_openai=True)


async def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is installed for this class
    found = error.errors()
    told = problems([problem | {"loc": problem["loc"][-1:]} for problem in found])
    detail = f"The request is not valid: {told}. The valid requests are listed at /docs."
    return response(request.url.path, InvalidField(detail, str(found[0]["loc"][-1])))


async def _unexpected(request: Request, error: Exception) -> Response:
    # Starlette raises RuntimeError for an exception with a handler if the response has already begun.
    cause = error.__cause__ if isinstance(error, RuntimeError) else None
    if isinstance(cause, TranscribedError) and status_of(cause) != _STATUS[TranscribedError]:
        level = logging.INFO if isinstance(cause, Disconnected) else logging.WARNING
        _log.log(level, "%s %s broke off: %s", request.method, request.url.path, cause.message)
    else:
        _log.error("%s %s failed.", request.method, request.url.path, exc_info=cause or error)
    failure = TranscribedError("The server failed on this request; its log has the cause.")
    return response(request.url.path, failure)
