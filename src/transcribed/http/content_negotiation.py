"""Which of several media types a client wants (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

_NAMED, _KIND, _ANY = 2, 1, 0


def negotiate(header: str | None, offered: Sequence[str]) -> str | None:
    """The offered type that an Accept header prefers; None if it accepts none of them.

    Among those that it wants as much, one that it names goes before one that is among "text/*", and that
    before one that is among "*/*"; then the first offered. Parameters but for q are passed over, as is
    what is not valid.
    """
    if header is None or not header.strip():
        return offered[0]
    ranges = [found for part in header.split(",") if (found := _range(part)) is not None]
    best, wish = None, (0.0, _ANY)
    for kind in offered:
        # The most specific range is the one that counts for a type.
        specific, quality = max(
            ((fit, quality) for wanted, quality in ranges if (fit := _fit(wanted, kind)) is not None),
            default=(_ANY, 0.0),
        )
        if quality > 0 and (best is None or (quality, specific) > wish):
            best, wish = kind, (quality, specific)
    return best


def _range(text: str) -> tuple[str, float] | None:
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
    return (kind, quality) if 0 <= quality <= 1 else None


def _fit(wanted: str, kind: str) -> int | None:
    """The specificity with which a media range matches a type; None if it does not match."""
    if wanted == kind:
        return _NAMED
    if wanted == f"{kind.partition('/')[0]}/*":
        return _KIND
    return _ANY if wanted == "*/*" else None
