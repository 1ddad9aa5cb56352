"""The name of the model that recognised a segment. Existing segments have none."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column `model` to the segments."""
    op.add_column("segments", sa.Column("model", sa.Text()))
