"""The embedded engine."""

from dataclasses import dataclass, field
from pathlib import Path

from transcribed.audio.formats import silence
from transcribed.engines.base import Capabilities, StreamOptions
from transcribed.engines.moonshine.model import Decoded, MoonshineModel
from transcribed.engines.moonshine.stream import MoonshineStream, PartialRules
from transcribed.engines.silero import SileroModel
from transcribed.recognition.endpointing import EndpointingRules


@dataclass(frozen=True, slots=True)
class MoonshineEngine:
    """A LocalEngine: English, cased and punctuated."""

    model: MoonshineModel
    silero: SileroModel
    endpointing: EndpointingRules
    partials: PartialRules = field(default_factory=PartialRules)

    @property
    def capabilities(self) -> Capabilities:
        """US English and nothing else."""
        return Capabilities(name="moonshine", languages=("en-US",))

    def open(self, options: StreamOptions) -> MoonshineStream:
        """A new stream."""
        return MoonshineStream(self.model, self.silero, options, self.endpointing, self.partials)


def load(cache: Path, endpointing: EndpointingRules) -> MoonshineEngine:
    """Load all networks and run each once, so that the first stream meets no slow first call."""
    model = MoonshineModel.load(cache)
    model.decode(model.encode(silence(1.0)), Decoded(), ())
    return MoonshineEngine(model, SileroModel(), endpointing)
