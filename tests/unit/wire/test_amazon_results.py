"""What is read of Amazon's results, beside what we write ourselves."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.errors import MalformedMessage
from transcribed.transcript import Entity, LanguageScore, Segment, Word
from transcribed.wire.amazon_results import Reading, read_event
from transcribed.wire.results import result, transcript_event


def _read(*results: Any) -> list[Reading]:
    return list(read_event(json.dumps({"Transcript": {"Results": results}}).encode()))


def _items(*items: dict[str, Any]) -> tuple[Word, ...]:
    (reading,) = _read({"IsPartial": False, "Alternatives": [{"Items": items}]})
    return reading.words


_SECONDS = st.floats(0, 1e5)
_TEXTS = st.text(min_size=1).map(lambda text: "".join(text.split())).filter(bool)
_LIKE_SPEECH = st.text("aZé9$%#&._-–—…,!?;:'’‘\"“”«»()[]{}*", min_size=1)
_TIMES = st.tuples(_SECONDS, _SECONDS).map(sorted)
_WORDS = st.builds(
    lambda text, times, *known: Word(text, *times, *known),
    _TEXTS | _LIKE_SPEECH,
    _TIMES | st.just((None, None)),
    st.none() | st.floats(0, 1),
    st.none() | st.booleans(),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["0", "spk_1"]),
)
_NAMES = st.none() | st.sampled_from(["PII", "NAME"])
_SHARES = st.floats(0, 1)
_ENTITIES = st.builds(
    lambda text, times, *known: Entity(text, *times, *known),
    st.text(),
    _TIMES,
    _NAMES,
    _NAMES,
    st.none() | _SHARES,
)
_SCORES = st.builds(LanguageScore, st.sampled_from(["en-US", "de-DE"]), _SHARES)
_SEGMENTS = st.builds(
    lambda words, times, **others: Segment(
        "3f", 7, *times, text=" ".join(word.text for word in words), words=words, **others
    ),
    st.lists(_WORDS).map(tuple),
    _TIMES,
    final=st.booleans(),
    language=st.sampled_from(["en-US", "ckb-IQ"]),
    entities=st.lists(_ENTITIES, max_size=3).map(tuple),
    languages=st.lists(_SCORES, max_size=3).map(tuple),
)


@given(_SEGMENTS)
def test_what_is_read_is_written_as_it_was(segment: Segment) -> None:
    written = result(segment)
    (read,) = _read(written)
    assert read.language is not None
    again = Segment(
        "3f",
        7,
        read.start,
        read.end,
        " ".join(word.text for word in read.words),
        read.final,
        read.language,
        read.words,
        entities=read.entities,
        languages=read.languages,
    )
    assert result(again) == written


def test_punctuation_belongs_to_the_word_before_it() -> None:
    said = {"Type": "pronunciation", "StartTime": 0.5, "EndTime": 0.9, "Confidence": 0.75, "Stable": True}
    mark = {"Type": "punctuation", "StartTime": 0.9, "EndTime": 0.9, "Stable": False}
    assert _items(said | {"Content": "Well"}, mark | {"Content": ","}, mark | {"Content": "”"}) == (
        Word("Well,”", 0.5, 0.9, 0.75, stable=False),
    )


def test_what_was_taken_out_stays_one_item() -> None:
    items = [
        {"Type": "pronunciation", "Content": "[NAME]", "Speaker": "1"},
        {"Type": "punctuation", "Content": ",", "Speaker": "1"},
        {"Type": "pronunciation", "Content": "yes", "Speaker": "0"},
    ]
    words = _items(*items)
    assert words == (Word("[NAME],", speaker="1"), Word("yes", speaker="0"))
    written = result(Segment("3f", 0, 0.0, 1.0, "[NAME], yes", True, "en-US", words))
    assert written["Alternatives"][0]["Items"] == items


def test_a_mark_with_nothing_before_it_is_a_word() -> None:
    assert _items({"Type": "punctuation", "Content": "¿"}, {"Type": "pronunciation", "Content": "qué"}) == (
        Word("¿"),
        Word("qué"),
    )


def test_what_is_missing_null_or_new_is_no_fault() -> None:
    assert read_event(b"{}") == []
    assert read_event(b'{"Transcript":null,"New":1}') == []
    assert read_event(b'{"Transcript":{"Results":null}}') == []
    nothing = Reading(0.0, 0.0, final=False, words=(), language=None)
    assert (
        _read({}, {"Alternatives": None}, {"Alternatives": [{"Items": None, "New": {}}]}) == [nothing] * 3
    )
    assert _items({"Content": None}, {"Type": "pronunciation", "Content": " "}, {"Content": "a"}) == (
        Word("a"),
    )


def test_a_text_without_items_has_words_all_the_same() -> None:
    (reading,) = _read({"IsPartial": False, "Alternatives": [{"Transcript": "yes, sir", "Items": []}]})
    assert reading.words == (Word("yes,"), Word("sir"))


def test_the_first_alternative_counts_and_all_results_do() -> None:
    def one(*texts: str) -> dict[str, Any]:
        return {"Alternatives": [{"Transcript": text} for text in texts]}

    assert [reading.words for reading in _read(one("one", "won"), one("two"))] == [
        (Word("one"),),
        (Word("two"),),
    ]


def test_an_event_of_ours_is_read() -> None:
    segment = Segment("3f", 0, 0.25, 1.5, "Yes.", True, "en-US", (Word("Yes.", 0.5, 1.0, 0.5, None, True),))
    (read,) = read_event(json.dumps(transcript_event(segment)).encode())
    assert read == Reading(0.25, 1.5, final=True, words=segment.words, language="en-US")


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        (b"", "the whole"),
        (b"{", "the whole"),
        (b"[]", "the whole"),
        (b"\xff", "the whole"),
        (b'{"Transcript":{"Results":[{"StartTime":"soon"}]}}', "Transcript.Results.0.StartTime"),
        (b'{"Transcript":{"Results":{}}}', "Transcript.Results"),
    ],
)
def test_what_is_no_event_is_refused(payload: bytes, place: str) -> None:
    with pytest.raises(MalformedMessage, match=rf"cannot be read: {place}: "):
        read_event(payload)
