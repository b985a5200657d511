"""What kind of file each upload is; finding one by its content alone."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # All that were taken until now are PDF.
    op.execute(
        "ALTER TABLE uploaded_file ADD COLUMN media_type text NOT NULL DEFAULT 'application/pdf'"
    )
    op.execute("ALTER TABLE uploaded_file ALTER COLUMN media_type DROP DEFAULT")
    op.execute("CREATE INDEX uploaded_file_by_content ON uploaded_file (sha256)")
