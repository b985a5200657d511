"""Requests are found by their dossier, to be erased with it."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE signing_request ADD COLUMN erased_at timestamptz")
    op.execute(
        "CREATE INDEX signing_request_of ON signing_request (dossier_code) "
        "WHERE dossier_code IS NOT NULL"
    )
