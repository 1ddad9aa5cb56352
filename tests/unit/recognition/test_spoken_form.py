"""Numbers as words."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transcribed.options import Stability
from transcribed.recognition.spoken_form import spoken_form
from transcribed.recognition.stabilizer import Stabilizer
from transcribed.transcript import Segment, Word
from transcribed.wire.results import result


def segment(words: list[Word], *, final: bool = True) -> Segment:
    text = " ".join(word.text for word in words)
    return Segment("s", 0, 0.0, 1.0, text, final, "en-US", tuple(words))


def spoken(text: str) -> str:
    said = spoken_form(segment([Word(word) for word in text.split()]))
    assert said.text == " ".join(word.text for word in said.words)
    return said.text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("It was $50.", "It was fifty dollars."),
        ("It was 10:30 AM.", "It was ten thirty a m."),
        ("It was 101.", "It was one oh one."),
        (
            "Meet me at 8:30 a.m. on June 1st at 100 Main Street",
            "Meet me at eight thirty a m on June first at one hundred Main Street",
        ),
        (
            "with $3.50 and 1.5 chocolate bars.",
            "with three dollars and fifty cents and one point five chocolate bars.",
        ),
        (
            "My phone number is 4255551212",
            "My phone number is four two five five five five one two one two",
        ),
        ("the 43rd", "the forty third"),
        ("the 26th avenue", "the twenty sixth avenue"),
        ("with 3/16", "with three sixteenths"),
        ("with 1/2", "with one half"),
        ("with 2.3 million", "with two point three million"),
        ("with 0.4 and .3", "with zero point four and point three"),
        ("with 23.45%", "with twenty three point four five percent"),
        ("with $1.15", "with one dollar and fifteen cents"),
    ],
)
def test_what_amazon_documents(written: str, said: str) -> None:
    assert spoken(written) == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        # Counted
        ("0", "zero"),
        ("25", "twenty five"),
        ("115", "one hundred fifteen"),
        ("2,500", "two thousand five hundred"),
        ("2500", "two thousand five hundred"),
        ("90210", "ninety thousand two hundred ten"),
        ("1,234,567", "one million two hundred thirty four thousand five hundred sixty seven"),
        ("1000000", "one million"),
        ("100,000,000,000,001", "one hundred trillion one"),
        ("1,000,000,000,000,001", "one oh oh oh oh oh oh oh oh oh oh oh oh oh oh one"),
        ("-5", "minus five"),
        ("−5.25", "minus five point two five"),
        ("+5", "plus five"),
        ("3.05", "three point zero five"),
        ("1,000.5", "one thousand point five"),
        # Years
        ("1984", "nineteen eighty four"),
        ("1900", "nineteen hundred"),
        ("1905,", "nineteen oh five,"),
        ("1066", "ten sixty six"),
        ("1000", "one thousand"),
        ("2000", "two thousand"),
        ("2009", "two thousand nine"),
        ("2026", "twenty twenty six"),
        ("2150", "twenty one fifty"),
        ("1990s", "nineteen nineties"),
        ("1990's", "nineteen nineties"),
        ("2019's", "twenty nineteen's"),
        ("'90s", "nineties"),
        ("mid-1900s.", "mid nineteen hundreds."),
        ("1984-1990", "nineteen eighty four to nineteen ninety"),
        ("6s", "sixes"),
        # Ordinals and dates
        ("3rd", "third"),
        ("21st,", "twenty first,"),
        ("112th", "one hundred twelfth"),
        ("1,000th", "one thousandth"),
        ("20TH", "twentieth"),
        ("5ths", "fifths"),
        ("20th-century", "twentieth century"),
        ("June 1, 2020", "June first, twenty twenty"),
        ("June 2020", "June twenty twenty"),
        ("may 5 people", "may five people"),
        ("12/25/2020", "twelve twenty five twenty twenty"),
        ("9/11", "nine eleven"),
        ("2020-12-25", "twenty twenty twelve twenty five"),
        # Times
        ("10:30", "ten thirty"),
        ("10:05", "ten oh five"),
        ("10:00", "ten"),
        ("14:00", "fourteen hundred"),
        ("10am", "ten a m"),
        ("10 a.m., then", "ten a m, then"),
        ("10 p.m. then", "ten p m then"),
        ("(10:30PM)", "(ten thirty p m)"),
        ("1:02:03", "one oh two oh three"),
        ("10:75", "ten to seventy five"),
        ("16:9", "sixteen to nine"),
        ("24/7", "twenty four seven"),
        # Money
        ("$3.50", "three dollars and fifty cents"),
        ("$1", "one dollar"),
        ("$1.01", "one dollar and one cent"),
        ("$0.50", "fifty cents"),
        ("$.01", "one cent"),
        ("$0.00", "zero dollars"),
        ("$1,000.00", "one thousand dollars"),
        ("$101", "one hundred one dollars"),
        ("$1984", "one thousand nine hundred eighty four dollars"),
        ("-$5", "minus five dollars"),
        ("$3.5", "three point five dollars"),
        ("$3 million,", "three million dollars,"),
        ("$1.5 billion-dollar", "one point five dollars billion-dollar"),
        ("$3, million", "three dollars, million"),
        ("$5-10 million", "five to ten million dollars"),
        ("($3M)", "(three million dollars)"),
        ("£2.01", "two pounds and one penny"),
        ("€5", "five euros"),
        ("US$5", "five US dollars"),
        ("50¢", "fifty cents"),
        ("100€", "one hundred euros"),
        # Parts and spans
        ("10%", "ten percent"),
        ("10 %,", "ten percent,"),
        ("5–10%", "five to ten percent"),
        ("3/4", "three quarters"),
        ("1½", "one and one half"),
        ("1-1/2", "one and one half"),
        ("7/8", "seven eighths"),
        ("1/100", "one one hundredth"),
        ("1/0", "one zero"),
        ("5-10", "five to ten"),
        ("50-50", "fifty fifty"),
        ("2x4", "two by four"),
        ("32°", "thirty two degrees"),
        ("2+2=4", "two plus two equals four"),
        # Digit by digit
        ("911", "nine one one"),
        ("007", "oh oh seven"),
        ("555-0123", "five five five oh one two three"),
        ("(555) 123-4567.", "five five five one two three four five six seven."),
        ("(555)123-4567", "five five five one two three four five six seven"),
        ("+1-800-555-1234", "plus one eight hundred five five five one two three four"),
        ("123-45-6789", "one two three four five six seven eight nine"),
        ("1234567", "one two three four five six seven"),
        ("1" * 5000, " ".join(["one"] * 5000)),
        ("$" + "1" * 5000, " ".join(["one"] * 5000) + " dollars"),
        # Among letters
        ("COVID-19", "COVID nineteen"),
        ("A4", "A four"),
        ("MP3s", "MP three s"),
        ("B2B", "B two B"),
        ("3D", "three D"),
        ("5km", "five km"),
        ("10x", "ten x"),
        ("21-year-old", "twenty one year old"),
        ("#5", "number five"),
        ("No. 5", "No. five"),
        ("v2.0", "v two point zero"),
        ("3.11.2", "three point eleven point two"),
        # Of every script
        ("٣٤", "thirty four"),
        ("１２", "twelve"),
        ("x²", "x two"),
        ("①", "one"),
        ("3月", "three 月"),
        # Nonsense
        ("5--", "five--"),
        ("--5", "five"),
        ("*5*", "*five*"),
        ("5—maybe", "five—maybe"),
        ("1,2,,3", "one, two,, three"),
        ("5/", "five"),
        ("$$5", "dollars dollars five"),
        # No numbers
        ("I am, a.m. one-way -- % and/or $ U.S. x: Ⅷ 三", "I am, a.m. one-way -- % and/or $ U.S. x: Ⅷ 三"),
    ],
)  # fmt: skip
def test_how_things_are_read(written: str, said: str) -> None:
    assert spoken(f"so {written}") == f"so {said}"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("25 came.", "Twenty five came."),
        ("$5.", "Five dollars."),
        ('"25 came."', '"Twenty five came."'),
        ("Go. 25 came", "Go. Twenty five came"),
        ('"Go!" 25 came', '"Go!" Twenty five came'),
        ("At 9 a.m. 25 came", "At nine a m twenty five came"),
        ("In the U.S. 25 came", "In the U.S. twenty five came"),
        ("see Fig. 5", "see Fig. five"),
        ("3D is", "Three D is"),
        ("iPhone5 is", "iPhone five is"),
        ("", ""),
    ],
)
def test_sentences_begin_with_capitals(written: str, said: str) -> None:
    assert spoken(written) == said


def test_the_words_of_one_share_its_time_and_have_all_else_of_it() -> None:
    said = spoken_form(
        segment([Word("a", 0, 1, 0.5, True, False), Word("$25.", 1.0, 3.0, 0.9, False, True)])
    )
    assert said.words == (
        Word("a", 0, 1, 0.5, True, False),
        Word("twenty", 1.0, 1.0 + 2 * 6 / 18, 0.9, False, True),
        Word("five", 1.0 + 2 * 6 / 18, 1.0 + 2 * 10 / 18, 0.9, False, True),
        Word("dollars.", 1.0 + 2 * 10 / 18, 3.0, 0.9, False, True),
    )


def test_an_amount_of_two_words_shares_the_time_of_both() -> None:
    words = [Word("so", 0.0, 1.0, 0.9), Word("$3", 1.0, 2.0, 0.8), Word("million.", 2.0, 3.0, 0.7)]
    assert [(word.text, word.confidence) for word in spoken_form(segment(words)).words] == [
        ("so", 0.9),
        ("three", 0.7),
        ("million", 0.7),
        ("dollars.", 0.7),
    ]
    first, *_, last = spoken_form(segment(words[1:])).words
    assert (first.start, last.end) == (1.0, 3.0)


def test_a_text_without_words_is_spoken_too() -> None:
    bare = Segment("s", 0, 0.0, 1.0, "10 tests", final=True, language="en-US")
    assert spoken_form(bare).text == "Ten tests"


@pytest.mark.parametrize(
    ("following", "stable"),
    [(None, False), (Word("mill", stable=False), False), (Word("mills", stable=True), True)],
)
def test_money_is_stable_when_the_next_word_is(following: Word | None, stable: bool) -> None:
    words = [Word("so", stable=True), Word("$3", stable=True), *([following] if following else [])]
    said = spoken_form(segment(words, final=False)).words
    assert [word.stable for word in said[:3]] == [True, stable, stable]
    assert all(word.stable for word in spoken_form(segment(words[:2])).words), "of a final"


WRITTEN = st.sampled_from(
    ["$3", "$3.50", "million", "million.", "billion", "10", "10:30", "AM", "a.m.", "%", "June", "1", "1st",
     "1984", "(555)", "123-4567", "so.", "No.", "and", "5-10", "COVID-19", "the", "24/7", '"5', "$", "101"]
)  # fmt: skip
WORDS = st.lists(
    WRITTEN | st.from_regex(r"[-$(#']?[0-9,.:/]{1,9}[a-z%)°]{0,2}[.,]?", fullmatch=True)
    | st.text(st.characters(exclude_categories=["Zs", "Zl", "Zp", "Cc", "Cs"]), min_size=1, max_size=8)
    .filter(lambda text: len(text.split()) == 1),
    max_size=8,
)  # fmt: skip


@given(WORDS)
@example(["፩", "➀", "𐩀", "⒈", "½", "²"])
@example(["´5", "5\u0301", "㏢", "ﷺ5"])
def test_no_digit_is_left_and_items_are_the_transcript(texts: list[str]) -> None:
    words = [Word(text, float(n), n + 1.0, 0.5, True, None) for n, text in enumerate(texts)]
    said = spoken_form(segment(words))
    assert not any(char.isdigit() for char in said.text)
    assert all(len(word.text.split()) == 1 for word in said.words)
    assert said.text == " ".join(word.text for word in said.words)
    times = [time for word in said.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[-1:] == [float(len(texts))] * bool(texts), "no time is lost"
    (alternative,) = result(said)["Alternatives"]
    joined = ""
    for item in alternative["Items"]:
        joined += " " * (bool(joined) and item["Type"] == "pronunciation") + item["Content"]
    assert joined == alternative["Transcript"] == said.text


@given(WORDS)
def test_what_is_spoken_has_no_numbers(texts: list[str]) -> None:
    once = spoken_form(segment([Word(text) for text in texts]))
    assert [word.text for word in spoken_form(once).words] == [word.text for word in once.words]


@given(st.data())
def test_what_is_spoken_of_settled_words_never_changes(data: st.DataObject) -> None:
    stabilizer = Stabilizer(Stability.HIGH)
    texts: list[str] = []
    shown: list[Word] = []
    for step in range(data.draw(st.integers(1, 8))):
        texts = texts[: stabilizer.settled] + data.draw(st.lists(WRITTEN, max_size=4))
        settled = stabilizer.push([Word(text) for text in texts], step * 4000)
        words = [Word(text, n, n + 1.0, 1.0, n < settled) for n, text in enumerate(texts)]
        said = spoken_form(segment(words, final=False)).words
        assert said[: len(shown)] == tuple(shown)
        shown = [word for word in said if word.stable]
        assert tuple(shown) == said[: len(shown)], "stable words come first"
    texts = texts[: stabilizer.settled] + data.draw(st.lists(WRITTEN, max_size=3))
    final = spoken_form(segment([Word(text, n, n + 1.0, 1.0, True) for n, text in enumerate(texts)])).words
    assert final[: len(shown)] == tuple(shown)


@pytest.mark.parametrize(
    "text",
    ["1" * 100_000, "1-" * 50_000, "1." * 50_000, "1," * 50_000, "a." * 50_000 + " 5",
     "5" + "'" * 100_000 + "x",
     "$" * 100_000 + "5", "-" * 100_000 + "5x", "1/" * 50_000, "(" * 100_000 + "5", "1a" * 50_000,
     "1,111" * 20_000, "1:" * 50_000, "." * 100_000 + "5", "1" * 100_000 + "thx"],
    ids=lambda text: text[:6],
)  # fmt: skip
def test_long_words_take_no_long_time(text: str) -> None:
    began = time.process_time()
    spoken(text)
    assert time.process_time() - began < 5
