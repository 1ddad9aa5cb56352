"""Errors as HTTP answers: a status, and `{"detail": …}` with the error's message."""

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
    """The HTTP status of an error: that of the nearest class that has one."""
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def install(app: FastAPI) -> None:
    """Answer TranscribedError by its status everywhere in the app, and all else by 500."""
    app.add_exception_handler(TranscribedError, _answer)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(Exception, _unexpected)


def log_untold(error: TranscribedError) -> None:
    """Keep what clients are not told for whoever runs the server."""
    if error.told != error.message:
        _log.error("Clients are told no more than that something failed: %s", error.message)


def findable(error: TranscribedError) -> TranscribedError:
    """An error for its client: with the request's id where the log says more, under that id."""
    context = REQUEST.get()
    less = error.told != error.message or error.told_at_most is not None
    if context is None or not (less or status_of(error) == _STATUS[TranscribedError]):
        return error
    shown = copy(error)
    shown.told = f"{error.told} Request id: {context.id}."
    return shown


async def _answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, TranscribedError)  # noqa: S101 - what it is installed for
    status = status_of(error)
    trail.tell_refused(error, f"{request.method} {request.url.path}")
    if status == _STATUS[TranscribedError]:
        _log.error("%s %s failed.", request.method, request.url.path, exc_info=error)
    else:
        log_untold(error)
    return JSONResponse({"detail": findable(error).told}, status, when_again(error) | _challenge(error))


def when_again(error: TranscribedError) -> dict[str, str]:
    """The header that says in how many seconds the same may be asked again, where that is known."""
    return {"retry-after": str(error.retry_after)} if isinstance(error, LimitExceeded) else {}


def _challenge(error: TranscribedError) -> dict[str, str]:
    """What a client is to show, as every 401 has to say it (RFC 6750, section 3)."""
    match error:
        case MissingAuthentication():
            return {"WWW-Authenticate": 'Bearer realm="transcribed"'}
        case UnknownClient():
            return {"WWW-Authenticate": 'Bearer realm="transcribed", error="invalid_token"'}
    return {}


async def _not_valid(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as all handlers
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is installed for
    problems = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
    detail = f"The request is not valid: {problems}. What can be asked for stands at /docs."
    return JSONResponse({"detail": detail}, _STATUS[BadRequest])


async def _unexpected(request: Request, error: Exception) -> Response:
    # So Starlette raises what has a handler, but comes when the answer has begun and can only break off.
    cause = error.__cause__ if isinstance(error, RuntimeError) else None
    if isinstance(cause, TranscribedError) and status_of(cause) != _STATUS[TranscribedError]:
        level = logging.INFO if isinstance(cause, Disconnected) else logging.WARNING
        _log.log(level, "%s %s broke off: %s", request.method, request.url.path, cause.message)
    else:
        _log.error("%s %s failed.", request.method, request.url.path, exc_info=cause or error)
    failure = TranscribedError("The server failed on this request; its log has the cause.")
    return JSONResponse({"detail": findable(failure).told}, 500)
