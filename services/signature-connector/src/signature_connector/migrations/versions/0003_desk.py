"""What operators did at the desk."""

from alembic import op

from common.tables import create_desk

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    create_desk(op)
