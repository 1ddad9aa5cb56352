"""Which requests are let in, by their Host, Origin and Sec-Fetch headers: rules, without I/O.

A browser sends what any web page asks it to send, also to servers on its user's own machine and network.
What a page of another origin asks for can be told by these headers, which no page can set (Fetch standard,
"forbidden request-header"; Fetch Metadata). Programs other than browsers send neither of the latter two.

- **Host**: a page whose own name resolves to this machine (DNS rebinding) is of one origin with this
  server, to its browser. Its name is in Host all the same. Addresses cannot be rebound.
- **Origin**: the page that asks. Browsers send it with WebSockets, with what a script asks of another
  server, and with all that is no GET or HEAD.
- **Sec-Fetch-Site**: without Origin a page of another site has this server's answer shown (an image, a
  frame), or goes there. The last alone is harmless.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from transcribed.errors import ForeignHost, ForeignOrigin, shown

EVERY = "*"
"""As an entry of hosts or of origins: all of them."""

# The name, or an address in brackets, and a port; underscores are in names of containers.
_HOST = re.compile(r"(\[[^\s\[\]]+\]|[^\s:/?#@,\[\]*]+)(?::([0-9]{0,5}))?")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#@,*]*)")
_OPAQUE = "null"
_FOREIGN = {"cross-site", "same-site"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOCAL = ("localhost", ".localhost")
# What tells nothing of what is kept here: these are for supervisors, and for people who look at the API.
_OPEN = {"/health", "/docs", "/redoc", "/openapi.json"}
_OPEN_FOLDER = "/docs/files/"


def host_and_port(text: str) -> tuple[str, int | None] | None:
    """The name in lower case without a final dot, or address, and the port of a Host; None for no Host."""
    found = _HOST.fullmatch(text.lower())
    if found is None:
        return None
    name, port = found[1].strip("[]"), found[2]
    return name.removesuffix(".") or ".", int(port) if port else None


def is_address(name: str) -> bool:
    """Whether a host is an IP address as it stands."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_host(entry: str) -> bool:
    """Whether `Hosts` can have an entry."""
    try:
        Hosts.of([entry])
    except ValueError:
        return False
    return True


def normal_origin(text: str) -> str | None:
    """An origin as browsers write it: lower case, without a default port; None for what is none."""
    text = text.strip().lower().removesuffix("/")
    if text == "file:/":  # What some applications made of web pages send.
        return "file://"
    if text == _OPAQUE:
        return text
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme, host = found.groups()
    default = _DEFAULT_PORTS.get(scheme)
    if default is not None and host_and_port(host) is None:
        return None
    return f"{scheme}://{host.removesuffix(f':{default}')}"


@dataclass(frozen=True, slots=True)
class Hosts:
    """Names under which this server is asked for."""

    names: frozenset[tuple[str, int | None]]
    """In lower case, with the port where it counts."""
    suffixes: frozenset[str]
    """Each begins with a dot."""
    every: bool = False

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Of names, with a port or without.

        `.example.org` is that and all names below, `*.example.org` those below, `*` all. Raises ValueError.
        """
        names, suffixes = set[tuple[str, int | None]](), set[str]()
        entries = list(entries)
        for entry in entries:
            if entry == EVERY or is_address(entry.strip("[]")):
                continue  # Addresses are let in always.
            below = entry.startswith((".", "*."))
            found = host_and_port(entry.removeprefix("*").removeprefix(".") if below else entry)
            if found is None or (below and found[1] is not None):
                raise ValueError(f"{shown(entry)} is no name of a host, such as scribe.lan or .example.org")
            if below:
                suffixes.add(f".{found[0]}")
            if not entry.startswith("*"):
                names.add((found[0], None) if below else found)
        return cls(frozenset(names), frozenset(suffixes), EVERY in entries)

    def include(self, name: str, port: int) -> bool:
        """Whether a name is one of them, as it is asked for at a port."""
        return (
            self.every
            or (name, None) in self.names
            or (name, port) in self.names
            or any(name.endswith(suffix) for suffix in self.suffixes)
        )


@dataclass(frozen=True, slots=True)
class Origins:
    """Origins whose pages may use this server, beside its own."""

    allowed: frozenset[str]
    every: bool = False

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Of origins, `null` for pages that have none, `*` for all. Raises ValueError."""
        entries = list(entries)
        allowed = set[str]()
        for entry in entries:
            origin = normal_origin(entry)
            if entry != EVERY and origin is None:
                raise ValueError(f"{shown(entry)} is no origin, such as https://app.example.org")
            allowed |= {origin} if origin else set()
        return cls(frozenset(allowed), EVERY in entries)

    def __bool__(self) -> bool:
        return self.every or bool(self.allowed)

    def include(self, origin: str | None) -> bool:
        """Whether pages of an origin may use this server."""
        return self.every or origin in self.allowed


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of where it goes and comes from; a WebSocket's scheme is http or https too.

    Host and Origin have all values that came; `site`, `mode` and `dest` are those of Sec-Fetch-….
    """

    method: str
    path: str
    scheme: str
    hosts: Sequence[str]
    origins: Sequence[str]
    site: str | None = None
    mode: str | None = None
    dest: str | None = None


@dataclass(frozen=True, slots=True)
class EntryRules:
    """The rules, with what they allow."""

    hosts: Hosts
    origins: Origins

    def check(self, asked: Asked) -> None:
        """Let a request in. Raises ForeignHost, ForeignOrigin."""
        own = self._own(asked)
        if asked.path in _OPEN or asked.path.startswith(_OPEN_FOLDER):
            return
        if asked.origins:
            self._check_origin(", ".join(asked.origins), own)
        elif asked.site in _FOREIGN and not self.origins.every and not _goes_there(asked):
            raise ForeignOrigin(
                "A page of another origin has its browser load this, and does not say which. If it is one "
                "that --allow-origin names, have it asked for as CORS does: fetch, or the attribute "
                "crossorigin."
            )

    def _own(self, asked: Asked) -> str | None:
        """This server's origin, as it is asked for; None where the request does not say."""
        text = ", ".join(asked.hosts)
        if not text:  # HTTP/1.0, and programs that leave it out: browsers never do.
            return None
        found = host_and_port(text)
        if found is None:
            raise ForeignHost(f"The header Host is {shown(text)}, which is no name of a host.")
        name, port = found
        at = port if port is not None else _DEFAULT_PORTS[asked.scheme]
        if not (is_address(name) or _ALWAYS.include(name, at) or self.hosts.include(name, at)):
            raise ForeignHost(
                f"{shown(name, 253)} is not known to be a name of this server. If it is, start it with "
                f"--allow-host {shown(name, 253)[1:-1]}."
            )
        return normal_origin(f"{asked.scheme}://{text}")

    def _check_origin(self, text: str, own: str | None) -> None:
        origin = normal_origin(text)
        if self.origins.include(origin) or (origin is not None and origin != _OPAQUE and origin == own):
            return
        if origin == _OPAQUE:
            raise ForeignOrigin(
                "The page that asks has no origin of its own (Origin: null), as those of files have none. "
                "Serve it over HTTP and name its origin with --allow-origin."
            )
        text = shown(text, 300)[1:-1]
        message = (
            f"Pages of {text} may not use this server. If you trust them, start it with "
            f"--allow-origin {text}."
        )
        if origin and own and _host_of(origin) == _host_of(own):
            message += (
                f" The server takes itself to be {own}: if a proxy stands before it, name that with "
                "--proxies, and have it send X-Forwarded-Proto and X-Forwarded-Host."
            )
        raise ForeignOrigin(message)


_ALWAYS = Hosts.of(_LOCAL)


def _goes_there(asked: Asked) -> bool:
    return asked.method == "GET" and asked.mode == "navigate" and asked.dest == "document"


def _host_of(origin: str) -> str | None:
    found = host_and_port(origin.partition("://")[2])
    return found and found[0]
