import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.service.corrections import as_corrected, corrected_words
from transcribed.storage.transcripts import StoredSegment
from transcribed.transcript import Segment, Word


def _timed(*texts: str) -> tuple[Word, ...]:
    """Words of a second each, with half a second of silence behind each."""
    return tuple(Word(text, 1.5 * n, 1.5 * n + 1, 0.9) for n, text in enumerate(texts))


def test_words_that_stay_keep_their_times_and_their_confidence() -> None:
    this, _, test = recognised = _timed("this", "was", "test.")
    assert corrected_words(recognised, "This is test!") == (
        Word("This", this.start, this.end, 0.9),
        Word("is", 1.5, 2.5),
        Word("test!", test.start, test.end, 0.9),
    )


def test_words_in_place_of_others_share_their_time_by_length() -> None:
    words = corrected_words(_timed("a", "wreck", "a", "nice", "beach"), "a recognise speech")
    assert words[0] == Word("a", 0, 1, 0.9)
    assert [word.text for word in words] == ["a", "recognise", "speech"]
    assert (words[1].start, words[2].end) == (1.5, 7.0)
    assert words[1].end == words[2].start == 1.5 + 5.5 * 9 / 15


def test_a_word_between_two_shares_the_time_of_the_one_before() -> None:
    words = corrected_words(_timed("good", "morning"), "good old morning")
    assert words == (Word("good", 0, 1 * 4 / 7), Word("old", 1 * 4 / 7, 1), Word("morning", 1.5, 2.5, 0.9))


def test_a_word_before_all_shares_the_time_of_the_first() -> None:
    words = corrected_words(_timed("morning", "all"), "good morning all")
    assert (words[0].start, words[1].end) == (0, 1)
    assert words[2] == Word("all", 1.5, 2.5, 0.9)


def test_a_word_that_is_taken_out_leaves_the_others_as_they_are() -> None:
    one, _, three = recognised = _timed("one", "er", "three")
    assert corrected_words(recognised, "one three") == (one, three)


def test_where_nothing_was_timed_nothing_is() -> None:
    recognised = (Word("one", confidence=0.5), Word("too", confidence=0.4))
    assert corrected_words(recognised, "One two three") == (
        Word("One", confidence=0.5),
        Word("two"),
        Word("three"),
    )
    assert corrected_words((), "One two") == (Word("One"), Word("two"))
    assert corrected_words(recognised, "") == ()


def test_what_differs_in_very_many_words_is_replaced_as_a_whole() -> None:
    """Word by word this would take minutes."""
    recognised = _timed("first", *["a", "b"] * 1000, "last")
    new = ["b", "b", "a"] * 3000
    words = corrected_words(recognised, " ".join(["First", *new, "last."]))
    assert [word.text for word in words] == ["First", *new, "last."]
    assert (words[0].start, words[0].confidence) == (0, 0.9)
    assert words[1].start == recognised[1].start
    assert words[-2].end == pytest.approx(recognised[-2].end)
    assert words[-1].start == recognised[-1].start


def test_one_change_in_a_long_text_changes_one_word() -> None:
    recognised = _timed(*["a"] * 3000)
    words = corrected_words(recognised, " ".join(["a"] * 1500 + ["b"] + ["a"] * 1499))
    assert [number for number, word in enumerate(words) if word.confidence is None] == [1500]
    longer = corrected_words(recognised, " ".join(["a"] * 3001))
    assert len(longer) == 3001


def test_a_correction_is_said_by_whoever_said_what_it_replaces() -> None:
    recognised = (Word("helo", 0, 1, 0.9, speaker="0"), Word("there", 1, 2, 0.9, speaker="1"))
    assert [word.speaker for word in corrected_words(recognised, "Hello, there")] == ["0", "1"]
    assert [word.speaker for word in corrected_words((Word("x", speaker="0"),), "a b")] == ["0", "0"]


_TEXTS = st.lists(st.sampled_from(["one", "two,", "Two", "three", "-", "größe", "你好"]), max_size=12)


@given(_TEXTS, _TEXTS)
def test_times_rise_within_what_was_recognised_and_the_words_are_the_text(
    old: list[str], new: list[str]
) -> None:
    words = corrected_words(_timed(*old), " ".join(new))
    assert [word.text for word in words] == new
    if not old:
        return
    times = [time for word in words for time in (word.start, word.end)]
    assert all(time is not None and 0 <= time <= 1.5 * len(old) - 0.5 for time in times)
    assert times == sorted(times)  # type: ignore[type-var]


def test_a_segment_that_nobody_corrected_is_itself() -> None:
    segment = Segment("3f", 4, 0.0, 2.5, "one too", True, "en-US", _timed("one", "too"))
    assert as_corrected(StoredSegment(segment)) is segment
    corrected = as_corrected(StoredSegment(segment, "one two"))
    assert (corrected.id, corrected.start, corrected.text) == ("3f-4", 0.0, "one two")
    assert [word.text for word in corrected.words] == ["one", "two"]
