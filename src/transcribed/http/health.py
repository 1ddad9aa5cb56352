"""What a supervisor asks."""

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from transcribed.engines.base import Pace, StreamStatus
from transcribed.errors import Stopping, Unavailable
from transcribed.scheduling.scheduler import ScheduledEngine

Status = Literal["starting", "ready", "stopping"]


class Health(BaseModel):
    """`starting` until the model is loaded, then `ready`; `stopping` at the end."""

    status: Status
    version: str
    engine: str | None = None
    languages: list[str] = []
    streams: int = 0
    places: int = Field(0, description="Live streams that there is room for, those that run included.")
    lag: float = Field(0.0, description="The longest lag of a live stream, in seconds.")


class OpenStream(BaseModel):
    """A transcription that runs now."""

    pace: Pace
    received: float = Field(description="Seconds of audio received.")
    lag: float = Field(description="Seconds of it that are not recognised yet.")


def router(
    engine: Callable[[], ScheduledEngine], streams: Callable[[], list[StreamStatus]], version: str
) -> APIRouter:
    """Routes over the engine (which raises Unavailable until it is loaded) and the open streams."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health", summary="What runs here")
    async def health() -> Health:
        """The version, the engine and its languages, and how many streams are open."""
        try:
            running = engine()
        except Unavailable as error:
            return Health(status=_status(error), version=version, streams=len(streams()))
        opened = streams()
        return Health(
            status="ready",
            version=version,
            engine=running.capabilities.name,
            languages=list(running.capabilities.languages),
            streams=len(opened),
            places=running.places,
            lag=max((round(s.lag, 3) for s in opened if s.pace is Pace.LIVE), default=0.0),
        )

    @routes.get("/streams", summary="What is being transcribed")
    async def transcriptions() -> list[OpenStream]:
        """Every transcription that runs now, with its lag."""
        return [
            OpenStream(pace=s.pace, received=round(s.received, 3), lag=round(s.lag, 3)) for s in streams()
        ]

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
            return JSONResponse({"status": _status(error), "detail": error.message}, 503)
        return JSONResponse({"status": "ready"})

    return routes


def _status(error: Unavailable) -> Status:
    return "stopping" if isinstance(error, Stopping) else "starting"
