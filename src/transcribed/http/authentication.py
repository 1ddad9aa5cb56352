"""The principal of each request and WebSocket, found once, before any route.

A client shows a key's secret, or a token, in one of these ways: `Authorization: Bearer` (RFC 6750, section
2.1), `Authorization: Basic` with the key's id before it (RFC 7617), the parameter `access_token` of a GET
or WebSocket (RFC 6750, section 2.3), a WebSocket's subprotocol; or it signs what it asks of Amazon's
endpoints.
"""

import base64
import binascii
from collections.abc import Collection, Iterator
from urllib.parse import unquote_plus

from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser
from starlette.requests import HTTPConnection
from starlette.types import Scope
from starlette.websockets import WebSocket

from transcribed.clock import utc_now
from transcribed.errors import MissingAuthentication, TranscribedError, UnknownClient
from transcribed.http.origins import is_open
from transcribed.http.sign_ins import SignIns
from transcribed.principal import Principal
from transcribed.service.access_keys import Access, AccessKeys
from transcribed.wire import sigv4

SUBPROTOCOL = "transcribed"
"""What the server answers with where a client offers it."""
SUBPROTOCOL_OF_KEYS = f"{SUBPROTOCOL}.bearer."
"""What stands before a secret that is offered as a subprotocol, beside the other one."""

_TOKEN_PARAMETER = "access_token"  # noqa: S105 - a name
_PROTOCOLS = b"sec-websocket-protocol"
_HOW = "Show the secret of a key: Authorization: Bearer SECRET. docs/operations.md, Access, says more."


class Caller(BaseUser):
    """What `connection.user` is: somebody who asks, or why nobody knows who.

    An error is raised by the route, so that each front end can tell it in its own protocol.
    """

    def __init__(
        self, found: Access | TranscribedError, signature: sigv4.VerifiedSignature | None = None
    ) -> None:
        self._found = found
        self.signature = signature
        """Of a request that is signed, where keys are asked for."""

    @property
    def access(self) -> Access:
        """How they were let in. Raises TranscribedError where they were not."""
        if isinstance(self._found, TranscribedError):
            raise self._found
        return self._found

    @property
    def principal(self) -> Principal:
        """Who asks. Raises AccessDenied where they have not shown it, Unavailable where nobody can know."""
        return self.access.principal

    @property
    def is_authenticated(self) -> bool:
        """Whether it is known who asks."""
        return isinstance(self._found, Access)

    @property
    def display_name(self) -> str:
        """The id of the key, for Starlette."""
        return self._found.principal.key or "" if isinstance(self._found, Access) else ""


class Authentication(AuthenticationBackend):
    """Finds the principal of a connection; never fails. At some paths requests may be signed.

    An address of which too many `sign_ins` failed is refused without a look at what it shows.
    """

    def __init__(self, keys: AccessKeys, sign_ins: SignIns, signed_paths: Collection[str] = ()) -> None:
        self._keys = keys
        self._sign_ins = sign_ins
        self._signed_paths = frozenset(signed_paths)

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser]:
        """Who asks, for Starlette's AuthenticationMiddleware. Secrets go out of URL and subprotocols."""
        scope = conn.scope
        request = _request(scope)  # As it was signed, if it was.
        in_url, offered = list(_taken_from_query(scope)), list(_taken_from_protocols(scope))
        try:
            if self._keys.open:
                return AuthCredentials(), Caller(self._keys.anybody())
            if is_open(
                scope["path"]
            ):  # Every page may ask for it: it must not use up its reader's sign-ins.
                raise MissingAuthentication("No key is asked for here, and none is looked at.")
            if scope["path"] in self._signed_paths and not (in_url or offered or _has_secret(conn)):
                with self._sign_ins.attempt(_address(conn), link=_is_link(conn)):
                    access, signature = await self._keys.by_signature(request, utc_now())
                return AuthCredentials(), Caller(access, signature)
            return AuthCredentials(), Caller(await self._found(conn, in_url, offered))
        except TranscribedError as error:
            return AuthCredentials(), Caller(error)

    async def _found(self, conn: HTTPConnection, in_url: list[str], offered: list[str]) -> Access:
        headers = conn.headers.getlist("authorization")
        may_be_in_url = conn.scope["type"] == "websocket" or conn.scope["method"] in {"GET", "HEAD"}
        shown = [*headers, *in_url, *offered]
        if not shown:
            raise MissingAuthentication(f"Here a key is asked for. {_HOW}")
        with self._sign_ins.attempt(_address(conn), link=_is_link(conn)):
            if len(shown) > 1:
                raise UnknownClient(f"More than one key is shown. {_HOW}")
            if headers:
                return await self._of_header(headers[0])
            if in_url and not may_be_in_url:
                raise MissingAuthentication(
                    f"In the URL a key is looked for where something is read, or a WebSocket opened. {_HOW}"
                )
            return await self._keys.by_secret(shown[0])

    async def _of_header(self, header: str) -> Access:
        scheme, _, value = header.strip().partition(" ")
        match scheme.lower():
            case "bearer":
                return await self._keys.by_secret(value.strip())
            case "basic":
                key_id, colon, secret = _decoded(value.strip()).partition(":")
                if not colon:
                    raise UnknownClient(f"What Basic shows is no ID:SECRET. {_HOW}")
                return await self._keys.by_id(key_id, secret)
            case "aws4-hmac-sha256":
                raise UnknownClient(f"Signatures are for Amazon's endpoints. {_HOW}")
        raise UnknownClient(f"Authorization is none that is known here. {_HOW}")


def agreed_subprotocol(websocket: WebSocket) -> str | None:
    """The subprotocol to accept a WebSocket with: that which has no secret, where it is offered."""
    return SUBPROTOCOL if SUBPROTOCOL in websocket.scope.get("subprotocols", ()) else None


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise UnknownClient(f"What Basic shows is not Base64 of ID:SECRET. {_HOW}") from error


def _address(conn: HTTPConnection) -> str:
    return conn.client.host if conn.client else ""


def _is_link(conn: HTTPConnection) -> bool:
    """Whether a page of any origin can have its reader's browser send this: by a link, or an image.

    Its other requests have an Origin, by which they are refused.
    """
    is_read = conn.scope["type"] == "http" and conn.scope["method"] in {"GET", "HEAD"}
    return is_read and "authorization" not in conn.headers


def _has_secret(conn: HTTPConnection) -> bool:
    """Whether the header shows what is no signature."""
    return conn.headers.get("authorization", "").strip().lower().startswith(("bearer ", "basic "))


def _request(scope: Scope) -> sigv4.Request:
    path = scope.get("raw_path") or scope["path"].encode()
    return sigv4.Request(
        scope.get("method", "GET"),
        path.decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
    )


def _taken_from_query(scope: Scope) -> Iterator[str]:
    """The secrets in a query, which has none afterwards: no route nor log comes to see them."""
    kept = []
    for pair in scope["query_string"].split(b"&"):
        name, _, value = pair.decode("latin-1").partition("=")
        if unquote_plus(name) == _TOKEN_PARAMETER:
            yield unquote_plus(value)
        else:
            kept.append(pair)
    scope["query_string"] = b"&".join(kept)


def _taken_from_protocols(scope: Scope) -> Iterator[str]:
    """The secrets among the subprotocols, in which there are none afterwards."""
    if scope["type"] != "websocket":
        return
    offered = [
        protocol.strip()
        for name, value in scope["headers"]
        if name == _PROTOCOLS
        for protocol in value.decode("latin-1").split(",")
    ]
    plain = [protocol for protocol in offered if not protocol.startswith(SUBPROTOCOL_OF_KEYS)]
    for protocol in offered:
        if protocol.startswith(SUBPROTOCOL_OF_KEYS):
            yield protocol.removeprefix(SUBPROTOCOL_OF_KEYS)
    scope["subprotocols"] = plain
    if len(plain) < len(offered):
        others = [(name, value) for name, value in scope["headers"] if name != _PROTOCOLS]
        scope["headers"] = [*others, *([(_PROTOCOLS, ", ".join(plain).encode("latin-1"))] if plain else [])]
