"""Signing requests, the workers that have them in hand, and the evidence."""

from alembic import op

from common.tables import create_messaging

revision = "0001"
down_revision = None

_TABLES = (
    """
    CREATE TABLE signing_request (
        request_id uuid PRIMARY KEY,
        client text NOT NULL,
        dossier_code text,
        agency text NOT NULL,
        document_id text NOT NULL,
        document_name text NOT NULL,
        file text NOT NULL,
        ca_name text NOT NULL,
        sealed_user text NOT NULL,
        profile text NOT NULL,
        created_at timestamptz NOT NULL,
        state text NOT NULL CHECK (state IN (
            'received', 'prepared', 'submitting', 'signed-raw', 'validated', 'completed',
            'rejected-by-user', 'expired', 'failed', 'cancelled', 'manual-review')),
        attempts integer NOT NULL DEFAULT 0,
        submissions integer NOT NULL DEFAULT 0,
        prepared_at timestamptz,
        transaction_id text,
        serial_number text,
        sealed_certificate text,
        returned_file text,
        returned_at timestamptz,
        signed_at timestamptz,
        outcome text,
        evidence_count integer NOT NULL,
        evidence_head bytea NOT NULL,
        traceparent text,
        correlation text,
        causation uuid,
        next_at timestamptz NOT NULL DEFAULT now(),
        worker uuid,
        updated_at timestamptz NOT NULL DEFAULT now(),
        CHECK (state <> 'submitting' OR worker IS NOT NULL)
    ) WITH (fillfactor = 70, autovacuum_vacuum_threshold = 1000,
            autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)
    """,
    """
    CREATE INDEX signing_request_due ON signing_request (agency, next_at)
        WHERE worker IS NULL AND state IN ('received', 'prepared', 'signed-raw', 'validated')
    """,
    """
    CREATE INDEX signing_request_in_hand ON signing_request (worker) WHERE worker IS NOT NULL
    """,
    """
    CREATE INDEX signing_request_held ON signing_request (created_at, request_id)
        WHERE state = 'manual-review'
    """,
    """
    CREATE TABLE signing_agency (
        agency text PRIMARY KEY,
        served_at timestamptz NOT NULL DEFAULT '-infinity'
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE signing_worker (
        worker uuid PRIMARY KEY,
        seen_at timestamptz NOT NULL DEFAULT now()
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE signing_evidence (
        request_id uuid NOT NULL,
        number integer NOT NULL,
        body bytea NOT NULL,
        digest bytea NOT NULL,
        PRIMARY KEY (request_id, number)
    )
    """,
    """
    CREATE FUNCTION signing_evidence_stays() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'evidence is only ever added to';
    END $$
    """,
    """
    CREATE TRIGGER signing_evidence_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON signing_evidence
        FOR EACH STATEMENT EXECUTE FUNCTION signing_evidence_stays()
    """,
)


def upgrade() -> None:
    """Create the tables."""
    create_messaging(op)
    for statement in _TABLES:
        op.execute(statement)
