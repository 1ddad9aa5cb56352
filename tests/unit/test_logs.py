"""How log lines are written, and what they say of the request that they are logged for."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from transcribed import logs
from transcribed.principal import Principal, Role
from transcribed.request_context import REQUEST, RequestContext

MOMENT = datetime(2026, 11, 27, 9, 30, 0, 125_000, UTC)


def written(form: logs.LogFormat, context: RequestContext | None = None, **extra: object) -> str:
    """A line, logged for a request."""
    record = logging.getLogger("transcribed.part").makeRecord(
        "transcribed.part", logging.WARNING, "", 0, '%d are "gone"\nµ', (3,), None, extra=extra
    )
    record.created = MOMENT.timestamp()
    token = REQUEST.set(context)
    try:
        assert logs.add_request(record)
    finally:
        REQUEST.reset(token)
    return logs.formatter(form).format(record)


def parsed(line: str) -> dict[str, Any]:
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_json_is_one_object_a_line() -> None:
    assert parsed(written("json")) == {
        "time": "2026-11-27T09:30:00.125000+00:00",
        "level": "WARNING",
        "logger": "transcribed.part",
        "message": '3 are "gone"\nµ',
    }


def test_json_has_who_asks_and_what_else_is_given() -> None:
    context = RequestContext("id-1", "192.0.2.7", Principal("clinic", Role.READ, "front-desk"))
    found = parsed(written("json", context, seconds=1.5))
    assert (
        found.items()
        >= {"request_id": "id-1", "owner": "clinic", "key": "front-desk", "seconds": 1.5}.items()
    )


def test_of_somebody_unknown_there_is_the_request_alone() -> None:
    found = parsed(written("json", RequestContext("id-1")))
    assert found["request_id"] == "id-1"
    assert not {"owner", "key"} & found.keys()


def test_what_a_line_says_itself_stays() -> None:
    found = parsed(written("json", RequestContext("id-1", principal=Principal("a", Role.READ)), owner="b"))
    assert found["owner"] == "b"


def test_a_traceback_is_a_field_of_its_line() -> None:
    try:
        raise ValueError("a fault")
    except ValueError as error:
        record = logging.LogRecord(
            "part", logging.ERROR, "", 0, "It failed.", (), (type(error), error, None)
        )
    assert "ValueError: a fault" in parsed(logs.formatter("json").format(record))["exc_info"]


@pytest.mark.parametrize(("context", "behind"), [(None, ""), (RequestContext("id-1"), " [id-1]")])
def test_text_is_for_people(context: RequestContext | None, behind: str) -> None:
    line = written("text", context)
    assert line.endswith(f' WARNING transcribed.part: 3 are "gone"\n    µ{behind}')


def test_what_somebody_sends_looks_like_no_line_of_its_own_and_moves_no_cursor() -> None:
    record = logging.LogRecord("part", logging.INFO, "", 0, "GET %s", ("/a\r\nERROR\x1b[2J\x9b1mü",), None)
    line = logs.formatter("text").format(record)
    assert line.endswith("INFO part: GET /a\\r\n    ERROR\\x1b[2J\\x9b1mü")
