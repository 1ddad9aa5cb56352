"""Files of vocabularies."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.errors import BadRequest, TooLarge, TranscribedError
from transcribed.options import Phrase
from transcribed.wire.vocabulary import MOST_PHRASES, MOST_TEXT, decoded_lines, phrases_of


def parsed(content: str | bytes) -> tuple[Phrase, ...]:
    return phrases_of(decoded_lines(content.encode() if isinstance(content, str) else content))


def test_a_list_with_a_mark_and_ends_of_lines_of_windows() -> None:
    content = "\ufeffSiobhan\r\n\r\n  Los   Angeles \r\nJean-Luc\r\nSiobhan\r\n"
    assert parsed(content) == (Phrase("Siobhan"), Phrase("Los Angeles"), Phrase("Jean-Luc"))


def test_amazons_table() -> None:
    table = (
        "Phrase\tIPA\tSoundsLike\tDisplayAs\n"
        "Los-Angeles\t\t\tLos Angeles 🎬\n"
        "F.B.I.\teh f b i a\teff-bee-eye\tFBI\n"
        "A.B.C.-s\t\t\t\n"
        "Dynamo-D.B.\t\t\tDynamoDB\n"
        "V.X.-zero-two-Q.\n"
    )
    assert parsed(table) == (
        Phrase("Los Angeles", "Los Angeles 🎬"),
        Phrase("FBI", "FBI"),
        Phrase("ABCs"),
        Phrase("Dynamo DB", "DynamoDB"),
        Phrase("VX zero two Q."),
    )


@pytest.mark.parametrize("first", ["Phrase", "phrase", " PHRASE "])
def test_a_list_may_begin_with_the_name_of_a_column(first: str) -> None:
    assert parsed(f"{first}\nJean-Luc\n") == (Phrase(first.strip()), Phrase("Jean-Luc"))
    assert parsed("DisplayAs\nPhrase\n") == (Phrase("DisplayAs"), Phrase("Phrase"))


def test_a_table_has_a_tab_on_its_first_line() -> None:
    assert parsed("Phrase\tIPA\nJean-Luc\n") == (Phrase("Jean Luc"),)
    with pytest.raises(BadRequest, match=r"Line 2 .* has a tab"):
        parsed("Phrase\nJean-Luc\tJL\n")


def test_columns_come_in_any_order_and_a_weight_is_ours() -> None:
    assert parsed("weight\tDisplayAs\tphrase\n2\tL.A.\tLos Angeles\n\t\tBerlin\n") == (
        Phrase("Los Angeles", "L.A.", 2.0),
        Phrase("Berlin"),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no phrases"),
        ("\n \r\n", "has no phrases"),
        ("Phrase\tDisplayAs\n", "has no phrases"),
        (b"\x89PNG\r\n\x1a\n\x00", "not a text in UTF-8"),
        ("names".encode("utf-16"), "not a text in UTF-8"),
        ("ok\n😀\n", r"Line 2 .*no letter"),
        ("ok\nI ♥ NY\n", "Line 2 .*which nobody speaks"),
        ("word " * 500, "Line 1 .* at most 256"),
        ("--\n", "Line 1"),
        ("a\tb\n", "Line 1 .* has a tab"),
        ("Phrase\tShown\nx\ty\n", "The columns of a vocabulary are"),
        ("Phrase\t\nx\ty\n", "The columns of a vocabulary are"),
        ("Phrase\tPhrase\nx\ty\n", "The columns of a vocabulary are"),
        ("Phrase\tDisplayAs\nx\ty\tz\n", "Line 2 .* has 3 columns"),
        ("Phrase\tDisplayAs\n\ty\n", "Line 2 .* nothing in the column Phrase"),
        ("Phrase\tDisplayAs\nNY\tNew York\nny\tN.Y.\n", "Line 3 .*contradicts line 2"),
        ("Phrase\tWeight\nx\tmuch\n", "Line 2 .*'much'"),
        ("Phrase\tWeight\nx\tnan\n", "Line 2"),
        ("Phrase\tWeight\nx\t1000\n", "Line 2"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(content: str | bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        parsed(content)


def test_there_is_a_bound() -> None:
    lines = [f"name{number}" for number in range(MOST_PHRASES)]
    assert len(phrases_of(lines)) == MOST_PHRASES
    with pytest.raises(TooLarge, match=f"more than {MOST_PHRASES} phrases"):
        phrases_of([f"name{number}" for number in range(100_000)])
    long = [f"{number:05} {'word ' * 40}" for number in range(MOST_PHRASES)]
    with pytest.raises(TooLarge, match=f"more than {MOST_TEXT} characters"):
        phrases_of(long)
    assert phrases_of(10 * long[:1000])


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_file_is_phrases_or_an_error(content: bytes) -> None:
    with suppress(TranscribedError):
        phrases = parsed(content)
        assert phrases
        assert phrases_of([phrase.text for phrase in phrases])
