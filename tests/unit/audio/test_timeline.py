import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.timeline import GapLimits, Timeline

_LIMITS = GapLimits(longest=100.0, total=250.0)


def _placed(
    *pieces: tuple[float | None, float], origin: float | None = 0.0
) -> tuple[list[float], Timeline]:
    """The silence in front of each piece (start, seconds)."""
    timeline = Timeline(_LIMITS)
    timeline.begin(origin)
    silence = []
    for start, seconds in pieces:
        silence.append(timeline.gap(start))
        timeline.add(seconds)
    return silence, timeline


@pytest.mark.parametrize(
    ("pieces", "origin", "silence", "end"),
    [
        ([(0, 1), (1, 1)], 0.0, [0, 0], 2),
        ([(5, 1), (6, 1)], 0.0, [5, 0], 7),
        ([(5, 1), (6, 1)], 5.0, [0, 0], 2),
        ([(5, 1), (8, 1)], None, [0, 2], 4),
        ([(0, 1), (None, 1), (None, 1), (3, 1)], 0.0, [0, 0, 0, 0], 4),
        ([(None, 1), (36_000, 1), (36_002, 1)], None, [0, 0, 1], 4),
        ([(0, 1), (1.15, 1), (2.15, 1)], 0.0, [0, 0, 0], 3),
        ([(0, 2), (1.5, 2), (3.5, 1), (6.0, 1)], 0.0, [0, 0, 0, 1.0], 7),
        ([(0, 5), (0, 5), (5, 5)], 0.0, [0, 0, 0], 15),
        ([(0, 5), (0, 5), (8, 5)], 0.0, [0, 0, 3], 18),
        ([(0, 1), (99, 1)], 0.0, [0, 98], 100),
        ([(0, 1), (102, 1), (104, 1)], 0.0, [0, 0, 1], 4),
        ([(0, 1), (90, 1), (180, 1), (270, 1), (360, 1)], 0.0, [0, 89, 89, 0, 0], 183),
    ],
    ids=[
        "on time",
        "late",
        "late from its start",
        "gap",
        "no times",
        "first time known late",
        "jitter",
        "overlap, then a shorter gap",
        "begins again",
        "begins again, gap",
        "longest",
        "too long",
        "too much",
    ],
)
def test_silence_stands_where_times_leave_a_gap(
    pieces: list[tuple[float | None, float]], origin: float | None, silence: list[float], end: float
) -> None:
    found, timeline = _placed(*pieces, origin=origin)
    assert found == pytest.approx(silence)
    assert timeline.end == pytest.approx(end)


def test_what_is_not_believed_is_counted() -> None:
    assert _placed((0, 1), (1_001, 1), (2_002, 1))[1].ignored == pytest.approx(2_000)


def test_rounded_times_never_add_up_to_a_gap() -> None:
    length = 1_024 / 44_100
    silence, _ = _placed(*((round(number * length, 3), length) for number in range(100_000)))
    assert not any(silence)


def test_another_container_goes_on_where_the_last_one_ended() -> None:
    _, timeline = _placed((0, 2))
    timeline.begin(100.0)
    assert timeline.gap(101.0) == pytest.approx(1.0)
    timeline.begin(None)
    assert timeline.gap(5.0) == 0


@given(
    st.lists(st.tuples(st.none() | st.floats(-1e6, 1e6, allow_nan=False), st.floats(0, 10)), max_size=50),
    st.none() | st.floats(-1e6, 1e6),
)
def test_no_times_make_more_silence_than_the_limits(
    pieces: list[tuple[float | None, float]], origin: float | None
) -> None:
    silence, timeline = _placed(*pieces, origin=origin)
    assert sum(silence) <= _LIMITS.total
    assert all(0 <= gap <= _LIMITS.longest for gap in silence)
    assert timeline.end == pytest.approx(sum(silence) + sum(seconds for _, seconds in pieces))
