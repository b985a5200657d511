"""Settings of the signature connector."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from common.settings import BlobSettings, ServiceSettings, service_config

MIB = 1024 * 1024


class Settings(ServiceSettings, BlobSettings):
    """Read from ``SIGNATURE_CONNECTOR_…``.

    ``shutdown_seconds`` is also how long requests in hand may still take when the service is
    stopped: a person who is still being asked after that ends in manual review.
    """

    model_config = service_config("SIGNATURE_CONNECTOR_")

    esign_url: str | None = None
    """Base URL of the eSign gateway; without it ``providers_file`` names who signs."""
    esign_token: SecretStr | None = None
    providers_file: Path | None = None
    """The signing providers (JSON; see docs/signing-providers.md)."""
    providers_secrets: Path | None = None
    """Folder of their secrets; that of ``providers_file`` by default."""
    providers_seconds: float = Field(default=5.0, gt=0)
    """How often both are read again."""
    trust_roots: Path
    """Root certificates, and those of issuing CAs, so that a chain can be checked before anybody is
    asked to sign: a PEM file, or a folder of trust policies with dates."""
    user_seconds: float = Field(default=330.0, gt=0)
    """How long the gateway may wait for the person. Less than its own patience loses answers."""
    call_seconds: float = Field(default=20.0, gt=0)
    """How long the gateway may take to list certificates."""
    parallel: int = Field(default=32, ge=1, le=1000)
    """Requests in hand at the same time whose provider holds the call until the person decided.
    Most of them wait for a person, and each holds its document in memory, in clear and as sent: up
    to 2.4 times ``file_limit``."""
    parallel_others: int = Field(default=8, ge=1, le=1000)
    """Requests in hand at the same time of providers that take an order and are asked later how it
    went. Nobody in hand waits for a person."""
    person_seconds: float = Field(default=300.0, gt=0)
    """How long a person is waited for where the provider takes the order and answers later."""
    news_seconds: float = Field(default=900.0, gt=0)
    """How long a provider is asked about an order whose fate is unknown, before an operator is."""
    status_calls: float = Field(default=180.0, ge=5.0)
    """Status calls that may leave in a second, of all replicas and to all providers together. Some
    take longer on their way than others, so that a provider may see a few more in one."""
    status_calls_each: float = Field(default=180.0, ge=5.0)
    """Status calls a second to one provider, of all replicas together."""
    callbacks_kept: int = Field(default=100_000, ge=100)
    """How many callbacks are remembered at most."""
    callbacks_days: int = Field(default=7, ge=1)
    callbacks_per_second: float = Field(default=100.0, gt=0)
    """Callbacks that one replica takes from one provider; more are refused with 429."""
    patience_hours: float = Field(default=72.0, gt=0)
    """How long a request that could not be submitted is tried again."""
    lease_seconds: float = Field(default=15.0, ge=1.0)
    """After how long without a sign of life a worker counts as dead."""
    file_limit: int = Field(default=10 * MIB, ge=1024)
    """Largest document, in bytes."""
    assemblers: int = Field(default=2, ge=1, le=64)
    """Processes that put signatures into documents at the same time; of those that sign hashes."""
    verifiers: int = Field(default=2, ge=1, le=64)
    """Processes that examine documents at the same time."""
    verification_seconds: float = Field(default=20.0, gt=0)
    verification_memory: int = Field(default=1024 * MIB, ge=256 * MIB)
    """Address space of one such process, in bytes."""

    trust_seconds: float = Field(default=30.0, gt=0)
    """How often the trust bundle is looked at; what changed counts without a restart."""
    service_verifiers: int = Field(default=2, ge=1, le=64)
    """Processes that verify documents for other systems at the same time."""
    service_file_limit: int = Field(default=20 * MIB, ge=1024)
    """Largest document that is verified for other systems, in bytes."""
    revocation_seconds: float = Field(default=5.0, gt=0)
    """How long an OCSP responder, or the server of a CRL, may take."""
    crl_limit: int = Field(default=10 * MIB, ge=1024)
    """Largest CRL, in bytes."""
    revocation_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks beside the public ones in which OCSP responders and CRLs may be asked for, in CIDR
    form. Certificates can name any address, so private ones are refused unless named here."""

    timestamp_urls: tuple[str, ...] = ()
    """Timestamp authorities (RFC 3161), the first one first (JSON). Their tokens have to lead to a
    root of ``trust_roots``; without any, levels above B-B cannot be reached."""
    timestamp_policy: str | None = Field(default=None, pattern=r"^[0-2](\.\d+)+$")
    """Policy (dotted identifier) under which timestamps have to be made; any by default."""
    timestamp_seconds: float = Field(default=10.0, gt=0, le=60)
    """How long a timestamp authority may take to answer."""
    augment_seconds: float = Field(default=60.0, gt=0)
    """When a level that could not be reached is tried for again, at first; later after a quarter of
    the time since signing, an hour at the most."""
    augment_hours: float = Field(default=168.0, gt=0)
    """How long after signing that is given up."""
    renewal_days: float = Field(default=90.0, gt=0)
    """How long before the end of the authority's certificate the archive timestamps of B-LTA are
    renewed at the latest; some are up to a third of that earlier, so that they come in turn."""

    @model_validator(mode="after")
    def _seals(self) -> Self:
        if self.sealing_key not in self.sealing_keys:
            raise ValueError("sealing_key must name one of sealing_keys: signers are kept sealed")
        return self
