"""Access keys, and what each used on each day."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False, unique=True),
        sa.Column("streams", sa.Integer()),
        sa.Column("seconds_a_day", sa.Double()),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("rotated", sa.BigInteger()),
        sa.Column("last_used", sa.Integer()),
    )
    op.create_table(
        "key_usage",
        sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("audio_seconds", sa.Double(), nullable=False),
        sa.Column("streams", sa.Integer(), nullable=False),
    )
