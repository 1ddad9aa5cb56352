from dataclasses import replace

import pytest

from transcribed.transcript import Segment, Word
from transcribed.wire.voices import text, voices


def _segment(said: str, *speakers: str | None, channel: int | None = None, start: float = 0.0) -> Segment:
    words = tuple(
        Word(word, speaker=speaker)
        for word, speaker in zip(said.split(), speakers or [None] * len(said.split()), strict=True)
    )
    return Segment(
        "id", 0, start, start + 1, said, final=True, language="en-US", words=words, channel=channel
    )


def test_without_voices_a_line_is_a_segment() -> None:
    segments = [_segment("Well, then.", start=3), _segment(""), _segment("And so.", start=1)]
    assert text(segments) == "Well, then.\nAnd so.\n", "in their order"


def test_channels_are_named_and_put_in_the_order_of_their_speech() -> None:
    segments = [
        _segment("Good morning.", channel=0, start=0),
        _segment("Fine.", channel=0, start=4),
        _segment("How are you?", channel=1, start=2),
    ]
    assert text(segments) == "ch_0: Good morning.\nch_1: How are you?\nch_0: Fine.\n"


def test_each_turn_of_a_speaker_is_a_line() -> None:
    assert text([_segment("a b c d", "0", "0", "1", "0")]) == "spk_0: a b\nspk_1: c\nspk_0: d\n"
    assert text([_segment("a b", "Anna", "Anna")]) == "Anna: a b\n"


@pytest.mark.parametrize(
    ("speakers", "expected"),
    [
        ((None, None), [None, None]),
        (("0", None), ["spk_0", "spk_0"]),
        ((None, "1"), ["spk_1", "spk_1"]),
        ((None, "1", None, "2", None), ["spk_1", "spk_1", "spk_1", "spk_2", "spk_2"]),
    ],
)
def test_a_word_without_a_speaker_is_its_neighbours(
    speakers: tuple[str | None, ...], expected: list[str | None]
) -> None:
    assert voices(_segment(" ".join("w" * len(speakers)), *speakers)) == expected


def test_both_are_named_where_both_are_known() -> None:
    assert text([_segment("a b", "0", "1", channel=1)]) == "ch_1 spk_0: a\nch_1 spk_1: b\n"


def test_of_a_text_that_its_words_are_not_the_channel_is_known() -> None:
    segment = replace(_segment("a b", "0", "1", channel=1), text="something else")
    assert text([segment]) == "ch_1: something else\n"
    assert text([replace(segment, words=())]) == "ch_1: something else\n"
