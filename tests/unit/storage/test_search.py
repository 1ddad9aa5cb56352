"""What a search is, what it finds, and how that is shown."""

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.errors import BadRequest
from transcribed.storage.search import (
    LONGEST_EXCERPT,
    LONGEST_WORD,
    MOST_WORDS,
    excerpt,
    fts5_query,
    phrases_of,
    tsquery,
    tsvector,
    words_of,
)

TEXTS = st.text() | st.text(alphabet="aB é日本ไทย한글'\"-. \u0301\u200d“ﾊﾞ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  ,.!  ", []),
        ("This is a test.", ["this", "is", "a", "test"]),
        ("It's well-known: 3.5 %", ["it", "s", "well", "known", "3", "5"]),
        ("snake_case", ["snake", "case"]),
        ("Größe, café CAFE\u0301", ["grosse", "cafe", "cafe"]),
        ("İstanbul ΣΊΣΥΦΟΣ ёлка", ["istanbul", "σισυφοσ", "елка"]),
        ("日本語のテスト", list("日本語のテスト")),
        ("ﾊﾞｽ", ["バ", "ス"]),
        ("GPT4で書く", ["gpt4", "で", "書", "く"]),
        ("한국어 시험", ["한국어", "시험"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("می‌خواهم", ["میخواهم"]),
        ("שלום, עולם", ["שלום", "עולם"]),
        ("① ½ ﬁne", ["1", "12", "fine"]),
        ("🎙 take\u00ad 1", ["take", "1"]),
        ("a" * 300, ["a" * LONGEST_WORD]),
    ],
)
def test_the_words_of_a_text(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_thai_is_searched_by_its_characters() -> None:
    assert "".join(words_of("ภาษาไทย")) == "ภาษาไทย"
    assert len(words_of("ภาษาไทย")) > 1


@given(text=TEXTS)
def test_words_are_nothing_that_a_database_could_misread(text: str) -> None:
    for word in words_of(text):
        assert 0 < len(word) <= LONGEST_WORD
        assert all(unicodedata.category(c)[0] in "LNM" for c in word)


@given(text=TEXTS)
def test_writing_differently_what_is_the_same_gives_the_same_words(text: str) -> None:
    assert words_of(unicodedata.normalize("NFC", text)) == words_of(unicodedata.normalize("NFD", text))


@given(texts=st.lists(TEXTS, max_size=4))
def test_how_a_text_is_cut_at_spaces_changes_nothing(texts: list[str]) -> None:
    assert words_of(" ".join(texts)) == [word for text in texts for word in words_of(text)]


@pytest.mark.parametrize(
    ("search", "phrases"),
    [
        ("one", (("one",),)),
        ("one Two", (("one",), ("two",))),
        ("one one", (("one",),)),
        ('"one two" three', (("one", "two"), ("three",))),
        ("“one two” three", (("one", "two"), ("three",))),
        ('three"one two"', (("three",), ("one", "two"))),
        ('one "two three', (("one",), ("two", "three"))),
        ('"" one', (("one",),)),
        ("it's", (("it", "s"),)),
        ("a AND b OR NOT c NEAR(d)", (("a",), ("and",), ("b",), ("or",), ("not",), ("c",), ("near", "d"))),
        ("words:one* ^two -three", (("words", "one"), ("two",), ("three",))),
        ("日本 test", (("日", "本"), ("test",))),
    ],
)
def test_what_is_searched(search: str, phrases: tuple[tuple[str, ...], ...]) -> None:
    assert phrases_of(search) == phrases


@pytest.mark.parametrize("search", ["", "  ", string.punctuation, '""', "🎙", "\u0301"])
def test_a_search_without_a_word_is_told(search: str) -> None:
    with pytest.raises(BadRequest, match="at least one letter or digit"):
        phrases_of(search)


def test_a_search_of_too_many_words_is_told() -> None:
    assert len(phrases_of(" ".join(f"w{n}" for n in range(MOST_WORDS)))) == MOST_WORDS
    with pytest.raises(BadRequest, match=f"at most {MOST_WORDS}"):
        phrases_of('"' + "word " * (MOST_WORDS + 1))


def test_how_the_databases_are_told() -> None:
    phrases = phrases_of('"one two" three')
    assert fts5_query(phrases) == '"one two" AND "three"'
    assert tsquery(phrases) == "'one' <-> 'two' & 'three'"
    assert tsvector("One two, one") == "'one':1 'two':2 'one':3"


@given(text=TEXTS)
def test_an_excerpt_of_a_short_text_is_the_text(text: str) -> None:
    words = words_of(text)[:5]
    pieces = excerpt(text, [(word,) for word in words], longest=max(1, len(text)))
    assert "".join(piece for piece, _ in pieces) == text
    assert any(hit for _, hit in pieces) == bool(words)
    assert all(piece for piece, _ in pieces)


@given(text=TEXTS, longest=st.integers(1, 40), data=st.data())
def test_an_excerpt_shows_a_hit_in_its_place(text: str, longest: int, data: st.DataObject) -> None:
    words = words_of(text)
    begin = data.draw(st.integers(0, len(words)))
    phrase = tuple(words[begin : begin + data.draw(st.integers(1, 4))])
    pieces = excerpt(text, [phrase] if phrase else [], longest)
    shown = [piece for piece in pieces if piece != ("…", False)]
    assert "".join(piece for piece, _ in shown) in text
    assert sum(len(piece) for piece, _ in shown) <= longest
    if phrase:
        assert any(hit for _, hit in shown)


def test_an_excerpt_is_cut_between_words_around_the_hit() -> None:
    before, after = "alpha beta gamma " * 20, " delta epsilon zeta" * 20
    pieces = excerpt(f"{before}Treasure island{after}", phrases_of('"treasure island"'))
    assert [piece for piece, hit in pieces if hit] == ["Treasure island"]
    assert pieces[0] == pieces[-1] == ("…", False)
    whole = "".join(piece for piece, _ in pieces).strip("…")
    assert len(whole) <= LONGEST_EXCERPT
    assert set(whole.split()) == {
        "alpha",
        "beta",
        "gamma",
        "Treasure",
        "island",
        "delta",
        "epsilon",
        "zeta",
    }


def test_every_hit_is_shown_and_neighbours_are_not_joined() -> None:
    pieces = excerpt("To be, or not to be.", phrases_of("to be"))
    assert pieces == (
        ("To", True),
        (" ", False),
        ("be", True),
        (", or not ", False),
        ("to", True),
        (" ", False),
        ("be", True),
        (".", False),
    )
    assert excerpt("a b c d", phrases_of('"a b c" "b c d"')) == (("a b c d", True),)
    assert excerpt("日本語", phrases_of("日本 本語")) == (("日本語", True),)
