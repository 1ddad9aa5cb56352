"""Bringing a database's tables up to date."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from transcribed.errors import ConfigurationError

_VERSION_TABLE = "transcribed_version"


def migrate(connection: Connection) -> None:
    """Run the steps that are missing, in the connection's transaction: all of them or none.

    Raises ConfigurationError if a newer program made the tables.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, version_table=_VERSION_TABLE)
    scripts = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(connection, opts={"version_table": _VERSION_TABLE})
    present = context.get_current_revision()
    if present == scripts.get_current_head():
        return
    known = {script.revision for script in scripts.walk_revisions()}
    if present is not None and present not in known:
        raise ConfigurationError(
            f"its tables are of a newer version of this program ({present}); update the program, or name "
            "another place"
        )
    command.upgrade(config, "head")
