"""Entities and language scores of a segment."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; it is NULL for earlier segments."""
    op.add_column("segments", sa.Column("findings", sa.Text()))
