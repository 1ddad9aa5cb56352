import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcribed.http.ranges import RangeNotSatisfiable, byte_range, is_known, unchanged


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=10-", (10, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-100", (0, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes=0-1", (0, 2)),
        (f"bytes=0-{'9' * 18}", (0, 100)),
    ],
)
def test_a_range_inside_the_content(header: str, expected: tuple[int, int]) -> None:
    assert byte_range(header, 100) == expected


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "bytes", "bytes=", "bytes=-", "items=0-1", "bytes=a-b", "bytes=--1"),
        *("bytes=0-1,5-6", "bytes=5-4", "bytes=٣-", f"bytes={'9' * 10_000}-"),
    ],
)
def test_what_may_be_ignored_means_the_whole_content(header: str | None) -> None:
    assert byte_range(header, 100) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=100-", 100),
        ("bytes=100-200", 100),
        ("bytes=-0", 100),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-1", 0),
        (f"bytes={'9' * 18}-", 100),
    ],
)
def test_a_range_outside_the_content(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        byte_range(header, size)


@given(st.text(alphabet="bytes=0123456789-, ²٣", max_size=20), st.integers(0, 50))
def test_whatever_the_header_a_range_lies_inside(header: str, size: int) -> None:
    try:
        found = byte_range(header, size)
    except RangeNotSatisfiable:
        return
    if found is not None:
        assert 0 <= found[0] < found[1] <= size


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 100))
def test_a_range_is_what_a_slice_is(first: int, last: int, size: int) -> None:
    content = bytes(range(size))
    if first <= last and first < size:
        found = byte_range(f"bytes={first}-{last}", size)
        assert found is not None
        assert content[slice(*found)] == content[first : last + 1]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, True),
        ('"a"', True),
        (' "a" ', True),
        ('"b"', False),
        ('W/"a"', False),
        ("a", False),
        ("", False),
        ("Fri, 27 Nov 2026 11:00:00 GMT", False),
    ],
)
def test_a_range_is_of_the_very_content_that_a_part_is_there_of(header: str | None, expected: bool) -> None:
    assert unchanged(header, '"a"') is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        *((None, False), ("", False), ('"b"', False), ("a", False), ('"a', False)),
        *(('"a"', True), ('W/"a"', True), ('"b", "a"', True), ('"b",W/"a" , "c"', True), ("*", True)),
    ],
)
def test_what_a_client_has_it_says_by_its_tag(header: str | None, expected: bool) -> None:
    assert is_known(header, '"a"') is expected
