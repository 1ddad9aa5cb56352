"""Jobs: transcriptions in the background."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "jobs",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("media", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("key", sa.Text()),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.BigInteger()),
        sa.Column("ended", sa.BigInteger()),
        sa.Column("audio_seconds", sa.Double(), nullable=False),
        sa.Column("duration", sa.Double()),
        sa.Column("failure", sa.Text()),
        sa.Column("transcript", sa.Text()),
        sa.Column("warnings", sa.Text()),
        sa.Column("not_before", sa.BigInteger()),
        sa.Column("holder", sa.Text()),
        sa.Column("lease_until", sa.BigInteger()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failed_attempts", sa.Integer(), nullable=False),
        sa.UniqueConstraint("owner", "name", name="jobs_owner_name"),
    )
    op.create_index("jobs_state", "jobs", ["state", "number"])
    op.create_index("jobs_owner", "jobs", ["owner", "number"])
    op.create_index("jobs_owner_state", "jobs", ["owner", "state", "number"])
    op.create_index("jobs_media", "jobs", ["owner", "media"])
