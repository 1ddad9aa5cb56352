"""Who may use a route: every route says it by the type of a parameter, or by `allowed`."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from transcribed.errors import AccessDenied
from transcribed.http.authentication import Caller
from transcribed.principal import Principal, Role
from transcribed.request_context import REQUEST


def allowed(connection: HTTPConnection, role: Role) -> Principal:
    """Whoever asks on a connection. Raises AccessDenied where they may not do what is for a role."""
    caller: Caller = connection.user
    principal = caller.principal
    if (context := REQUEST.get()) is not None:
        context.principal = principal
    if not principal.role.includes(role):
        raise AccessDenied(
            f"The key {principal.key} has the role {principal.role.value}, and this needs {role.value}. "
            "Use a key that has it."
        )
    return principal


def may(role: Role) -> Callable[[HTTPConnection], Principal]:
    """What FastAPI calls before a route that is for a role."""

    def check(connection: HTTPConnection) -> Principal:
        return allowed(connection, role)

    return check


Reader = Annotated[Principal, Depends(may(Role.READ))]
Transcriber = Annotated[Principal, Depends(may(Role.TRANSCRIBE))]
Admin = Annotated[Principal, Depends(may(Role.ADMIN))]
