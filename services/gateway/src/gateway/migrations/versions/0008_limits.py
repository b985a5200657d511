"""Rates and quotas that hold over replicas, and refusals that were audited."""

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS: tuple[str, ...] = (
    # Leases are taken many times a second and are worth nothing after a crash: no log is written
    # for them, and buckets that are gone are full ones.
    """
    CREATE UNLOGGED TABLE rate_bucket (
        key text PRIMARY KEY,
        per_second double precision NOT NULL,
        burst integer NOT NULL,
        tokens double precision NOT NULL,
        granted integer NOT NULL,
        at timestamptz NOT NULL
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE day_quota (
        client_id text NOT NULL,
        day date NOT NULL,
        per_day integer NOT NULL,
        taken integer NOT NULL,
        granted integer NOT NULL,
        PRIMARY KEY (client_id, day)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE refusal (
        id uuid PRIMARY KEY,
        at timestamptz NOT NULL,
        client_id text,
        claimed text,
        address text,
        method text NOT NULL,
        route text NOT NULL,
        status smallint NOT NULL,
        type text NOT NULL,
        request_id text NOT NULL,
        repeated integer NOT NULL
    ) PARTITION BY RANGE (id)
    """,
    "CREATE TABLE refusal_other PARTITION OF refusal DEFAULT",
    "CREATE INDEX refusal_of_client ON refusal (client_id, id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
