"""The owner of each transcript. Existing transcripts get the empty owner."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add it; an id is unique among one owner's transcripts."""
    if op.get_context().dialect.name == "sqlite":
        _rebuild()
    else:
        op.add_column("transcripts", sa.Column("owner", sa.Text(), nullable=False, server_default=""))
        op.drop_constraint("transcripts_id_key", "transcripts")
        op.create_unique_constraint("transcripts_owner_id", "transcripts", ["owner", "id"])
        op.drop_index("transcripts_recording", "transcripts")
    op.create_index("transcripts_owner", "transcripts", ["owner", "key"])
    op.create_index("transcripts_recording", "transcripts", ["recording", "owner", "key"])


def _rebuild() -> None:
    """SQLite takes no constraint from a table: that of the id goes with the table that has it."""
    op.create_table(
        "transcripts_of_owners",
        sa.Column("key", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("owner", sa.Text(), nullable=False, server_default=""),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("recording", sa.Text()),
        sa.Column("ended", sa.BigInteger()),
        sa.Column("audio_seconds", sa.Double(), nullable=False),
        sa.UniqueConstraint("owner", "id", name="transcripts_owner_id"),
    )
    op.execute(
        "INSERT INTO transcripts_of_owners "
        "(key, id, source, engine, language, started, recording, ended, audio_seconds) "
        "SELECT key, id, source, engine, language, started, recording, ended, audio_seconds "
        "FROM transcripts"
    )
    op.drop_table("transcripts")
    op.rename_table("transcripts_of_owners", "transcripts")
    op.create_index("transcripts_source", "transcripts", ["source", "key"])
