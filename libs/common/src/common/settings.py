"""Settings, small classes per concern; a service composes those it needs.

A service's class inherits the concerns and sets its prefix::

    class Settings(DatabaseSettings, TransportSettings):
        model_config = service_config("DOSSIER_")

Every value can also come from a file of the same name (lower or upper case) in the folder that
``LIENTHONG_SECRETS_DIR`` names, so that secrets need not stand in the environment.
"""

import os
import re
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as PydanticSettingsError

S = TypeVar("S", bound=BaseSettings)

SECRETS_DIR = "LIENTHONG_SECRETS_DIR"


class SettingsError(Exception):
    """A setting is missing or malformed; the message names each, never its value."""


def service_config(prefix: str) -> SettingsConfigDict:
    """The configuration of a service's settings class."""
    return SettingsConfigDict(
        env_prefix=prefix,
        secrets_dir=os.environ.get(SECRETS_DIR),
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )


def load(kind: type[S]) -> S:
    """Read a settings class from the environment and secret files.

    Raises:
        SettingsError: with one line for each missing or malformed setting.
    """
    prefix = kind.model_config.get("env_prefix", "")
    try:
        return kind()
    except ValidationError as error:
        lines = [
            f"{prefix}{'_'.join(str(part) for part in fault['loc'])}".upper() + f": {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        ]
    except PydanticSettingsError as error:  # a value of several parts that is not JSON
        named = re.search(r'field "(\w+)"', str(error))
        lines = [f"{prefix}{named[1] if named else '?'}".upper() + ": is not valid JSON"]
    raise SettingsError("settings are not usable:\n  " + "\n  ".join(lines))


class DatabaseSettings(BaseSettings):
    """The service's own database."""

    database_url: SecretStr
    """``postgresql+asyncpg://role:password@host:port/database``"""
    database_pool: int = Field(default=8, ge=1, le=100)

    @field_validator("database_url")
    @classmethod
    def _checked_database_url(cls, url: SecretStr) -> SecretStr:
        return _with_scheme(url, "postgresql+asyncpg")


class TransportSettings(BaseSettings):
    """The broker."""

    amqp_url: SecretStr | None = None
    """``amqps://user:password@host:port/vhost``; several hosts of a cluster, comma-separated."""

    @field_validator("amqp_url")
    @classmethod
    def _checked_amqp_url(cls, urls: SecretStr | None) -> SecretStr | None:
        for url in urls.get_secret_value().split(",") if urls else ():
            _with_scheme(SecretStr(url.strip()), "amqp", "amqps")
        return urls


class HistorySettings(BaseSettings):
    """Where to ask producers for events that went missing on the way."""

    history_urls: dict[str, str] = {}
    """Base URL of each producer's service, by its name (JSON)."""


class SealingSettings(BaseSettings):
    """Keys of the personal fields; only services that need them get any."""

    sealing_keys: dict[str, SecretStr] = {}
    """Key id → 32 bytes in base64 (JSON)."""
    sealing_key: str | None = None
    """Id of the key that seals from now on."""


class TokenSettings(BaseSettings):
    """How access tokens are checked."""

    token_issuer: str = "urn:lienthong:gateway"
    token_audience: str = "urn:lienthong:backbone"
    token_keys_url: str | None = None
    """JWKS of the issuer."""
    revocations_url: str | None = None
    """The issuer's list of tokens that are void before their end (``/oauth/revoked``); without it
    a token is good until it ends."""
    revocations_seconds: float = Field(default=15.0, ge=1, le=20)
    """Pause between two questions for it: revocations are to be effective within 30 seconds."""


class ClientSettings(BaseSettings):
    """How this service gets tokens of its own for calls to other services."""

    client_id: str | None = None
    client_secret: SecretStr | None = None
    token_url: str | None = None


class BlobSettings(BaseSettings):
    """The file store that services share."""

    blobs_url: str
    """``file:///folder`` or ``s3://bucket/prefix`` (credentials from the environment)."""


class LinkSettings(BaseSettings):
    """Expiring links to stored files; the same keys in every service that makes or checks them."""

    public_url: str | None = None
    """The gateway as others reach it, ``https://host``; without it no links are made."""
    link_keys: dict[str, SecretStr] = {}
    """Key id → 32 bytes in base64 (JSON)."""
    link_key: str | None = None
    """Id of the key that signs from now on."""
    link_seconds: int = Field(default=30 * 24 * 3600, ge=60, le=366 * 24 * 3600)
    """How long a link is good."""

    @model_validator(mode="after")
    def _can_sign(self) -> Self:
        if self.public_url is not None and self.link_key not in self.link_keys:
            raise ValueError("public_url needs link_keys, and link_key must name one of them")
        return self


class TelemetrySettings(BaseSettings):
    """Logs, traces and measurements."""

    log_level: str = "INFO"
    otlp_url: str | None = None
    """OTLP/HTTP endpoint for traces; none are sent without it."""
    trace_share: float = Field(default=0.01, ge=0, le=1)
    usage_seconds: float = Field(default=60.0, gt=0)
    """Interval of usage measurements, in seconds."""


class ServerSettings(BaseSettings):
    """The HTTP side."""

    host: str = "0.0.0.0"  # noqa: S104 - a container's port is opened by its Service
    port: int = Field(default=8000, ge=0, le=65535)
    body_limit: int = Field(default=1024 * 1024, ge=1024)
    """Largest request body in bytes, where a route does not set its own."""
    body_least_rate: int = Field(default=8 * 1024, ge=1)
    """Bytes a second that a request body must come with on average, after ``body_grace_seconds``;
    a slower one is answered 408 and its connection closed."""
    body_grace_seconds: float = Field(default=10.0, gt=0)
    header_seconds: float = Field(default=15.0, gt=0)
    """How long the head of a request may take, and a connection without any."""
    write_seconds: float = Field(default=60.0, gt=0)
    """How long an answer may wait for its reader, beyond what it would take at 8 KiB/s."""
    request_seconds: float = Field(default=120.0, gt=0)
    """How long a request may take in all, where a route does not set its own."""
    requests_at_once: int = Field(default=2000, ge=1)
    """Requests under way in one process; further ones are answered 503."""
    connections: int = Field(default=4000, ge=1)
    """Open connections of one process; further ones replace those that wait for a request, or are
    closed."""
    connections_per_address: int | None = Field(default=None, ge=1)
    """Open connections from one address, where clients connect themselves (no proxy between)."""
    shutdown_seconds: float = Field(default=25.0, gt=0)


_YEAR_DAYS, _TWO_MONTHS_DAYS = 365, 62


class RetentionSettings(BaseSettings):
    """When what was told and heard falls; whole months at a time."""

    log_days: int = 400
    """How long events stay in ``event_log``, and bytes that nobody could read in ``parked``.
    At least 365: system logs are kept for 12 months (NĐ 53/2022)."""
    inbox_days: int = 800
    """How long it is remembered which events were done. More than any producer's ``log_days``,
    by two months at least: what is read from its log again must still be known."""

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.log_days < _YEAR_DAYS:
            raise ValueError(
                f"log_days must be at least {_YEAR_DAYS}: system logs are kept for 12 months"
            )
        if self.inbox_days < self.log_days + _TWO_MONTHS_DAYS:
            raise ValueError(
                f"inbox_days must be at least log_days and {_TWO_MONTHS_DAYS} more: an event that "
                "is read from a log again must still be known as done"
            )
        return self


class ServiceSettings(
    DatabaseSettings,
    TransportSettings,
    HistorySettings,
    RetentionSettings,
    SealingSettings,
    TokenSettings,
    ClientSettings,
    TelemetrySettings,
    ServerSettings,
):
    """What every service has."""


def _with_scheme(url: SecretStr, *schemes: str) -> SecretStr:
    """The address, if it is one; what is wrong with it is told without its value."""
    try:
        parts = urlsplit(url.get_secret_value())
        _ = parts.port
    except ValueError:
        raise ValueError("is not an address") from None
    if parts.scheme not in schemes:
        raise ValueError(f"must be an address that begins with {' or '.join(schemes)}://")
    return url


def secret_file(path: Path) -> SecretStr:
    """A secret from a mounted file, without its trailing newline."""
    return SecretStr(path.read_text("utf-8").rstrip("\n"))
