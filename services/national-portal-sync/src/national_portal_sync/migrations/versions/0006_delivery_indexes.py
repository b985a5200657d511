"""How deliveries are looked up."""

from alembic import op

from common.tables import index_delivery

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    index_delivery(op)
