"""How deliveries are looked up."""

from alembic import op

from common.tables import index_delivery

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    index_delivery(op)
