from transcribed.transcript import Segment, Word
from transcribed.wire.results import transcript_event


def _items(*words: Word) -> list[dict[str, object]]:
    segment = Segment(
        "id", 0.0, 1.0, " ".join(w.text for w in words), final=True, language="en-US", words=words
    )
    items: list[dict[str, object]] = transcript_event(segment)["Transcript"]["Results"][0]["Alternatives"][
        0
    ]["Items"]
    return items


def test_a_segment_is_an_event_with_one_result() -> None:
    segment = Segment(
        id="3f-0",
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
    event = transcript_event(Segment("id", 0, 1, "", final=True, language="de-DE"))
    result = event["Transcript"]["Results"][0]
    assert result["IsPartial"] is False
    assert result["LanguageCode"] == "de-DE"
    assert result["Alternatives"] == [{"Transcript": "", "Items": []}]


def test_punctuation_is_an_item_of_its_own_and_only_behind_a_word() -> None:
    assert [
        (item["Type"], item["Content"]) for item in _items(*map(Word, ["“Well?!”", "3.14", "a-b,", "…"]))
    ] == [
        ("pronunciation", "“Well?!”"),
        ("pronunciation", "3.14"),
        ("pronunciation", "a-b"),
        ("punctuation", ","),
        ("punctuation", "…"),
    ]
    assert [item["Content"] for item in _items(Word("What?!"))] == ["What", "?", "!"]


def test_a_word_is_settled_or_not_where_that_was_asked_for() -> None:
    assert _items(Word("yes,", stable=True), Word("no", stable=False)) == [
        {"Type": "pronunciation", "Content": "yes", "Stable": True},
        {"Type": "punctuation", "Content": ","},
        {"Type": "pronunciation", "Content": "no", "Stable": False},
    ]


def test_what_is_not_known_is_left_out() -> None:
    assert _items(Word("yes")) == [{"Type": "pronunciation", "Content": "yes"}]
    assert _items(Word("yes", start=1.0)) == [{"Type": "pronunciation", "Content": "yes"}]
    assert _items(Word("yes", confidence=0.0)) == [
        {"Type": "pronunciation", "Content": "yes", "Confidence": 0.0}
    ]
