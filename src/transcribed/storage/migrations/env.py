"""Alembic's environment script: it runs the missing migrations in the caller's transaction."""

from alembic import context

from transcribed.storage.migrations.run import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
