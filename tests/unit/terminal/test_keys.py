import asyncio
import math
from datetime import UTC, date, datetime, timedelta

import pytest

from transcribed.errors import BadRequest
from transcribed.principal import Role
from transcribed.settings import ServerSettings
from transcribed.storage.keys import KeyUsage, SealedSecret, StoredKey
from transcribed.terminal.keys import NewKey, UsedKey, add_key, used_keys

TODAY = date(2026, 11, 27)
WEEK_AGO = TODAY - timedelta(days=7)


def stored(name: str, last_used: date | None = None) -> StoredKey:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return StoredKey(name, name, Role.READ, SealedSecret(b"", b""), made, last_used=last_used)


def test_what_was_used_with_each_key_is_added_up() -> None:
    busy, idle, reading = stored("busy"), stored("idle"), stored("reading", last_used=TODAY)
    used = [
        KeyUsage("busy", TODAY, 1.5, 2),
        KeyUsage("busy", WEEK_AGO, 10.0, 5),
        KeyUsage("in a file", WEEK_AGO, 3.0, 1),
        KeyUsage("reading", WEEK_AGO, 1.0, 1),
    ]
    assert used_keys([reading, idle, busy], used, TODAY) == [
        UsedKey("busy", busy, KeyUsage("busy", TODAY, 1.5, 2), KeyUsage("busy", TODAY, 11.5, 7), TODAY),
        UsedKey("idle", idle, KeyUsage("idle", TODAY, 0, 0), KeyUsage("idle", TODAY, 0, 0), None),
        UsedKey(
            "in a file",
            None,
            KeyUsage("in a file", TODAY, 0, 0),
            KeyUsage("in a file", TODAY, 3.0, 1),
            WEEK_AGO,
        ),
        UsedKey(
            "reading",
            reading,
            KeyUsage("reading", TODAY, 0, 0),
            KeyUsage("reading", TODAY, 1.0, 1),
            TODAY,
        ),
    ]


@pytest.mark.parametrize(
    "wrong", [{"streams": 2**31}, {"seconds_a_day": math.nan}, {"seconds_a_day": math.inf}]
)
def test_a_limit_that_cannot_be_kept_is_told(wrong: dict[str, float]) -> None:
    with pytest.raises(BadRequest, match="or 0 for no limit"):
        asyncio.run(add_key(ServerSettings(), NewKey("one", Role.READ, **wrong), None))  # type: ignore[arg-type]
