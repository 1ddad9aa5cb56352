"""Joining what two sessions heard of the same speech."""

from dataclasses import replace
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from transcribed.service.joining import as_final, as_partial, later, rest, without_doubtful
from transcribed.transcript import Done, Entity, Notice, Segment, Word

LONGEST_WORD = 0.9
SPOKEN = Segment(
    "a",
    0,
    1.0,
    3.0,
    "one two",
    final=True,
    language="en-US",
    words=(Word("one", 1.0, 2.0), Word("two", 2.0, 3.0)),
    entities=(Entity("one", 1.0, 2.0), Entity("two", 2.0, 3.0)),
)


def _heard(words: list[Word], begin: float, end: float) -> Segment:
    """What is heard of words between two times; of those that are cut, a fragment."""
    heard = [
        replace(
            word,
            start=max(word.start, begin),
            end=min(word.end, end),
            text=word.text if begin <= word.start and word.end <= end else f"({word.text})",
        )
        for word in words
        if word.start is not None and word.end is not None and word.start < end and begin < word.end
    ]
    text = " ".join(word.text for word in heard)
    return Segment("a", 0, begin, end, text, final=True, language="en-US", words=tuple(heard))


@given(
    st.lists(st.floats(0.05, LONGEST_WORD), min_size=3, max_size=30),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_each_word_is_there_once_wherever_the_sessions_break(
    lengths: list[float], broke: float, settled: float, again: float
) -> None:
    times = [0.0, *accumulate(lengths)]
    words = [Word(str(number), *span) for number, span in enumerate(pairwise(times))]
    end = times[-1]
    break_at = broke * end
    settled_at = max(time for time in times if time <= settled * break_at)
    again_from = again * settled_at
    finals = [_heard(words, 0, settled_at)] if settled_at else []
    last = without_doubtful(_heard(words, settled_at, break_at), again_from)
    said = max(settled_at, last.end)
    other = rest(_heard(words, again_from, end), said)
    together = " ".join(segment.text for segment in (*finals, last, other) if segment.text)
    assert together == " ".join(word.text for word in words)


def test_all_times_are_those_of_the_broadcast() -> None:
    moved = later(SPOKEN, 10)
    assert (moved.start, moved.end) == (11, 13)
    assert moved.words == (Word("one", 11, 12), Word("two", 12, 13))
    assert moved.entities == (Entity("one", 11, 12), Entity("two", 12, 13))
    assert later(Done("a", 2.0, 1.0), 10) == Done("a", 12.0, 1.0)
    assert later(Notice("c", "m"), 10) == Notice("c", "m")
    assert later(SPOKEN, 0) is SPOKEN


def test_words_are_left_out_with_their_entities() -> None:
    left = rest(SPOKEN, 2.0)
    assert (left.start, left.text, left.words) == (2.0, "two", SPOKEN.words[1:])
    assert left.entities == SPOKEN.entities[1:]
    assert rest(SPOKEN, 1.0) is SPOKEN
    assert rest(SPOKEN, 1.5) is SPOKEN
    assert (rest(SPOKEN, 3.0).text, rest(SPOKEN, 3.0).start) == ("", 3.0)


def test_a_segment_without_times_of_words_is_known_or_not_as_a_whole() -> None:
    for words in ((), (Word("one"), Word("two"))):
        segment = replace(SPOKEN, words=words, entities=())
        assert rest(segment, 2.0) is segment
        assert rest(segment, 2.1).text == ""


def test_what_may_be_lost_is_not_stable() -> None:
    said = replace(SPOKEN, words=tuple(replace(word, stable=True) for word in SPOKEN.words))
    assert [word.stable for word in as_partial(said).words] == [True, False]
    assert not as_partial(said).final
    assert as_final(as_partial(said)) == said
    assert as_final(as_partial(SPOKEN)) == SPOKEN
