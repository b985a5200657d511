"""What operators did at the desk."""

from alembic import op

from common.tables import create_desk

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    create_desk(op)
