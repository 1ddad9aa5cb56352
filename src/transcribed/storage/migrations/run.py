"""Bringing a database's tables up to date."""

import logging
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from transcribed.errors import ConfigurationError

NEWEST = "0003"
"""The last step."""
VERSION_TABLE = "transcribed_version"
_OURS = frozenset({"transcripts", "segments", "segment_words"})


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
    taken = _OURS.intersection(inspect(connection).get_table_names()) if present is None else ()
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
