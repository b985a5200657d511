"""Second secrets, used assertions and revoked tokens."""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS: tuple[str, ...] = (
    # seed_hash: the secret that the settings gave last. What operators did to secrets since then
    # outlasts a restart. switched_off_at: by an operator, whatever the settings say.
    """
    ALTER TABLE client
        ADD COLUMN second_hash text NOT NULL DEFAULT '',
        ADD COLUMN second_at timestamptz,
        ADD COLUMN seed_hash text,
        ADD COLUMN switched_off_at timestamptz,
        ADD COLUMN changed_at timestamptz
    """,
    "UPDATE client SET seed_hash = secret_hash",
    """
    CREATE TABLE used_assertion (
        client_id text NOT NULL,
        jti text NOT NULL,
        expires_at timestamptz NOT NULL,
        PRIMARY KEY (client_id, jti)
    )
    """,
    "CREATE INDEX used_assertion_expires ON used_assertion (expires_at)",
    """
    CREATE TABLE revoked_token (
        jti text PRIMARY KEY,
        client_id text NOT NULL,
        revoked_at timestamptz NOT NULL DEFAULT now(),
        expires_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX revoked_token_expires ON revoked_token (expires_at)",
    "CREATE INDEX revoked_token_of_client ON revoked_token (client_id)",
    # One number says whether anything has changed, so that every process may ask often. Its row
    # is the last thing that a writer locks, and holds other writers up until it has committed:
    # who reads a number sees all that belongs to it.
    "CREATE TABLE registry_edition (one boolean PRIMARY KEY DEFAULT true CHECK (one), number bigint NOT NULL)",  # noqa: E501
    "INSERT INTO registry_edition (number) VALUES (1)",
    """
    CREATE FUNCTION next_registry_edition() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE registry_edition SET number = number + 1;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER client_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON client
    FOR EACH STATEMENT EXECUTE FUNCTION next_registry_edition()
    """,
    """
    CREATE TRIGGER revoked_token_changed AFTER INSERT ON revoked_token
    FOR EACH STATEMENT EXECUTE FUNCTION next_registry_edition()
    """,
    # Tokens that were issued before a change of rights are void for services that only see them.
    """
    CREATE FUNCTION stamp_changed_rights() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (NEW.scopes, NEW.agencies, NEW.procedures, NEW.active, NEW.switched_off_at, NEW.sandbox)
           IS DISTINCT FROM
           (OLD.scopes, OLD.agencies, OLD.procedures, OLD.active, OLD.switched_off_at, OLD.sandbox)
        THEN NEW.changed_at = clock_timestamp();
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER client_rights_changed BEFORE UPDATE ON client
    FOR EACH ROW EXECUTE FUNCTION stamp_changed_rights()
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
