"""Dossiers, their steps, and who read personal data."""

from alembic import op

from common.tables import create_messaging

revision = "0001"
down_revision = None

_TABLES = (
    # Codes compare by bytes (C): then an agency's subtree is one range of an index.
    """
    CREATE TABLE dossier (
        code text COLLATE "C" PRIMARY KEY,
        agency text COLLATE "C" NOT NULL,
        procedure text COLLATE "C" NOT NULL,
        channel text NOT NULL,
        status smallint NOT NULL CHECK (status BETWEEN 1 AND 10),
        version integer NOT NULL CHECK (version >= 1),
        body bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX dossier_by_agency ON dossier (agency, code)",
    "CREATE INDEX dossier_by_status ON dossier (status, agency, code)",
    "CREATE INDEX dossier_by_procedure ON dossier (procedure, agency, code)",
    """
    CREATE TABLE dossier_step (
        code text COLLATE "C" NOT NULL,
        number integer NOT NULL CHECK (number >= 1),
        body bytea NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (code, number)
    )
    """,
    """
    CREATE TABLE personal_read (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        read_at timestamptz NOT NULL DEFAULT now(),
        form text NOT NULL,
        dossier text COLLATE "C" NOT NULL,
        agency text COLLATE "C" NOT NULL,
        client_id text NOT NULL,
        client_agencies text[] NOT NULL,
        request_id text NOT NULL,
        fields text[] NOT NULL,
        status smallint NOT NULL
    )
    """,
    "CREATE INDEX personal_read_of ON personal_read (dossier, read_at)",
)


def upgrade() -> None:
    create_messaging(op)
    for statement in _TABLES:
        op.execute(statement)
