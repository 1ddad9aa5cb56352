"""Bringing a database's tables up to date."""

import logging
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from transcribed.errors import ConfigurationError

NEWEST = "0004"
"""The last step."""
VERSION_TABLE = "transcribed_version"
_MADE = {
    "transcripts": "0001",
    "segments": "0001",
    "segment_words": "0001",
    "keys": "0004",
    "key_usage": "0004",
}
"""Our tables, and the step that makes each."""


def migrate(connection: Connection) -> None:
    """Run the steps that are missing, in the connection's transaction: all of them or none.

    Raises ConfigurationError if a newer program made the tables.
    """
    present = _present(connection)
    if present == NEWEST:
        return
    if present is not None and present > NEWEST:
        raise ConfigurationError(
            f"its tables are of a newer version of this program ({present}, not {NEWEST}). Update the "
            "program, or name another place"
        )
    to_be_made = {name for name, step in _MADE.items() if step > (present or "")}
    taken = to_be_made.intersection(inspect(connection).get_table_names())
    if taken:
        raise ConfigurationError(f"another program has a table {min(taken)!r} there. Name another place")
    # It says much, and is imported only when there is something to do.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, NEWEST)


def _present(connection: Connection) -> str | None:
    """The last step that was run, if any was."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return found
