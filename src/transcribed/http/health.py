"""What a supervisor asks."""

from collections.abc import Callable, Sequence
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from transcribed.engines.base import StreamStatus
from transcribed.errors import Stopping, Unavailable
from transcribed.http.access import Reader
from transcribed.http.metrics import lag
from transcribed.http.owners import Asked, is_told, owner_of_list
from transcribed.options import Pace
from transcribed.scheduling.admission import AdmittedEngine
from transcribed.wire.amazon_parameters import features

Status = Literal["starting", "ready", "stopping"]


class EngineHealth(BaseModel):
    """An engine that a stream can ask for."""

    name: str
    languages: list[str]
    features: list[str] = Field(description="What it does beside: names of Amazon's parameters.")
    streams: int
    places: int


class Health(BaseModel):
    """`starting` until the model is loaded, then `ready`; `stopping` at the end.

    Engine, languages and places are those of streams that ask for no engine.
    """

    status: Status
    version: str
    engine: str | None = None
    languages: list[str] = []
    streams: int = 0
    places: int = Field(0, description="Live streams that there is room for, those that run included.")
    lag: float = Field(0.0, description="The longest lag of a live stream, in seconds.")
    engines: list[EngineHealth] = []


class OpenStream(BaseModel):
    """A transcription that runs now."""

    engine: str
    pace: Pace
    received: float = Field(description="Seconds of audio received.")
    lag: float = Field(description="Seconds of it that are not recognised yet.")
    sent: float | None = Field(
        description="Seconds of audio sent to the engine's service; null where it has none."
    )
    owner: str | None = Field(None, description="Whose it is; said where keys are used.", examples=["anna"])


def router(
    engine: Callable[[], AdmittedEngine], engines: Callable[[], Sequence[AdmittedEngine]], version: str
) -> APIRouter:
    """Routes over the default engine (which raises Unavailable until it is loaded) and all engines."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health", summary="What runs here")
    async def health() -> Health:
        """The version, the engines and their languages, and how many streams are open."""
        loaded = engines()
        streams = sum(len(each.statuses) for each in loaded)
        try:
            default = engine()
        except Unavailable as error:
            return Health(status=_status(error), version=version, streams=streams)
        return Health(
            status="ready",
            version=version,
            engine=default.name,
            languages=list(default.capabilities.languages),
            streams=streams,
            places=default.capacity,
            lag=round(max(map(lag, loaded)), 3),
            engines=[
                EngineHealth(
                    name=each.name,
                    languages=list(each.capabilities.languages),
                    features=features(each.capabilities),
                    streams=len(each.statuses),
                    places=each.capacity,
                )
                for each in loaded
            ],
        )

    @routes.get("/streams", summary="What is being transcribed", response_model_exclude_unset=True)
    async def transcriptions(who: Reader, owner: Asked = None) -> list[OpenStream]:
        """Every transcription that runs now, with its lag."""
        whose = owner_of_list(who, owner)
        return [
            _open_stream(each.name, status, theirs if is_told(who, theirs) else None)
            for each in engines()
            for theirs, status in each.statuses_by_owner(whose)
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
            return JSONResponse({"status": _status(error), "detail": error.told}, 503)
        return JSONResponse({"status": "ready"})

    return routes


def _open_stream(engine: str, status: StreamStatus, owner: str | None) -> OpenStream:
    stream = OpenStream(
        engine=engine,
        pace=status.pace,
        received=round(status.received, 3),
        lag=round(status.lag, 3),
        sent=None if status.sent is None else round(status.sent, 3),
    )
    if owner is not None:
        stream.owner = owner
    return stream


def _status(error: Unavailable) -> Status:
    return "stopping" if isinstance(error, Stopping) else "starting"
