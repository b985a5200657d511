"""Due dates of open dossiers, and what has been told of them."""

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = (
    # told: 0 nothing, 1 that it approaches, 2 that it has passed. next_at: of the next notice;
    # none while the time stands still and when all is told.
    """
    CREATE TABLE deadline (
        code text COLLATE "C" PRIMARY KEY,
        due_at timestamptz NOT NULL,
        warn_at timestamptz NOT NULL,
        running boolean NOT NULL,
        told smallint NOT NULL DEFAULT 0 CHECK (told BETWEEN 0 AND 2),
        next_at timestamptz,
        CHECK (running OR next_at IS NULL)
    ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)
    """,
    "CREATE INDEX deadline_next ON deadline (next_at) WHERE next_at IS NOT NULL",
    "CREATE INDEX deadline_running ON deadline (due_at) WHERE running",
)

# Of the dossiers that are there already only the passing of the due date is told: when its approach
# is to be told takes the calendar.
FILL = """
    INSERT INTO deadline (code, due_at, warn_at, running, next_at)
    SELECT code, due_at, due_at, running, CASE WHEN running THEN due_at END
    FROM (
        SELECT code, CAST(body #>> '{state,due_at}' AS timestamptz) AS due_at,
            status IN (1, 2, 4, 6)
                AND NOT coalesce(body -> 'interrupted', CAST('[]' AS jsonb)) ? '5' AS running
        FROM (
            SELECT code, status, CAST(convert_from(body, 'UTF8') AS jsonb) AS body
            FROM dossier WHERE status IN (1, 2, 4, 5, 6, 9)
        ) AS unended
    ) AS dated
    WHERE due_at IS NOT NULL
"""


def upgrade() -> None:
    for statement in (*_TABLES, FILL):
        op.execute(statement)
