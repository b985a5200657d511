"""Each agency's calls go out under its own account, and an account's trouble is its own."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from common.contracts.dossier import DossierProgressed, DossierTransferred
from national_portal_sync.clients.accounts import AccountFiles
from tests.support.databases import Databases
from tests.support.portal import (
    Rig,
    account_at,
    code_of,
    envelope,
    fact,
    life,
    overheard,
    prepared,
    rig,
)

ONE, TWO, BELOW, NOBODYS = (code_of(1, agency) for agency in ("H10.15", "H56", "H56.14", "G01"))


class Office:
    """The operators' files, and what the portal saw of each unit."""

    def __init__(self, at_work: Rig, folder: Path) -> None:
        self.at_work, self.folder = at_work, folder
        self.calls = overheard(at_work.portal)
        at_work.portal._accounts = {"ha": "mot", "hai": "hai", "duoi": "ba", "chung": "chung"}
        self.password("ha", "mot")
        self.password("hai", "hai")

    def password(self, name: str, password: str) -> None:
        (self.folder / name).write_text(password + "\n")

    def accounts(self, *entries: dict[str, Any], default: bool = False) -> None:
        """Write the file and use it."""
        (self.folder / "accounts.json").write_text(json.dumps({"accounts": entries}))
        url = self.at_work.url
        chung = account_at(url, username="chung", password=SecretStr("chung"), unit="CHUNG")
        self.at_work.files = AccountFiles(
            self.folder / "accounts.json", None, chung if default else None, account_at(url)
        )
        self.at_work.deliverer = self.at_work.another()

    def units(self, code: str) -> list[str]:
        """The units that told the portal of a dossier, one after the other."""
        told = [unit for unit, _, codes in self.calls if code in codes]
        return list(dict.fromkeys(told))


def entry(name: str, *agencies: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "agencies": list(agencies),
        "username": name,
        "unit": agencies[0],
        "dstcode": "G22",
        **more,
    }


@pytest.fixture
async def office(databases: Databases, tmp_path: Path) -> AsyncIterator[Office]:
    template = await databases.template("portal", prepared)
    async with rig(await databases.create("portal", template=template)) as at_work:
        yield Office(at_work, tmp_path)


async def test_the_account_of_the_most_specific_subtree_speaks_for_an_agency(
    office: Office,
) -> None:
    office.password("duoi", "ba")
    office.accounts(entry("ha", "H10"), entry("hai", "H56"), entry("duoi", "H56.14"), default=True)
    at_work = office.at_work
    await at_work.take(*life(ONE), *life(TWO), *life(BELOW), *life(NOBODYS))
    await at_work.drain()
    assert office.units(ONE) == ["H10"]
    assert office.units(TWO) == ["H56"]
    assert office.units(BELOW) == ["H56.14"]
    assert office.units(NOBODYS) == ["CHUNG"]
    rows = await at_work.rows("SELECT code, account FROM portal_dossier")
    assert {row.code: row.account for row in rows} == {
        ONE: "ha",
        TWO: "hai",
        BELOW: "duoi",
        NOBODYS: "default",
    }


async def test_one_agencys_wrong_password_holds_up_nobody_else(office: Office) -> None:
    office.password("ha", "sai")
    office.accounts(entry("ha", "H10"), entry("hai", "H56"))
    at_work = office.at_work
    wrong = [code_of(number, "H10.15") for number in range(150)]
    good = [code_of(number, "H56") for number in range(150)]
    for mine, theirs in zip(wrong, good, strict=True):
        await at_work.take(*life(mine, 1, 2), *life(theirs, 1, 2))
    for _ in range(12):
        await at_work.deliverer.once()
    for code in good:
        assert (await at_work.books(code) or {"steps": ()})["steps"], code
    assert not any(code in office.at_work.portal.dossiers for code in wrong)
    left = await at_work.rows("SELECT agency, state, attempts, error FROM delivery")
    assert {row.agency for row in left} == {"H10.15"}
    assert {(row.state, row.attempts) for row in left} == {("due", 0)}
    assert "login: refused (-1)" in {row.error for row in left}
    outcomes = [outcome for outcome, _ in await at_work.calls("login")]
    assert sorted(outcomes) == ["accepted", "refused -1"]
    assert at_work.portals.why_waiting("H10.15") == "login: refused (-1)"
    assert at_work.portals.why_waiting("H56") is None
    assert at_work.portals.line("H10.15").breaker.wait() > 20, "it is left alone, not hammered"


async def test_a_new_password_is_taken_up_while_everything_runs(office: Office) -> None:
    office.password("ha", "sai")
    office.accounts(entry("ha", "H10"), entry("hai", "H56"))
    at_work = office.at_work
    await at_work.take(*life(ONE), *life(TWO))
    for _ in range(4):
        await at_work.deliverer.once()
    session = at_work.portals.named("hai")
    office.password("ha", "mot")
    assert await at_work.portals.reload()
    await at_work.drain()
    assert office.units(ONE) == ["H10"]
    assert at_work.portals.named("hai") is session, "an account that did not change goes on"
    assert not await at_work.portals.reload()


async def test_an_agency_without_an_account_waits_and_is_never_sent_under_anothers(
    office: Office,
) -> None:
    office.accounts(entry("ha", "H10"))
    at_work = office.at_work
    await at_work.take(*life(TWO), *life(NOBODYS), *life(ONE))
    for _ in range(6):
        await at_work.deliverer.once()
    assert {codes[0] for _, _, codes in office.calls} == {ONE}
    left = await at_work.rows("SELECT DISTINCT agency, state, attempts FROM delivery")
    assert sorted(map(tuple, left)) == [("G01", "due", 0), ("H56", "due", 0)]
    assert "no account" in (at_work.portals.why_waiting("H56") or "")
    office.accounts(entry("ha", "H10"), entry("hai", "H56"), default=True)
    await at_work.drain()
    assert (office.units(TWO), office.units(NOBODYS)) == (["H56"], ["CHUNG"])


async def test_an_account_without_its_password_file_waits_and_the_others_go(
    office: Office,
) -> None:
    (office.folder / "ha").unlink()
    office.accounts(entry("ha", "H10"), entry("hai", "H56"), default=True)
    at_work = office.at_work
    await at_work.take(*life(ONE), *life(TWO))
    for _ in range(5):
        await at_work.deliverer.once()
    assert [unit for unit, *_ in office.calls if unit != "H56"] == []
    assert "password file ha" in (at_work.portals.why_waiting("H10.15") or "")
    office.password("ha", "mot")
    assert await at_work.portals.reload()
    await at_work.drain()
    assert office.units(ONE) == ["H10"]


async def test_a_portal_that_asks_one_account_for_patience_is_called_by_the_others(
    office: Office,
) -> None:
    office.accounts(entry("ha", "H10"), entry("hai", "H56"))
    at_work = office.at_work
    at_work.fault("DongBoHoSoMC", "status", code=429, retry_after=30, match={"MaHoSo": "H10*"})
    await at_work.take(*life(ONE), *life(TWO))
    for _ in range(5):
        await at_work.deliverer.once()
    assert office.units(TWO) == ["H56"]
    assert (await at_work.books(TWO) or {})["steps_kept"] == 5
    assert len(await at_work.calls("DongBoHoSoMC")) == 2
    left = await at_work.rows("SELECT attempts FROM delivery WHERE kind = 'dossier'")
    assert [row.attempts for row in left] == [0]


async def test_no_call_speaks_for_two_accounts(office: Office) -> None:
    office.accounts(entry("ha", "H10"), entry("hai", "H56"))
    at_work = office.at_work
    codes = [code_of(n, "H10.15" if n % 2 else "H56.14") for n in range(60)]
    await at_work.take(*(body for code in codes for body in life(code, 1, 2)))
    await at_work.drain()
    for unit, _, told in office.calls:
        assert {code.split(".")[0] for code in told} == {unit}
    assert {code for *_, told in office.calls for code in told} == set(codes)


async def test_after_a_transfer_the_new_agencys_account_tells_of_the_dossier(
    office: Office,
) -> None:
    office.accounts(entry("ha", "H10"), entry("hai", "H56"))
    at_work = office.at_work
    await at_work.take(*life(ONE, 1, 1))
    await at_work.drain()
    moved: dict[str, Any] = {"agency": "H56.14", "former_agencies": ("H10.15",)}
    waiting = fact(ONE, 2, DossierProgressed, "4")
    transfer = fact(ONE, 3, DossierProgressed, "4", **moved)
    told = DossierTransferred(from_agency="H10.15", **dict(transfer))
    await at_work.take(envelope(waiting, ONE, 2))
    await at_work.take(envelope(told, ONE, 3))
    await at_work.drain()
    assert office.units(ONE) == ["H10", "H56"]
    after = [service for unit, service, _ in office.calls if unit == "H56"]
    assert after[0] == "DongBoHoSoMC"
    assert [unit for unit, service, _ in office.calls if service != "DongBoHoSoMC"][1:] == [
        "H56"
    ] * (len(after) - 1), "what waited goes with the agency that has it now"
    kept = await at_work.books(ONE)
    assert kept is not None
    assert [row["step"]["NoiDungXuLy"] for row in kept["steps"]] == ["bước 1", "bước 2", "bước 3"]
    (row,) = await at_work.rows("SELECT agency, account FROM portal_dossier")
    assert tuple(row) == ("H56.14", "hai")


async def test_an_account_keeps_to_its_pace(office: Office) -> None:
    office.accounts(entry("ha", "H10", calls_per_second=20, parallel=1), entry("hai", "H56"))
    at_work = office.at_work
    await at_work.take(*life(ONE, 1, 1))
    line = at_work.portals.line("H10.15")
    await at_work.deliverer.once()
    assert 0 < line.wait() <= 0.1, "the login and the call used up what there was"
    assert line.free == 0
    await at_work.drain()
    assert (await at_work.books(ONE) or {})["steps_kept"] == 1
