"""Which provider is asked for whom, as an operator's file says."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from pydantic import SecretStr

from signature_connector.domain.provider import Called, Provider, Unreadable
from signature_connector.providers.choice import Choice
from signature_connector.providers.configured import ProviderFiles, ProvidersInvalid
from tests.support.signing_dialects import OUTGOING

BASIS = "Điều 25 NĐ 42/2022: the gateway reaches the same CA's service"
Write = Callable[..., ProviderFiles]


def account(*agencies: str, **changed: Any) -> dict[str, Any]:
    return {"agencies": agencies or ["*"], "client_id": "c", "secret_file": "s", **changed}


def entry(name: str, dialect: str = "smartca", **changed: Any) -> dict[str, Any]:
    given = {"name": name, "dialect": dialect, "url": "https://ca/api", "ca_names": ["VNPT-CA"]}
    return {**given, "accounts": [account()], **changed}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(*entries: Any, **changed: Any) -> ProviderFiles:
        file = tmp_path / "providers.json"
        file.write_text(json.dumps({"providers": entries}), "utf-8")
        for name in ("s", "s10"):
            (tmp_path / name).write_text(f"secret of {name}\n", "utf-8")
        return ProviderFiles(file, **changed)

    return written


def secret_of(provider: Any) -> str:
    secret: str = provider._password.get_secret_value()
    return secret


def names(providers: tuple[Provider, ...]) -> list[str]:
    return [one.name for one in providers]


async def test_the_simple_configuration_serves_everybody() -> None:
    files = ProviderFiles(esign_url="http://esign", esign_token=SecretStr("t0ken"))
    async with Choice(files) as choice:
        (esign,) = choice.choose("H10.15", "FPT-CA")
        assert (esign.name, esign.abilities.signs) == ("esign", "files")
        assert choice.provider("esign", "H56") is esign
        assert choice.provider("vnpt", "H56") is None
        assert "t0ken" not in repr(files)


async def test_the_persons_ca_goes_first_and_others_only_where_the_law_lets_them(
    write: Write,
) -> None:
    law = [{"ca_name": "VNPT-CA", "basis": BASIS}]
    files = write(
        entry("gateway", "esign", ca_names=["*"], stands_in_for=law),
        entry("viettel", "mysign", ca_names=["Viettel-CA"], accounts=[account(profile_id="p")]),
        entry("vnpt"),
    )
    async with Choice(files) as choice:
        assert names(choice.choose("H10", "VNPT-CA")) == ["vnpt", "gateway"]
        assert names(choice.choose("H10", "Viettel-CA")) == ["viettel"]
        assert names(choice.choose("H10", "FPT-CA")) == ["gateway"]


async def test_a_stand_in_is_not_named_twice(write: Write) -> None:
    law = [{"ca_name": "FPT-CA", "basis": BASIS}]
    async with Choice(write(entry("g", "esign", ca_names=["*"], stands_in_for=law))) as choice:
        assert names(choice.choose("H10", "FPT-CA")) == ["g"]


async def test_an_agency_is_served_under_the_account_of_its_closest_subtree(write: Write) -> None:
    accounts = [account(client_id="all"), account("H10", client_id="h10", secret_file="s10")]
    files = write(entry("vnpt", accounts=accounts))
    async with Choice(files) as choice:
        below: Any
        other: Any
        (below,) = choice.choose("H10.15", "VNPT-CA")
        (same,) = choice.choose("H10", "VNPT-CA")
        (other,) = choice.choose("H100", "VNPT-CA")
        assert below is same is choice.provider("vnpt", "H10.15.2")
        assert below is not other
        assert [getattr(one, "_sp_id", "") for one in (below, other)] == ["h10", "all"]
        assert secret_of(below) == "secret of s10"


async def test_an_agency_without_an_account_is_served_by_nobody(write: Write) -> None:
    async with Choice(write(entry("vnpt", accounts=[account("H10")]))) as choice:
        assert choice.choose("H11", "VNPT-CA") == ()
        assert choice.choose("H10", "FPT-CA") == ()


async def test_two_providers_may_share_a_ca_where_their_agencies_differ(write: Write) -> None:
    files = write(entry("all"), entry("ours", accounts=[account("H10")]))
    async with Choice(files) as choice:
        assert names(choice.choose("H10.1", "VNPT-CA")) == ["ours"]
        assert names(choice.choose("H11", "VNPT-CA")) == ["all"]


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([entry("a"), entry("a", ca_names=["FPT-CA"])], "two providers are called a"),
        ([entry("a"), entry("b")], "a and b both serve VNPT-CA for \\*"),
        ([entry("a", accounts=[account("H10"), account("H10")])], "two accounts of a"),
        ([entry("a", accounts=[{"agencies": ["*"]}])], "needs client_id and secret_file"),
        ([entry("a", "mysign")], "needs profile_id"),
        ([entry("a", "soap")], "dialect"),
        ([entry("a", url="ftp://ca")], "url"),
        ([entry("a", unknown=1)], "unknown"),
        ([entry("a", "esign", most=2)], "one document an order"),
        ([entry("a", tls_key="k")], "go together"),
        ([entry("a", stands_in_for=[{"ca_name": "FPT-CA", "basis": "?"}])], "basis"),
        ([entry("a", accounts=[account(secret_file="../etc")])], "secret_file"),
        ([entry("a", tls_ca_file="/nowhere.pem")], "a TLS file cannot be used"),
        ([entry("esign")], "called esign"),
        ([], "no provider"),
    ],
)
async def test_a_file_that_is_not_as_it_should_be_is_refused_with_its_place(
    write: Write, entries: Any, told: str
) -> None:
    url = "http://esign" if told == "called esign" else None
    with pytest.raises(ProvidersInvalid, match=told):
        async with Choice(write(*entries, esign_url=url)):
            pass


async def test_a_file_that_is_not_there_or_not_json_is_refused(tmp_path: Path) -> None:
    for content in (None, "providers: [", "{}"):
        file = tmp_path / "providers.json"
        if content is not None:
            file.write_text(content)
        with pytest.raises(ProvidersInvalid, match=r"providers\.json"):
            async with Choice(ProviderFiles(file)):
                pass


async def test_an_account_without_its_secret_is_left_out_and_named(write: Write) -> None:
    files = write(
        entry("vnpt", accounts=[account(), account("H10", secret_file="missing")]),
    )
    async with Choice(files) as choice:
        (one,) = choice.choose("H10", "VNPT-CA")
        assert secret_of(one) == "secret of s"
        assert list(choice.troubles) == ["vnpt (H10)"]
        assert "missing" in choice.troubles["vnpt (H10)"]


async def test_a_changed_secret_is_taken_up_and_other_accounts_keep_their_sessions(
    write: Write, tmp_path: Path
) -> None:
    accounts = [account(), account("H10", secret_file="s10")]
    files = write(entry("vnpt", accounts=accounts))
    async with Choice(files) as choice:
        watching = asyncio.create_task(choice.watch(0.01))
        kept = choice.choose("H11", "VNPT-CA")
        (before,) = choice.choose("H10", "VNPT-CA")
        (tmp_path / "s10").write_text("another")
        async with asyncio.timeout(5):
            while choice.choose("H10", "VNPT-CA")[0] is before:
                await asyncio.sleep(0.01)
        assert secret_of(choice.choose("H10", "VNPT-CA")[0]) == "another"
        assert choice.choose("H11", "VNPT-CA") == kept
        (tmp_path / "providers.json").write_text("{")
        async with asyncio.timeout(5):
            while choice.invalid is None:
                await asyncio.sleep(0.01)
        assert choice.choose("H11", "VNPT-CA") == kept
        watching.cancel()


async def test_a_callback_is_read_by_whichever_account_it_is_for(write: Write) -> None:
    accounts = [account(client_id="all"), account("H10", client_id="h10")]
    async with Choice(write(entry("vnpt", accounts=accounts))) as choice:
        for client in ("all", "h10"):
            body = orjson.dumps({"sp_id": client, "transaction_id": str(OUTGOING)})
            assert choice.called("vnpt", body) == Called(outgoing_id=UUID(str(OUTGOING)))
        for name, body in (("vnpt", b'{"sp_id": "x"}'), ("nobody", b"{}")):
            with pytest.raises(Unreadable):
                choice.called(name, body)


@pytest.mark.parametrize(
    ("dialect", "changed", "abilities"),
    [
        ("smartca", {"status_by": "tran_code", "most": 3}, ("hashes", False, "accepted", 3)),
        ("mysign", {"mode": 3}, ("hashes", False, "accepted", 10)),
        ("csc-v1", {"mechanisms": ["ecdsa"]}, ("hashes", True, "nothing", 10)),
        ("csc-v2", {"confirmation": "provider"}, ("hashes", False, "accepted", 10)),
        ("esign", {}, ("files", True, "nothing", 1)),
    ],
)
async def test_every_dialect_is_made_with_what_the_file_says(
    write: Write, dialect: str, changed: Any, abilities: Any
) -> None:
    files = write(entry("one", dialect, accounts=[account(profile_id="p")], **changed))
    async with Choice(files) as choice:
        (made,) = choice.choose("H10", "VNPT-CA")
    able = made.abilities
    assert (able.signs, able.waits, able.confirms, able.most) == abilities
    assert made.name == "one"
    if "mechanisms" in changed:
        assert able.mechanisms == ("ecdsa",)
