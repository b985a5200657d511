"""Completed requests whose level was not reached are augmented later."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add when; only few rows ever have it."""
    op.execute("ALTER TABLE signing_request ADD COLUMN augment_at timestamptz")
    op.execute(
        "CREATE INDEX signing_request_augment ON signing_request (augment_at) "
        "WHERE augment_at IS NOT NULL"
    )
