"""The entry of old dossiers, and the columns that lists of dossiers filter by and show."""

from alembic import op

revision = "0003"
down_revision = "0002"

_TABLES = (
    """
    CREATE TABLE historic_import (
        id uuid PRIMARY KEY,
        client_id text NOT NULL,
        format text NOT NULL CHECK (format IN ('ndjson', 'csv')),
        tell_portal boolean NOT NULL,
        measure boolean NOT NULL,
        state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'ended', 'stopped')),
        started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at timestamptz,
        lines integer NOT NULL DEFAULT 0,
        chain bytea NOT NULL DEFAULT '',
        entered integer NOT NULL DEFAULT 0,
        known integer NOT NULL DEFAULT 0,
        different integer NOT NULL DEFAULT 0,
        refused integer NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX historic_import_started ON historic_import (started_at)",
    """
    CREATE TABLE historic_fault (
        import_id uuid NOT NULL REFERENCES historic_import,
        line integer NOT NULL,
        code text COLLATE "C",
        reason text NOT NULL CHECK (reason IN ('invalid', 'forbidden', 'different')),
        errors jsonb NOT NULL,
        PRIMARY KEY (import_id, line)
    )
    """,
    # What a line said besides the personal data, to know it when it comes again.
    """
    CREATE TABLE historic_dossier (
        code text COLLATE "C" PRIMARY KEY,
        import_id uuid NOT NULL,
        line integer NOT NULL,
        content bytea NOT NULL
    )
    """,
    # line: what a list shows, as JSON; null in rows that were written before there was one.
    """
    ALTER TABLE dossier
        ADD COLUMN submitted_at timestamptz,
        ADD COLUMN due_at timestamptz,
        ADD COLUMN historic boolean NOT NULL DEFAULT false,
        ADD COLUMN line bytea
    """,
    """
    UPDATE dossier SET
        submitted_at = CAST(state ->> 'submitted_at' AS timestamptz),
        due_at = CAST(state ->> 'due_at' AS timestamptz)
    FROM (
        SELECT code AS of, CAST(convert_from(body, 'UTF8') AS jsonb) -> 'state' AS state
        FROM dossier
    ) AS read
    WHERE code = of
    """,
    "CREATE INDEX dossier_by_submission ON dossier (agency, submitted_at, code)",
    """
    CREATE INDEX dossier_by_due_date ON dossier (agency, due_at, code)
    WHERE status IN (1, 2, 4, 5, 6) AND due_at IS NOT NULL
    """,
    "CREATE INDEX dossier_not_historic ON dossier (agency, code) WHERE NOT historic",
)


def upgrade() -> None:
    for statement in _TABLES:
        op.execute(statement)
