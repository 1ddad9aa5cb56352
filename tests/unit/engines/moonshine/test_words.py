import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.formats import SAMPLE_RATE
from transcribed.engines.moonshine.model import Decoded
from transcribed.engines.moonshine.tokenizer import Tokenizer
from transcribed.engines.moonshine.variants import Calibration
from transcribed.engines.moonshine.words import (
    calibrated,
    first_words,
    is_credible,
    is_likely,
    spoken_tokens,
    words_of,
)

PIECES = ["▁This", "▁is", "▁a", "▁test", ".", "▁", "ing", "▁...", "<0xE2>", "<0x82>", "<0xAC>", "'s"]
THIS, IS, A, TEST, STOP, SPACE, ING, DOTS, E2, X82, AC, S = range(len(PIECES))
SECOND = SAMPLE_RATE
SURE = Calibration(slope=0.85, offset=0.44, noise=0.3, brief_noise=0.5)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    entries = [piece.encode() for piece in PIECES]
    return Tokenizer(b"".join(bytes([len(entry)]) + entry for entry in entries))


def _decoded(*tokens: tuple[int, float]) -> Decoded:
    return Decoded(tuple(token for token, _ in tokens), tuple(sure for _, sure in tokens))


def _said(tokenizer: Tokenizer, *tokens: tuple[int, float]) -> list[tuple[str, float | None]]:
    return [(word.text, word.confidence) for word in words_of(tokenizer, _decoded(*tokens))]


# --- Words


def test_a_word_is_as_sure_as_its_least_sure_letters(tokenizer: Tokenizer) -> None:
    assert _said(tokenizer) == []
    assert _said(tokenizer, (THIS, 0.9), (IS, 0.8)) == [("This", 0.9), ("is", 0.8)]
    assert _said(tokenizer, (TEST, 0.9), (ING, 0.4), (S, 0.7)) == [("testing's", 0.4)]


def test_punctuation_belongs_to_the_word_before_it_and_makes_it_no_less_sure(tokenizer: Tokenizer) -> None:
    assert _said(tokenizer, (A, 0.9), (TEST, 0.8), (STOP, 0.1)) == [("a", 0.9), ("test.", 0.8)]
    assert _said(tokenizer, (DOTS, 0.3)) == [("...", 0.3)]


def test_the_first_token_begins_a_word_whatever_it_is(tokenizer: Tokenizer) -> None:
    assert _said(tokenizer, (ING, 0.9), (IS, 0.8)) == [("ing", 0.9), ("is", 0.8)]


def test_a_space_alone_is_no_word(tokenizer: Tokenizer) -> None:
    assert _said(tokenizer, (SPACE, 0.9), (IS, 0.8)) == [("is", 0.8)]
    assert _said(tokenizer, (SPACE, 0.2), (E2, 0.9), (X82, 0.8), (AC, 0.7)) == [("€", 0.2)]


@given(st.lists(st.tuples(st.integers(0, AC - 3), st.floats(0.01, 1.0)), max_size=20))
def test_words_are_the_text_and_first_words_are_its_start(
    tokenizer: Tokenizer, tokens: list[tuple[int, float]]
) -> None:
    decoded = _decoded(*tokens)
    words = words_of(tokenizer, decoded)
    assert " ".join(word.text for word in words).split() == tokenizer.text(decoded.tokens).split()
    for count in range(len(words) + 1):
        first = first_words(tokenizer, decoded, count)
        assert decoded.tokens[: len(first.tokens)] == first.tokens
        assert len(first.tokens) == len(first.probabilities)
        assert [word.text for word in words_of(tokenizer, first)] == [word.text for word in words[:count]]


# --- When words are spoken


def test_marks_are_not_spoken_and_a_word_of_marks_alone_is(tokenizer: Tokenizer) -> None:
    spoken, begins = spoken_tokens(tokenizer, [THIS, STOP, TEST, ING, STOP, DOTS, STOP, IS])
    assert spoken.tolist() == [0, 2, 3, 5, 7]
    assert begins.tolist() == [True, True, False, True, True]
    assert [len(found) for found in spoken_tokens(tokenizer, [])] == [0, 0]


def test_a_word_lasts_from_its_first_letters_to_its_last(tokenizer: Tokenizer) -> None:
    spans = ((0, 0), (160, 320), (320, 480), (480, 480), (800, 960))
    decoded = Decoded((SPACE, TEST, ING, STOP, IS), (0.9,) * 5, spans)
    assert [(word.text, word.start, word.end) for word in words_of(tokenizer, decoded)] == [
        ("testing.", 0.01, 0.03),
        ("is", 0.05, 0.06),
    ]
    assert [word.start for word in words_of(tokenizer, _decoded((IS, 0.9)))] == [None]


# --- How sure a word is


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_confidence_rises_with_probability_and_is_a_share(probabilities: list[float]) -> None:
    found = [calibrated(probability, SURE) for probability in sorted(probabilities)]
    assert found == sorted(found)
    assert all(0 < confidence < 1 for confidence in found)
    assert calibrated(0.5, SURE) == pytest.approx(0.61, abs=0.01)


# --- What is credible


@pytest.mark.parametrize(
    ("probabilities", "speech", "credible"),
    [
        ((), 5 * SECOND, False),
        ((0.29, 0.29), 5 * SECOND, False),
        ((0.31, 0.31), 5 * SECOND, True),
        ((0.1, 0.9), 5 * SECOND, True),
        ((0.49,), SECOND // 3, False),
        ((0.51,), SECOND // 3, True),
        ((0.49,), SECOND * 2 // 5, True),
    ],
)
def test_a_noise_makes_words_that_the_model_itself_doubts(
    probabilities: tuple[float, ...], speech: int, credible: bool
) -> None:
    assert is_credible(Decoded((THIS,) * len(probabilities), probabilities), speech, SURE) is credible


def test_a_continuation_is_judged_by_its_own_tokens() -> None:
    decoded = _decoded((THIS, 0.9), (IS, 0.9), (A, 0.2), (TEST, 0.3))
    assert is_likely(decoded, 0, SURE)
    assert not is_likely(decoded, 2, SURE)
    assert not is_likely(decoded, 4, SURE), "nothing was added"
