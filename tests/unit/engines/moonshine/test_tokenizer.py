import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.engines.moonshine.tokenizer import Tokenizer
from transcribed.engines.segments.engine import SegmentEngine


def _file(*pieces: str) -> bytes:
    """A `tokenizer.bin` of these pieces."""
    entries = []
    for data in map(str.encode, pieces):
        length = len(data)
        entries.append(bytes([length]) if length < 128 else bytes([128 + length % 128, length // 128]))
        entries.append(data)
    return b"".join(entries)


@given(st.lists(st.text(max_size=300), max_size=10))
def test_reads_pieces_of_any_length(pieces: list[str]) -> None:
    tokenizer = Tokenizer(_file(*pieces))
    assert len(tokenizer) == len(pieces)
    # A piece between two others keeps its spaces.
    tokenizer = Tokenizer(_file("|", *pieces))
    for token, piece in enumerate(pieces, 1):
        if not (piece.startswith("<0x") and piece.endswith(">")):
            assert tokenizer.text([0, token, 0]) == f"|{piece.replace('▁', ' ')}|"


def test_a_lower_line_is_a_space_and_a_hexadecimal_piece_is_a_byte() -> None:
    tokenizer = Tokenizer(_file("▁This", "▁is", "<0xE2>", "<0x82>", "<0xAC>", "▁", "<0x3C>0", ""))
    assert tokenizer.text([0, 1]) == "This is"
    assert tokenizer.text([0, 5, 2, 3, 4]) == "This €"
    assert tokenizer.text([6]) == "<0x3C>0"
    assert tokenizer.text([7]) == tokenizer.text([]) == ""
    assert [tokenizer.starts_word(token) for token in range(8)] == [
        True,
        True,
        False,
        False,
        False,
        True,
        False,
        False,
    ]


def test_bytes_that_are_no_text_do_not_fail() -> None:
    assert Tokenizer(_file("a", "<0xE2>")).text([0, 1]) == "a\ufffd"


def test_the_shipped_vocabulary(moonshine: SegmentEngine) -> None:
    tokenizer = moonshine.model.networks.tokenizer
    assert len(tokenizer) == 32_768
    letters = {tokenizer.text([token]): token for token in reversed(range(len(tokenizer)))}
    assert tokenizer.text([letters["Hello"], letters["!"]]) in {"Hello!", "Hello !"}
    assert {chr(code) for code in range(33, 127)} <= set(letters)


def test_a_token_outside_the_vocabulary_is_an_error() -> None:
    with pytest.raises(IndexError):
        Tokenizer(_file("a")).text([1])
