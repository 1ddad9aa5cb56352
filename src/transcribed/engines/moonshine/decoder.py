"""The decoder network, which reads tokens of one segment, or of segments of several streams at once.

A read is one run of the network. Most of its time is the reading of the network's weights from memory. So
one read of a token of each of four segments takes at most half as long as four reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from transcribed.engines.moonshine.outputs import (
    CROSS,
    FINAL_STATES,
    FRAME_MASK,
    INPUT,
    NEVER,
    OTHER_PROBABILITIES,
    OTHERS,
    PAST,
    POSITIONS,
    PRESENT,
    PROBABILITIES,
    TOKEN_MASK,
    TOKENS,
    Dimensions,
    attention,
)
from transcribed.engines.segments.together import Memo, ask

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
class Read:
    """Tokens of a segment to read after those in `past`. `cross` are the keys and values of its audio.

    The text has at least `at_least` tokens: before that, the end is never the most probable next token.
    """

    tokens: Sequence[int]
    past: KeyValueCache
    cross: Mapping[str, Array]
    at_least: int = 0


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
_ABSENT = Read((0,), NO_TOKENS, {})


class Decoder:
    """The decoder network. Stateless, and may be used by several threads at once."""

    def __init__(self, network: ort.InferenceSession, layers: Sequence[int]) -> None:
        """`layers` are those whose attention is returned."""
        self._network = network
        pasts = [each.shape for each in network.get_inputs() if each.name.startswith(f"{PAST}.")]
        self.layers = len(pasts) // 2
        _, self.heads, _, self.head_size = pasts[0]
        sizes = Dimensions(0, self.layers, self.heads, self.head_size)
        self._past_names, self._cross_names = sizes.states(PAST), sizes.states(CROSS)
        self._layers = len(layers)
        attentions = map(attention, layers)
        next_tokens = [TOKENS, PROBABILITIES, OTHERS, OTHER_PROBABILITIES]
        self._wanted = [*next_tokens, FINAL_STATES, *attentions, *sizes.states(PRESENT)]

    def read(self, read: Read) -> ReadResult:
        """Read tokens, together with the reads of other streams if their steps run together."""
        return ask(self, read)

    def answer(self, questions: Sequence[Read], memo: Memo) -> Sequence[ReadResult]:
        """Read tokens of each segment: single tokens in one run and several in another, to save padding."""
        results: dict[int, ReadResult] = {}
        for single in (True, False):
            chosen = [i for i, read in enumerate(questions) if (len(read.tokens) == 1) is single]
            reads = [questions[i] for i in chosen]
            results |= zip(chosen, self._read(reads, memo), strict=True) if reads else {}
        return [results[i] for i in range(len(questions))]

    def _read(self, reads: Sequence[Read], memo: Memo) -> Sequence[ReadResult]:
        if len(reads) == 1:
            rows, cross = reads, reads[0].cross
            frames = self._frames(reads[0])
        else:
            rows, cross, frames = self._with_cross(reads, memo)
        width = max(len(read.tokens) for read in reads)
        longest = max(read.past.length for read in reads)
        tokens = np.zeros((len(rows), width), np.int64)
        positions = np.zeros((len(rows), width), np.int64)
        token_mask = np.zeros((len(rows), 1, width, longest + width), np.float32)
        frame_mask = np.zeros((len(rows), 1, 1, frames), np.float32)
        for row, read in enumerate(rows):
            tokens[row, : len(read.tokens)] = read.tokens
            positions[row] = np.arange(width) + read.past.length
            token_mask[row, ..., : longest - read.past.length] = NEVER
            frame_mask[row, ..., self._frames(read) :] = NEVER
        found = self._network.run(
            self._wanted,
            {
                INPUT: tokens,
                POSITIONS: positions,
                TOKEN_MASK: token_mask,
                FRAME_MASK: frame_mask,
                **dict(zip(self._past_names, self._pasts(rows, longest), strict=True)),
                **cross,
            },
        )
        by_row = {id(read): row for row, read in enumerate(rows)}
        return [self._result(found, by_row[id(read)], read, longest) for read in reads]

    def _result(self, found: Sequence[Array], row: int, read: Read, longest: int) -> ReadResult:
        count, start = len(read.tokens), longest - read.past.length
        chosen, probable, others, other_probable, states, *rest = (each[row : row + 1] for each in found)
        goes_on = np.arange(count) + read.past.length < read.at_least
        tokens = np.where(goes_on, others[0, :count], chosen[0, :count]).astype(np.int64)
        probabilities = np.where(goes_on, other_probable[0, :count], probable[0, :count])
        attentions = [each[0, :, :count, : self._frames(read)] for each in rest[: self._layers]]
        present = (each[:, :, start : longest + count] for each in rest[self._layers :])
        past = KeyValueCache(tuple(present))
        return ReadResult(tokens, probabilities, states[0, :count], attentions, past)

    def _frames(self, read: Read) -> int:
        return int(read.cross[self._cross_names[0]].shape[3]) if read.cross else 0

    def _pasts(self, rows: Sequence[Read], longest: int) -> Sequence[Array]:
        """Return the caches of all rows, with zeros before shorter ones."""
        if len(rows) == 1 and rows[0].past.states:
            return rows[0].past.states
        shape = (len(rows), self.heads, longest, self.head_size)
        joined = [np.zeros(shape, np.float32) for _ in self._past_names]
        for row, read in enumerate(rows):
            for whole, state in zip(joined, read.past.states, strict=False):
                whole[row, :, longest - read.past.length :] = state[0]
        return joined

    def _with_cross(
        self, reads: Sequence[Read], memo: Memo
    ) -> tuple[Sequence[Read], Mapping[str, Array], int]:
        """Return rows for these reads, the joined keys and values of their audio, and their frames.

        Shorter audio is followed by zeros. Joining takes as long as half a read. So the joined keys and
        values are kept while at least half of their rows are used, and rows of finished segments are
        computed although nobody uses them.
        """
        members, joined, frames = memo.get("cross", ((), {}, 0))
        places = {id(cross): place for place, cross in enumerate(members)}
        if 2 * len(reads) < len(members) or not all(id(read.cross) in places for read in reads):
            members = tuple(read.cross for read in reads)
            frames = max(map(self._frames, reads))
            joined = {name: self._joined(name, members, frames) for name in self._cross_names}
            memo["cross"] = members, joined, frames
            return reads, joined, frames
        rows = [_ABSENT] * len(members)
        for read in reads:
            rows[places[id(read.cross)]] = read
        return rows, joined, frames

    def _joined(self, name: str, members: Sequence[Mapping[str, Array]], frames: int) -> Array:
        are_keys = name.endswith("key")
        last = (self.head_size, frames) if are_keys else (frames, self.head_size)
        joined = np.zeros((len(members), self.heads, *last), np.float32)
        for row, member in enumerate(members):
            value = member[name][0]
            _, *size = value.shape
            joined[row, :, : size[0], : size[1]] = value
        return joined
