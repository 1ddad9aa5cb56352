"""The recognition of one segment: incrementally while it grows, and as a whole at its end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from transcribed.audio.buffer import SampleBuffer
from transcribed.engines.base import Effort
from transcribed.engines.moonshine.biasing import Bias, Vocabularies, Vocabulary
from transcribed.engines.moonshine.decoder import NO_TOKENS
from transcribed.engines.moonshine.model import (
    SHORTEST,
    Array,
    Decoded,
    Encoded,
    Features,
    MoonshineModel,
)
from transcribed.engines.moonshine.words import (
    calibrated,
    first_words,
    is_credible,
    is_likely,
    spoken_tokens,
    words_of,
)
from transcribed.options import Phrase
from transcribed.recognition.alignment import token_scores, token_spans
from transcribed.recognition.display_forms import (
    DisplayForms,
    Replacement,
    recognised_words,
    replaced,
)
from transcribed.recognition.stabilizer import common_prefix_length
from transcribed.recognition.vad import WINDOW, SpeechGate, SpeechProbabilities
from transcribed.transcript import Word

_REENCODED_FRAMES = 42
"""The last frames (1 s) of an incremental encoding, encoded again the next time, with audio after them."""
_LEAST_FRAMES = 250
"""The least number of frames (6 s) that the last words of a growing segment are decoded from."""
_CONTEXT_FRAMES = 150
"""The frames (3.6 s) kept before the probable position of the first word that is decoded again."""
_AGREEMENT_SAMPLES = 8_000
"""The least distance (0.5 s) of two results whose common tokens count as agreed on.

Results that are closer together repeat each other's mistakes.
"""
_UNSURE_TOKENS = 2
"""The last tokens, which are decoded again in any case, since more audio may change them."""

_MISSED_SPEECH = 9_600
"""The least speech (0.6 s) after the end of a text for which the text is continued.

In speech without context, such as digits and letters, base-en often ends the text at once, with a
probability of 0.6 to 0.95, although it mostly hears right when it may not end.
"""
_NO_FORMS = DisplayForms.of(())

_CONTINUED = 3
"""How often a text is continued at most."""

# Strides and receptive fields: of features and of the stem's statistics in samples, of frames in features.
_FEATURE_SAMPLES, _FEATURE_REACH = 192, 511
_FRAME_FEATURES, _FRAME_REACH = 2, 3
_STEM_SAMPLES, _STEM_REACH = 64, 127

_FRAME_SAMPLES = 384
_WORD_OFFSET = -128
"""The start of a word relative to its first frame (8 ms before): the mean against another aligner."""
_FRAME_MIDDLE = 448
"""The middle of the samples that a frame's convolutions see."""


class GrowingArray:
    """An array [n, …] whose last rows can be replaced and extended."""

    def __init__(self, empty: npt.NDArray[Any]) -> None:
        self._array = empty
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def first(self, count: int) -> npt.NDArray[Any]:
        """Return a view of the first rows, which is valid until rows are replaced."""
        return self._array[: min(count, self._length)]

    def replace_after(self, count: int, rows: npt.NDArray[Any]) -> None:
        """Replace all rows after the first `count`."""
        length = count + len(rows)
        if length > len(self._array):
            array = np.empty((2 * length, *rows.shape[1:]), rows.dtype)
            array[:count] = self._array[:count]
            self._array = array
        self._array[count:length] = rows
        self._length = length


class SegmentEncoder:
    """The encoder's state for one segment, which starts at the sample `start` of the stream.

    The encoder was trained on whole utterances, in which every frame attends to every other, so that the
    cost of encoding a growing segment again and again rises. Incremental encoding therefore encodes only
    the last second and new audio, which attend to cached keys and values of earlier frames. About 3 of 100
    words differ from those of the whole segment. Independent windows of audio do not work, since frames
    encode their distance from the start.
    """

    def __init__(self, model: MoonshineModel, start: int) -> None:
        self._model = model
        self.start = start
        width = model.dimensions.width
        self._values = GrowingArray(np.empty((0, 2 * width), np.float16))
        self._sums, self._squares = (GrowingArray(np.empty(0, np.float32)) for _ in range(2))
        self._hidden = GrowingArray(np.empty((0, width), np.float32))
        self._past = GrowingArray(model.empty_cache)

    def encode_incrementally(self, audio: SampleBuffer, end: int, agreed: float) -> Encoded:
        """Encode [start, end) incrementally.

        Frames are skipped that only agreed tokens need; `agreed` is the share of the audio that they cover.
        """
        features = self._features(audio, end)
        encoded = len(self._past)
        kept = max(0, encoded - _REENCODED_FRAMES)
        values = features.values[kept * _FRAME_FEATURES :]
        if len(values) < _FRAME_REACH:
            return self.encode_whole(audio, end)
        hidden, new = self._model.encode_features(values, features.normalisation(), self._past.first(kept))
        self._past.replace_after(kept, new)
        self._hidden.replace_after(kept, hidden[0])
        first = min(round(agreed * encoded) - _CONTEXT_FRAMES, len(self._past) - _LEAST_FRAMES)
        skipped = max(0, first)
        return Encoded(self._hidden.first(len(self._hidden))[None, skipped:], end - self.start, skipped)

    def encode_whole(self, audio: SampleBuffer, end: int, *, parallel: bool = False) -> Encoded:
        """Encode [start, end) as a whole."""
        if end - self.start < SHORTEST:
            return self._model.encode(audio.between(self.start, end))
        features = self._features(audio, end)
        hidden, _ = self._model.encode_features(
            features.values, features.normalisation(), parallel=parallel
        )
        return Encoded(hidden, end - self.start)

    def _features(self, audio: SampleBuffer, end: int) -> Features:
        """Return the features of [start, end), and compute only the new ones."""
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

    `settled` tokens are never decoded again. Incremental results also keep the tokens that two results some
    time apart agree on. `speech` are the speech probabilities of the stream, which help to align words.
    """

    def __init__(
        self,
        model: MoonshineModel,
        start: int,
        speech: SpeechProbabilities | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self._model = model
        self._bias = None if vocabulary is None else Bias(vocabulary)
        self._display = _NO_FORMS if vocabulary is None else vocabulary.display
        self._shown: Sequence[Replacement] = ()
        self._settled_shown: Sequence[Replacement] = ()
        self._settled_words = 0
        self._speech = speech or SpeechProbabilities()
        self._encoder = SegmentEncoder(model, start)
        self.start = start
        self.settled = Decoded()
        self._agreed = Decoded()
        self._past = NO_TOKENS
        self._last = Decoded()
        self._compared, self._compared_end = Decoded(), start
        self._whole_end: int | None = None

    @property
    def model(self) -> str:
        """The name of the model."""
        return self._model.name

    @property
    def latest(self) -> Decoded:
        """The latest result, or the draft that the next one starts from."""
        return self._last

    def partial(
        self,
        audio: SampleBuffer,
        end: int,
        speech: int | None,
        effort: Effort,  # noqa: ARG002 - there is one model
    ) -> Sequence[Word]:
        """Return the words of an incremental result."""
        return self._words(self.recognise_incrementally(audio, end), speech)

    def final(self, audio: SampleBuffer, end: int, speech: int | None, effort: Effort) -> Sequence[Word]:
        """Return the words of the whole segment."""
        return self._words(self.recognise_whole(audio, end, parallel=effort is Effort.ALONE), speech)

    def _words(self, decoded: Decoded, speech: int | None) -> Sequence[Word]:
        calibration = self._model.calibration
        believed = speech is None or is_credible(decoded, speech, calibration)
        words = words_of(self._model.tokenizer, decoded) if believed else ()
        words = [
            replace(word, confidence=calibrated(word.confidence or 0.0, calibration)) for word in words
        ]
        new = self._display.replacements([word.text for word in words], self._settled_words)
        self._shown = [*self._settled_shown, *new]
        return replaced(words, self._shown)

    def settle(self, words: int) -> None:
        """Settle the tokens of the first words, and of the whole display form that the last is part of."""
        self._settled_words = recognised_words(self._shown, words)
        self._settled_shown = [each for each in self._shown if each.low < self._settled_words]
        self.settled = first_words(self._model.tokenizer, self._last, self._settled_words)

    def follow(self, other: "MoonshineSegment") -> None:
        """Take the latest result of another model for the same segment as the draft of the next result.

        Both models must have the same tokenizer. Tokens that the other model has settled stay settled.
        """
        self.settled, self._last, self._whole_end = other.settled, other.latest, None
        self._settled_words, self._settled_shown = other._settled_words, other._settled_shown  # noqa: SLF001
        self._shown = other._shown  # noqa: SLF001
        common = common_prefix_length(self._agreed.tokens, self._last.tokens)
        if common < len(self._agreed.tokens):
            self._agreed = self.settled
            self._past = self._past.first(min(common, len(self.settled.tokens)))

    def recognise_incrementally(self, audio: SampleBuffer, end: int) -> Decoded:
        """Recognise [start, end) incrementally, while more audio is coming."""
        agreed = max(self._agreed, self.settled, key=lambda decoded: len(decoded.tokens))
        draft = self._last.tokens[len(agreed.tokens) :]
        part = len(agreed.tokens) / max(1, len(self._last.tokens))
        encoded = self._encoder.encode_incrementally(audio, end, min(1.0, part))
        decoded, past, attention = self._model.decode(encoded, agreed, draft, self._past, self._bias)
        decoded = self._timed(decoded, agreed, attention, encoded.skipped, end)
        if end - self._compared_end >= _AGREEMENT_SAMPLES:
            common = common_prefix_length(decoded.tokens, self._compared.tokens)
            self._agreed = decoded.first(max(len(agreed.tokens), common - _UNSURE_TOKENS))
            self._compared, self._compared_end = decoded, end
            self._try_phrases_again()
        else:
            self._agreed = agreed
        # The last agreed token is read again, since its output is the first new token.
        self._past = past.first(len(self._agreed.tokens))
        self._last, self._whole_end = decoded, None
        return decoded

    def recognise_whole(self, audio: SampleBuffer, end: int, *, parallel: bool = False) -> Decoded:
        """Recognise [start, end) as a whole. If the last result was the same, it is returned again.

        `parallel` also uses a second core.
        """
        if not self.has_final(end):
            encoded = self._encoder.encode_whole(audio, end, parallel=parallel)
            draft = self._last.tokens[len(self.settled.tokens) :]
            self._try_phrases_again()
            self._last = self._whole(encoded, end, draft)
            self._whole_end = end
            # This text is better than an incremental one, so that later results continue from it.
            self._agreed, self._past = self.settled, NO_TOKENS
        return self._last

    def _try_phrases_again(self) -> None:
        if self._bias is not None:
            self._bias.forget()

    def _whole(self, encoded: Encoded, end: int, draft: Sequence[int]) -> Decoded:
        """Decode the whole segment, and go on where the text ends although speech follows."""
        decoded, _, attention = self._model.decode(encoded, self.settled, draft, bias=self._bias)
        found = self._timed(decoded, self.settled, attention, 0, end)
        for _ in range(_CONTINUED):
            if self._speech_after(found, end) < (_MISSED_SPEECH if found.tokens else WINDOW):
                break
            count = len(found.tokens)
            decoded, _, attention = self._model.decode(encoded, found, (), at_least=count + 1)
            if not is_likely(decoded, count, self._model.calibration):
                break
            if self._bias is not None:
                # Only now, since the tokens of a favoured phrase look likely even in noise.
                draft = decoded.tokens[count:]
                decoded, _, attention = self._model.decode(
                    encoded, found, draft, bias=self._bias, at_least=count + 1
                )
            found = self._timed(decoded, found, attention, 0, end)
        return found

    def _speech_after(self, decoded: Decoded, end: int) -> int:
        """Return the number of samples of speech after the last word."""
        begin = decoded.spans[-1][1] if decoded.spans else self.start
        at = np.arange(begin + WINDOW // 2, end, WINDOW)
        return WINDOW * int(np.count_nonzero(self._speech.at(at) >= SpeechGate.OPENS_AT))

    def has_final(self, end: int) -> bool:
        """Return whether `final` would return the last result without computation."""
        return self._whole_end == end

    def _timed(self, decoded: Decoded, known: Decoded, attention: Array, skipped: int, end: int) -> Decoded:
        """Add the spans of all tokens; those of the known first tokens are kept."""
        first = len(known.tokens)
        found = list(known.spans)
        _, count, frames = attention.shape
        begin = (found[-1][1] - self.start - _WORD_OFFSET) // _FRAME_SAMPLES if found else 0
        begin = min(max(begin - skipped, 0), frames - 1)
        spoken, begins = spoken_tokens(self._model.tokenizer, decoded.tokens)
        chosen = spoken >= first
        rows = spoken[chosen] - first
        at = self.start + (skipped + np.arange(begin, frames)) * _FRAME_SAMPLES
        likely = self._speech.at(at + _FRAME_MIDDLE)
        aligned = token_spans(token_scores(attention[:, rows, begin:], likely), begins[chosen])
        samples = self.start + (skipped + begin + aligned) * _FRAME_SAMPLES + _WORD_OFFSET
        by_token = dict(zip(rows.tolist(), np.clip(samples, self.start, end).tolist(), strict=True))
        # Punctuation is not spoken; it gets the end of the word before it.
        for row in range(count):
            after = found[-1][1] if found else self.start
            low, high = by_token.get(row, (after, after))
            found.append((low, high))
        return replace(decoded, spans=tuple(found))


@dataclass(frozen=True, slots=True)
class MoonshineSegments:
    """A SegmentModel."""

    networks: MoonshineModel
    vocabularies: Vocabularies
    vocabulary: Vocabulary | None = None

    @classmethod
    def of(cls, networks: MoonshineModel) -> "MoonshineSegments":
        """Return the model with these networks."""
        return cls(networks, Vocabularies(networks))

    def favouring(self, phrases: tuple[Phrase, ...]) -> "MoonshineSegments":
        """Return the model with phrases to favour, which are compiled if they are new."""
        return replace(self, vocabulary=self.vocabularies.of(phrases))

    def recogniser(self, start: int, speech: SpeechProbabilities) -> MoonshineSegment:
        """Return a recogniser for the segment that starts at this sample."""
        return MoonshineSegment(self.networks, start, speech, self.vocabulary)


def _count(samples: int, stride: int, reach: int) -> int:
    return max(0, (samples - reach) // stride + 1)
