"""What the gateway is told at start."""

from typing import Annotated, Any, Self

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

from common.contracts.codes import AgencyCode, ProcedureCode
from common.settings import BlobSettings, LinkSettings, ServiceSettings, service_config
from gateway.domain.clients import ALL, CLIENT_ID_PATTERN, Client, Limits
from gateway.use_cases.tokens import SigningKey

_THUMBPRINT = r"^[A-Za-z0-9_-]{43}$"
_ScopeToken = Annotated[str, StringConstraints(pattern=r"^[\x21\x23-\x5B\x5D-\x7E]+$")]


class ClientSeed(BaseModel):
    """A client that is to be registered, or brought up to date, at start."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    client_id: str = Field(pattern=CLIENT_ID_PATTERN)
    secret: SecretStr = Field(min_length=16, max_length=256)
    scopes: tuple[_ScopeToken, ...]
    agencies: tuple[AgencyCode | Annotated[str, StringConstraints(pattern=r"^\*$")], ...]
    """Roots of the subtrees it acts for; ``*`` for all."""
    active: bool = True
    procedures: tuple[ProcedureCode | Annotated[str, StringConstraints(pattern=r"^\*$")], ...] = (
        ALL,
    )
    """Codes of the procedures it deals with; ``*`` for all."""
    keys: tuple[dict[str, Any], ...] = ()
    """Public keys (JWKS members) of ``private_key_jwt``."""
    certificates: tuple[Annotated[str, StringConstraints(pattern=_THUMBPRINT)], ...] = ()
    """SHA-256 thumbprints (base64url) of certificates it may present."""
    external: tuple[str, str] | None = None
    """Issuer and subject of the tokens by which another issuer names it."""
    sandbox: bool = False
    """It works with simulators only."""
    per_second: float | None = Field(default=None, gt=0)
    burst: int | None = Field(default=None, ge=1)
    per_day: int | None = Field(default=None, ge=1)

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
    upstream_seconds: float = Field(default=5.0, gt=0, le=30)
    """How long a proxied read may take."""

    @field_validator("signing_key")
    @classmethod
    def _usable_key(cls, value: SecretStr) -> SecretStr:
        SigningKey(value)
        return value

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

    def client_seeds(self) -> tuple[ClientSeed, ...]:
        """The clients to register."""
        return _SEEDS.validate_json(self.clients.get_secret_value())
