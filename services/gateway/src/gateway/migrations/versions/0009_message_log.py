"""The message log: records, their blocks and timestamps."""

from alembic import op

revision = "0009"
down_revision = "0008"

_MEMBERS = """
        id uuid NOT NULL,
        at timestamptz NOT NULL,
        client_id text NOT NULL,
        agency text NOT NULL,
        form text NOT NULL,
        digest bytea NOT NULL CHECK (octet_length(digest) = 32),
        size bigint NOT NULL,
        status smallint NOT NULL,
        answer_digest bytea NOT NULL CHECK (octet_length(answer_digest) = 32),
        subject text NOT NULL
"""

STATEMENTS: tuple[str, ...] = (
    # Records as the exchanges write them, in no chain: a head on their way would put every commit
    # behind the one before. They stay for seconds.
    f"""
    CREATE TABLE message_pending (
        partition smallint NOT NULL,
        {_MEMBERS},
        PRIMARY KEY (partition, id)
    ) WITH (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0,
            autovacuum_vacuum_cost_delay = 0)
    """,
    # The end of each chain; whoever seals holds its row.
    """
    CREATE TABLE message_chain (
        partition smallint PRIMARY KEY CHECK (partition >= 0),
        records bigint NOT NULL DEFAULT 0,
        link bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
        blocks bigint NOT NULL DEFAULT 0,
        header bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
    ) WITH (fillfactor = 50)
    """,
    # By month of the record's id (UUIDv7), like event_log.
    f"""
    CREATE TABLE message_log (
        partition smallint NOT NULL,
        number bigint NOT NULL CHECK (number >= 1),
        {_MEMBERS},
        hash bytea NOT NULL CHECK (octet_length(hash) = 32),
        link bytea NOT NULL CHECK (octet_length(link) = 32),
        PRIMARY KEY (partition, number, id)
    ) PARTITION BY RANGE (id)
    """,
    "CREATE TABLE message_log_other PARTITION OF message_log DEFAULT",
    "CREATE INDEX message_log_subject ON message_log (subject)",
    "CREATE INDEX message_log_id ON message_log USING brin (id) WITH (pages_per_range = 16)",
    """
    CREATE TABLE message_key (
        key_id text PRIMARY KEY,
        jwk jsonb NOT NULL,
        first_used timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE message_block (
        partition smallint NOT NULL,
        number bigint NOT NULL CHECK (number >= 1),
        first bigint NOT NULL,
        last bigint NOT NULL,
        root bytea NOT NULL,
        link bytea NOT NULL,
        previous bytea NOT NULL,
        sealed_at timestamptz NOT NULL,
        key_id text NOT NULL REFERENCES message_key,
        signature bytea NOT NULL,
        token bytea,
        tsa text,
        stamped_at timestamptz,
        asked_at timestamptz,
        archive text,
        archived_at timestamptz,
        dropped_at timestamptz,
        PRIMARY KEY (partition, number),
        CHECK (last >= first),
        CHECK ((token IS NULL) = (stamped_at IS NULL)),
        CHECK ((archive IS NULL) = (archived_at IS NULL)),
        CHECK (archive IS NULL OR token IS NOT NULL),
        CHECK (dropped_at IS NULL OR archive IS NOT NULL)
    ) WITH (fillfactor = 80)
    """,
    "CREATE UNIQUE INDEX message_block_records ON message_block (partition, last)",
    "CREATE INDEX message_block_sealed ON message_block (partition, sealed_at)",
    """
    CREATE INDEX message_block_unstamped ON message_block (sealed_at, partition, number)
    WHERE token IS NULL
    """,
    # What is sealed is not changed. Nothing here stops the owner of the database; the chain, the
    # signatures and the timestamps show what such a one has done.
    """
    CREATE FUNCTION message_log_stays() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        -- Rows that strayed into the default partition move to their month, and fall with it.
        IF TG_OP = 'DELETE' AND current_setting('message_log.moving', true) = 'yes' THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'the message log is only added to'
            USING ERRCODE = 'integrity_constraint_violation';
    END $$
    """,
    """
    CREATE TRIGGER message_log_stays BEFORE UPDATE OR DELETE ON message_log
    FOR EACH ROW EXECUTE FUNCTION message_log_stays()
    """,
    """
    CREATE TRIGGER message_log_is_not_emptied BEFORE TRUNCATE ON message_log
    FOR EACH STATEMENT EXECUTE FUNCTION message_log_stays()
    """,
    """
    CREATE TRIGGER message_block_is_not_taken_out BEFORE DELETE ON message_block
    FOR EACH ROW EXECUTE FUNCTION message_log_stays()
    """,
    """
    CREATE TRIGGER message_block_is_not_emptied BEFORE TRUNCATE ON message_block
    FOR EACH STATEMENT EXECUTE FUNCTION message_log_stays()
    """,
    """
    CREATE TRIGGER message_block_stays BEFORE UPDATE ON message_block FOR EACH ROW
    WHEN ((OLD.partition, OLD.number, OLD.first, OLD.last, OLD.root, OLD.link, OLD.previous,
           OLD.sealed_at, OLD.key_id, OLD.signature)
          IS DISTINCT FROM
          (NEW.partition, NEW.number, NEW.first, NEW.last, NEW.root, NEW.link, NEW.previous,
           NEW.sealed_at, NEW.key_id, NEW.signature)
          OR (OLD.token IS NOT NULL AND OLD.token IS DISTINCT FROM NEW.token))
    EXECUTE FUNCTION message_log_stays()
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
