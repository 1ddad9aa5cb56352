"""Where log lines go, and how they are written."""

import logging
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

from transcribed.request_context import REQUEST

LogFormat = Literal["text", "json"]
TRAIL = "transcribed.trail"
"""The logger of what somebody did; its lines are written whatever the level."""


def configure(level: str, form: LogFormat) -> None:
    """Log to standard error from a level on, as lines for people or as one JSON object each."""
    handler = logging.StreamHandler()
    handler.addFilter(add_request)
    handler.setFormatter(formatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger(TRAIL).setLevel(logging.INFO)


def add_request(record: logging.LogRecord) -> bool:
    """Add what is known of the request that a line is logged for: `request_id`, `owner` and `key`.

    A filter for a handler. What the line itself says of them stays.
    """
    context = REQUEST.get()
    if context is not None:
        known = record.__dict__
        known.setdefault("request_id", context.id)
        if context.principal is not None:
            known.setdefault("owner", context.principal.owner)
            known.setdefault("key", context.principal.key)
    return True


def formatter(form: LogFormat) -> logging.Formatter:
    """Lines of a form, with what `add_request` has added."""
    if form == "text":
        return _TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
        json_ensure_ascii=False,
    )


# Control characters, C0 and C1: a name or path that somebody sends looks like no line of its own, and moves
# no cursor.
_ESCAPED = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160))} | {ord("\n"): "\n    "}


class _TextFormatter(logging.Formatter):
    """Lines for people: the request's id stands in brackets behind the message."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging calls it so
        line = super().formatMessage(record).translate(_ESCAPED)
        request: str | None = getattr(record, "request_id", None)
        return line if request is None else f"{line} [{request}]"
