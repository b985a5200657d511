"""The accounts' file and its passwords: read again and again, and never half."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from national_portal_sync.clients.accounts import AccountFiles, AccountsInvalid, account_of
from national_portal_sync.settings import Settings
from tests.support.portal import account_at

MODEL = account_at("http://portal", profile="basic", calls_per_second=3.0, parallel=2)


def entry(name: str = "ha-giang", *agencies: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "agencies": list(agencies or ("H10",)),
        "username": "tk",
        "unit": "H10",
        "dstcode": "G22",
        **more,
    }


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "accounts.json"

    def write(self, *entries: dict[str, Any]) -> AccountFiles:
        self.file.write_text(json.dumps({"accounts": entries}))
        for one in entries:
            (self.path / str(one.get("name", "x"))).write_text("mat-khau\n")
        return AccountFiles(self.file, None, None, MODEL)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_an_account_is_what_its_entry_says_and_the_settings_for_the_rest(folder: Folder) -> None:
    files = folder.write(entry(), entry("hai", "H56", profile="2023", calls_per_second=9))
    one, two = files.read()
    assert (one.name, one.agencies, one.username) == ("ha-giang", ("H10",), "tk")
    assert one.password.get_secret_value() == "mat-khau"
    assert (one.profile, one.calls_per_second, one.parallel) == ("basic", 3.0, 2)
    assert (two.profile, two.calls_per_second) == ("2023", 9.0)
    assert (one.login_url, one.trouble) == ("http://portal/login", None)


def test_both_forms_of_an_agencys_code_mean_the_same_agency(folder: Folder) -> None:
    (one,) = folder.write(entry("a", "000.00.15.H10")).read()
    assert one.agencies == ("H10.15",)


def test_passwords_may_stand_in_a_folder_of_their_own(folder: Folder, tmp_path: Path) -> None:
    files = folder.write(entry(password_file="ten-khac"))
    apart = tmp_path / "bi-mat"
    apart.mkdir()
    (apart / "ten-khac").write_text("khac")
    (one,) = AccountFiles(files.file, apart, None, MODEL).read()
    assert one.password.get_secret_value() == "khac"


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\xff\xfe", "holds no"),
        (b"x" * 5000, "no pass"),
    ],
)
def test_an_account_without_a_password_is_there_with_its_trouble(
    folder: Folder, content: bytes | None, trouble: str
) -> None:
    files = folder.write(entry(), entry("hai", "H56"))
    path = folder.path / "ha-giang"
    path.unlink() if content is None else path.write_bytes(content)
    one, two = files.read()
    assert trouble in (one.trouble or "")
    assert two.trouble is None


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([entry("a", "H10"), entry("b", "H10")], "both speak for H10"),
        ([entry("a", "H10"), entry("b", "000.00.00.H10")], "both speak for H10"),
        ([entry("a"), entry("a", "H56")], "two accounts are called a"),
        ([entry("A b")], "name"),
        ([entry(password_file="../../etc/passwd")], "password_file"),
        ([entry(password_file=".hidden")], "password_file"),
        ([entry(password="mat-khau")], "password"),
        ([entry("a", "nowhere")], "agencies"),
        ([entry(profile="2030")], "profile"),
        ([entry(calls_per_second=0)], "calls_per_second"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_not_taken_in_parts(
    folder: Folder, entries: list[dict[str, Any]], why: str
) -> None:
    folder.file.write_text(json.dumps({"accounts": entries}))
    with pytest.raises(AccountsInvalid, match=why) as raised:
        AccountFiles(folder.file, None, None, MODEL).read()
    assert "mat-khau" not in str(raised.value)


def test_a_missing_file_is_told(folder: Folder) -> None:
    with pytest.raises(AccountsInvalid, match="No such file"):
        AccountFiles(folder.file, None, None, MODEL).read()


def test_the_default_account_speaks_for_the_rest_unless_the_file_names_one(
    folder: Folder,
) -> None:
    files = folder.write(entry())
    with_default = AccountFiles(files.file, None, MODEL, MODEL)
    assert [one.name for one in with_default.read()] == ["ha-giang", "default"]
    folder.write(entry(), entry("ca-nuoc", "*"))
    assert [one.name for one in with_default.read()] == ["ha-giang", "ca-nuoc"]
    assert AccountFiles(None, None, MODEL, MODEL).read() == [MODEL]


@pytest.mark.parametrize(
    ("agency", "wanted"),
    [
        ("H10", "a"),
        ("H10.15", "a"),
        ("H56.14.02", "b"),
        ("H56", None),
        ("H1", None),
        ("H100", None),
    ],
)
def test_the_most_specific_subtree_counts(agency: str, wanted: str | None) -> None:
    roots = {"H10": "a", "H56.14": "b"}
    assert account_of(agency, roots) == wanted
    assert account_of(agency, {**roots, "*": "c"}) == (wanted or "c")


def settings(**given: Any) -> Settings:
    return Settings(
        database_url=SecretStr("postgresql+asyncpg://a:b@c/d"), portal_url="http://portal", **given
    )


def test_settings_name_a_whole_default_account_or_a_file(tmp_path: Path) -> None:
    whole = {"portal_username": "u", "portal_password": "p", "portal_unit": "H10"}
    with pytest.raises(ValidationError, match="portal_dstcode"):
        settings(**whole)
    with pytest.raises(ValidationError, match="accounts_file"):
        settings()
    assert settings(**whole, portal_dstcode="G22").accounts_file is None
    assert settings(accounts_file=tmp_path / "a.json").portal_username is None
