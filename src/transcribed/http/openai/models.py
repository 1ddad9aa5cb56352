"""The list of engines and models, as `GET /v1/models` of OpenAI's API."""

from collections.abc import Callable, Sequence

from fastapi import APIRouter

from transcribed.clock import utc_now
from transcribed.errors import UnknownModel, shown
from transcribed.http.access import Reader
from transcribed.options import Capabilities, one_of
from transcribed.wire import openai as wire


def router(capabilities: Callable[[], Sequence[Capabilities]]) -> APIRouter:
    """The routes. `capabilities` are those of the engines, the default first; it may raise Unavailable."""
    routes = APIRouter(prefix=f"{wire.PREFIX}/models", tags=["OpenAI"])
    created = int(utc_now().timestamp())

    def names() -> list[str]:
        loaded = capabilities()
        return list(dict.fromkeys(name for each in loaded for name in (each.name, *each.models)))

    @routes.get("", summary="List the models")
    async def models(_: Reader) -> wire.Models:
        """The engines and models that are loaded; the first is the default."""
        return wire.Models(data=[wire.Model(id=name, created=created) for name in names()])

    @routes.get("/{model:path}", summary="One model")
    async def model(model: str, _: Reader) -> wire.Model:
        """A loaded engine or model. Requests may name any other, too, and get the default."""
        known = names()
        if model not in known:
            raise UnknownModel(f"There is no model {shown(model)} here. There is {one_of(known)}.", "model")
        return wire.Model(id=model, created=created)

    return routes
