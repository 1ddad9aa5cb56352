"""The wall clock, for dates alone. It jumps, so that durations are measured with a monotonic clock."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The date and time by the wall clock, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one place
