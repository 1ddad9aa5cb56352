"""Which part of some content is sent, and whether it is (RFC 9110, sections 13 and 14)."""

import re

# Python refuses to read numbers of thousands of digits; nothing stored is that large.
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


class RangeNotSatisfiable(Exception):
    """The range lies outside the content."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The range [start, end) that a Range header asks for, of content with `size` bytes.

    None where the whole content is to be sent: there is no header, or one of a form that a server may
    ignore (several ranges, other units). Raises RangeNotSatisfiable.
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
    """Whether a range may be sent of what has this entity tag, or else all of it.

    If-Range with a date means what was last modified then, which is never said here.
    """
    return if_range is None or if_range.strip() == tag


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether the client has what has this entity tag, by its If-None-Match."""
    tags = {part.strip().removeprefix("W/") for part in (if_none_match or "").split(",")}
    return not tags.isdisjoint({tag, "*"})
