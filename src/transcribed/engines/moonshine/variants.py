"""The supported Moonshine models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transcribed.engines.moonshine.shipped import CPP, VOICE


@dataclass(frozen=True, slots=True)
class Calibration:
    """How the token probabilities of a model are to be read, which differs from model to model.

    - `slope`, `offset`: map the log-odds of a word's least probable token to those of the word being right.
    - `noise`, `brief_noise`: the mean token probability below which a segment is rejected as noise, and
      that for a brief segment.

    All are fitted to recordings other than those that bench/word_times.py reports on.
    """

    slope: float
    offset: float
    noise: float
    brief_noise: float


@dataclass(frozen=True, slots=True)
class Variant:
    """Where a model is installed, and the properties that its graphs do not declare.

    - `name`: the name of the model in results.
    - `package`, `folder`: the installed package, and the folder in it.
    - `version`: the version of the graphs that `graphs` builds from the model.
    - `next_heads`: by decoder layer, the cross-attention heads that attend to the audio of the next token.
    - `latest_heads`: those that attend to the audio of the token just read.
    - `calibration`: how the probabilities of its tokens are to be read.
    """

    name: str
    package: str
    folder: str
    version: str
    next_heads: Mapping[int, Sequence[int]]
    latest_heads: Mapping[int, Sequence[int]]
    calibration: Calibration

    @property
    def aligning_layers(self) -> tuple[int, ...]:
        """The decoder layers with such heads."""
        return tuple(sorted({*self.next_heads, *self.latest_heads}))


SMALL = Variant(
    "tiny-en",
    VOICE,
    "assets/tiny-en",
    "moonshine-tiny-en-11",
    next_heads={3: [0], 4: [6]},
    latest_heads={3: [1], 4: [0]},
    calibration=Calibration(slope=0.85, offset=0.44, noise=0.3, brief_noise=0.5),
)
LARGE = Variant(
    "base-en",
    CPP,
    "models/base-en",
    "moonshine-base-en-5",
    next_heads={5: [5, 6, 7]},
    latest_heads={4: [1]},
    calibration=Calibration(slope=1.0, offset=0.7, noise=0.3, brief_noise=0.4),
)

AUTO = "auto"
"""The name of both models together."""
NAMED = {"base": LARGE, "tiny": SMALL}
"""The models by the names with which users choose them."""
