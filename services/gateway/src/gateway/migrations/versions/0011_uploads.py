"""Files that arrive in parts, and submissions by their dossier."""

from alembic import op

revision = "0011"
down_revision = "0010"

STATEMENTS: tuple[str, ...] = (
    # ``holder`` is the request that appends now; its hold ends by itself where it has died.
    """
    CREATE TABLE upload (
        id uuid PRIMARY KEY,
        client_id text NOT NULL,
        sha256 text NOT NULL,
        size bigint NOT NULL CHECK (size > 0),
        media_type text NOT NULL,
        arrived bigint NOT NULL DEFAULT 0 CHECK (arrived BETWEEN 0 AND size),
        completed_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL,
        holder uuid,
        held_until timestamptz,
        CHECK ((holder IS NULL) = (held_until IS NULL))
    )
    """,
    "CREATE INDEX upload_of_client ON upload (client_id, sha256)",
    "CREATE INDEX upload_by_expiry ON upload (expires_at)",
    """
    CREATE TABLE upload_part (
        upload_id uuid NOT NULL REFERENCES upload ON DELETE CASCADE,
        start bigint NOT NULL CHECK (start >= 0),
        size bigint NOT NULL CHECK (size > 0),
        name text NOT NULL,
        PRIMARY KEY (upload_id, start)
    )
    """,
    # What a client has pending for a dossier, and what is to be erased with one.
    "CREATE INDEX submission_by_dossier ON submission (dossier_code, id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
