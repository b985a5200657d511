"""Bulk requests and how far they are; keys and how long they are kept."""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS: tuple[str, ...] = (
    # Who takes it in holds it until ``leased_until``; who crashed, no longer than that.
    """
    CREATE TABLE bulk (
        id uuid PRIMARY KEY,
        client_id text NOT NULL,
        key text NOT NULL,
        state text NOT NULL CHECK (state IN ('running', 'ended', 'broken-off')),
        begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at timestamptz,
        lines integer NOT NULL DEFAULT 0 CHECK (lines >= 0),
        holder uuid,
        leased_until timestamptz,
        UNIQUE (client_id, key),
        CHECK ((holder IS NULL) = (leased_until IS NULL)),
        CHECK ((state = 'running') = (holder IS NOT NULL))
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE bulk_refusal (
        bulk_id uuid NOT NULL REFERENCES bulk ON DELETE CASCADE,
        line integer NOT NULL,
        problem jsonb NOT NULL,
        PRIMARY KEY (bulk_id, line)
    )
    """,
    # Up to which submission keys have been forgotten: retention goes on from there.
    """
    CREATE TABLE forgotten_key (
        id boolean PRIMARY KEY DEFAULT true CHECK (id),
        before uuid NOT NULL
    )
    """,
    "INSERT INTO forgotten_key (before) VALUES ('00000000-0000-0000-0000-000000000000')",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
