"""Which words of a segment are shown, and when they end."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from transcribed.engines.segments.open_segment import ending_by, without_uncertain_end
from transcribed.transcript import Word


def test_a_word_ends_by_the_end_of_its_segment() -> None:
    word = Word("test.", 1.0, 2.0, confidence=0.9)
    assert ending_by(word, 3.0) == word
    assert ending_by(word, 1.5) == Word("test.", 1.0, 1.5, confidence=0.9)
    assert ending_by(word, 0.5) == Word("test.", 0.5, 0.5, confidence=0.9)
    assert ending_by(Word("test."), 0.5) == Word("test.")


def test_the_end_of_what_is_being_spoken_is_shown_only_when_it_is_likely() -> None:
    def shown(*words: tuple[str, float], settled: int = 0) -> str:
        said = [Word(text, confidence=confidence) for text, confidence in words]
        return " ".join(word.text for word in without_uncertain_end(said, settled))

    assert shown(("This", 0.9), ("is", 0.9), ("a", 0.3)) == "This is"
    assert shown(("This", 0.9), ("is", 0.4), ("a", 0.3)) == "This"
    assert shown(("This", 0.9), ("is", 0.4), ("a", 0.9)) == "This is a"
    assert shown(("This", 0.9), ("is.", 0.9)) == "This is"
    assert shown(("This,", 0.9), ("...", 0.9)) == "This,"
    assert shown(("This", 0.1)) == ""
    assert shown() == ""
    assert shown(("This", 0.1), ("is.", 0.1), settled=2) == "This is."


@given(
    st.lists(st.builds(Word, st.sampled_from(["This", "is.", "...", "a,"]), confidence=st.floats(0, 1))),
    st.integers(0, 9),
)
def test_what_is_shown_is_a_start_of_what_was_said_and_holds_what_is_settled(
    words: list[Word], settled: int
) -> None:
    settled = min(settled, len(words))
    shown = without_uncertain_end(words, settled)
    assert shown[:settled] == words[:settled]
    assert len(shown) <= len(words)
    assert shown[:-1] == words[: len(shown)][:-1]
    if len(shown) > settled:
        last = shown[-1]
        assert words[len(shown) - 1].text.startswith(last.text)
        assert replace(last, text="") == replace(words[len(shown) - 1], text="")
