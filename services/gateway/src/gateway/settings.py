"""What the gateway is told at start."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from common.auth import ALGORITHMS
from common.contracts.codes import AgencyCode, ProcedureCode
from common.jwks import usable_key
from common.settings import BlobSettings, LinkSettings, ServiceSettings, service_config
from gateway.domain.clients import ALL, CLIENT_ID_PATTERN, Client, Limits
from gateway.use_cases.evidence import signer_of
from gateway.use_cases.issuers import ExternalIssuer
from gateway.use_cases.timestamps import trusted_certificates
from gateway.use_cases.tokens import SigningKey

_MOST_KEYS = 10
_THUMBPRINT = r"^[A-Za-z0-9_-]{43}$"
_ScopeToken = Annotated[str, StringConstraints(pattern=r"^[\x21\x23-\x5B\x5D-\x7E]+$")]


class ClientSeed(BaseModel):
    """A client that is to be registered, or brought up to date, at start."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    client_id: str = Field(pattern=CLIENT_ID_PATTERN)
    secret: SecretStr | None = Field(default=None, min_length=16, max_length=256)
    """Without one it shows who it is by a key, a certificate or the token of another issuer."""
    scopes: tuple[_ScopeToken, ...]
    agencies: tuple[AgencyCode | Annotated[str, StringConstraints(pattern=r"^\*$")], ...]
    """Roots of the subtrees it acts for; ``*`` for all."""
    active: bool = True
    procedures: tuple[ProcedureCode | Annotated[str, StringConstraints(pattern=r"^\*$")], ...] = (
        ALL,
    )
    """Codes of the procedures it deals with; ``*`` for all."""
    keys: tuple[dict[str, Any], ...] = ()
    """Public keys (JWKS members) of ``private_key_jwt``: EC P-256, Ed25519, RSA from 2048 bits."""
    certificates: tuple[Annotated[str, StringConstraints(pattern=_THUMBPRINT)], ...] = ()
    """SHA-256 thumbprints (base64url) of certificates it may present."""
    external: tuple[str, str] | None = None
    """Issuer and subject of the tokens by which another issuer names it."""
    sandbox: bool = False
    """It works with simulators only."""
    per_second: float | None = Field(default=None, gt=0)
    burst: int | None = Field(default=None, ge=1)
    per_day: int | None = Field(default=None, ge=1)

    @field_validator("keys")
    @classmethod
    def _usable_keys(cls, keys: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        if len(keys) > _MOST_KEYS or not all(usable_key(key, ALGORITHMS) for key in keys):
            raise ValueError("not public keys for signatures")
        return keys

    @model_validator(mode="after")
    def _can_show_itself(self) -> Self:
        if not (self.secret or self.keys or self.certificates or self.external):
            raise ValueError("needs a secret, keys, certificates or an external name")
        return self

    def client(self) -> Client:
        """As the registry keeps it, but for its secret."""
        return Client(
            client_id=self.client_id,
            secret_hash="",
            scopes=self.scopes,
            agencies=self.agencies,
            active=self.active,
            procedures=self.procedures,
            keys=self.keys,
            certificates=self.certificates,
            external=self.external,
            sandbox=self.sandbox,
            limits=Limits(self.per_second, self.burst, self.per_day),
        )


_SEEDS = TypeAdapter(tuple[ClientSeed, ...])


class Settings(ServiceSettings, BlobSettings, LinkSettings):
    """Environment prefix ``GATEWAY_``."""

    model_config = service_config("GATEWAY_")

    dossier_url: str
    catalog_url: str
    signature_url: str
    portal_sync_url: str | None = None
    """national-portal-sync, for questions; without it they are not to be had."""
    signing_key: SecretStr
    """EC P-256 private key (PEM) that signs access tokens."""
    clients: SecretStr = SecretStr("[]")
    """JSON list of ``{client_id, secret, scopes, agencies, …}``; others stay as they are."""
    token_seconds: int = Field(default=900, ge=60, le=24 * 3600)
    """How long an access token is valid."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks (JSON list) of the proxies whose ``Client-Cert`` header (RFC 9440) is believed.
    They must check that the client holds the certificate's key, and drop the header otherwise."""
    external_issuers: tuple[ExternalIssuer, ...] = ()
    """Other issuers that may name clients (JSON list of ``{issuer, jwks_url, audience, algorithms,
    subject_claim}``); their tokens give no rights of themselves."""
    upstream_seconds: float = Field(default=5.0, gt=0, le=30)
    """How long a proxied read may take, a second attempt included; a client may ask for less."""
    key_days: int = Field(default=30, ge=1, le=3650)
    """How long an ``Idempotency-Key`` is kept, and what a bulk request refused."""
    sandbox_url: str | None = None
    """The gateway of the sandbox, to which the requests of sandbox clients go."""
    sandbox_seconds: float = Field(default=60.0, gt=0, le=300)
    """How long a part of the sandbox's answer may take."""
    catalogue_cache_bytes: int = Field(default=32 * 1024 * 1024, ge=0)
    """What is kept of the catalogue's answers, in memory, for when its service is away."""
    largest_upload: int = Field(default=100 * 1024 * 1024, ge=1024 * 1024, le=5 * 1024**3)
    """Bytes of a file that comes in parts."""
    open_uploads: int = Field(default=20, ge=1, le=1000)
    """Files that a client may be sending in parts at the same time."""
    upload_seconds: float = Field(default=24 * 3600, ge=60, le=30 * 24 * 3600)
    """How long an upload lives after its last part, and after it was completed."""

    log_key: SecretStr | None = None
    """EC P-256 private key (PEM) that signs the message log; without it ``signing_key`` does."""
    message_log_partitions: int = Field(default=2, ge=1, le=64)
    """How many chains the message log has; each is sealed by one replica at a time."""
    message_log_seconds: float = Field(default=2.0, gt=0, le=60)
    """How often a block of the message log is sealed."""
    message_log_days: int = Field(default=3650, ge=365)
    """How long records stay in the database; whole months, and only once they are timestamped and
    archived. At least 365: system logs are kept for 12 months (NĐ 53/2022)."""
    tsa_urls: tuple[str, ...] = ()
    """Timestamp authorities (RFC 3161), the first one first (JSON)."""
    tsa_certificates: str = ""
    """Root certificates (PEM) that timestamps have to lead to."""
    tsa_seconds: float = Field(default=10.0, gt=0, le=60)
    """How long a timestamp authority may take to answer."""

    rate_per_second: float = Field(default=500.0, gt=0)
    """Requests a second of a client on average, over all replicas, unless the registry says
    otherwise."""
    rate_burst: int = Field(default=2000, ge=1)
    """Requests of a client at once, likewise."""
    day_quota: int = Field(default=1_000_000, ge=1)
    """Submissions (dossiers and steps) of a client in a day of Vietnam, likewise."""
    token_rate_per_second: float = Field(default=5.0, gt=0)
    """Requests for tokens that name one client, over all replicas."""
    token_rate_burst: int = Field(default=50, ge=1)
    stranger_rate_per_second: float = Field(default=50.0, gt=0)
    """Requests without a token from one address (of IPv6: a /64) at one replica."""
    stranger_rate_burst: int = Field(default=500, ge=1)
    limit_replicas: int = Field(default=4, ge=1)
    """By how many a client's rate is divided while the database cannot be asked: the number of
    gateways, or more."""
    refusal_days: int = Field(default=400, ge=365)
    """How long refused requests are kept; whole months. At least 365: system logs are kept for 12
    months (NĐ 53/2022)."""
    refusal_addresses: Literal["hashed", "plain", "none"] = "hashed"
    """How the address of a refused request is put down: under a keyed hash, as it is, or not."""
    cors_origins: tuple[str, ...] = ()
    """Origins (JSON list, ``https://host``) whose pages may call from a browser; usually none."""
    hsts_seconds: int = Field(default=0, ge=0)
    """How long browsers are to keep to TLS (RFC 6797); set it where clients come by TLS alone."""

    @field_validator("cors_origins")
    @classmethod
    def _usable_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if f"{parts.scheme}://{parts.netloc}" != origin or not parts.netloc:
                raise ValueError("must be origins such as https://host")
        return value

    evidence_key: SecretStr | None = None
    """EC private key (PEM) that signs containers of evidence; without it they carry timestamps
    alone."""
    evidence_certificate: str = ""
    """Its certificate (PEM), then those above it but for the root."""

    @field_validator("signing_key", "log_key")
    @classmethod
    def _usable_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            SigningKey(value)
        return value

    @field_validator("tsa_urls")
    @classmethod
    def _usable_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
                raise ValueError("must be addresses that begin with http:// or https://")
        return value

    @model_validator(mode="after")
    def _can_trust(self) -> Self:
        if self.tsa_certificates or self.tsa_urls:
            try:
                trusted_certificates(self.tsa_certificates)
            except ValueError:
                raise ValueError("tsa_certificates must be certificates in PEM") from None
        return self

    @model_validator(mode="after")
    def _can_sign_evidence(self) -> Self:
        if self.evidence_key is not None:
            try:
                signer_of(self.evidence_key, self.evidence_certificate)
            except ValueError as error:
                raise ValueError(f"evidence_key and evidence_certificate: {error}") from None
        return self

    @field_validator("clients")
    @classmethod
    def _usable_clients(cls, value: SecretStr) -> SecretStr:
        try:
            _SEEDS.validate_json(value.get_secret_value())
        except ValidationError as error:
            places = {"/".join(map(str, fault["loc"])) or "JSON" for fault in error.errors()}
            raise ValueError(f"not usable at: {', '.join(sorted(places))}") from None
        return value

    @model_validator(mode="after")
    def _can_seal(self) -> Self:
        if self.sealing_key not in self.sealing_keys:
            raise ValueError("sealing_key must name one of sealing_keys")
        return self

    @model_validator(mode="after")
    def _issuers_apart(self) -> Self:
        names = [one.issuer for one in self.external_issuers]
        if len({*names, self.token_issuer}) <= len(names):
            raise ValueError("external_issuers must have names of their own, each once")
        return self

    def token_names(self) -> tuple[str, ...]:
        """What clients may call the token endpoint in an assertion's ``aud``."""
        at = [f"{self.public_url.rstrip('/')}/oauth/token"] if self.public_url else []
        return self.token_issuer, *at

    def client_seeds(self) -> tuple[ClientSeed, ...]:
        """The clients to register."""
        return _SEEDS.validate_json(self.clients.get_secret_value())
