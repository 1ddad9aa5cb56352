"""Authorization of routes: each route requires a role by the type of a parameter, or calls `authorize`."""

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

# For the documentation only, so that /docs offers to enter a key. It checks nothing.
_DESCRIBED = HTTPBearer(auto_error=False, description="The secret of a key, or a token.")


def authorize(connection: HTTPConnection, role: Role, *, session: bool = False) -> Access:
    """The access of a connection whose key has a role. `session`: it is one that a client secret may open.

    Raises AccessDenied if the credentials are missing or wrong, or the key lacks the role, and Unavailable
    until the keys have been read.
    """
    caller: Caller = connection.user
    access = caller.access
    if (context := REQUEST.get()) is not None:
        context.principal = access.principal
    if not access.principal.role.includes(role):
        raise AccessDenied(
            f"The key {access.principal.key} has the role {access.principal.role.value}, and this needs "
            f"{role.value}. Use a key with that role."
        )
    if access.session is not None and access.by_token and not session:
        raise AccessDenied("A client secret opens realtime sessions alone. Use a key, or a token.")
    return access


def required(role: Role) -> Callable[..., Awaitable[Principal]]:
    """A FastAPI dependency that authorizes a request for a role, and returns its principal."""

    async def check(request: Request, _: Annotated[object, Depends(_DESCRIBED)]) -> Principal:
        try:
            return authorize(request, role).principal
        except TranscribedError:
            await discard_body(request)
            raise

    return check


Reader = Annotated[Principal, Depends(required(Role.READ))]
Transcriber = Annotated[Principal, Depends(required(Role.TRANSCRIBE))]
Admin = Annotated[Principal, Depends(required(Role.ADMIN))]
