import html
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import accumulate, pairwise

import pysubs2
import srt as srt_parser
import webvtt
from hypothesis import example, given
from hypothesis import strategies as st

from transcribed.transcript import Segment, Word
from transcribed.wire.subtitle_layout import COLUMNS_A_SECOND, LINE_COLUMNS, LONGEST, SHORTEST
from transcribed.wire.subtitles import Cue, cues, srt, vtt

MS = timedelta(milliseconds=1)


def _segment(text: str, start: float, end: float, words: Sequence[Word] = ()) -> Segment:
    return Segment("id", 0, start, end, text, final=True, language="en-US", words=tuple(words))


def _spoken(text: str, start: float = 0.0, rate: float = 15.0) -> Segment:
    """Words said one behind the other, at so many characters a second."""
    edges = list(accumulate((len(word) / rate for word in text.split()), initial=start))
    words = [Word(word, *times) for word, times in zip(text.split(), pairwise(edges), strict=True)]
    return _segment(text, start, edges[-1], words)


def _lines(*segments: Segment) -> list[str]:
    return [" | ".join(cue.lines) for cue in cues(segments)]


# --- Whatever the segments are

_CHARACTERS = st.one_of(
    st.sampled_from("aeinorst,.?!'-><&\n\t 1"),
    st.sampled_from("東京は夜です。、「」ーｱ한국"),
    st.sampled_from("שלוםمرحبا،؟"),
    st.sampled_from("e\u0301\u20dd👩\u200d🚀\ufe0f\u0e01\u0e33"),
    st.characters(),
)
_TEXTS = st.one_of(
    st.lists(st.sampled_from(["a", "the", "well,", "steamers", "of", "end.", "-->", "1"]), max_size=40).map(
        " ".join
    ),
    st.text(_CHARACTERS, max_size=150),
    st.text("abc", min_size=43, max_size=200),
    st.text("東京", min_size=20, max_size=120),
)
_SECONDS = st.floats(0, 30)


@st.composite
def _any_segments(draw: st.DrawFn) -> list[Segment]:
    segments: list[Segment] = []
    for _ in range(draw(st.integers(0, 8))):
        start = (segments[-1].end if segments else 0.0) + draw(_SECONDS)
        end = start + draw(_SECONDS)
        text = draw(_TEXTS)
        times = st.none() | st.tuples(st.floats(start, end), st.floats(start, end))
        words = [Word(word, *(draw(times) or ())) for word in text.split()] if draw(st.booleans()) else []
        segments.append(_segment(text, start, end, words))
    return segments


@given(_any_segments())
@example([])
def test_every_limit_is_kept(segments: list[Segment]) -> None:
    shown = cues(segments)
    for cue in shown:
        assert 1 <= len(cue.lines) <= 2
        for line in cue.lines:
            assert 1 <= len(line) <= LINE_COLUMNS
            assert line == line.strip()
            assert len(line.splitlines()) == 1
        assert SHORTEST <= cue.end - cue.start <= LONGEST
    for cue, following in pairwise(shown):
        assert cue.end <= following.start
        if _columns_a_second(cue) > COLUMNS_A_SECOND:
            assert cue.end == following.start, "it could have stayed longer"


@given(_any_segments())
def test_every_word_is_shown_once_and_in_order(segments: list[Segment]) -> None:
    shown = "".join("".join(cue.lines) for cue in cues(segments))
    assert _bare(shown) == _bare("".join(segment.text for segment in segments))


def _bare(text: str) -> str:
    """Without white space and control characters, and with a mark for what is no character."""
    letters = (c for c in text if not c.isspace() and (c.isprintable() or ord(c) > 0x9F))
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in letters)


def _columns_a_second(cue: Cue) -> float:
    return 1000 * sum(map(len, cue.lines)) / (cue.end - cue.start)


# --- Whatever the text is, others can read it


def _ms(clock: str) -> int:
    """WebVTT's hours, minutes and seconds."""
    hours, minutes, seconds = clock.split(":")
    return round(1000 * (3600 * int(hours) + 60 * int(minutes) + float(seconds)))


@given(_any_segments())
@example([])
@example([_segment("1\n00:00:00,000 --> 00:00:01,000\nx & <b>y</b> &amp; WEBVTT NOTE STYLE {\\i1}", 0, 5)])
@example([_segment("2 --> 00:00:01,000 " * 8, 0, 5), _segment("3", 9, 10)])
def test_srt_is_what_parsers_make_of_it(segments: list[Segment]) -> None:
    shown, text = cues(segments), srt(segments)
    assert text.encode().decode() == text
    parsed = list(srt_parser.parse(text))
    assert [one.index for one in parsed] == list(range(1, len(shown) + 1))
    assert [(one.start / MS, one.end / MS) for one in parsed] == [(cue.start, cue.end) for cue in shown]
    assert [one.content for one in parsed] == ["\n".join(cue.lines).replace("-->", "->") for cue in shown]


@given(_any_segments())
@example([])
@example([_segment("NOTE --> 00:00.000 --> 00:01.000 x & <b>y</b> &amp; &lt; STYLE", 0, 5)])
def test_vtt_is_what_parsers_make_of_it(segments: list[Segment]) -> None:
    shown, text = cues(segments), vtt(segments)
    assert text.encode().decode() == text
    parsed = webvtt.from_string(text)
    assert [(_ms(one.start), _ms(one.end)) for one in parsed] == [(cue.start, cue.end) for cue in shown]
    assert [html.unescape(one.raw_text) for one in parsed] == ["\n".join(cue.lines) for cue in shown]
    assert text.count("-->") == len(shown)


@given(_any_segments())
def test_a_parser_that_is_less_strict_finds_the_same(segments: list[Segment]) -> None:
    times = [(cue.start, cue.end) for cue in cues(segments)]
    for text, form in ((srt(segments) or " ", "srt"), (vtt(segments), "vtt")):
        events = pysubs2.SSAFile.from_string(text, format_=form)
        assert [(event.start, event.end) for event in events] == times


# --- Several voices


@st.composite
def _any_call(draw: st.DrawFn) -> list[Segment]:
    """Segments of two channels, or of one in which several people speak."""
    by_channel = draw(st.booleans())
    found: list[Segment] = []
    for segment in draw(_any_segments()):
        if by_channel:
            channel = draw(st.integers(0, 1))
            moved = draw(st.floats(-20, 0))
            start = max(0.0, segment.start + moved)
            words = [replace(word, start=None, end=None) for word in segment.words]
            found.append(
                replace(segment, channel=channel, start=start, end=segment.end, words=tuple(words))
            )
        else:
            words = [
                replace(word, speaker=draw(st.sampled_from(["0", "1", None]))) for word in segment.words
            ]
            found.append(replace(segment, words=tuple(words)))
    return found


@given(_any_call())
def test_every_limit_is_kept_for_each_voice(segments: list[Segment]) -> None:
    shown = cues(segments)
    assert [cue.start for cue in shown] == sorted(cue.start for cue in shown)
    for voice in {cue.voice for cue in shown}:
        for cue, following in pairwise([cue for cue in shown if cue.voice == voice]):
            assert cue.end <= following.start
    for cue in shown:
        assert SHORTEST <= cue.end - cue.start <= LONGEST
    for line in srt(segments).split("\n"):
        assert len(line) <= LINE_COLUMNS


@given(_any_call())
def test_every_word_of_every_voice_is_shown_once(segments: list[Segment]) -> None:
    shown = "".join("".join(cue.lines) for cue in cues(segments))
    assert sorted(_bare(shown)) == sorted(_bare("".join(segment.text for segment in segments)))


@given(_any_call())
def test_others_read_who_speaks(segments: list[Segment]) -> None:
    shown = cues(segments)
    times = [(cue.start, cue.end) for cue in shown]
    several = len({cue.voice for cue in shown}) > 1
    assert [one.content.startswith("-- ") for one in srt_parser.parse(srt(segments))] == [
        (several and cue.voice is not None) or cue.lines[0].startswith("-- ") for cue in shown
    ]
    parsed = webvtt.from_string(vtt(segments))
    assert [(_ms(one.start), _ms(one.end)) for one in parsed] == times
    assert [one.voice for one in parsed] == [cue.voice for cue in shown]


def test_what_is_said_at_the_same_time_is_shown_at_the_same_time() -> None:
    caller = replace(_spoken("My order did not arrive, and nobody has written to me.", 1), channel=0)
    agent = replace(_spoken("I am sorry.", 2), channel=1)
    behind = replace(_spoken("What is its number?", 9), channel=1)
    shown = cues([caller, agent, behind])
    assert [(cue.start, cue.voice) for cue in shown] == [(1000, "ch_0"), (2000, "ch_1"), (9000, "ch_1")]
    assert shown[0].end > shown[1].start
    assert srt([agent, caller]).startswith(
        "1\n00:00:01,000 --> 00:00:04,177\n-- My order did not arrive,\nand nobody has written to me.\n\n"
        "2\n00:00:02,000 --> 00:00:03,000\n-- I am sorry.\n\n"
    )
    assert "\n00:00:02.000 --> 00:00:03.000\n<v ch_1>I am sorry.\n" in vtt([caller, agent])


def test_a_subtitle_ends_where_somebody_else_speaks() -> None:
    segment = _spoken("How are you? Fine. And you? Well.")
    speakers = ["0", "0", "0", "1", "1", "1", "0"]
    words = [replace(word, speaker=one) for word, one in zip(segment.words, speakers, strict=True)]
    shown = cues([replace(segment, words=tuple(words))])
    assert [(cue.voice, *cue.lines) for cue in shown] == [
        ("spk_0", "How are you?"),
        ("spk_1", "Fine. And you?"),
        ("spk_0", "Well."),
    ]


def test_where_one_voice_alone_is_heard_nothing_is_told_apart() -> None:
    segment = replace(_spoken("Is anybody there?"), channel=1)
    assert "--" not in srt([segment]).replace("-->", "")
    assert "<v ch_1>Is anybody there?" in vtt([segment])


# --- Where subtitles and lines end

_TWO_CITIES = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of "
    "foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, "
    "it was the season of Darkness."
)
_CAPITAL = (
    "The capital allowances that Mr. Smith had mentioned to the committee of the house were not included "
    "in the figures that have been published by the government"
)


def test_a_subtitle_ends_where_a_phrase_does() -> None:
    assert _lines(_spoken(_TWO_CITIES)) == [
        "It was the best of times, | it was the worst of times,",
        "it was the age of wisdom, | it was the age of foolishness,",
        "it was the epoch of belief, | it was the epoch of incredulity,",
        "it was the season of Light, | it was the season of Darkness.",
    ]


def test_without_punctuation_it_ends_before_small_words_and_never_behind_them() -> None:
    assert _lines(_spoken(_CAPITAL)) == [
        "The capital allowances that Mr. Smith had | mentioned to the committee of the house",
        "were not included in the figures | that have been published by the government",
    ]


def test_what_fits_in_one_line_is_not_broken() -> None:
    assert _lines(_spoken("Ask not what your country can do for you.")) == [
        "Ask not what your country can do for you."
    ]


def test_a_new_subtitle_begins_behind_a_silence() -> None:
    assert _lines(_spoken("That is all I know."), _spoken("And you, what do you say?", 4.0)) == [
        "That is all I know.",
        "And you, what do you say?",
    ]


def test_words_that_are_too_short_for_a_subtitle_join_their_neighbours() -> None:
    assert _lines(_spoken("Yes."), _spoken("No.", 0.8), _spoken("Perhaps.", 1.4)) == ["Yes. No. Perhaps."]


@given(st.lists(st.integers(1, 14), min_size=1, max_size=40), st.floats(8, 20), st.integers(0, 3))
def test_speech_at_the_pace_of_people_is_never_late(sizes: list[int], rate: float, pauses: int) -> None:
    texts = ["x" * size + ("." if number % 7 == 6 else "") for number, size in enumerate(sizes)]
    segments: list[Segment] = []
    for text in " ".join(texts).split(". "):
        start = segments[-1].end + pauses if segments else 0.0
        segments.append(_spoken(text, start, rate))
    shown = cues(segments)
    starts = [round(1000 * (word.start or 0)) for segment in segments for word in segment.words]
    assert [cue.start for cue in shown if cue.start not in starts] == []


# --- When


def test_a_subtitle_stays_until_it_is_read_but_not_over_the_next() -> None:
    first = _spoken("twenty characters ok", 0, 40)
    assert [(cue.start, cue.end) for cue in cues([first])] == [(0, 1177)]
    later = _spoken("x" * 30 + " " + "y" * 40, 1.1, 10)
    assert [(cue.start, cue.end) for cue in cues([first, later])] == [(0, 1100), (1100, 8100)]


def test_a_subtitle_of_slow_speech_is_taken_down_after_seven_seconds() -> None:
    assert [(cue.start, cue.end) for cue in cues([_segment("Wait!", 2, 60)])] == [(2000, 9000)]


def test_what_comes_too_fast_waits() -> None:
    at_once = [_segment("x" * 42 + " " + "y" * 42, 1, 1), _segment("z", 1, 1)]
    assert [(cue.start, cue.end) for cue in cues(at_once)] == [(1000, 2000), (2000, 4589)]


def test_words_without_times_share_what_is_left_by_their_length() -> None:
    words = [Word("aaaa,"), Word("bbbb", 10, 11), Word("cccc"), Word("dddd,", 12, 13), Word("e", 20, 21)]
    segment = _segment("aaaa, bbbb cccc dddd, e", 2, 21, words)
    assert [(cue.start, cue.lines) for cue in cues([segment])] == [
        (2000, ("aaaa,",)),
        (10_000, ("bbbb cccc dddd,",)),
        (20_000, ("e",)),
    ]


def test_the_times_of_words_that_were_corrected_are_not_used() -> None:
    words = [Word("wrong", 8, 9)]
    assert [(cue.start, cue.end) for cue in cues([_segment("right", 2, 4, words)])] == [(2000, 4000)]


def test_hours_are_written_as_they_are() -> None:
    segment = _segment("late", 360_000, 360_002)
    assert srt([segment]) == "1\n100:00:00,000 --> 100:00:02,000\nlate\n\n"
    assert vtt([segment]) == "WEBVTT\n\n100:00:00.000 --> 100:00:02.000\nlate\n"
    assert [(one.start, one.end) for one in webvtt.from_string(vtt([segment]))] == [
        ("100:00:00.000", "100:00:02.000")
    ]


# --- Any script


def test_wide_characters_are_two_columns_and_break_between_any_two_but_not_before_a_mark() -> None:
    shown = cues([_segment("東京は夜の七時です。" * 6, 0, 12)])
    assert {line for cue in shown for line in cue.lines} == {"東京は夜の七時です。" * 2}
    (line,) = _lines(_segment("あ" * 21 + "。」い", 0, 5))
    assert line.replace(" | ", "") == "あ" * 21 + "。」い"
    assert _lines(_segment("あ。」" * 14, 0, 5)) == ["あ。」" * 7 + " | " + "あ。」" * 7]


def test_an_accent_stays_with_its_letter() -> None:
    (line,) = _lines(_segment("e\u0301" * 30, 0, 5))
    assert line == "e\u0301" * 21 + " | " + "e\u0301" * 9


def test_what_no_text_file_can_hold_is_left_out() -> None:
    assert _lines(_segment("a\x00b\x1b \ud800c\x85d\u2028e", 0, 5)) == ["ab \ufffdc d e"]


def test_ten_thousand_segments_are_soon_divided() -> None:
    segments = [_spoken("And so it is.", start) for start in range(0, 80_000, 8)]
    assert _lines(*segments) == ["And so it is."] * 10_000
