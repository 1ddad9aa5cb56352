"""Range requests and conditional requests (RFC 9110, sections 13 and 14)."""

import re

# At most 18 digits, because Python refuses to parse numbers with thousands of digits.
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


class RangeNotSatisfiable(Exception):
    """The range lies outside the content."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The range [start, end) of a Range header, for content of `size` bytes.

    None means the whole content: without a header, or with one that a server may ignore (several ranges,
    other units). Raises RangeNotSatisfiable.
    """
    parts = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if parts is None or parts[1] == parts[2] == "":
        return None
    if parts[1] == "":
        start, end = max(0, size - int(parts[2])), size
    else:
        start = int(parts[1])
        end = min(size, int(parts[2]) + 1) if parts[2] else size
        if parts[2] and int(parts[2]) < start:
            return None
    if start >= end:
        raise RangeNotSatisfiable
    return start, end


def unchanged(if_range: str | None, tag: str) -> bool:
    """Whether If-Range allows a range of the content with this entity tag; otherwise all of it is sent.

    A date in If-Range never matches, because this server sends no Last-Modified.
    """
    return if_range is None or if_range.strip() == tag


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether If-None-Match says that the client has the content with this entity tag."""
    tags = {part.strip().removeprefix("W/") for part in (if_none_match or "").split(",")}
    return not tags.isdisjoint({tag, "*"})
