"""Of which procedure the dossier of a submission is: rights follow it."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column. It stays empty in rows of before: of steps on their dossiers the dossier
    service judges, which knows every dossier's procedure."""
    op.execute("ALTER TABLE submission ADD COLUMN procedure text")
