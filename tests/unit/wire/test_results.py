from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.transcript import Entity, LanguageScore, Segment, Word
from transcribed.wire.results import result, transcript_event


def _items(*words: Word) -> list[dict[str, object]]:
    segment = Segment(
        "3f", 0, 0.0, 1.0, " ".join(w.text for w in words), final=True, language="en-US", words=words
    )
    items: list[dict[str, object]] = _alternative(segment)["Items"]
    return items


def _alternative(segment: Segment) -> dict[str, Any]:
    found: dict[str, Any] = transcript_event(segment)["Transcript"]["Results"][0]["Alternatives"][0]
    return found


def _joined(items: Sequence[dict[str, object]]) -> str:
    """By Amazon's rule, as its users apply it."""
    text = ""
    for item in items:
        text += f" {item['Content']}" if text and item["Type"] == "pronunciation" else str(item["Content"])
    return text


def test_a_segment_is_an_event_with_one_result() -> None:
    segment = Segment(
        session="3f",
        number=0,
        start=0.1234,
        end=1.1494375,
        text="This is a test.",
        final=False,
        language="en-US",
        words=(
            Word("This", 0.2, 0.35, 0.99996),
            Word("is", 0.35, 0.4, 0.9),
            Word("a", confidence=0.5),
            Word("test.", 0.5, 1.00049, 0.87654321),
        ),
    )
    assert transcript_event(segment) == {
        "Transcript": {
            "Results": [
                {
                    "ResultId": "3f-0",
                    "StartTime": 0.123,
                    "EndTime": 1.149,
                    "IsPartial": True,
                    "Alternatives": [
                        {
                            "Transcript": "This is a test.",
                            "Items": [
                                {
                                    "Type": "pronunciation",
                                    "Content": "This",
                                    "Confidence": 1.0,
                                    "StartTime": 0.2,
                                    "EndTime": 0.35,
                                },
                                {
                                    "Type": "pronunciation",
                                    "Content": "is",
                                    "Confidence": 0.9,
                                    "StartTime": 0.35,
                                    "EndTime": 0.4,
                                },
                                {"Type": "pronunciation", "Content": "a", "Confidence": 0.5},
                                {
                                    "Type": "pronunciation",
                                    "Content": "test",
                                    "Confidence": 0.8765,
                                    "StartTime": 0.5,
                                    "EndTime": 1.0,
                                },
                                {
                                    "Type": "punctuation",
                                    "Content": ".",
                                    "StartTime": 1.0,
                                    "EndTime": 1.0,
                                },
                            ],
                        }
                    ],
                    "LanguageCode": "en-US",
                }
            ]
        }
    }


def test_a_final_is_not_partial() -> None:
    event = transcript_event(Segment("id", 0, 0, 1, "", final=True, language="de-DE"))
    result = event["Transcript"]["Results"][0]
    assert result["IsPartial"] is False
    assert result["LanguageCode"] == "de-DE"
    assert result["Alternatives"] == [{"Transcript": "", "Items": []}]


_TEXTS = st.text(min_size=1).map(str.strip).filter(bool)
_LIKE_SPEECH = st.text("aZé9$%#&._-–—…,!?;:'’‘\"“”«»()[]{}", min_size=1)


@given(st.lists(_TEXTS | _LIKE_SPEECH), st.sampled_from([None, False, True]))
def test_the_items_put_together_are_the_transcript(texts: list[str], stable: bool | None) -> None:
    words = tuple(Word(text, 0.0, 1.0, 0.5, stable) for text in texts)
    found = _alternative(Segment("id", 0, 0, 1, " ".join(texts), False, "en-US", words))
    assert _joined(found["Items"]) == found["Transcript"] == " ".join(texts)
    assert all(item["Content"] for item in found["Items"])
    assert sum(item["Type"] == "pronunciation" for item in found["Items"]) == len(texts)
    for item in found["Items"]:
        assert item.get("Stable") is stable
        assert ("Confidence" in item) == (item["Type"] == "pronunciation")


@pytest.mark.parametrize(
    ("word", "spoken", "marks"),
    [
        ("yes", "yes", []),
        ("What?!", "What", ["?", "!"]),
        ("“Well?!”", "“Well", ["?", "!", "”"]),
        ('"yes,"', '"yes', [",", '"']),
        ("‘yes.’", "‘yes", [".", "’"]),
        ("(no).", "(no", [")", "."]),
        ("dogs’,", "dogs’", [","]),
        ("…and", "…and", []),
        ("and...", "and", ["..."]),
        ("and--", "and", ["--"]),
        ("and—", "and", ["—"]),
        ("wh-", "wh-", []),
        ("a-b,", "a-b", [","]),
        ("$5.", "$5", ["."]),
        ("3.14", "3.14", []),
        ("50%,", "50%", [","]),
        ("U.S.", "U.S.", []),
        ("“U.S.,”", "“U.S.", [",", "”"]),
        ("U.S.A", "U.S.A", []),
        ("J.", "J", ["."]),
        ("…", "…", []),
        ("--", "--", []),
        ("?!", "?!", []),
        ("هل؟", "هل؟", []),
    ],
)
def test_the_marks_behind_a_word_are_items_of_their_own(word: str, spoken: str, marks: list[str]) -> None:
    assert [(item["Type"], item["Content"]) for item in _items(Word(word))] == [
        ("pronunciation", spoken),
        *(("punctuation", mark) for mark in marks),
    ]


def test_a_long_run_of_marks_takes_no_time() -> None:
    assert (
        _joined(_items(Word("a" + ".-" * 500 + "b" + "--." * 500))) == "a" + ".-" * 500 + "b" + "--." * 500
    )


def test_a_word_is_settled_or_not_where_that_was_asked_for() -> None:
    assert _items(Word("yes,", stable=True), Word("no", stable=False)) == [
        {"Type": "pronunciation", "Content": "yes", "Stable": True},
        {"Type": "punctuation", "Content": ",", "Stable": True},
        {"Type": "pronunciation", "Content": "no", "Stable": False},
    ]


@given(st.text())
def test_a_corrected_text_has_items_of_its_own(text: str) -> None:
    found = _alternative(Segment("id", 0, 0, 1, text, True, "en-US", (Word("a", 0, 1, 0.5), Word("b"))))
    assert _joined(found["Items"]) == found["Transcript"] == " ".join(text.split())


def test_other_readings_are_further_alternatives() -> None:
    def reading(text: str) -> Segment:
        return Segment("3f", 0, 0.0, 1.0, text, final=True, language="en-US", words=(Word(text),))

    one, two = reading("one"), reading("won")
    found = result(one, two)
    assert found["Alternatives"] == [result(each)["Alternatives"][0] for each in (one, two)]
    assert found | {"Alternatives": None} == result(one) | {"Alternatives": None}


def test_what_is_not_known_is_left_out() -> None:
    assert _items(Word("yes")) == [{"Type": "pronunciation", "Content": "yes"}]
    assert _items(Word("yes", start=1.0)) == [{"Type": "pronunciation", "Content": "yes"}]
    assert _items(Word("yes", confidence=0.0)) == [
        {"Type": "pronunciation", "Content": "yes", "Confidence": 0.0}
    ]


def test_the_punctuation_behind_a_masked_word_is_an_item_too() -> None:
    assert [item["Content"] for item in _items(Word("“***,"), Word("***"), Word("**!"))] == [
        "“***",
        ",",
        "***",
        "**!",
    ]


def test_what_an_engine_finds_beside_the_words_is_where_amazon_has_it() -> None:
    segment = Segment(
        "3f",
        0,
        0.0,
        1.0,
        "I'm [NAME].",
        final=True,
        language="en-US",
        words=(Word("I'm", 0.0, 0.2, speaker="0"), Word("[NAME].", 0.2, 0.8, speaker="0")),
        entities=(Entity("[NAME]", 0.2, 0.8, "PII", "NAME", 0.99987), Entity("Ann", 0.2, 0.8)),
        languages=(LanguageScore("en-US", 0.87654321), LanguageScore("de-DE", 0.1)),
    )
    found = result(segment)
    assert found["LanguageIdentification"] == [
        {"LanguageCode": "en-US", "Score": 0.8765},
        {"LanguageCode": "de-DE", "Score": 0.1},
    ]
    (alternative,) = found["Alternatives"]
    assert alternative["Entities"] == [
        {
            "StartTime": 0.2,
            "EndTime": 0.8,
            "Category": "PII",
            "Type": "NAME",
            "Content": "[NAME]",
            "Confidence": 0.9999,
        },
        {"StartTime": 0.2, "EndTime": 0.8, "Content": "Ann"},
    ]
    assert [(item["Content"], item["Speaker"]) for item in alternative["Items"]] == [
        ("I'm", "0"),
        ("[NAME]", "0"),
        (".", "0"),
    ]
