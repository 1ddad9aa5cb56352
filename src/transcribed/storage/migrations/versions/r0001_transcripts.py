"""Transcripts, their segments, and the index of their words."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    sqlite = op.get_context().dialect.name == "sqlite"
    key = sa.Integer() if sqlite else sa.BigInteger()
    op.create_table(
        "transcripts",
        sa.Column("key", key, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("recording", sa.Text()),
        sa.Column("ended", sa.BigInteger()),
        sa.Column("audio_seconds", sa.Double(), nullable=False),
    )
    op.create_index("transcripts_source", "transcripts", ["source", "key"])
    op.create_index("transcripts_recording", "transcripts", ["recording", "key"])
    op.create_table(
        "segments",
        sa.Column("id", key, primary_key=True, autoincrement=False),
        sa.Column("start", sa.Double(), nullable=False),
        sa.Column("stop", sa.Double(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("correction", sa.Text()),
        sa.Column("words", sa.Text(), nullable=False),
    )
    if sqlite:
        # The index gets words separated by spaces, which this tokeniser leaves unchanged, because it takes
        # every character beyond ASCII for a letter. The texts themselves are in `segments`.
        op.execute(
            "CREATE VIRTUAL TABLE segment_words USING fts5"
            "(words, content='', columnsize=0, tokenize='ascii')"
        )
    else:
        op.execute("CREATE TABLE segment_words (id bigint PRIMARY KEY, words tsvector NOT NULL)")
        op.execute("CREATE INDEX segment_words_words ON segment_words USING gin (words)")
