"""The evidence names nobody: neither what is exported nor what is stored says who was asked, what
the document says, or by which secrets the providers were called."""

import base64
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from signature_connector.domain.evidence import break_in_export
from signature_connector.providers import wire
from tests.support.databases import Databases
from tests.support.gateway import listening
from tests.support.signature_connector import (
    USER,
    Connector,
    connector_database,
    requested,
    running_connector,
    settings,
)
from tests.support.signing_services import (
    PERSON_MS,
    SigningGateway,
    SigningService,
    calling_back,
    door,
    signing_services,
)

SECRET, BEARER = "s3cr3t-0f-the-account", "b34r3r-0f-the-gateway"
LINE = "Noi dung kin cua ket qua"
HASHES = {"smartca": "VNPT-CA", "mysign": "Viettel-CA", "csc-v2": "CA2"}
FILES = "BkavCA"
PROVIDERS = {**HASHES, "esign": FILES}
ASKS = {"smartca": "sign", "mysign": "signHash", "csc-v2": "authorize", "esign": "sign_file"}
PERSON = f"Người ký thử nghiệm {USER[-4:]}"
AT_REST = ("completed", "rejected-by-user", "failed", "expired", "cancelled", "manual-review")


@pytest.fixture(scope="module")
def the_door() -> Iterator[socket.socket]:
    with door() as listening:
        yield listening


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory, the_door: socket.socket
) -> Iterator[dict[str, SigningService]]:
    options = ("--person-ms", PERSON_MS, "--keys", "ecdsa", "--account", f"sp:{SECRET}")
    programs: dict[str, tuple[str, ...]] = {
        name: (*options, *calling_back(the_door, name)) for name in HASHES
    }
    programs["signing-gateway"] = ("--person-ms", "0", "--token", BEARER)
    with signing_services(tmp_path_factory.mktemp("services"), programs) as running:
        yield {"esign": running.pop("signing-gateway"), **running}


@pytest.fixture
async def connector(
    databases: Databases,
    tmp_path: Path,
    services: dict[str, SigningService],
    the_door: socket.socket,
) -> AsyncIterator[Connector]:
    for one in services.values():
        one.reset()
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "bearer").write_text(BEARER)
    roots = tmp_path / "roots.pem"
    roots.write_bytes(b"".join(one.root.read_bytes() for one in services.values()))
    account = {
        "agencies": ["*"],
        "client_id": "sp",
        "secret_file": "secret",
        "profile_id": "p",
        "citizen_prefix": "CMT_",
    }
    providers: list[dict[str, Any]] = [
        {
            "name": name,
            "dialect": name,
            "url": services[name].url,
            "ca_names": [ca_name],
            "accounts": [account],
            "user_seconds": 60,
        }
        for name, ca_name in HASHES.items()
    ]
    providers.append(
        {
            "name": "gateway",
            "dialect": "esign",
            "url": services["esign"].url,
            "ca_names": [FILES],
            "accounts": [{"agencies": ["*"], "secret_file": "bearer"}],
            "user_seconds": 60,
        }
    )
    file = tmp_path / "providers.json"
    file.write_text(json.dumps({"providers": providers}))
    configured = settings(
        await connector_database(databases),
        tmp_path,
        SigningGateway("http://127.0.0.1:9", roots),
        providers_file=file,
        lease_seconds=30.0,
        news_seconds=3.0,
    )
    async with running_connector(configured) as running, listening(running.app, the_door):
        yield running


def spellings(value: str) -> set[str]:
    """As it could stand there: in clear, in base64, in hexadecimal."""
    raw = value.encode()
    return {value, base64.b64encode(raw).rstrip(b"=").decode(), raw.hex(), raw.hex().upper()}


@pytest.fixture
def handed_out(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every token and SAD that a provider gave."""
    found: set[str] = set()
    decoded = wire.decoded_json

    def watched(body: bytes) -> Any:
        answer = decoded(body)
        walk(answer)
        return answer

    def walk(value: Any) -> None:
        for name, inner in value.items() if isinstance(value, dict) else ():
            if (
                isinstance(inner, str)
                and inner
                and name in ("access_token", "SAD", "refresh_token")
            ):
                found.add(inner)
            walk(inner)
        for inner in value if isinstance(value, list) else ():
            walk(inner)

    monkeypatch.setattr(wire, "decoded_json", watched)
    return found


async def written_of(connector: Connector, request_id: UUID) -> str:
    """The whole export, and the rows as they are stored."""
    path = f"/v1/signing-requests/{request_id}/evidence/export"
    answer = await connector.get(path, "operations", agencies=("*",))
    assert answer.status_code == 200, answer.text
    exported = answer.json()
    assert break_in_export(exported) is None
    rows = await connector.rows(
        "SELECT * FROM signing_evidence WHERE request_id = :id", id=request_id
    )
    assert len(rows) == len(exported["records"]) >= 3
    parts = [bytes(one) if isinstance(one, memoryview) else one for row in rows for one in row]
    stored = [
        one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in parts
    ]
    return "\n".join([answer.text, json.dumps(exported, ensure_ascii=False), *stored])


def faults(name: str) -> dict[str, dict[str, Any]]:
    """What goes wrong; a provider may quote in its refusal what it was called with."""
    telling = f"Loi cua {USER}, mat khau {BEARER if name == 'esign' else SECRET}"
    return {
        "completed": {},
        "refused": {"kind": "refuse"},
        "quoting": {"kind": "wrong_code", "code": "99", "message": telling},
        "held": {"kind": "garbage", "text": f"<p>{telling}</p>", "work": False},
    }


EXPECTED = {"completed": "completed", "refused": "rejected-by-user", "held": "manual-review"}


@pytest.mark.parametrize("name", PROVIDERS)
async def test_neither_the_export_nor_the_rows_of_the_evidence_name_anybody(
    connector: Connector,
    services: dict[str, SigningService],
    handed_out: set[str],
    name: str,
) -> None:
    for what, fault in faults(name).items():
        services[name].reset()
        if fault:
            services[name].fault(on=ASKS[name], **fault)
        content = await connector.document(LINE)
        event = requested(content, ca_name=PROVIDERS[name], document_name="Giấy phép của ai đó")
        await connector.ask(event)
        row = await connector.until(event.request_id, *AT_REST, seconds=150)
        assert row.state == EXPECTED.get(what, row.state), (what, row.outcome)
        written = await written_of(connector, event.request_id)
        document = await connector.blobs.get(content)
        secret = [USER, PERSON, SECRET, BEARER, LINE, *handed_out]
        for one in (form for value in secret for form in spellings(value)):
            assert one not in written, (what, one)
        for kind in (base64.b64encode(document[:300]).decode()[:200], document[:100].hex(), "%PDF"):
            assert kind not in written, (what, kind)
        assert "CCCD" not in written
        assert str(row.provider) in written  # it is the evidence of this that was looked through
    assert bool(handed_out) == (name in ("mysign", "csc-v2"))
