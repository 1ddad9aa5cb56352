"""Rules that accept or refuse a request by its Host, Origin and Sec-Fetch headers; without I/O.

Any web page can make a browser send requests, also to servers on the user's own machine and network. These
headers identify requests of pages of another origin, and no page can set them (Fetch standard, "forbidden
request-header"; Fetch Metadata). Programs other than browsers send neither Origin nor Sec-Fetch headers.

- **Host**: after DNS rebinding the name of a page resolves to this machine, so the browser takes the page
  and this server for one origin. Host still contains the page's name. Addresses cannot be rebound.
- **Origin**: the origin of the page. Browsers send it with WebSockets, with requests of scripts to other
  origins, and with all methods except GET and HEAD.
- **Sec-Fetch-Site**: a request of another site without Origin either embeds a response of this server (an
  image, a frame) or navigates to it. Only navigation is harmless.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from transcribed.errors import ForeignHost, ForeignOrigin, shown

EVERY = "*"
"""The entry of hosts or of origins that stands for all of them."""

# A name, or an address in brackets, and a port. Names of containers may contain underscores.
_HOST = re.compile(r"(\[[^\s\[\]]+\]|[^\s:/?#@,\[\]*]+)(?::([0-9]{0,5}))?")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#@,*]*)")
_OPAQUE = "null"
_FOREIGN = {"cross-site", "same-site"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOCAL = ("localhost", ".localhost")
# Paths that show no user data, for supervisors and for readers of the API's documentation.
_OPEN = {"/health", "/docs", "/redoc", "/openapi.json"}
_OPEN_FOLDER = "/docs/files/"


def is_open(path: str) -> bool:
    """Whether a path needs no key, and is accessible to pages of every origin."""
    return path in _OPEN or path.startswith(_OPEN_FOLDER)


def host_and_port(text: str) -> tuple[str, int | None] | None:
    """The name or address, and the port, of a Host header; None if it is not valid.

    The name is in lower case, without a final dot.
    """
    found = _HOST.fullmatch(text.lower())
    if found is None:
        return None
    name, port = found[1].strip("[]"), found[2]
    return name.removesuffix(".") or ".", int(port) if port else None


def is_address(name: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_host(entry: str) -> bool:
    """Whether an entry is valid for `Hosts`."""
    try:
        Hosts.of([entry])
    except ValueError:
        return False
    return True


def normal_origin(text: str) -> str | None:
    """An origin as browsers write it: lower case, without a default port; None if it is not valid."""
    text = text.strip().lower().removesuffix("/")
    if text == "file:/":  # Some applications that consist of web pages send this.
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
    """Host names of this server."""

    names: frozenset[tuple[str, int | None]]
    """Names in lower case, each with its port, or None for any port."""
    suffixes: frozenset[str]
    """Suffixes of names, each beginning with a dot."""
    every: bool = False

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Parse names, each with or without a port. Raises ValueError.

        `.example.org` includes that name and all below it, `*.example.org` only those below, `*` all names.
        """
        names, suffixes = set[tuple[str, int | None]](), set[str]()
        entries = list(entries)
        for entry in entries:
            if entry == EVERY or is_address(entry.strip("[]")):
                continue  # Addresses are always accepted.
            below = entry.startswith((".", "*."))
            found = host_and_port(entry.removeprefix("*").removeprefix(".") if below else entry)
            if found is None or (below and found[1] is not None):
                raise ValueError(f"{shown(entry)} is no host name, such as scribe.lan or .example.org")
            if below:
                suffixes.add(f".{found[0]}")
            if not entry.startswith("*"):
                names.add((found[0], None) if below else found)
        return cls(frozenset(names), frozenset(suffixes), EVERY in entries)

    def include(self, name: str, port: int) -> bool:
        """Whether a name, in a request to a port, is one of them."""
        return (
            self.every
            or (name, None) in self.names
            or (name, port) in self.names
            or any(name.endswith(suffix) for suffix in self.suffixes)
        )


@dataclass(frozen=True, slots=True)
class Origins:
    """Origins whose pages may use this server, in addition to its own."""

    allowed: frozenset[str]
    every: bool = False

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Parse origins; `null` stands for pages without one, `*` for all. Raises ValueError."""
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
class EntryRequest:
    """The parts of a request that `EntryRules` checks.

    `scheme` is http or https, also for a WebSocket. `hosts` and `origins` are all values of Host and
    Origin; `site`, `mode` and `dest` are those of the Sec-Fetch headers.
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
    """The host names and origins whose requests are accepted."""

    hosts: Hosts
    origins: Origins

    def check(self, request: EntryRequest) -> None:
        """Accept a request. Raises ForeignHost, ForeignOrigin."""
        own = self._own_origin(request)
        if is_open(request.path):
            return
        if request.origins:
            self._check_origin(", ".join(request.origins), own)
        elif request.site in _FOREIGN and not self.origins.every and not _is_navigation(request):
            raise ForeignOrigin(
                "This was requested by a page of another origin, which the request does not name. If "
                "--allow-origin names it, let the page use fetch, or the attribute crossorigin."
            )

    def _own_origin(self, request: EntryRequest) -> str | None:
        """This server's origin, by the request's Host; None without a Host. Raises ForeignHost."""
        text = ", ".join(request.hosts)
        if not text:  # HTTP/1.0, and programs that omit it. Browsers always send it.
            return None
        found = host_and_port(text)
        if found is None:
            raise ForeignHost(f"The header Host is {shown(text)}, which is not a valid host name.")
        name, port = found
        at = port if port is not None else _DEFAULT_PORTS[request.scheme]
        if not (is_address(name) or _ALWAYS.include(name, at) or self.hosts.include(name, at)):
            raise ForeignHost(
                f"{shown(name, 253)} is not known to be a name of this server. If it is, start it with "
                f"--allow-host {shown(name, 253)[1:-1]}."
            )
        return normal_origin(f"{request.scheme}://{text}")

    def _check_origin(self, text: str, own: str | None) -> None:
        origin = normal_origin(text)
        if self.origins.include(origin) or (origin is not None and origin != _OPAQUE and origin == own):
            return
        if origin == _OPAQUE:
            raise ForeignOrigin(
                "The page has no origin of its own (Origin: null), like pages that are opened as files. "
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


def _is_navigation(request: EntryRequest) -> bool:
    return request.method == "GET" and request.mode == "navigate" and request.dest == "document"


def _host_of(origin: str) -> str | None:
    found = host_and_port(origin.partition("://")[2])
    return found and found[0]
