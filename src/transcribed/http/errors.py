"""Errors as HTTP responses: a status, and `{"detail": …}` with the error's message for clients."""

import logging
from copy import copy

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse, Response

from transcribed.errors import (
    AccessDenied,
    BadRequest,
    Conflict,
    Disconnected,
    ForeignHost,
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
)
from transcribed.request_context import REQUEST
from transcribed.service import trail

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

_log = logging.getLogger(__name__)


def status_of(error: TranscribedError) -> int:
    """The HTTP status of an error: that of the nearest of its classes that has one."""
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def install(app: FastAPI) -> None:
    """Handle exceptions of all routes: a TranscribedError by its status, all others by 500."""
    app.add_exception_handler(TranscribedError, _answer)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(Exception, _unexpected)


def log_hidden(error: TranscribedError) -> None:
    """Log the message of an error whose clients get another one."""
    if error.client_message != error.message:
        _log.error("The client was not told the cause of a failure: %s", error.message)


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
    status = status_of(error)
    trail.record_refusal(error, f"{request.method} {request.url.path}")
    if status == _STATUS[TranscribedError]:
        _log.error("%s %s failed.", request.method, request.url.path, exc_info=error)
    else:
        log_hidden(error)
    headers = retry_after(error) | _challenge(error)
    return JSONResponse({"detail": with_request_id(error).client_message}, status, headers)


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


async def _not_valid(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as all handlers
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is installed for this class
    problems = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
    detail = f"The request is not valid: {problems}. The valid requests are listed at /docs."
    return JSONResponse({"detail": detail}, _STATUS[BadRequest])


async def _unexpected(request: Request, error: Exception) -> Response:
    # Starlette raises RuntimeError for an exception with a handler if the response has already begun.
    cause = error.__cause__ if isinstance(error, RuntimeError) else None
    if isinstance(cause, TranscribedError) and status_of(cause) != _STATUS[TranscribedError]:
        level = logging.INFO if isinstance(cause, Disconnected) else logging.WARNING
        _log.log(level, "%s %s broke off: %s", request.method, request.url.path, cause.message)
    else:
        _log.error("%s %s failed.", request.method, request.url.path, exc_info=cause or error)
    failure = TranscribedError("The server failed on this request; its log has the cause.")
    return JSONResponse({"detail": with_request_id(failure).client_message}, 500)
