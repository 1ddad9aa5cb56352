"""The models of Moonshine's that are known here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variant:
    """A model, where it is found, and what its graphs do not tell.

    `package` carries it in `folder`. `version` changes whenever the graphs that are made of it do.
    `next_heads` are the heads of the decoder, by layer, that attend to the audio of the token that comes
    next, and `latest_heads` those that attend to the audio of the token just read.
    """

    package: str
    folder: str
    version: str
    next_heads: Mapping[int, Sequence[int]]
    latest_heads: Mapping[int, Sequence[int]]


VARIANTS = {
    "tiny-en": Variant(
        "moonshine_voice", "tiny-en", "moonshine-tiny-en-6", {3: [0], 4: [6]}, {3: [1], 4: [0]}
    )
}
"""By their names; the first is the default."""
