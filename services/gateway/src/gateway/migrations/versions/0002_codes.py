"""Numbers of issued dossier codes, and which agencies transferred dossiers are with."""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = (
    # Of one agency and day the last number that was given away; gaps are allowed.
    """
    CREATE TABLE code_counter (
        agency text NOT NULL,
        day date NOT NULL,
        last integer NOT NULL CHECK (last >= 1),
        PRIMARY KEY (agency, day)
    ) WITH (fillfactor = 50)
    """,
    # Where a dossier went; one that was never transferred is with the agency that submitted it.
    """
    CREATE TABLE transferred_dossier (
        dossier_code text PRIMARY KEY,
        agency text NOT NULL,
        step_number integer NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
