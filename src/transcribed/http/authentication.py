"""The principal of each request and WebSocket, found once, before any route."""

from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser
from starlette.requests import HTTPConnection

from transcribed.errors import AccessDenied
from transcribed.principal import ANYBODY, Principal


class Caller(BaseUser):
    """What `connection.user` is: somebody who asks, or why nobody knows who.

    An error is raised by the route, so that each front end can tell it in its own protocol.
    """

    def __init__(self, found: Principal | AccessDenied) -> None:
        self._found = found

    @property
    def principal(self) -> Principal:
        """Who asks. Raises AccessDenied where they have not shown it."""
        if isinstance(self._found, AccessDenied):
            raise self._found
        return self._found

    @property
    def is_authenticated(self) -> bool:
        """Whether it is known who asks."""
        return isinstance(self._found, Principal)

    @property
    def display_name(self) -> str:
        """The id of the key, for Starlette."""
        return "" if isinstance(self._found, AccessDenied) else self._found.key or ""


class Authentication(AuthenticationBackend):
    """Finds the principal of a connection; never fails."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser]:  # noqa: ARG002
        """Who asks, for Starlette's AuthenticationMiddleware."""
        return AuthCredentials(), Caller(ANYBODY)
