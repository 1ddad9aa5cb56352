"""The page's routes: `/`, `/live/{id}`, and under `/web/` the files that these pages load.

All files are in the package. None contains data of a user, so none needs a key.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from importlib.resources import files
from pathlib import PurePath

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from transcribed.http.ranges import is_known
from transcribed.http.security_headers import PAGE_PERMISSIONS, PAGE_POLICY

# A table of its own, because the system's differs between machines, and browsers run no script of another
# type.
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".svg": "image/svg+xml; charset=utf-8",
}
_PAGE_SUFFIX = ".html"
_PAGE_HEADERS = {"Content-Security-Policy": PAGE_POLICY, "Permissions-Policy": PAGE_PERMISSIONS}

Endpoint = Callable[[Request], Awaitable[Response]]


class _StaticFile:
    """One file of the page, in memory, with the entity tag of its content."""

    def __init__(self, name: str, content: bytes) -> None:
        suffix = PurePath(name).suffix
        self._content = content
        self._media_type = _MEDIA_TYPES[suffix]
        self._headers = {"ETag": f'"{sha256(content).hexdigest()[:32]}"', "Cache-Control": "no-cache"}
        if suffix == _PAGE_SUFFIX:
            self._headers |= _PAGE_HEADERS

    def response(self, request: Request) -> Response:
        """The file, or 304 if the client has it."""
        if is_known(request.headers.get("if-none-match"), self._headers["ETag"]):
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers, media_type=self._media_type)


def router() -> APIRouter:
    """The routes, with the files as they are now."""
    folder = files(__package__) / "static"
    static = {file.name: _StaticFile(file.name, file.read_bytes()) for file in folder.iterdir()}

    async def asset(request: Request) -> Response:
        name = request.path_params["file"]
        # The pages have paths of their own, from which their links are resolved.
        if name not in static or name.endswith(_PAGE_SUFFIX):
            raise HTTPException(404, "The page has no such file.")
        return static[name].response(request)

    routes = APIRouter()
    routes.add_route("/", _page(static["index.html"]), include_in_schema=False)
    routes.add_route("/live/{id}", _page(static["live.html"]), include_in_schema=False)
    routes.add_route("/web/{file}", asset, include_in_schema=False)
    return routes


def _page(file: _StaticFile) -> Endpoint:
    async def page(request: Request) -> Response:
        return file.response(request)

    return page
