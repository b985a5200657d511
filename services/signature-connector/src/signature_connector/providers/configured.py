"""Providers as operators configure them: a file, and secrets in files of their own.

The file is JSON::

    {"providers": [
      {"name": "vnpt", "dialect": "smartca", "url": "https://…/sca/sp769/v1",
       "ca_names": ["VNPT-CA"],
       "accounts": [{"agencies": ["H10"], "client_id": "…", "secret_file": "vnpt-h10"}]},
      {"name": "gateway", "dialect": "esign", "url": "https://…", "ca_names": ["*"],
       "stands_in_for": [{"ca_name": "VNPT-CA", "basis": "…"}],
       "accounts": [{"agencies": ["*"], "secret_file": "gateway"}]}]}

Secrets stand alone, each in a file of the folder: as Kubernetes mounts a Secret.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import httpx
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    model_validator,
)

from common.contracts.codes import AgencyCode
from common.settings import secret_file
from signature_connector.domain.provider import Provider
from signature_connector.providers.csc import CscAccount
from signature_connector.providers.csc_v1 import CscV1
from signature_connector.providers.csc_v2 import CscV2
from signature_connector.providers.esign import EsignGateway
from signature_connector.providers.mysign import MySign, MySignAccount
from signature_connector.providers.smartca import SmartCa, SpAccount
from signature_connector.providers.wire import Line

ALL = "*"
DEFAULT = "esign"
"""Name of the provider that ``esign_url`` makes."""
_LARGEST_SECRET = 4096  # bytes

_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
_File = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$")]
_CaName = Annotated[str, Field(min_length=1, max_length=50)]
_Mechanism = Literal["rsassa_pss", "ecdsa", "rsassa_pkcs1v15"]


class ProvidersInvalid(Exception):
    """The providers cannot be used as the file has them; tells where and what, never a value."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class AccountEntry(_Strict):
    """What a provider gave for some agencies."""

    agencies: tuple[AgencyCode | Annotated[str, Field(pattern=r"^\*$")], ...] = Field(min_length=1)
    """Subtrees; ``*`` for all that no other account of the provider names."""
    client_id: str | None = Field(default=None, min_length=1, max_length=200)
    """``sp_id`` of SmartCA, ``client_id`` of MySign and CSC; none at the eSign gateway."""
    secret_file: _File | None = None
    """File of the secret: ``sp_password``, ``client_secret``, the eSign gateway's token."""
    profile_id: str | None = Field(default=None, max_length=200)
    """Of MySign."""
    citizen_prefix: str = Field(default="", max_length=20)
    tax_prefix: str = Field(default="", max_length=20)
    """Before a person's number in the user's name at MySign."""


class StandIn(_Strict):
    """A CA that another provider may serve as well."""

    ca_name: _CaName
    basis: str = Field(min_length=10, max_length=500)
    """Why the law lets it: the act and article, or the decision."""


class ProviderEntry(_Strict):
    """A provider in one environment."""

    name: _Name
    dialect: Literal["esign", "smartca", "mysign", "csc-v1", "csc-v2"]
    url: HttpUrl
    ca_names: tuple[_CaName, ...] = Field(min_length=1)
    """CAs whose persons it asks; ``*`` for those that no other provider names."""
    stands_in_for: tuple[StandIn, ...] = ()
    accounts: tuple[AccountEntry, ...] = Field(min_length=1)
    tls_ca_file: Path | None = None
    """PEM of the authorities of its server, where the usual ones do not know it."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    """PEM of the certificate that its server wants to see, and its key."""
    connections: int = Field(default=32, ge=1, le=1000)
    call_seconds: float = Field(default=20.0, gt=0, le=120)
    user_seconds: float = Field(default=330.0, gt=0, le=1800)
    """How long the person may take where a call, or the adapter, waits for it."""
    most: int | None = Field(default=None, ge=1, le=1000)
    """Documents in one order."""
    mechanisms: tuple[_Mechanism, ...] | None = Field(default=None, min_length=1)
    status_by: Literal["transaction_id", "tran_code"] = "transaction_id"
    """SmartCA: the id that its status call goes by."""
    mode: Literal[1, 2, 3] = 1
    """MySign: ``async``."""
    login: Literal["client_credentials", "basic"] = "client_credentials"
    token_path: str = "oauth2/token"
    confirmation: Literal["authorize", "provider"] = "authorize"
    response_uri: HttpUrl | None = None
    """CSC."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for account in self.accounts:
            if self.dialect != "esign" and not (account.client_id and account.secret_file):
                raise ValueError(f"an account of {self.name} needs client_id and secret_file")
            if self.dialect == "mysign" and not account.profile_id:
                raise ValueError(f"an account of {self.name} needs profile_id")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError(f"{self.name}: tls_certificate and tls_key go together")
        if self.dialect == "esign" and (self.most or 1) > 1:
            raise ValueError(f"{self.name}: the eSign gateway takes one document an order")
        named = [agency for account in self.accounts for agency in account.agencies]
        if doubled := {agency for agency in named if named.count(agency) > 1}:
            raise ValueError(f"two accounts of {self.name} speak for {min(doubled)}")
        return self


class ProvidersFile(_Strict):
    """The whole file."""

    providers: tuple[ProviderEntry, ...] = Field(max_length=100)

    @model_validator(mode="after")
    def _unmistakable(self) -> Self:
        names = [one.name for one in self.providers]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two providers are called {min(doubled)}")
        owners: dict[tuple[str, str], str] = {}
        for one in self.providers:
            for agency in (each for account in one.accounts for each in account.agencies):
                for ca in one.ca_names:
                    if owners.setdefault((ca, agency), one.name) != one.name:
                        other = owners[ca, agency]
                        raise ValueError(f"{other} and {one.name} both serve {ca} for {agency}")
        return self


@dataclass(frozen=True, slots=True)
class ProviderFiles:
    """Where providers are read from, again and again: a secret that changes is taken up.

    Attributes:
        file: None where there is only ``esign_url``.
        secrets: folder of the secrets; the file's own by default.
        esign_url, esign_token: the simple configuration, a provider called ``esign`` for all
            agencies, and for all CAs that no provider of the file names.
        file_limit: largest document, in bytes.
        esign_connections, call_seconds, user_seconds: of that provider.
    """

    file: Path | None = None
    secrets: Path | None = None
    esign_url: str | None = None
    esign_token: SecretStr | None = field(default=None, repr=False)
    file_limit: int = 10 * 1024 * 1024
    esign_connections: int = 33
    call_seconds: float = 20.0
    user_seconds: float = 330.0

    def read(self) -> tuple["Configured", ...]:
        """The accounts of all providers as they now stand.

        Raises:
            ProvidersInvalid: the file is not there or not as it should be.
        """
        entries = list(self._entries())
        if self.esign_url is not None:
            if any(one.name == DEFAULT for one in entries):
                raise ProvidersInvalid(f"a provider is called {DEFAULT}, as the one of esign_url")
            entries.append(self._default(self.esign_url))
        folder = self.secrets or (self.file.parent if self.file else Path())
        found = []
        for entry in entries:
            for account in entry.accounts:
                secret, trouble = _secret(account, folder)
                if entry.name == DEFAULT and self.esign_url is not None:
                    secret = self.esign_token
                found.append(Configured(entry, account, secret, trouble))
        return tuple(found)

    def _entries(self) -> Sequence[ProviderEntry]:
        if self.file is None:
            return ()
        try:
            return ProvidersFile.model_validate_json(self.file.read_bytes()).providers
        except OSError as error:
            raise ProvidersInvalid(f"{self.file.name}: {error.strerror}") from None
        except ValidationError as error:
            raise ProvidersInvalid(f"{self.file.name}: {_told(error)}") from None

    def _default(self, url: str) -> ProviderEntry:
        return ProviderEntry(
            name=DEFAULT,
            dialect="esign",
            url=HttpUrl(url),
            ca_names=(ALL,),
            accounts=(AccountEntry(agencies=(ALL,)),),
            connections=self.esign_connections,
            call_seconds=self.call_seconds,
            user_seconds=self.user_seconds,
        )


@dataclass(frozen=True, slots=True)
class Configured:
    """An account of a provider.

    Attributes:
        trouble: why it cannot be used as it stands.
    """

    entry: ProviderEntry
    account: AccountEntry
    secret: SecretStr | None = field(default=None, repr=False)
    trouble: str | None = None

    def make(self, line: Line, http: httpx.AsyncClient, file_limit: int) -> Provider:
        """The adapter."""
        return _MAKERS[self.entry.dialect](self, line, http, file_limit)

    @property
    def given(self) -> dict[str, Any]:
        """What an adapter of any dialect that signs hashes is told."""
        one = self.entry
        chosen = {"most": one.most, "mechanisms": one.mechanisms}
        given = {name: value for name, value in chosen.items() if value is not None}
        return {"name": one.name, "call_seconds": one.call_seconds, **given}

    @property
    def pair(self) -> tuple[str, SecretStr]:
        """Client and secret."""
        return self.account.client_id or "", self.secret or SecretStr("")


def _esign(one: Configured, line: Line, http: httpx.AsyncClient, limit: int) -> Provider:
    entry = one.entry
    return EsignGateway(
        http,
        token=one.secret,
        call_seconds=entry.call_seconds,
        user_seconds=entry.user_seconds,
        longest=2 * limit,
        name=entry.name,
    )


def _smartca(one: Configured, line: Line, http: httpx.AsyncClient, limit: int) -> Provider:
    return SmartCa(line, SpAccount(*one.pair), status_by=one.entry.status_by, **one.given)


def _mysign(one: Configured, line: Line, http: httpx.AsyncClient, limit: int) -> Provider:
    given = one.account
    account = MySignAccount(
        *one.pair, given.profile_id or "", given.citizen_prefix, given.tax_prefix
    )
    return MySign(line, account, mode=one.entry.mode, **one.given)


def _csc_v1(one: Configured, line: Line, http: httpx.AsyncClient, limit: int) -> Provider:
    account = CscAccount(*one.pair, one.entry.login, one.entry.token_path)
    return CscV1(line, account, user_seconds=one.entry.user_seconds, **one.given)


def _csc_v2(one: Configured, line: Line, http: httpx.AsyncClient, limit: int) -> Provider:
    entry = one.entry
    account = CscAccount(*one.pair, entry.login, entry.token_path)
    return CscV2(
        line,
        account,
        user_seconds=entry.user_seconds,
        confirmation=entry.confirmation,
        response_uri=str(entry.response_uri) if entry.response_uri else None,
        **one.given,
    )


_MAKERS: Mapping[str, Callable[[Configured, Line, httpx.AsyncClient, int], Provider]] = {
    "esign": _esign,
    "smartca": _smartca,
    "mysign": _mysign,
    "csc-v1": _csc_v1,
    "csc-v2": _csc_v2,
}


def _secret(account: AccountEntry, folder: Path) -> tuple[SecretStr | None, str | None]:
    """The account's secret, or what is wrong with its file."""
    if account.secret_file is None:
        return None, None
    path = folder / account.secret_file
    try:
        if path.stat().st_size > _LARGEST_SECRET:
            raise ValueError
        secret = secret_file(path)
    except OSError as error:
        return None, f"secret file {path.name}: {error.strerror}"
    except ValueError:  # not UTF-8, or not a secret
        return None, f"secret file {path.name}: holds no secret"
    if not secret.get_secret_value():
        return None, f"secret file {path.name}: is empty"
    return secret, None


def _told(error: ValidationError) -> str:
    faults: Sequence[Any] = error.errors(include_input=False, include_url=False)
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])} {fault['msg']}".strip()
        for fault in faults[:5]
    )
