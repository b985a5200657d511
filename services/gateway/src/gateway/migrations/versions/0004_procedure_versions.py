"""Versions of procedures: a dossier is judged by the one of the day it was handed in."""

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = (
    """
    CREATE TABLE known_procedure_version (
        code text NOT NULL,
        version integer NOT NULL,
        name text NOT NULL,
        field_code text,
        field_name text NOT NULL,
        valid_from date,
        valid_to date,
        time_quantity double precision,
        time_unit text,
        service_level text,
        has_fee boolean,
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (code, version)
    )
    """,
    "CREATE INDEX known_procedure_version_changed ON known_procedure_version (changed_at)",
)


def upgrade() -> None:
    """Create the table. Until the catalogue tells a procedure's versions, its names stay known
    from ``known_procedure``."""
    for statement in _TABLES:
        op.execute(statement)
