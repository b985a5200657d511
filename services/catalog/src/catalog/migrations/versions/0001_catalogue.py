"""Procedures, agencies and code lists."""

from alembic import op

from common.tables import create_messaging

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE loaded_data (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    revision integer NOT NULL,
    version text NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE procedure (
    code text COLLATE "C" PRIMARY KEY,
    version integer NOT NULL,
    digest bytea NOT NULL,
    active boolean NOT NULL,
    irregular text,
    field_code text,
    field_name text NOT NULL,
    levels text[],
    folded text NOT NULL,
    brief text NOT NULL,
    body text NOT NULL
);

CREATE TABLE agency (
    code text COLLATE "C" PRIMARY KEY,
    version integer NOT NULL,
    digest bytea NOT NULL,
    active boolean NOT NULL,
    body text NOT NULL
);

CREATE TABLE code_list (
    id text COLLATE "C" PRIMARY KEY,
    brief text NOT NULL,
    body text NOT NULL
);
"""


def upgrade() -> None:
    """Create the tables."""
    create_messaging(op)
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)
