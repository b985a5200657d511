"""Providers that answer later: states of waiting, several signers, batches, callbacks."""

from alembic import op

revision = "0005"
down_revision = "0004"

_STEPS = (
    """
    ALTER TABLE signing_request
        ADD COLUMN options text NOT NULL DEFAULT '{}',
        ADD COLUMN workflow uuid,
        ADD COLUMN place integer NOT NULL DEFAULT 0,
        ADD COLUMN after uuid,
        ADD COLUMN batch uuid,
        ADD COLUMN waits boolean NOT NULL DEFAULT true,
        ADD COLUMN ready boolean NOT NULL DEFAULT true,
        ADD COLUMN source_file text,
        ADD COLUMN provider text,
        ADD COLUMN confirms text,
        ADD COLUMN avoid text,
        ADD COLUMN order_id uuid,
        ADD COLUMN submission text,
        ADD COLUMN asked_at timestamptz,
        ADD COLUMN deadline timestamptz,
        ADD COLUMN sealed_preparation text,
        ADD COLUMN prepared_file text,
        ADD COLUMN result_file text,
        ADD COLUMN level text,
        ADD COLUMN ask_at timestamptz,
        ADD COLUMN status_at timestamptz,
        ADD COLUMN cancel_at timestamptz,
        ADD COLUMN cancel_by text
    """,
    "ALTER TABLE signing_request DROP CONSTRAINT signing_request_state_check",
    """
    ALTER TABLE signing_request ADD CONSTRAINT signing_request_state_check CHECK (state IN (
        'received', 'prepared', 'submitting', 'awaiting-user', 'unknown', 'signed-raw',
        'assembled', 'augmented', 'validated', 'completed', 'rejected-by-user', 'expired',
        'failed', 'cancelled', 'manual-review')) NOT VALID
    """,
    "ALTER TABLE signing_request VALIDATE CONSTRAINT signing_request_state_check",
    "DROP INDEX signing_request_due",
    """
    CREATE INDEX signing_request_due ON signing_request (waits, agency, next_at)
        WHERE worker IS NULL AND ready AND state IN ('received', 'prepared', 'signed-raw',
            'assembled', 'augmented', 'validated')
    """,
    """
    CREATE INDEX signing_request_ask ON signing_request (provider, ask_at)
        WHERE worker IS NULL AND ask_at IS NOT NULL
    """,
    """
    CREATE INDEX signing_request_submission ON signing_request (submission)
        WHERE submission IS NOT NULL
    """,
    """
    CREATE INDEX signing_request_order ON signing_request (order_id) WHERE order_id IS NOT NULL
    """,
    "CREATE INDEX signing_request_after ON signing_request (after) WHERE after IS NOT NULL",
    "CREATE INDEX signing_request_batch ON signing_request (batch) WHERE batch IS NOT NULL",
    """
    CREATE TABLE signing_batch (batch uuid PRIMARY KEY)
    """,
    """
    CREATE TABLE signing_budget (
        name text PRIMARY KEY,
        tokens double precision NOT NULL,
        at timestamptz NOT NULL
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE signing_callback (
        provider text NOT NULL,
        digest bytea NOT NULL,
        submission text,
        order_id uuid,
        bytes integer NOT NULL,
        times integer NOT NULL DEFAULT 1,
        received_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (provider, digest)
    )
    """,
    "CREATE INDEX signing_callback_age ON signing_callback (received_at)",
    "ALTER TABLE desk_action DROP CONSTRAINT desk_action_action_check",
    "ALTER TABLE desk_action DROP CONSTRAINT desk_action_what_check",
    """
    ALTER TABLE desk_action ADD CONSTRAINT desk_action_action_check CHECK (action IN (
        'redrive', 'dismiss', 'retry', 'confirm', 'repeat', 'give-up'))
    """,
    """
    ALTER TABLE desk_action ADD CONSTRAINT desk_action_what_check CHECK (what IN (
        'parked', 'held', 'signing'))
    """,
)


def upgrade() -> None:
    """Add columns, states and tables."""
    for statement in _STEPS:
        op.execute(statement)
