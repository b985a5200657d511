"""Reconciliation with the portal, questions from it, and what operators did at the desk."""

from alembic import op

from common.tables import create_desk

revision = "0003"
down_revision = "0002"

_TABLES = """
ALTER TABLE portal_dossier ADD COLUMN day date;
CREATE INDEX portal_dossier_of_day ON portal_dossier (agency, day, code) WHERE day IS NOT NULL;

CREATE TABLE sent_snapshot (
    code text PRIMARY KEY,
    version bigint NOT NULL,
    body bytea NOT NULL
);

CREATE TABLE reconciliation (
    id uuid PRIMARY KEY,
    agency text NOT NULL,
    day date NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    scheduled_on date,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done')),
    place text NOT NULL DEFAULT '',
    started_at timestamptz,
    finished_at timestamptz,
    worker uuid,
    leased_until timestamptz,
    next_at timestamptz NOT NULL DEFAULT now(),
    failures integer NOT NULL DEFAULT 0,
    error text,
    checked integer NOT NULL DEFAULT 0,
    agreed integer NOT NULL DEFAULT 0,
    on_the_way integer NOT NULL DEFAULT 0,
    with_steps integer NOT NULL DEFAULT 0,
    healed integer NOT NULL DEFAULT 0,
    listed integer,
    compared text[] NOT NULL DEFAULT '{}',
    not_shown text[] NOT NULL DEFAULT '{}',
    sha256 text
);
CREATE UNIQUE INDEX reconciliation_open ON reconciliation (agency, day) WHERE state <> 'done';
CREATE UNIQUE INDEX reconciliation_scheduled ON reconciliation (agency, day, scheduled_on)
    WHERE scheduled_on IS NOT NULL;
CREATE INDEX reconciliation_due ON reconciliation (next_at) WHERE state <> 'done';

CREATE TABLE reconciliation_difference (
    run uuid NOT NULL REFERENCES reconciliation,
    code text NOT NULL,
    kind text NOT NULL,
    fields text[] NOT NULL DEFAULT '{}',
    expected_status text,
    found_status text,
    expected_sha256 text,
    found_sha256 text,
    healing text NOT NULL,
    reason text,
    PRIMARY KEY (run, code, kind)
);

CREATE TABLE reconciliation_healing (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run uuid NOT NULL REFERENCES reconciliation,
    code text NOT NULL,
    version bigint NOT NULL,
    reason text NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz
);
CREATE INDEX reconciliation_healing_of_code ON reconciliation_healing (code, version);

CREATE TABLE portal_question (
    id text PRIMARY KEY,
    agency text NOT NULL,
    dossier_code text,
    procedure_code text,
    asked_at timestamptz,
    fetched_at timestamptz NOT NULL DEFAULT now(),
    sealed text NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'answered', 'told')),
    answer_sha256 text,
    answered_by text,
    answered_at timestamptz,
    told_at timestamptz
);
CREATE INDEX portal_question_of_agency ON portal_question (agency, id)
"""


def upgrade() -> None:
    for statement in _TABLES.split(";\n"):
        op.execute(statement)
    create_desk(op)
