import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.formats import SAMPLE_RATE, Samples
from transcribed.engines.amazon.sending import LONGEST_MESSAGE, SHORTEST_MESSAGE, Outbox, Pacer, TimeMapping


def _samples(integers: list[int]) -> Samples:
    return np.array(integers, np.float32) / np.float32(32_768)


@given(integers=st.lists(st.integers(-32_768, 32_767), max_size=50), sizes=st.lists(st.integers(0, 9_000)))
def test_however_audio_comes_everything_goes_in_pieces_as_amazon_wants_them(
    integers: list[int], sizes: list[int]
) -> None:
    audio = np.resize(np.array([*integers, 1], "<i2"), sum(sizes))
    outbox, pieces, start = Outbox(), [], 0
    for size in sizes:
        outbox.push(_samples(audio[start : start + size].tolist()))
        start += size
        while piece := outbox.take():
            pieces.append(piece)
        assert outbox.samples < SHORTEST_MESSAGE
    assert all(2 * SHORTEST_MESSAGE <= len(piece) <= 2 * LONGEST_MESSAGE for piece in pieces)
    rest = outbox.take(everything=True)
    assert outbox.samples == 0
    assert b"".join([*pieces, rest]) == audio.tobytes()


@given(
    steps=st.lists(st.one_of(st.integers(0, 9_000), st.none()), max_size=20),
    takes=st.lists(st.integers(0, 4), min_size=20, max_size=20),
)
def test_no_piece_goes_across_a_flush_and_each_is_told_once(
    steps: list[int | None], takes: list[int]
) -> None:
    """None is a flush."""
    outbox, pushed, taken = Outbox(), 0, 0
    flushes: list[int] = []
    told: list[int] = []

    def take(*, everything: bool = False) -> int:
        nonlocal taken
        if outbox.take_flush():
            told.append(taken)
        piece = len(outbox.take(everything=everything)) // 2
        assert piece <= LONGEST_MESSAGE
        assert not any(taken < flush < taken + piece for flush in flushes)
        taken += piece
        return piece

    for step, count in zip(steps, takes, strict=False):
        if step is None:
            outbox.flush()
            flushes += [pushed] if pushed > max([0, *flushes]) else []
        else:
            outbox.push(np.zeros(step, np.float32))
            pushed += step
        for _ in range(count):
            take()
    while take(everything=True):
        pass
    assert (taken, told) == (pushed, flushes)


def test_what_is_louder_than_full_scale_is_full_scale() -> None:
    outbox = Outbox()
    outbox.push(np.array([2.0, 1.0, -1.0, -2.0, 0.4 / 32_768], np.float32))
    assert np.frombuffer(outbox.take(everything=True), "<i2").tolist() == [32767, 32767, -32768, -32768, 0]


def test_pieces_go_at_the_pace_of_speech() -> None:
    pacer, now, gone = Pacer(1.0), 100.0, []
    for _ in range(101):
        now += pacer.wait(now)
        pacer.sent(SAMPLE_RATE // 10, now)
        gone.append(now)
        now += 0.01
    assert gone == pytest.approx([100 + number / 10 for number in range(101)])


@given(speed=st.floats(0.5, 100), late=st.lists(st.floats(0, 3), min_size=1, max_size=50))
def test_never_is_more_than_half_a_second_caught_up_with(speed: float, late: list[float]) -> None:
    pacer, now, moments = Pacer(speed), 7.0, []
    for lateness in late:
        now += pacer.wait(now) + lateness
        pacer.sent(SAMPLE_RATE, now)
        moments.append(now)
    for number, moment in enumerate(moments):
        assert number / speed <= moment - moments[0] + 0.5 + 1e-9


# --- Times around silence that was put in


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3 * SAMPLE_RATE)), min_size=1, max_size=30))
def test_times_are_those_of_the_audio_without_the_silence(sent: list[tuple[bool, int]]) -> None:
    times = TimeMapping()
    # For each sample that was sent, how much audio was before it: the definition, sample by sample.
    expected: list[tuple[int, int]] = []
    ours = theirs = 0
    for silent, samples in sent:
        (times.silence if silent else times.audio)(samples)
        shares = (0, samples // 3, samples - 1)
        expected += [(theirs + share, ours if silent else ours + share) for share in shares]
        theirs += samples
        ours += 0 if silent else samples
    assert (times.sent, times.silent) == (theirs, theirs - ours)
    for at, is_at in expected:
        assert times.stream_time(at / SAMPLE_RATE) == pytest.approx(is_at / SAMPLE_RATE, abs=1e-9)
    moments = [times.stream_time(at / SAMPLE_RATE) for at, _ in expected]
    assert moments == sorted(moments) or max(np.diff(moments) * -1) < 1e-9


def test_without_silence_times_are_amazons_to_the_last_digit() -> None:
    times = TimeMapping()
    times.audio(SAMPLE_RATE)
    assert times.stream_time(0.123) == 0.123


def test_nothing_is_heard_behind_what_was_sent() -> None:
    times = TimeMapping()
    times.audio(SAMPLE_RATE)
    times.silence(SAMPLE_RATE)
    assert times.stream_time(1.5) == times.stream_time(7.0) == 1.0
