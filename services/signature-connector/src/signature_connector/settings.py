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

    esign_url: str
    """Base URL of the eSign gateway."""
    esign_token: SecretStr | None = None
    trust_roots: Path
    """Root certificates, and those of issuing CAs, so that a chain can be checked before anybody is
    asked to sign: a PEM file, or a folder of trust policies with dates."""
    user_seconds: float = Field(default=330.0, gt=0)
    """How long the gateway may wait for the person. Less than its own patience loses answers."""
    call_seconds: float = Field(default=20.0, gt=0)
    """How long the gateway may take to list certificates."""
    parallel: int = Field(default=32, ge=1, le=1000)
    """Requests in hand at the same time. Most of them wait for a person, and each holds its
    document in memory, in clear and as sent: up to 2.4 times ``file_limit``."""
    patience_hours: float = Field(default=72.0, gt=0)
    """How long a request that could not be submitted is tried again."""
    lease_seconds: float = Field(default=15.0, ge=1.0)
    """After how long without a sign of life a worker counts as dead."""
    file_limit: int = Field(default=10 * MIB, ge=1024)
    """Largest document, in bytes."""
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

    @model_validator(mode="after")
    def _seals(self) -> Self:
        if self.sealing_key not in self.sealing_keys:
            raise ValueError("sealing_key must name one of sealing_keys: signers are kept sealed")
        return self
