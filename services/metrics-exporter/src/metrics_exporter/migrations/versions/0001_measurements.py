"""Measurements, what became of them, and the items on their way to the monitoring system."""

from alembic import op

from common.tables import create_delivery, create_messaging

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE measurement (
    service text NOT NULL,
    instance text NOT NULL,
    boot text NOT NULL,
    number bigint NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    counts jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'sent', 'empty', 'gap')),
    cause text,
    settled_at timestamptz,
    PRIMARY KEY (service, instance, boot, number)
);
CREATE INDEX measurement_age ON measurement (ended_at);
CREATE INDEX measurement_gaps ON measurement (ended_at) WHERE state = 'gap';

CREATE TABLE maybe_doubled (
    record text PRIMARY KEY,
    reason text NOT NULL,
    settled_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE record_count (
    what text PRIMARY KEY,
    records bigint NOT NULL
) WITH (fillfactor = 50);
"""


def upgrade() -> None:
    """Create the tables."""
    create_messaging(op)
    create_delivery(op)
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
