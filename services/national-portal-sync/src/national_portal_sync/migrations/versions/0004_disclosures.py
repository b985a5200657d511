"""Which personal data the portal was given, of whom and when."""

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = (
    """
    CREATE TABLE disclosure (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT now(),
        dossier text COLLATE "C" NOT NULL,
        agency text COLLATE "C" NOT NULL,
        account text,
        version bigint NOT NULL,
        fields text[] NOT NULL,
        outcome text NOT NULL
    )
    """,
    "CREATE INDEX disclosure_of ON disclosure (dossier, id)",
    "CREATE INDEX disclosure_at ON disclosure (at)",
)


def upgrade() -> None:
    for statement in _TABLES:
        op.execute(statement)
