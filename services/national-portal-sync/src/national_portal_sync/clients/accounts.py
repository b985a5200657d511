"""The accounts of the portal, from a file of operators and a folder of passwords.

The file is JSON::

    {"accounts": [{"name": "ha-giang", "agencies": ["H10"], "username": "…", "unit": "H10",
                   "dstcode": "G22", "password_file": "ha-giang", "profile": "2023",
                   "calls_per_second": 5, "parallel": 4}]}

Passwords stand alone, each in a file of the folder: as Kubernetes mounts a Secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from common.contracts.codes import AgencyCode
from common.settings import secret_file
from national_portal_sync.clients.fields import Profile
from national_portal_sync.clients.portal import Account

ALL = "*"
_LARGEST_PASSWORD = 4096  # bytes


class AccountsInvalid(Exception):
    """The accounts cannot be read; the message tells where and what, never a value."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class _Entry(_Strict):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    agencies: Annotated[
        tuple[AgencyCode | Annotated[str, Field(pattern=r"^\*$")], ...],
        Field(min_length=1, max_length=1000),
    ]
    username: Annotated[str, Field(min_length=1, max_length=200)]
    password_file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$")] | None = (
        None
    )
    unit: Annotated[str, Field(min_length=1, max_length=100)]
    dstcode: Annotated[str, Field(min_length=1, max_length=100)]
    profile: Profile | None = None
    calls_per_second: Annotated[float, Field(gt=0, le=1000)] | None = None
    parallel: Annotated[int, Field(ge=1, le=32)] | None = None


class _File(_Strict):
    accounts: Annotated[tuple[_Entry, ...], Field(max_length=1000)]

    @model_validator(mode="after")
    def _unmistakable(self) -> Self:
        names = [one.name for one in self.accounts]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two accounts are called {min(doubled)}")
        owners: dict[str, str] = {}
        for one in self.accounts:
            for agency in one.agencies:
                if owners.setdefault(agency, one.name) != one.name:
                    raise ValueError(f"{owners[agency]} and {one.name} both speak for {agency}")
        return self


@dataclass(frozen=True, slots=True)
class AccountFiles:
    """Where accounts are read from, again and again: a password that changes is taken up.

    Attributes:
        file: None where there is only the default account.
        passwords: the folder; the file's own by default.
        default: speaks for the agencies that no account of the file names, if there is one.
        model: what an entry leaves open (addresses, profile, limits).
    """

    file: Path | None
    passwords: Path | None
    default: Account | None
    model: Account

    def read(self) -> list[Account]:
        """The accounts as they now stand; one whose password is missing is there with its trouble.

        Raises:
            AccountsInvalid: the file is not there or not as it should be.
        """
        if self.file is None:
            return [self.default] if self.default else []
        try:
            given = _File.model_validate_json(self.file.read_bytes())
        except OSError as error:
            raise AccountsInvalid(f"{self.file.name}: {error.strerror}") from None
        except ValidationError as error:
            raise AccountsInvalid(f"{self.file.name}: {_told(error)}") from None
        folder = self.passwords or self.file.parent
        accounts = [self._account(entry, folder) for entry in given.accounts]
        taken = any(ALL in account.agencies for account in accounts)
        if self.default is not None and not taken:
            if any(account.name == self.default.name for account in accounts):
                raise AccountsInvalid(f"{self.file.name}: an account is called as the default one")
            accounts.append(self.default)
        return accounts

    def _account(self, entry: _Entry, folder: Path) -> Account:
        model, password, trouble = self.model, SecretStr(""), None
        path = folder / (entry.password_file or entry.name)
        try:
            if path.stat().st_size > _LARGEST_PASSWORD:
                raise ValueError
            password = secret_file(path)
        except OSError as error:
            trouble = f"password file {path.name}: {error.strerror}"
        except ValueError:  # not UTF-8, or not a password
            trouble = f"password file {path.name}: holds no password"
        if trouble is None and not password.get_secret_value():
            trouble = f"password file {path.name}: is empty"
        return Account(
            login_url=model.login_url,
            call_url=model.call_url,
            username=entry.username,
            password=password,
            unit=entry.unit,
            dstcode=entry.dstcode,
            name=entry.name,
            agencies=tuple(entry.agencies),
            profile=entry.profile or model.profile,
            calls_per_second=entry.calls_per_second or model.calls_per_second,
            parallel=entry.parallel or model.parallel,
            trouble=trouble,
        )


def account_of(agency: str, roots: dict[str, Any]) -> Any | None:
    """What stands for the most specific subtree that an agency (new form) is in."""
    root = agency
    while root:
        if root in roots:
            return roots[root]
        root = root.rpartition(".")[0]
    return roots.get(ALL)


def _told(error: ValidationError) -> str:
    faults: Sequence[Any] = error.errors(include_input=False, include_url=False)
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'])} {fault['msg']}".strip()
        for fault in faults[:5]
    )
