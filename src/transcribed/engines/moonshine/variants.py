"""The supported Moonshine models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transcribed.engines.moonshine.shipped import CPP, VOICE


@dataclass(frozen=True, slots=True)
class Variant:
    """Where a model is found, and properties that its graphs do not declare; these declare its dimensions.

    - `name`: the name that results bear.
    - `package`, `folder`: the installed package, and the folder in it.
    - `version`: the version of the graphs that `graphs` builds from the model.
    - `next_heads`: by decoder layer, the cross-attention heads that attend to the audio of the next token.
    - `latest_heads`: those that attend to the audio of the token just read.
    """

    name: str
    package: str
    folder: str
    version: str
    next_heads: Mapping[int, Sequence[int]]
    latest_heads: Mapping[int, Sequence[int]]


SMALL = Variant(
    "tiny-en", VOICE, "assets/tiny-en", "moonshine-tiny-en-8", {3: [0], 4: [6]}, {3: [1], 4: [0]}
)
LARGE = Variant("base-en", CPP, "models/base-en", "moonshine-base-en-2", {4: [2], 5: [5], 6: [4]}, {4: [6]})

AUTO = "auto"
"""The name of both models together."""
NAMED = {"base": LARGE, "tiny": SMALL}
"""The models by the names with which users choose them."""
