from datetime import UTC, date, datetime, timedelta

from transcribed.principal import Role
from transcribed.storage.keys import KeyUsage, SealedSecret, StoredKey
from transcribed.terminal.keys import UsedKey, used_keys

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
