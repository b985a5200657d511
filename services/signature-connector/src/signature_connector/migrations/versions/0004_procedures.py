"""Of which procedure's dossier a signing request is: rights follow it."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column. Requests of before have none, so only who deals with all may know of them."""
    op.execute("ALTER TABLE signing_request ADD COLUMN procedure text")
