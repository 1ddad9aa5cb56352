"""The channel in which a segment was said."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; it is NULL (unknown) for earlier segments."""
    op.add_column("segments", sa.Column("channel", sa.Integer()))
