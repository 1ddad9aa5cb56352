"""Routes for supervisors and dashboards: health, readiness, running streams."""

from collections.abc import Callable, Sequence
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from transcribed.engines.base import StreamStatus
from transcribed.errors import Stopping, Unavailable
from transcribed.http.access import Reader
from transcribed.http.metrics import lag
from transcribed.http.owners import OwnerParameter, owner_of_list, shows_owner
from transcribed.options import Pace
from transcribed.scheduling.admission import AdmittedEngine
from transcribed.wire.amazon_parameters import features

Status = Literal["starting", "ready", "stopping"]


class EngineHealth(BaseModel):
    """An engine that a stream can select."""

    name: str
    languages: list[str]
    models: list[str] = Field(
        description="The loaded models; empty if the engine does not name its models.",
        examples=[["tiny-en"]],
    )
    features: list[str] = Field(
        description="Parameters of Amazon's protocol that this engine supports and others do not."
    )
    streams: int
    places: int


class Health(BaseModel):
    """`status` is `starting` until the model is loaded, then `ready`, and `stopping` during shutdown.

    `engine`, `languages`, `models` and `places` are those of the default engine.
    """

    status: Status
    version: str
    engine: str | None = None
    languages: list[str] = []
    models: list[str] = Field([], examples=[["tiny-en"]])
    streams: int = 0
    places: int = Field(
        0, description="The live streams that can be served well, including those that are running."
    )
    lag: float = Field(0.0, description="The longest lag of a live stream, in seconds.")
    engines: list[EngineHealth] = []


class OpenStream(BaseModel):
    """A running transcription."""

    engine: str
    pace: Pace
    received: float = Field(description="Seconds of audio received.")
    lag: float = Field(description="Seconds of audio received and not yet recognised.")
    sent: float | None = Field(
        description="Seconds of audio sent to a remote engine; null for other engines."
    )
    partial_model: str | None = Field(
        description="The model that made the latest partial; null before the first one, and if the engine "
        "does not name its models.",
        examples=["tiny-en"],
    )
    final_model: str | None = Field(
        description="The model that made the latest final; null in the same cases.", examples=["base-en"]
    )
    owner: str | None = Field(None, description="The owner, if the server uses keys.", examples=["anna"])


def router(
    engine: Callable[[], AdmittedEngine], engines: Callable[[], Sequence[AdmittedEngine]], version: str
) -> APIRouter:
    """The routes. `engine` returns the default engine, or raises Unavailable until it is loaded."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health", summary="Version, engines and load")
    async def health() -> Health:
        """The version, the engines and their languages, and the number of open streams."""
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
            models=list(default.capabilities.models),
            streams=streams,
            places=default.capacity,
            lag=round(max(map(lag, loaded)), 3),
            engines=[
                EngineHealth(
                    name=each.name,
                    languages=list(each.capabilities.languages),
                    models=list(each.capabilities.models),
                    features=features(each.capabilities),
                    streams=len(each.statuses),
                    places=each.capacity,
                )
                for each in loaded
            ],
        )

    @routes.get("/streams", summary="List the running transcriptions", response_model_exclude_unset=True)
    async def transcriptions(principal: Reader, owner: OwnerParameter = None) -> list[OpenStream]:
        """Every running transcription, with its lag."""
        only_owner = owner_of_list(principal, owner)
        return [
            _open_stream(each.name, status, stream_owner if shows_owner(principal, stream_owner) else None)
            for each in engines()
            for stream_owner, status in each.statuses_by_owner(only_owner)
        ]

    @routes.get("/live", summary="Is the process alive?")
    async def live() -> dict[str, str]:
        """200 as long as the server answers at all."""
        return {"status": "alive"}

    @routes.get(
        "/ready",
        summary="Can it transcribe now?",
        responses={503: {"description": "The server is starting or stopping."}},
    )
    async def ready() -> JSONResponse:
        """200 once the model is loaded, otherwise 503."""
        try:
            engine()
        except Unavailable as error:
            return JSONResponse({"status": _status(error), "detail": error.client_message}, 503)
        return JSONResponse({"status": "ready"})

    return routes


def _open_stream(engine: str, status: StreamStatus, owner: str | None) -> OpenStream:
    stream = OpenStream(
        engine=engine,
        pace=status.pace,
        received=round(status.received, 3),
        lag=round(status.lag, 3),
        sent=None if status.sent is None else round(status.sent, 3),
        partial_model=status.partial_model,
        final_model=status.final_model,
    )
    if owner is not None:
        stream.owner = owner
    return stream


def _status(error: Unavailable) -> Status:
    return "stopping" if isinstance(error, Stopping) else "starting"
