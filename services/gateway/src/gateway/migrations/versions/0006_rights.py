"""Clients with procedures, keys, certificates, an outside issuer, a sandbox mark and limits."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE client
            ADD COLUMN procedures text[] NOT NULL DEFAULT '{*}',
            ADD COLUMN keys jsonb NOT NULL DEFAULT '[]',
            ADD COLUMN certificates text[] NOT NULL DEFAULT '{}',
            ADD COLUMN issuer text,
            ADD COLUMN subject text,
            ADD COLUMN sandbox boolean NOT NULL DEFAULT false,
            ADD COLUMN per_second double precision,
            ADD COLUMN burst integer,
            ADD COLUMN per_day integer,
            ADD COLUMN void_before timestamptz,
            ADD CHECK ((issuer IS NULL) = (subject IS NULL))
        """
    )
    op.execute(
        "CREATE UNIQUE INDEX client_of_issuer ON client (issuer, subject) WHERE issuer IS NOT NULL"
    )
