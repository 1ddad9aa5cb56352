"""Configuration and formatting of the log."""

import logging
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

from transcribed.request_context import REQUEST

LogFormat = Literal["text", "json"]
TRAIL = "transcribed.trail"
"""The logger of the audit trail, whose lines are written at every log level."""


def configure(level: str, form: LogFormat) -> None:
    """Log to standard error from a level on, as plain text or as one JSON object on each line."""
    handler = logging.StreamHandler()
    handler.addFilter(add_request)
    handler.setFormatter(formatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger(TRAIL).setLevel(logging.INFO)


def add_request(record: logging.LogRecord) -> bool:
    """A filter for handlers that adds `request_id`, `owner` and `key` of the current request to a record.

    Values that the record already has remain. Always returns True.
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
    """The formatter for a format of the log, for records to which `add_request` was applied."""
    if form == "text":
        return _TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
        json_ensure_ascii=False,
    )


# The control characters C0 and C1: text that a client sends can neither imitate a log line nor move the
# cursor of a terminal.
_ESCAPED = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160))} | {ord("\n"): "\n    "}


class _TextFormatter(logging.Formatter):
    """Plain text, with the request's id in brackets at the end of the line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging calls it so
        line = super().formatMessage(record).translate(_ESCAPED)
        request: str | None = getattr(record, "request_id", None)
        return line if request is None else f"{line} [{request}]"
