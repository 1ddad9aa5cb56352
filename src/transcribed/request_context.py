"""The context of a request: its id, the client's address, and who makes it."""

import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field

from transcribed.principal import ANYBODY, Principal


@dataclass(slots=True)
class RequestContext:
    """One HTTP request or WebSocket, from its first byte to its last.

    `address` is the client's address; None if it is unknown. `principal` is None until the credentials have
    been checked. `is_refused` says whether the trail already has the refusal of this request.
    """

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    address: str | None = None
    principal: Principal | None = None
    is_refused: bool = False


REQUEST: ContextVar[RequestContext | None] = ContextVar("REQUEST", default=None)
"""None for the server's own actions. Tasks and threads inherit the value of the task that started them."""


def request_id() -> str:
    """The id of the current request, as in the log; a new id if there is no request."""
    return (REQUEST.get() or RequestContext()).id


def principal() -> Principal:
    """Who makes the current request; ANYBODY if that is unknown, and for the server's own actions."""
    context = REQUEST.get()
    return ANYBODY if context is None or context.principal is None else context.principal
