"""The tables that messaging and delivery need, for the services' own migrations to create.

Frozen once released: a change comes as a further function that later migrations call.
"""

from typing import Any

MESSAGING_1 = """
CREATE TABLE outbox_epoch (
    epoch integer NOT NULL DEFAULT 1,
    one boolean PRIMARY KEY DEFAULT true CHECK (one)
);
INSERT INTO outbox_epoch DEFAULT VALUES;

CREATE TABLE outbox_stream (
    stream text PRIMARY KEY,
    sequence bigint NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE outbox_part (part smallint PRIMARY KEY);
INSERT INTO outbox_part (part) SELECT generate_series(0, 15);

CREATE TABLE event_log (
    event_id uuid NOT NULL,
    type text NOT NULL,
    stream text,
    epoch integer,
    sequence bigint,
    body bytea NOT NULL,
    PRIMARY KEY (event_id)
) PARTITION BY RANGE (event_id);
CREATE TABLE event_log_other PARTITION OF event_log DEFAULT;
CREATE INDEX event_log_stream ON event_log (stream, sequence) WHERE stream IS NOT NULL;

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    part smallint NOT NULL,
    event_id uuid NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outbox_by_part ON outbox (part, id);

CREATE TABLE position (
    consumer text NOT NULL,
    stream text NOT NULL,
    last bigint NOT NULL,
    PRIMARY KEY (consumer, stream)
) WITH (fillfactor = 80);

CREATE TABLE attachment (
    consumer text PRIMARY KEY,
    seen_at timestamptz,
    missing_since timestamptz
);

CREATE TABLE inbox (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    PRIMARY KEY (event_id, consumer)
) PARTITION BY RANGE (event_id);
CREATE TABLE inbox_other PARTITION OF inbox DEFAULT;

CREATE TABLE parked (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer text NOT NULL,
    stream text,
    sequence bigint,
    event_id uuid NOT NULL,
    type text,
    body bytea NOT NULL,
    reason text NOT NULL CHECK (reason IN ('early', 'failed', 'undecodable')),
    error text,
    attempts integer NOT NULL DEFAULT 0,
    parked_at timestamptz NOT NULL DEFAULT now(),
    next_at timestamptz
);
CREATE UNIQUE INDEX parked_once ON parked (consumer, event_id);
CREATE INDEX parked_in_stream ON parked (consumer, stream, sequence) WHERE stream IS NOT NULL;
CREATE INDEX parked_due ON parked (consumer, next_at) WHERE next_at IS NOT NULL;
"""

DELIVERY_1 = """
CREATE TABLE delivery_worker (
    worker uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE TABLE delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partner text COLLATE "C" NOT NULL,
    lane text COLLATE "C" NOT NULL DEFAULT 'live',
    agency text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    body bytea NOT NULL,
    waits boolean NOT NULL DEFAULT true,
    traceparent text,
    state text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'sending', 'unknown', 'held')),
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    worker uuid,
    sent_version bigint,
    maybe_doubled boolean NOT NULL DEFAULT false,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (partner, kind, key)
) WITH (fillfactor = 80, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.02,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX delivery_due ON delivery (partner, lane, agency, next_at, id)
    WHERE state IN ('due', 'unknown');
CREATE INDEX delivery_subject ON delivery (partner, subject, id);
CREATE INDEX delivery_sending ON delivery (worker) WHERE state = 'sending';
CREATE INDEX delivery_held ON delivery (partner, id) WHERE state = 'held';
"""

# Of the indexes one alone serves each look-up (``common.delivery.rows``).
DELIVERY_2 = """
CREATE INDEX delivery_ready ON delivery (lane, agency, next_at, id)
    WHERE state IN ('due', 'unknown');
CREATE INDEX delivery_of_subject ON delivery (subject);
DROP INDEX delivery_due;
DROP INDEX delivery_subject;
"""

DESK_1 = """
CREATE TABLE desk_action (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    client_id text NOT NULL,
    action text NOT NULL CHECK (action IN ('redrive', 'dismiss', 'retry')),
    what text NOT NULL CHECK (what IN ('parked', 'held')),
    item bigint NOT NULL,
    queue text NOT NULL,
    agency text,
    subject text,
    sequence bigint,
    event_id uuid,
    cause text,
    reason text NOT NULL
);
"""


def create_messaging(op: Any) -> None:
    """Outbox, event log, positions, inbox and parking."""
    _execute(op, MESSAGING_1)


def create_delivery(op: Any) -> None:
    """Durable calls to partners."""
    _execute(op, DELIVERY_1)


def index_delivery(op: Any) -> None:
    """Indexes of which each look-up among the deliveries can take only one."""
    _execute(op, DELIVERY_2)


def create_desk(op: Any) -> None:
    """What operators did with parked events and held deliveries."""
    _execute(op, DESK_1)


def _execute(op: Any, script: str) -> None:
    for statement in script.split(";\n"):
        if statement.strip():
            op.execute(statement)
