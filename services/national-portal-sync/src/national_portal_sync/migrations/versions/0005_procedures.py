"""Of which procedure's dossier data was given away: rights follow it."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column. Of what was given away before it is not known: who deals with all sees it."""
    op.execute("ALTER TABLE disclosure ADD COLUMN procedure text")
