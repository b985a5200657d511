"""Archive timestamps are renewed before the certificate of their authority ends."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add when, until when the newest proves something, and what stands in the way.

    Documents of before are found like new ones: their end is not known yet.
    """
    op.execute(
        "ALTER TABLE signing_request ADD COLUMN renew_at timestamptz, "
        "ADD COLUMN proof_ends timestamptz, ADD COLUMN renewal_trouble text"
    )
    op.execute(
        "CREATE INDEX signing_request_renew ON signing_request (renew_at) "
        "WHERE renew_at IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX signing_request_proof ON signing_request (proof_ends) "
        "WHERE renew_at IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX signing_request_trouble ON signing_request (request_id) "
        "WHERE renewal_trouble IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX signing_request_archived ON signing_request (request_id) "
        "WHERE profile = 'pades-b-lta' AND level = 'b-lta' AND state = 'completed' "
        "AND renew_at IS NULL AND proof_ends IS NULL AND erased_at IS NULL"
    )
