"""Under which account the portal was told of a dossier last."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE portal_dossier ADD COLUMN account text")
