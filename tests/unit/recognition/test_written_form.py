"""Numbers as people write them."""

import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transcribed.options import Stability
from transcribed.recognition.number_phrases import STARTS
from transcribed.recognition.number_words import PARTS
from transcribed.recognition.spoken_form import spoken_form
from transcribed.recognition.stabilizer import Stabilizer
from transcribed.recognition.written_form import written_form
from transcribed.transcript import Segment, Word

TABLE = Path(__file__).parents[2] / "data" / "written-form.tsv"
PAIRS = [
    tuple(line.split("\t"))
    for line in TABLE.read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]


def segment(words: list[Word], *, final: bool = True, language: str = "en-US") -> Segment:
    text = " ".join(word.text for word in words)
    return Segment("s", 0, 0.0, 1.0, text, final, language, tuple(words))


def timed(texts: list[str], settled: int | None = None) -> list[Word]:
    stable = len(texts) if settled is None else settled
    return [Word(text, float(n), n + 1.0, 1.0, n < stable) for n, text in enumerate(texts)]


def written(text: str, language: str = "en-US") -> str:
    found = written_form(segment([Word(word) for word in text.split()], language=language))
    assert found.text == " ".join(word.text for word in found.words)
    return found.text


def spoken(text: str) -> str:
    return spoken_form(segment([Word(word) for word in text.split()])).text


@pytest.mark.parametrize(("said", "expected"), PAIRS, ids=[said for said, _ in PAIRS])
def test_how_numbers_are_written(said: str, expected: str) -> None:
    assert written(said) == expected


def test_what_is_written_stays() -> None:
    changed = [(once, again) for _, once in PAIRS if (again := written(once)) != once]
    assert changed == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Meet me at eight thirty a m on June first at one hundred Main Street", "8:30 AM June 1st 100"),
        ("with three dollars and fifty cents and one point five chocolate bars.", "$3.50 1.5"),
        ("My phone number is four two five five five five one two one two", "425-555-1212"),
        ("the forty third", "43rd"),
        ("one billion", "1 billion"),
    ],
)
def test_what_amazon_documents(said: str, expected: str) -> None:
    assert set(expected.split()) <= set(written(said).split())


@pytest.mark.parametrize(
    ("said", "language", "expected"),
    [
        ("two hundred pounds", "en-US", "200 pounds"),
        ("two hundred pounds", "en-GB", "£200"),
        ("ten pounds of sugar", "en-GB", "10 pounds of sugar"),
        ("he weighs two hundred pounds", "en-GB", "he weighs 200 pounds"),
        ("call four two five five five five one two one two", "en-GB", "call 4255551212"),
    ],
)
def test_british_and_american_usage(said: str, language: str, expected: str) -> None:
    assert written(said, language) == expected


def test_a_word_for_several_has_their_time_and_the_lowest_confidence() -> None:
    words = [
        Word("paid", 0.0, 1.0, 0.9, True),
        Word("“twelve", 1.0, 2.0, 0.8, True, False, "spk_0"),
        Word("dollars", 2.0, 3.0, 0.9, True, True, "spk_0"),
        Word("and", 3.0, 3.2, 0.3, True, False, "spk_0"),
        Word("fifty", 3.2, 4.0, 0.9, True, False, "spk_0"),
        Word("cents.”", 4.0, 5.0, 0.9, True, False, "spk_0"),
    ]
    assert written_form(segment(words)).words == (
        words[0],
        Word("“$12.50.”", 1.0, 5.0, 0.3, True, True, "spk_0"),
    )


def test_an_amount_in_millions_keeps_the_time_of_each_word() -> None:
    found = written_form(segment(timed(["five", "million", "dollars."]))).words
    assert [(word.text, word.start, word.end) for word in found] == [
        ("$5", 0.0, 1.0),
        ("million.", 1.0, 3.0),
    ]


def test_words_of_two_speakers_are_not_joined() -> None:
    words = [Word("twenty", speaker="spk_0"), Word("one", speaker="spk_1")]
    assert written_form(segment(words)).text == "20 one"


def test_a_text_without_words_is_written_too() -> None:
    bare = Segment("s", 0, 0.0, 1.0, "Ten tests", final=True, language="en-US")
    assert written_form(bare).text == "10 tests"


@pytest.mark.parametrize(
    ("texts", "settled", "shown"),
    [
        ("the two", 2, 1),  # "hundred" may follow
        ("the two.", 2, 2),
        ("the two people", 2, 1),
        ("the two people", 3, 3),
        ("two hundred and five", 4, 0),
        ("two hundred and five people", 5, 2),
        ("two hundred and five people", 4, 0),
        ("May", 1, 1),
        ("May fifth", 2, 2),
        ("the fifth", 2, 1),
        ("five million", 2, 0),
        ("at ten thirty", 3, 1),
        ("we saw it", 3, 3),
    ],
)
def test_a_number_is_settled_when_no_word_can_extend_it(texts: str, settled: int, shown: int) -> None:
    found = written_form(segment(timed(texts.split(), settled), final=False)).words
    assert [word.stable for word in found] == [n < shown for n in range(len(found))]
    final = written_form(segment(timed(texts.split()))).words
    assert all(word.stable for word in final)


def test_words_without_stability_have_none() -> None:
    words = [Word(text) for text in ("two", "hundred", "people")]
    assert [word.stable for word in written_form(segment(words, final=False)).words] == [None, None]


OTHERS = (
    "and of to or at in the so between past dollars cents percent pounds May may march June m p.m. o'clock "
    "million. hundred, five. Main Street flight phone 5 $5 10:30 twenty-one thirty-five-year-old minutes o "
    "kilometers vision million hundred thousand point one two double twenty Ten “six"
)
SAID = st.sampled_from([*sorted(STARTS | PARTS), *OTHERS.split()])


@given(st.data())
def test_what_is_written_of_settled_words_never_changes(data: st.DataObject) -> None:
    stabilizer = Stabilizer(Stability.HIGH)
    texts: list[str] = []
    shown: tuple[Word, ...] = ()
    for step in range(data.draw(st.integers(1, 8))):
        texts = texts[: stabilizer.settled] + data.draw(st.lists(SAID, max_size=4))
        settled = stabilizer.push([Word(text) for text in texts], step * 4000)
        found = written_form(segment(timed(texts, settled), final=False)).words
        assert found[: len(shown)] == shown
        shown = tuple(word for word in found if word.stable)
        assert shown == found[: len(shown)], "stable words come first"
    texts = texts[: stabilizer.settled] + data.draw(st.lists(SAID, max_size=3))
    final = written_form(segment(timed(texts))).words
    assert final[: len(shown)] == shown


@given(st.lists(SAID, max_size=9), st.data())
@example(["two", "or", "three", "hundred", "and", "five", "hundred", "p", "m"], None)
def test_a_cut_anywhere_shows_nothing_that_changes(texts: list[str], data: st.DataObject | None) -> None:
    whole = written_form(segment(timed(texts))).words
    for cut in range(len(texts) + 1):
        settled = cut if data is None else data.draw(st.integers(0, cut))
        part = written_form(segment(timed(texts[:cut], settled), final=False)).words
        stable = [word for word in part if word.stable]
        assert tuple(stable) == whole[: len(stable)]


ANY = st.text(st.characters(exclude_categories=["Zs", "Zl", "Zp", "Cc", "Cs"]), min_size=1, max_size=8)


@given(st.lists(SAID | ANY.filter(lambda text: len(text.split()) == 1), max_size=12))
@example(["²", "٣٤", "percent", "½", "-", "five-", "-five"])
def test_no_time_is_lost_and_no_word_is_empty(texts: list[str]) -> None:
    found = written_form(segment(timed(texts))).words
    assert all(len(word.text.split()) == 1 for word in found)
    times = [each for word in found for each in (word.start, word.end)]
    assert times == sorted(times)
    assert times[:1] + times[-1:] == ([0.0, float(len(texts))] if texts else [])


# --- The way back


@given(st.integers(10, 10**15 - 1).filter(lambda n: n < 10**6 or n % 10**6))
@example(2_009)
@example(1_100)
@example(90_210)
def test_integers_are_reversible(number: int) -> None:
    comma = f"{number:,}"
    assert written(spoken(f"so {comma}")) in {f"so {comma}", f"so {number}"}


@given(st.integers(1, 999_999_999), st.integers(0, 99))
def test_money_is_reversible(whole: int, cents: int) -> None:
    if whole % 10**6 == 0:
        whole += 1
    for symbol in "$€£":
        amount = f"so {symbol}{whole:,}" + (f".{cents:02}" if cents else "")
        assert written(spoken(amount), "en-GB") == amount


@given(st.integers(10, 10**6 - 1))
def test_ordinals_are_reversible(number: int) -> None:
    ordinal = written(spoken(f"so {number}th")).split()[-1]
    assert ordinal[:-2].replace(",", "") == str(number)


@given(st.integers(0, 100), st.integers(0, 9))
def test_percentages_are_reversible(whole: int, tenth: int) -> None:
    for number in (f"{whole}", f"{whole}.{tenth}"):
        assert written(spoken(f"so {number}%")) == f"so {number}%"


def test_years_are_reversible() -> None:
    years = [f"in {year}" for year in range(1100, 2100)]
    assert [written(spoken(year)) for year in years] == years


def test_times_are_reversible() -> None:
    times = [f"at {hour}:{minute:02} PM" for hour in range(1, 13) for minute in range(1, 60)]
    times += [f"at {hour}:{minute:02}" for hour in range(1, 13) for minute in range(1, 60)]
    assert [written(spoken(each)) for each in times] == times


UNCERTAIN = {"6:20", "It's 4:50.", "£5", "a 20-something"}
"""What can be spoken in a way that is written in another."""


def test_what_is_spoken_of_the_written_has_the_same_digits() -> None:
    def figures(text: str) -> list[str]:
        return [char for char in text if char.isdigit()]

    expected = [pair[1] for pair in PAIRS if pair[1] not in UNCERTAIN]
    wrong = [each for each in expected if figures(written(spoken(each))) != figures(each)]
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    ["one " * 4000, "twenty " * 4000, "twenty one " * 2000, "one hundred " * 2000, "double " * 4000,
     "one million " * 2000, "one point " * 2000, "two or " * 2000, "a " * 4000, "half past " * 2000,
     "one eight hundred " * 1000, "1" * 5000 + " dollars", "twenty-" * 20_000, "june " * 4000],
    ids=lambda text: text[:16],
)  # fmt: skip
def test_long_texts_take_no_long_time(text: str) -> None:
    began = time.process_time()
    written(text)
    assert time.process_time() - began < 3
