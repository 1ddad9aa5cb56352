import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transcribed.audio.buffer import SampleBuffer
from transcribed.audio.formats import Samples

_POSITIONS = st.integers(-1_000, 400_000)
_OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 30_000)),
        st.tuples(st.just("forget"), _POSITIONS),
        st.tuples(st.just("between"), st.tuples(_POSITIONS, _POSITIONS)),
    ),
    max_size=40,
)


def _counting(start: int, length: int) -> Samples:
    """Samples that are all different, so that one in a wrong place is seen."""
    return np.arange(start, start + length, dtype=np.float32)


@given(_OPERATIONS)
def test_does_as_a_plain_list_does(operations: list[tuple[str, int | tuple[int, int]]]) -> None:
    buffer = SampleBuffer()
    model: list[float] = []
    start = appended = 0
    for operation, argument in operations:
        if operation == "append":
            assert isinstance(argument, int)
            samples = _counting(appended, argument)
            buffer.append(samples)
            model.extend(samples.tolist())
            appended += argument
        elif operation == "forget":
            assert isinstance(argument, int)
            dropped = min(max(argument - start, 0), len(model))
            buffer.forget_before(argument)
            del model[:dropped]
            start += dropped
        else:
            assert isinstance(argument, tuple)
            low, high = (min(max(position - start, 0), len(model)) for position in argument)
            assert buffer.between(*argument).tolist() == model[low:high]
        assert (buffer.start, buffer.end) == (start, start + len(model))
    assert buffer.between(start, start + len(model)).tolist() == model


def test_keeps_a_copy_of_what_is_appended() -> None:
    buffer = SampleBuffer()
    samples = _counting(0, 10)
    buffer.append(samples)
    samples[:] = -1
    assert buffer.between(0, 10).tolist() == list(range(10))


def test_a_stream_of_any_length_takes_the_room_of_what_is_held() -> None:
    buffer = SampleBuffer()
    for second in range(600):
        buffer.append(np.zeros(16_000, np.float32))
        buffer.forget_before((second - 1) * 16_000)
    view = buffer.between(buffer.start, buffer.end)
    assert len(view) == 2 * 16_000
    assert view.base is not None
    assert view.base.nbytes < 1_000_000


@given(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(-100, 6_000))
def test_a_copy_of_the_rest_of_a_buffer_and_the_buffer_itself_go_their_own_ways(
    length: int, forgotten: int, position: int
) -> None:
    buffer = SampleBuffer()
    buffer.append(_counting(0, length))
    buffer.forget_before(forgotten)
    rest = buffer.after(position)
    start = min(max(position, buffer.start), buffer.end)
    held = buffer.between(0, length).tolist()
    rest.append(_counting(length, 300))
    buffer.append(_counting(0, 300))
    rest.forget_before(start + 1)
    assert (rest.start, rest.end) == (min(start + 1, length + 300), length + 300)
    assert rest.between(0, length + 300).tolist() == _counting(rest.start, rest.end - rest.start).tolist()
    assert buffer.between(0, length).tolist() == held
