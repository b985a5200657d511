"""What personal data is sealed and indexed with, since when a dossier has ended, who asked why."""

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS = (
    # Empty: not looked at yet. The worker that keeps keys current fills it in.
    """
    ALTER TABLE dossier
        ADD COLUMN status_at timestamptz,
        ADD COLUMN seal_key text COLLATE "C" NOT NULL DEFAULT '',
        ADD COLUMN index_key text COLLATE "C" NOT NULL DEFAULT '',
        ADD COLUMN erased_at timestamptz
    """,
    "CREATE INDEX dossier_by_keys ON dossier (seal_key, index_key, code) WHERE erased_at IS NULL",
    """
    CREATE INDEX dossier_ended ON dossier (status, status_at, code)
    WHERE erased_at IS NULL AND status IN (3, 7, 8, 9, 10)
    """,
    """
    CREATE TABLE dossier_person (
        digest bytea NOT NULL,
        key_id text COLLATE "C" NOT NULL,
        kind text COLLATE "C" NOT NULL,
        code text COLLATE "C" NOT NULL,
        PRIMARY KEY (digest, key_id, kind, code)
    )
    """,
    "CREATE INDEX dossier_person_of ON dossier_person (code)",
    # A search is of no dossier before it has found some.
    """
    ALTER TABLE personal_read
        ALTER COLUMN dossier DROP NOT NULL,
        ALTER COLUMN agency DROP NOT NULL,
        ADD COLUMN purpose text,
        ADD COLUMN asked text,
        ADD COLUMN found integer
    """,
    "CREATE INDEX personal_read_by ON personal_read (client_id, id)",
    "CREATE INDEX personal_read_at ON personal_read (read_at)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
