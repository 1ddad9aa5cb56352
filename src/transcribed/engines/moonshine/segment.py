"""One segment through the networks: in passing while it grows, and as a whole at its end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from transcribed.audio.buffer import SampleBuffer
from transcribed.engines.moonshine.model import (
    SHORTEST,
    Array,
    Decoded,
    Encoded,
    Features,
    KeyValueCache,
    MoonshineModel,
)
from transcribed.engines.moonshine.words import (
    calibrated,
    first_words,
    is_credible,
    spoken_tokens,
    words_of,
)
from transcribed.recognition.alignment import token_scores, token_spans
from transcribed.recognition.stabilizer import common_prefix_length
from transcribed.recognition.vad import SpeechProbabilities
from transcribed.transcript import Word

_REVISED = 42
"""Frames at the end of what was encoded in passing (1 s) that the next time encodes anew: by then there is
audio behind them."""
_READ_AGAINST = 250
"""Frames (6 s) at least that the words at the end of a growing segment are read against."""
_READ_BEFORE = 150
"""Frames (3.6 s) in front of where the first word that is read anew probably is."""
_AGREED_OVER = 8_000
"""Samples (0.5 s) between two results that tokens are agreed on by: in less, a mistake is repeated."""
_UNSURE_TOKENS = 2
"""Tokens at the end of a text that are read anew in any case: more audio may change them."""

_FEATURE_SAMPLES, _FEATURE_REACH = 192, 511
_FRAME_FEATURES, _FRAME_REACH = 2, 3
_STEM_SAMPLES, _STEM_REACH = 64, 127

_FRAME_SAMPLES = 384
_FRAME_BEGINS = -128
"""Where a word begins, relative to its first frame (8 ms before it), on average over words that another
aligner was asked about."""
_FRAME_MIDDLE = 448
"""What a frame is about, in the middle of the samples that its convolutions see."""


class Rows:
    """An array [n, …] that grows at its end, where it may be written anew."""

    def __init__(self, empty: npt.NDArray[Any]) -> None:
        self._array = empty
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def first(self, count: int) -> npt.NDArray[Any]:
        """A view of the first rows, to be used before more are written."""
        return self._array[: min(count, self._length)]

    def replace_after(self, count: int, rows: npt.NDArray[Any]) -> None:
        """Keep the first rows and put these behind them."""
        length = count + len(rows)
        if length > len(self._array):
            array = np.empty((2 * length, *rows.shape[1:]), rows.dtype)
            array[:count] = self._array[:count]
            self._array = array
        self._array[count:length] = rows
        self._length = length


class SegmentEncoder:
    """The encoder's state for one segment, which begins at the sample `start`.

    The encoder was trained on whole utterances: every frame attends to every other. To encode a growing
    segment anew each time costs more and more. In passing, therefore, only the last second and what is new
    are encoded, and they attend to the keys and values that earlier frames had when they were encoded. The
    words that come of it differ from those of the whole in about 3 of 100. What windows of audio encoded by
    themselves yield is useless: the encoder's frames tell how far they are from the start.
    """

    def __init__(self, model: MoonshineModel, start: int) -> None:
        self._model = model
        self.start = start
        width = model.dimensions.width
        self._values = Rows(np.empty((0, 2 * width), np.float16))
        self._sums, self._squares = (Rows(np.empty(0, np.float32)) for _ in range(2))
        self._hidden = Rows(np.empty((0, width), np.float32))
        self._past = Rows(model.empty_cache)

    def incremental(self, audio: SampleBuffer, end: int, agreed: float) -> Encoded:
        """The newest frames of [start, end), where `agreed` of what was encoded last need no reading."""
        features = self._features(audio, end)
        encoded = len(self._past)
        kept = max(0, encoded - _REVISED)
        values = features.values[kept * _FRAME_FEATURES :]
        if len(values) < _FRAME_REACH:
            return self.whole(audio, end)
        hidden, new = self._model.encode_features(values, features.normalisation(), self._past.first(kept))
        self._past.replace_after(kept, new)
        self._hidden.replace_after(kept, hidden[0])
        first = min(round(agreed * encoded) - _READ_BEFORE, len(self._past) - _READ_AGAINST)
        skipped = max(0, first)
        return Encoded(self._hidden.first(len(self._hidden))[None, skipped:], end - self.start, skipped)

    def whole(self, audio: SampleBuffer, end: int, *, parallel: bool = False) -> Encoded:
        """[start, end) as the encoder was trained to see it."""
        if end - self.start < SHORTEST:
            return self._model.encode(audio.between(self.start, end))
        features = self._features(audio, end)
        hidden, _ = self._model.encode_features(
            features.values, features.normalisation(), parallel=parallel
        )
        return Encoded(hidden, end - self.start)

    def _features(self, audio: SampleBuffer, end: int) -> Features:
        """Those of [start, end). What has been heard is not heard again."""
        known, count = len(self._values), _count(end - self.start, _FEATURE_SAMPLES, _FEATURE_REACH)
        if count > known:
            new = self._model.features(audio.between(self.start + known * _FEATURE_SAMPLES, end))
            known_sums = known * _FEATURE_SAMPLES // _STEM_SAMPLES
            self._values.replace_after(known, new.values)
            self._sums.replace_after(known_sums, new.sums)
            self._squares.replace_after(known_sums, new.squares)
        sums = _count(end - self.start, _STEM_SAMPLES, _STEM_REACH)
        return Features(self._values.first(count), self._sums.first(sums), self._squares.first(sums))


class MoonshineSegment:
    """A SegmentRecogniser.

    `settled` tokens are never read anew: what is decided about them is the caller's affair. In passing,
    tokens that two results some time apart agreed on are not read anew, either; the whole does so. `speech`
    says where somebody speaks; words lie there.
    """

    def __init__(
        self, model: MoonshineModel, start: int, speech: SpeechProbabilities | None = None
    ) -> None:
        self._model = model
        self._speech = speech or SpeechProbabilities()
        self._encoder = SegmentEncoder(model, start)
        self.start = start
        self.settled = Decoded()
        self._agreed = Decoded()
        self._past = KeyValueCache()
        self._last = Decoded()
        self._compared, self._compared_end = Decoded(), start
        self._whole_end: int | None = None

    def partial(self, audio: SampleBuffer, end: int, speech: int | None) -> Sequence[Word]:
        """What was encoded in passing says."""
        return self._words(self.incremental(audio, end), speech)

    def final(self, audio: SampleBuffer, end: int, speech: int | None, *, parallel: bool) -> Sequence[Word]:
        """What the whole says."""
        return self._words(self.whole(audio, end, parallel=parallel), speech)

    def _words(self, decoded: Decoded, speech: int | None) -> Sequence[Word]:
        believed = speech is None or is_credible(decoded, speech)
        return words_of(self._model.tokenizer, decoded) if believed else ()

    def settle(self, words: int) -> None:
        """Their tokens are not read anew."""
        self.settled = first_words(self._model.tokenizer, self._last, words)

    def incremental(self, audio: SampleBuffer, end: int) -> Decoded:
        """What [start, end) probably says, while more is coming."""
        agreed = max(self._agreed, self.settled, key=lambda decoded: len(decoded.tokens))
        draft = self._last.tokens[len(agreed.tokens) :]
        part = len(agreed.tokens) / max(1, len(self._last.tokens))
        encoded = self._encoder.incremental(audio, end, min(1.0, part))
        decoded, past, attention = self._model.decode_from(encoded, agreed, draft, self._past)
        decoded = self._timed(decoded, agreed, attention, encoded.skipped, end)
        if end - self._compared_end >= _AGREED_OVER:
            common = common_prefix_length(decoded.tokens, self._compared.tokens)
            self._agreed = decoded.first(max(len(agreed.tokens), common - _UNSURE_TOKENS))
            self._compared, self._compared_end = decoded, end
        else:
            self._agreed = agreed
        # The last of them is read again: behind it comes the next choice.
        self._past = past.first(len(self._agreed.tokens))
        self._last, self._whole_end = decoded, None
        return decoded

    def whole(self, audio: SampleBuffer, end: int, *, parallel: bool = False) -> Decoded:
        """What [start, end) says; at once if it was asked last. `parallel` as in MoonshineModel.encode."""
        if not self.has_final(end):
            encoded = self._encoder.whole(audio, end, parallel=parallel)
            draft = self._last.tokens[len(self.settled.tokens) :]
            decoded, _, attention = self._model.decode_from(encoded, self.settled, draft, KeyValueCache())
            self._last = self._timed(decoded, self.settled, attention, 0, end)
            self._whole_end = end
            # It is the better text: what is said next goes on from here.
            self._agreed, self._past = self.settled, KeyValueCache()
        return self._last

    def has_final(self, end: int) -> bool:
        """Whether `whole` would compute nothing."""
        return self._whole_end == end

    def _timed(self, decoded: Decoded, known: Decoded, attention: Array, skipped: int, end: int) -> Decoded:
        """With the spans of its tokens: those of its start, which is known, and behind them the others."""
        first = len(known.tokens)
        found = list(known.spans)
        _, count, frames = attention.shape
        begin = (found[-1][1] - self.start - _FRAME_BEGINS) // _FRAME_SAMPLES if found else 0
        begin = min(max(begin - skipped, 0), frames - 1)
        spoken, begins = spoken_tokens(self._model.tokenizer, decoded.tokens)
        chosen = spoken >= first
        rows = spoken[chosen] - first
        at = self.start + (skipped + np.arange(begin, frames)) * _FRAME_SAMPLES
        likely = self._speech.at(at + _FRAME_MIDDLE)
        aligned = token_spans(token_scores(attention[:, rows, begin:], likely), begins[chosen])
        samples = self.start + (skipped + begin + aligned) * _FRAME_SAMPLES + _FRAME_BEGINS
        by_token = dict(zip(rows.tolist(), np.clip(samples, self.start, end).tolist(), strict=True))
        # Marks are not spoken: they stand where the word before them ends.
        for row in range(count):
            after = found[-1][1] if found else self.start
            low, high = by_token.get(row, (after, after))
            found.append((low, high))
        return replace(decoded, spans=tuple(found))


@dataclass(frozen=True, slots=True)
class MoonshineSegments:
    """A SegmentModel."""

    networks: MoonshineModel

    def recogniser(self, start: int, speech: SpeechProbabilities) -> MoonshineSegment:
        """One for the segment that starts at this sample."""
        return MoonshineSegment(self.networks, start, speech)

    def confidence(self, probability: float) -> float:
        """How often a word of this probability was right on read speech, in [0, 1]."""
        return calibrated(probability)


def _count(samples: int, stride: int, reach: int) -> int:
    return max(0, (samples - reach) // stride + 1)
