"""Versions of every entry with their validity, what is ranked and filtered, the log of imports."""

import hashlib
from typing import Any

import orjson
from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"

_TABLES = """
CREATE SEQUENCE catalogue_change;

CREATE TABLE entry_version (
    kind text NOT NULL CHECK (kind IN ('procedure', 'agency', 'code-list')),
    code text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    digest bytea NOT NULL,
    origin text NOT NULL CHECK (origin IN ('package', 'national', 'operator')),
    valid_from date,
    valid_to date,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    change bigint NOT NULL DEFAULT nextval('catalogue_change'),
    body text NOT NULL,
    PRIMARY KEY (kind, code, version)
);

CREATE UNIQUE INDEX entry_version_by_change ON entry_version (change);

ALTER TABLE procedure
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN words tsvector,
    ADD COLUMN folded_name text NOT NULL DEFAULT '',
    ADD COLUMN folded_code text NOT NULL DEFAULT '',
    ADD COLUMN audiences text[],
    ADD COLUMN topics text[],
    ADD COLUMN agencies text[],
    ADD COLUMN service_level text;

CREATE INDEX procedure_changed ON procedure (changed_at);

CREATE INDEX procedure_words ON procedure USING gin (words);

ALTER TABLE agency ADD COLUMN changed_at timestamptz NOT NULL DEFAULT clock_timestamp();

ALTER TABLE code_list
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN version integer NOT NULL DEFAULT 0;

CREATE TABLE import_run (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('portal', 'file', 'rest')),
    stage text NOT NULL,
    cursor text NOT NULL DEFAULT '',
    read integer NOT NULL DEFAULT 0,
    changed integer NOT NULL DEFAULT 0,
    unchanged integer NOT NULL DEFAULT 0,
    faults integer NOT NULL DEFAULT 0,
    asked_by text,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    error text,
    holder uuid,
    held_until timestamptz,
    next_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX import_run_by_start ON import_run (started_at DESC, id DESC);

CREATE UNIQUE INDEX import_run_of_portal ON import_run (kind)
    WHERE kind = 'portal' AND ended_at IS NULL;

CREATE TABLE import_fault (
    run uuid NOT NULL REFERENCES import_run ON DELETE CASCADE,
    place text COLLATE "C" NOT NULL,
    code text,
    reason text NOT NULL,
    PRIMARY KEY (run, place)
);
"""

_READ = {
    "procedure": "SELECT code, version, body FROM procedure",
    "agency": "SELECT code, version, body FROM agency",
    "code-list": "SELECT id AS code, 1 AS version, body FROM code_list",
}
_KEEP = text(
    """
    INSERT INTO entry_version (kind, code, version, digest, origin, body)
    VALUES (:kind, :code, :version, :digest, 'package', :body)
    """
)


def upgrade() -> None:
    """Create the tables; what is stored so far becomes the first version known."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
    connection = op.get_bind()
    for kind, read in _READ.items():
        for first in _rows(connection.execute(text(read)).all(), kind):
            connection.execute(_KEEP, first)


def _rows(found: Any, kind: str) -> Any:
    rows = []
    for row in found:
        content = orjson.loads(row.body)
        if kind != "code-list":
            del content["version"]
        plain = orjson.dumps(_stated(content), option=orjson.OPT_SORT_KEYS)
        rows.append(
            {
                "kind": kind,
                "code": row.code,
                "version": row.version,
                "digest": hashlib.sha256(plain).digest(),
                "body": orjson.dumps(content).decode(),
            }
        )
    # In batches: one statement for each row would take minutes on a slow connection.
    return [rows[at : at + 500] for at in range(0, len(rows), 500)]


def _stated(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stated(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_stated(one) for one in value]
    return value
