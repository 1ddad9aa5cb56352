"""The decoder network, which reads tokens of a segment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from transcribed.engines.moonshine.outputs import (
    FINAL_STATES,
    INPUT,
    OTHER_PROBABILITIES,
    OTHERS,
    PAST,
    POSITION,
    PRESENT,
    PROBABILITIES,
    TOKENS,
    Dimensions,
    attention,
)

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class KeyValueCache:
    """The decoder's keys and values of the tokens read so far, [1, heads, length, head size] per layer."""

    states: tuple[Array, ...] = ()

    @property
    def length(self) -> int:
        """The number of tokens, including the start token."""
        return int(self.states[0].shape[2]) if self.states else 0

    def first(self, length: int) -> "KeyValueCache":
        """Return the cache of the first tokens only."""
        return KeyValueCache(tuple(state[:, :, :length] for state in self.states))


@dataclass(frozen=True, slots=True, eq=False)
class ReadResult:
    """The result for n tokens of a segment.

    `tokens` [n] are the most probable next tokens, `probabilities` [n] those of these tokens, `states`
    [n, width] the last hidden states, `attentions` by layer the weights [heads, n, frames] of the
    cross-attention. `past` is the cache that includes the n tokens that were read.
    """

    tokens: npt.NDArray[np.int64]
    probabilities: Array
    states: Array
    attentions: Sequence[Array]
    past: KeyValueCache


NO_TOKENS = KeyValueCache()


class Decoder:
    """The decoder network. Stateless, and may be used by several threads at once."""

    def __init__(self, network: ort.InferenceSession, layers: Sequence[int]) -> None:
        """`layers` are those whose attention is returned."""
        self._network = network
        pasts = [each.shape for each in network.get_inputs() if each.name.startswith(f"{PAST}.")]
        self.layers = len(pasts) // 2
        _, self.heads, _, self.head_size = pasts[0]
        sizes = Dimensions(0, self.layers, self.heads, self.head_size)
        self._past_names = sizes.states(PAST)
        self._no_past = [np.zeros((1, self.heads, 0, self.head_size), np.float32)] * len(pasts)
        self._attentions = len(layers)
        next_tokens = [TOKENS, PROBABILITIES, OTHERS, OTHER_PROBABILITIES]
        self._wanted = [*next_tokens, FINAL_STATES, *map(attention, layers), *sizes.states(PRESENT)]

    def read(
        self, tokens: Sequence[int], past: KeyValueCache, cross: Mapping[str, Array], at_least: int = 0
    ) -> ReadResult:
        """Read tokens of a segment after those in `past`.

        `cross` are the keys and values of its audio. The text has at least `at_least` tokens: before that,
        the end is never the most probable next token.
        """
        found = self._network.run(
            self._wanted,
            {
                INPUT: np.array([tokens]),
                POSITION: np.array([past.length]),
                **dict(zip(self._past_names, past.states or self._no_past, strict=True)),
                **cross,
            },
        )
        chosen, probable, others, other_probable, states, *layers = (each[0] for each in found)
        goes_on = np.arange(len(tokens)) + past.length < at_least
        return ReadResult(
            np.where(goes_on, others, chosen).astype(np.int64),
            np.where(goes_on, other_probable, probable),
            states,
            layers[: self._attentions],
            KeyValueCache(tuple(found[-len(self._past_names) :])),
        )
