"""The request that a piece of work is done for: its id, where it came from, and who asks."""

import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field

from transcribed.principal import ANYBODY, Principal


@dataclass(slots=True)
class RequestContext:
    """One HTTP request or WebSocket, from its first byte to its last.

    `address` is the client's; None where there is none to be known. `principal` is None until it is known
    who asks. `is_refused` says whether it is told already that they may not.
    """

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    address: str | None = None
    principal: Principal | None = None
    is_refused: bool = False


REQUEST: ContextVar[RequestContext | None] = ContextVar("REQUEST", default=None)
"""None for what the server does by itself. Tasks and threads have that of the task that began them."""


def request_id() -> str:
    """That of the request, under which the log has it; a new one where there is no request."""
    return (REQUEST.get() or RequestContext()).id


def principal() -> Principal:
    """Whoever asks; ANYBODY where it is not known, or for what the server does by itself."""
    context = REQUEST.get()
    return ANYBODY if context is None or context.principal is None else context.principal
