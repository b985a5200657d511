"""With which procedures a client dealt that asked for personal data."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column. Of requests of before it is not known: who deals with all sees them."""
    op.execute("ALTER TABLE personal_read ADD COLUMN client_procedures text[]")
