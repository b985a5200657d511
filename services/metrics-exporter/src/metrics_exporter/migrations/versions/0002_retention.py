"""Nothing to change: what is erased with a dossier is found by the indexes that there are."""

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    pass
