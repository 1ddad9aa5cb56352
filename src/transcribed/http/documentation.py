"""The documentation of the API for people: /docs and /redoc, with all files that these pages load.

The pages load nothing from other servers: a script of another origin could delete what is stored here, and
the pages must work offline.
"""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.staticfiles import StaticFiles

_FILES = "/docs/files"
# Both pages contain an inline script. ReDoc searches in a worker that it creates from a blob. It would load
# a logo from its maker's server, which img-src prevents.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def install(app: FastAPI) -> None:
    """Add the pages to an app that was created with docs_url=None and redoc_url=None."""
    app.mount(_FILES, StaticFiles(packages=[("fastapi_offline", "static")]), name="documentation")
    app.add_route("/docs", _swagger(app), include_in_schema=False)
    app.add_route("/redoc", _redoc(app), include_in_schema=False)


def _swagger(app: FastAPI) -> Callable[[Request], Awaitable[Response]]:
    async def swagger(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        page = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}{_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{_FILES}/swagger-ui.css",
            swagger_favicon_url=f"{root}{_FILES}/favicon.png",
            # By default the page sends the schema's address to its maker's server for validation.
            swagger_ui_parameters={"validatorUrl": None},
        )
        return _with_policy(page)

    return swagger


def _redoc(app: FastAPI) -> Callable[[Request], Awaitable[Response]]:
    async def redoc(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        page = get_redoc_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            redoc_js_url=f"{root}{_FILES}/redoc.standalone.js",
            redoc_favicon_url=f"{root}{_FILES}/favicon.png",
            with_google_fonts=False,
        )
        return _with_policy(page)

    return redoc


def _with_policy(page: Response) -> Response:
    page.headers["Content-Security-Policy"] = _POLICY
    return page
