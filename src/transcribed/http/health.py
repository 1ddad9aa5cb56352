"""What a supervisor asks."""

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import JSONResponse

from transcribed.engines.base import Engine
from transcribed.errors import Unavailable


class Health(BaseModel):
    """`starting` until the model is loaded, then `ready`."""

    status: Literal["starting", "ready"]
    version: str
    engine: str | None = None
    languages: list[str] = []
    streams: int = 0


def router(engine: Callable[[], Engine], streams: Callable[[], int], version: str) -> APIRouter:
    """Routes over the engine (which raises Unavailable until it is loaded) and the number of streams."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health", summary="What runs here")
    async def health() -> Health:
        """The version, the engine and its languages, and how many streams are open."""
        try:
            can = engine().capabilities
        except Unavailable:
            return Health(status="starting", version=version)
        return Health(
            status="ready",
            version=version,
            engine=can.name,
            languages=list(can.languages),
            streams=streams(),
        )

    @routes.get("/live", summary="Is the process alive?")
    async def live() -> dict[str, str]:
        """200 as long as the server answers at all."""
        return {"status": "alive"}

    @routes.get(
        "/ready",
        summary="Can it transcribe now?",
        responses={503: {"description": "Not yet, or not any more."}},
    )
    async def ready() -> JSONResponse:
        """200 once the model is loaded, else 503."""
        try:
            engine()
        except Unavailable as error:
            return JSONResponse({"status": "starting", "detail": error.message}, 503)
        return JSONResponse({"status": "ready"})

    return routes
