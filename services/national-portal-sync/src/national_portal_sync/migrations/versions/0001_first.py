"""Messaging, calls to the portal, and what the portal is known to have."""

from alembic import op

from common.tables import create_delivery, create_messaging

revision = "0001"
down_revision = None


def upgrade() -> None:
    create_messaging(op)
    create_delivery(op)
    op.execute(
        """
        CREATE TABLE portal_dossier (
            code text PRIMARY KEY,
            agency text NOT NULL,
            known boolean NOT NULL DEFAULT false,
            sent_version bigint,
            sent_status text,
            sent_at timestamptz,
            steps integer NOT NULL DEFAULT 0,
            step_sent_at timestamptz,
            maybe_doubled integer[] NOT NULL DEFAULT '{}'
        ) WITH (fillfactor = 80)
        """
    )
