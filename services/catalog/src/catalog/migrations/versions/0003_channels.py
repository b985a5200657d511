"""Channels and statements of agencies with their history, checks, and observed exchanges."""

from alembic import op

revision = "0003"
down_revision = "0002"

_TABLES = """
CREATE TABLE channel (
    agency text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    host text NOT NULL,
    name text,
    registered_by text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    next_check_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agency, id)
);
CREATE INDEX channel_due ON channel (next_check_at);

CREATE TABLE statement (
    agency text COLLATE "C" NOT NULL,
    part text COLLATE "C" NOT NULL,
    content text NOT NULL,
    given_by text NOT NULL,
    given_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agency, part)
);

CREATE TABLE registration_change (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agency text COLLATE "C" NOT NULL,
    thing text NOT NULL CHECK (thing IN ('channel', 'statement')),
    key text NOT NULL,
    action text NOT NULL CHECK (action IN ('put', 'delete')),
    client text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    content text
);
CREATE INDEX registration_change_of ON registration_change (agency, number);

CREATE TABLE channel_check (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agency text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    what text NOT NULL,
    target text NOT NULL,
    state text NOT NULL CHECK (state IN ('met', 'not-met', 'unknown')),
    reason text NOT NULL,
    facts text NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX channel_check_latest ON channel_check (agency, channel, target, what, checked_at DESC);
CREATE INDEX channel_check_age ON channel_check (checked_at);

CREATE TABLE check_turn (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    worker uuid NOT NULL,
    until timestamptz NOT NULL
);

CREATE TABLE exchange_seen (
    agency text COLLATE "C" NOT NULL,
    system text COLLATE "C" NOT NULL,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    PRIMARY KEY (agency, system)
) WITH (fillfactor = 80);

CREATE TABLE exchange_day (
    agency text COLLATE "C" NOT NULL,
    system text COLLATE "C" NOT NULL,
    day date NOT NULL,
    succeeded bigint NOT NULL,
    failed bigint NOT NULL,
    PRIMARY KEY (agency, system, day)
) WITH (fillfactor = 80);
CREATE INDEX exchange_day_age ON exchange_day (day);
"""


def upgrade() -> None:
    """Create the tables."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
