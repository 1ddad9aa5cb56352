"""What was found in a segment beside its words: entities, and scores of languages."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add it; in what was kept before, nothing was looked for."""
    op.add_column("segments", sa.Column("findings", sa.Text()))
