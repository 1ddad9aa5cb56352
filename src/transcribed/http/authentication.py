"""Authentication of each request and WebSocket, once and before any route.

A client sends a key's secret, or a token, in one of these ways: `Authorization: Bearer` (RFC 6750, section
2.1), `Authorization: Basic` with the key's id (RFC 7617), the parameter `access_token` of a GET or
WebSocket (RFC 6750, section 2.3), or a subprotocol of a WebSocket. Requests to Amazon's endpoints may be
signed instead.
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
"""The subprotocol that the server selects if a client offers it."""
SUBPROTOCOL_OF_KEYS = f"{SUBPROTOCOL}.bearer."
"""The prefix of a secret that a client offers as another subprotocol."""
REALTIME = "realtime"
"""The subprotocol that OpenAI's clients in browsers offer."""

_PREFIXES_OF_KEYS = (SUBPROTOCOL_OF_KEYS, "openai-insecure-api-key.")

_TOKEN_PARAMETER = "access_token"  # noqa: S105 - a name
_PROTOCOLS = b"sec-websocket-protocol"
_HOW = "Send the secret of a key: Authorization: Bearer SECRET. See docs/operations.md, Access."


class Caller(BaseUser):
    """The value of `connection.user`: the result of the authentication, which may be an error.

    The route raises the error, so that each front end can report it in its own protocol.
    """

    def __init__(
        self, found: Access | TranscribedError, signature: sigv4.VerifiedSignature | None = None
    ) -> None:
        self._found = found
        self.signature = signature
        """The signature of a signed request; None without keys."""

    @property
    def access(self) -> Access:
        """The access. Raises the TranscribedError of a failed authentication."""
        if isinstance(self._found, TranscribedError):
            raise self._found
        return self._found

    @property
    def principal(self) -> Principal:
        """The principal. Raises AccessDenied, or Unavailable until the keys have been read."""
        return self.access.principal

    @property
    def is_authenticated(self) -> bool:
        """Whether the authentication succeeded."""
        return isinstance(self._found, Access)

    @property
    def display_name(self) -> str:
        """The id of the key, for Starlette."""
        return self._found.principal.key or "" if isinstance(self._found, Access) else ""


class Authentication(AuthenticationBackend):
    """Authenticates connections. A failure becomes a Caller with an error.

    Requests to `signed_paths` may be signed. After too many failed `sign_ins` of an address its credentials
    are refused unchecked.
    """

    def __init__(self, keys: AccessKeys, sign_ins: SignIns, signed_paths: Collection[str] = ()) -> None:
        self._keys = keys
        self._sign_ins = sign_ins
        self._signed_paths = frozenset(signed_paths)

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser]:
        """Authenticate a connection. Removes secrets from its URL and subprotocols."""
        scope = conn.scope
        request = _request(scope)  # Before the removal, because the signature covers it.
        in_url, offered = list(_extract_from_query(scope)), list(_extract_from_protocols(scope))
        try:
            if self._keys.open:
                shown = next(iter((*_bearer(conn), *in_url, *offered)), None)
                return AuthCredentials(), Caller(self._keys.anybody(shown))
            # Pages of any origin may request open paths, which must not use up their user's sign-ins.
            if is_open(scope["path"]):
                raise MissingAuthentication("This path needs no key, and none is checked.")
            if scope["path"] in self._signed_paths and not (in_url or offered or _has_secret(conn)):
                with self._sign_ins.attempt(_address(conn), link=_is_link(conn)):
                    access, signature = await self._keys.by_signature(request, utc_now())
                return AuthCredentials(), Caller(access, signature)
            return AuthCredentials(), Caller(await self._by_secret(conn, in_url, offered))
        except TranscribedError as error:
            return AuthCredentials(), Caller(error)

    async def _by_secret(self, conn: HTTPConnection, in_url: list[str], offered: list[str]) -> Access:
        headers = conn.headers.getlist("authorization")
        may_be_in_url = conn.scope["type"] == "websocket" or conn.scope["method"] in {"GET", "HEAD"}
        credentials = [*headers, *in_url, *offered]
        if not credentials:
            raise MissingAuthentication(f"This request needs a key. {_HOW}")
        with self._sign_ins.attempt(_address(conn), link=_is_link(conn)):
            if len(credentials) > 1:
                raise UnknownClient(f"The request contains more than one secret. {_HOW}")
            if headers:
                return await self._by_header(headers[0])
            if in_url and not may_be_in_url:
                raise MissingAuthentication(
                    f"A secret in the URL is accepted only for GET requests and WebSockets. {_HOW}"
                )
            return await self._keys.by_secret(credentials[0])

    async def _by_header(self, header: str) -> Access:
        scheme, _, value = header.strip().partition(" ")
        match scheme.lower():
            case "bearer":
                return await self._keys.by_secret(value.strip())
            case "basic":
                key_id, colon, secret = _decoded(value.strip()).partition(":")
                if not colon:
                    raise UnknownClient(f"The credentials of Basic are not ID:SECRET. {_HOW}")
                return await self._keys.by_id(key_id, secret)
            case "aws4-hmac-sha256":
                raise UnknownClient(f"Only Amazon's endpoints accept signatures. {_HOW}")
        raise UnknownClient(f"The scheme of Authorization is not supported. {_HOW}")


def agreed_subprotocol(websocket: WebSocket, *others: str) -> str | None:
    """The subprotocol with which to accept a WebSocket: SUBPROTOCOL or one of others if it was offered."""
    offered = websocket.scope.get("subprotocols", ())
    return next((each for each in (SUBPROTOCOL, *others) if each in offered), None)


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise UnknownClient(f"The credentials of Basic are not the Base64 of ID:SECRET. {_HOW}") from error


def _address(conn: HTTPConnection) -> str:
    return conn.client.host if conn.client else ""


def _is_link(conn: HTTPConnection) -> bool:
    """Whether a page of any origin can make a browser send this request, as a link or an image.

    Other requests of such pages have an Origin, and are refused because of it.
    """
    is_read = conn.scope["type"] == "http" and conn.scope["method"] in {"GET", "HEAD"}
    return is_read and "authorization" not in conn.headers


def _has_secret(conn: HTTPConnection) -> bool:
    """Whether the header Authorization contains a secret or token instead of a signature."""
    return conn.headers.get("authorization", "").strip().lower().startswith(("bearer ", "basic "))


def _bearer(conn: HTTPConnection) -> Iterator[str]:
    for header in conn.headers.getlist("authorization"):
        scheme, _, value = header.strip().partition(" ")
        if scheme.lower() == "bearer":
            yield value.strip()


def _request(scope: Scope) -> sigv4.Request:
    path = scope.get("raw_path") or scope["path"].encode()
    return sigv4.Request(
        scope.get("method", "GET"),
        path.decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
    )


def _extract_from_query(scope: Scope) -> Iterator[str]:
    """Remove the secrets from a query, so that neither routes nor the log see them, and yield them."""
    kept = []
    for pair in scope["query_string"].split(b"&"):
        name, _, value = pair.decode("latin-1").partition("=")
        if unquote_plus(name) == _TOKEN_PARAMETER:
            yield unquote_plus(value)
        else:
            kept.append(pair)
    scope["query_string"] = b"&".join(kept)


def _extract_from_protocols(scope: Scope) -> Iterator[str]:
    """Remove the secrets from the subprotocols, and yield them."""
    if scope["type"] != "websocket":
        return
    offered = [
        protocol.strip()
        for name, value in scope["headers"]
        if name == _PROTOCOLS
        for protocol in value.decode("latin-1").split(",")
    ]
    plain = [protocol for protocol in offered if not protocol.startswith(_PREFIXES_OF_KEYS)]
    for prefix in _PREFIXES_OF_KEYS:
        yield from (each.removeprefix(prefix) for each in offered if each.startswith(prefix))
    scope["subprotocols"] = plain
    if len(plain) < len(offered):
        others = [(name, value) for name, value in scope["headers"] if name != _PROTOCOLS]
        scope["headers"] = [*others, *([(_PROTOCOLS, ", ".join(plain).encode("latin-1"))] if plain else [])]
