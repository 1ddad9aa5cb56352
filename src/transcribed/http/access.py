"""Who may use a route: every route says it by the type of a parameter, or by `allowed`."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from transcribed.errors import AccessDenied, TranscribedError
from transcribed.http.authentication import Caller
from transcribed.http.body import discard_body
from transcribed.principal import Principal, Role
from transcribed.request_context import REQUEST
from transcribed.service.access_keys import Access

# It checks nothing: it is how /docs comes to ask for a key.
_DESCRIBED = HTTPBearer(auto_error=False, description="The secret of a key, or a token.")


def let_in(connection: HTTPConnection, role: Role) -> Access:
    """Whoever asks on a connection, and for how long they may.

    Raises AccessDenied where they may not do what is for a role, Unavailable where nobody can know yet.
    """
    caller: Caller = connection.user
    access = caller.access
    if (context := REQUEST.get()) is not None:
        context.principal = access.principal
    if not access.principal.role.includes(role):
        raise AccessDenied(
            f"The key {access.principal.key} has the role {access.principal.role.value}, and this needs "
            f"{role.value}. Use a key that has it."
        )
    return access


def allowed(connection: HTTPConnection, role: Role) -> Principal:
    """Whoever asks on a connection; as `let_in`."""
    return let_in(connection, role).principal


def may(role: Role) -> Callable[..., Awaitable[Principal]]:
    """What FastAPI calls before a route that is for a role."""

    async def check(request: Request, _: Annotated[object, Depends(_DESCRIBED)]) -> Principal:
        try:
            return allowed(request, role)
        except TranscribedError:
            await discard_body(request)
            raise

    return check


Reader = Annotated[Principal, Depends(may(Role.READ))]
Transcriber = Annotated[Principal, Depends(may(Role.TRANSCRIBE))]
Admin = Annotated[Principal, Depends(may(Role.ADMIN))]
