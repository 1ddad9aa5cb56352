"""Migration of a database's tables."""

import logging
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from transcribed.errors import ConfigurationError

NEWEST = "0007"
"""The newest revision."""
VERSION_TABLE = "transcribed_version"
_MADE = {
    "transcripts": "0001",
    "segments": "0001",
    "segment_words": "0001",
    "keys": "0004",
    "key_usage": "0004",
    "jobs": "0007",
}
"""The tables of this program, and the revision that creates each."""


def migrate(connection: Connection) -> None:
    """Run the missing migrations in the connection's transaction.

    Raises ConfigurationError if a newer program, or another program, made the tables.
    """
    present = _present(connection)
    if present == NEWEST:
        return
    if present is not None and present > NEWEST:
        raise ConfigurationError(
            f"its tables are of a newer version of this program ({present}, not {NEWEST}). Update the "
            "program, or name another place"
        )
    to_be_made = {name for name, revision in _MADE.items() if revision > (present or "")}
    taken = to_be_made.intersection(inspect(connection).get_table_names())
    if taken:
        raise ConfigurationError(f"another program has a table {min(taken)!r} there. Name another place")
    # Alembic logs much, and is slow to import.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, NEWEST)


def _present(connection: Connection) -> str | None:
    """The revision of the tables; None if there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return found
