"""Clients, what is known of the catalogue, submissions and uploaded files."""

from alembic import op

from common.tables import create_messaging

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE client (
        client_id text PRIMARY KEY,
        secret_hash text NOT NULL,
        scopes text[] NOT NULL,
        agencies text[] NOT NULL,
        active boolean NOT NULL DEFAULT true
    )
    """,
    """
    CREATE TABLE known_procedure (
        code text PRIMARY KEY,
        name text NOT NULL,
        field_code text,
        field_name text NOT NULL,
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE INDEX known_procedure_changed ON known_procedure (changed_at)",
    """
    CREATE TABLE known_edition (
        revision integer PRIMARY KEY,
        procedures integer NOT NULL,
        agencies integer NOT NULL
    )
    """,
    """
    CREATE TABLE known_agency (
        code text PRIMARY KEY,
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE INDEX known_agency_changed ON known_agency (changed_at)",
    """
    CREATE TABLE submission (
        id uuid PRIMARY KEY,
        client_id text NOT NULL,
        agency text NOT NULL,
        dossier_code text NOT NULL,
        kind text NOT NULL,
        key text,
        fingerprint text NOT NULL,
        state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'applied', 'refused')),
        received_at timestamptz NOT NULL,
        decided_at timestamptz,
        step_number integer,
        flagged text,
        problem jsonb,
        traceparent text,
        request_id text,
        CHECK ((state = 'pending') = (decided_at IS NULL)),
        CHECK ((state = 'refused') = (problem IS NOT NULL))
    ) WITH (fillfactor = 80)
    """,
    # A key is one request of its client for good.
    """
    CREATE UNIQUE INDEX submission_by_key ON submission (client_id, key) WHERE key IS NOT NULL
    """,
    # A dossier code is taken as long as its submission is not refused.
    """
    CREATE UNIQUE INDEX submission_of_dossier ON submission (dossier_code)
    WHERE kind = 'submit' AND state <> 'refused'
    """,
    # Without a key the content itself is the key, also after a refusal.
    """
    CREATE UNIQUE INDEX submission_by_content
    ON submission (dossier_code, client_id, fingerprint) WHERE kind = 'submit' AND key IS NULL
    """,
    "CREATE INDEX submission_of_client ON submission (client_id, id)",
    """
    CREATE INDEX submission_not_applied ON submission (client_id, state, id)
    WHERE state <> 'applied'
    """,
    """
    CREATE TABLE uploaded_file (
        client_id text NOT NULL,
        sha256 text NOT NULL,
        size bigint NOT NULL,
        uploaded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (client_id, sha256)
    )
    """,
)


def upgrade() -> None:
    create_messaging(op)
    for statement in TABLES:
        op.execute(statement)
