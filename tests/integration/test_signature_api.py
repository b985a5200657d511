"""The signature connector's REST: who may ask and see what, and how bad requests are answered."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from common.contracts.signature import SignatureCompleted
from tests.support import signature_fixtures
from tests.support.signature_connector import (
    AGENCY,
    OTHER_AGENCY,
    USER,
    Connector,
    token,
)
from tests.support.signing_services import SigningGateway

the_gateway = signature_fixtures.gateway_process("--keys", "ecdsa")
gateway = signature_fixtures.gateway
connector = signature_fixtures.connector


def body(file: str, **changed: Any) -> dict[str, Any]:
    given = {
        "agency": AGENCY,
        "document": {"id": "KQ1", "name": "Giấy phép", "file": file},
        "signer": {"user": USER, "ca_name": "VNPT-CA"},
    }
    return {**given, **changed}


def slug(answer) -> str:
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["title"]
    assert problem["title_en"]
    assert problem["status"] == answer.status_code
    kind: str = problem["type"]
    return kind.removeprefix("urn:lienthong:problem:")


async def test_a_signature_is_asked_for_and_seen_through(
    connector: Connector, gateway: SigningGateway
) -> None:
    file = await connector.document()
    answer = await connector.post(body(file))
    assert answer.status_code == 202
    made = answer.json()
    assert answer.headers["location"] == f"/v1/signing-requests/{made['request_id']}"
    assert (made["state"], made["agency"], made["dossier_code"]) == ("received", AGENCY, None)
    await connector.until(UUID(made["request_id"]), "completed")
    seen = await connector.get(answer.headers["location"], "signing:read")
    assert seen.status_code == 200
    view = seen.json()
    assert (view["state"], view["submissions"]) == ("completed", 1)
    assert (await connector.blobs.get(view["signed_file"])).startswith(
        await connector.blobs.get(file)
    )
    assert USER not in seen.text
    (told,) = await connector.facts(UUID(made["request_id"]))
    assert isinstance(told.event, SignatureCompleted)
    assert (told.event.dossier_code, told.event.file) == (None, view["signed_file"])
    assert gateway.requests()[made["request_id"]]["user_id"] == USER


async def test_the_same_key_with_the_same_content_is_the_same_request(
    connector: Connector, gateway: SigningGateway
) -> None:
    file = await connector.document()
    first, again = await asyncio.gather(connector.post(body(file)), connector.post(body(file)))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["request_id"] == again.json()["request_id"]
    request_id = UUID(first.json()["request_id"])
    await connector.until(request_id, "completed")
    late = await connector.post(body(file))
    assert (late.status_code, late.json()["state"]) == (202, "completed")
    assert gateway.books()["asked"] == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"signer": {"user": "001099000002", "ca_name": "VNPT-CA"}},
        {"signer": {"user": USER, "ca_name": "CA2"}},
        {"document": None},
    ],
    ids=["signer", "ca", "document"],
)
async def test_the_same_key_with_other_content_is_a_conflict(
    connector: Connector, changed: dict[str, Any]
) -> None:
    assert (await connector.post(body(await connector.document()))).status_code == 202
    other = body(await connector.document())
    first = (await connector.rows("SELECT file FROM signing_request"))[0].file
    if changed.get("document", True) is not None:
        other = {**body(first), **changed}
    answer = await connector.post(other)
    assert (answer.status_code, slug(answer)) == (409, "signing-request-conflict")
    assert USER not in answer.text


@pytest.mark.parametrize("what", ["signers", "documents"])
async def test_the_same_key_with_more_or_fewer_is_a_conflict(
    connector: Connector, gateway: SigningGateway, what: str
) -> None:
    """What is asked for together is one thing: nothing is added to it, nothing left out."""
    gateway.fault(on="get_certificate", kind="status", code=503)
    documents = [
        {"id": f"KQ{n}", "name": "Giấy phép", "file": await connector.document()} for n in range(3)
    ]
    people = [{"user": f"00109900000{n}", "ca_name": "VNPT-CA"} for n in range(3)]
    headers = {"Authorization": f"Bearer {token('signing:write')}", "Idempotency-Key": "together"}

    async def asked(many: int) -> int:
        together = (
            {"document": documents[0], "signers": people[:many]}
            if what == "signers"
            else {"signer": people[0], "documents": documents[:many]}
        )
        path = "/v1/signing-workflows" if what == "signers" else "/v1/signing-batches"
        answer = await connector.http.post(
            path, json={"agency": AGENCY, **together}, headers=headers
        )
        if answer.status_code == 409:
            assert slug(answer) == "signing-request-conflict"
        return answer.status_code

    assert [await asked(many) for many in (2, 2, 3, 1, 2)] == [202, 202, 409, 409, 202]
    assert len(await connector.rows("SELECT 1 FROM signing_request")) == 2


async def test_keys_are_each_clients_own(connector: Connector) -> None:
    file = await connector.document()
    mine = await connector.post(body(file))
    theirs = await connector.post(
        body(file, signer={"user": "001099000009", "ca_name": "VNPT-CA"}), client="another"
    )
    assert (mine.status_code, theirs.status_code) == (202, 202)
    assert mine.json()["request_id"] != theirs.json()["request_id"]


async def test_rights_are_asked_for_everywhere(connector: Connector) -> None:
    file = await connector.document()
    answer = await connector.post(body(file), agencies=(OTHER_AGENCY,))
    assert (answer.status_code, slug(answer)) == (403, "forbidden")
    request_id = (await connector.post(body(file))).json()["request_id"]
    path = f"/v1/signing-requests/{request_id}"
    assert (await connector.http.get(path)).status_code == 401
    assert slug(await connector.get(path, "signing:write")) == "forbidden"
    foreign = await connector.get(path, "signing:read", agencies=(OTHER_AGENCY,))
    assert (foreign.status_code, slug(foreign)) == (404, "unknown-signing-request")
    assert slug(await connector.get("/v1/signing-requests", "signing:read")) == "forbidden"
    assert slug(await connector.get(f"{path}/evidence", "signing:read")) == "forbidden"
    hidden = await connector.get(f"{path}/evidence", "operations", agencies=(OTHER_AGENCY,))
    assert hidden.status_code == 404
    none = await connector.get(f"/v1/signing-requests/{UUID(int=1)}", "signing:read")
    assert (none.status_code, slug(none)) == (404, "unknown-signing-request")


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"agency": "nowhere"}, "/agency"),
        ({"agency": None}, "/agency"),
        ({"signer": {"user": "12 34", "ca_name": "CA2"}}, "/signer/user"),
        ({"signer": {"user": "'; DROP TABLE", "ca_name": "CA2"}}, "/signer/user"),
        ({"signer": {"user": USER, "ca_name": ""}}, "/signer/ca_name"),
        ({"signer": {"user": USER}}, "/signer/ca_name"),
        ({"document": {"id": "1", "name": "x", "file": "../../etc"}}, "/document/file"),
        ({"document": {"id": "1", "name": "", "file": "0" * 64}}, "/document/name"),
        ({"document": {"id": "1", "name": "x" * 501, "file": "0" * 64}}, "/document/name"),
        ({"pin": "1234"}, "/pin"),
        ({"stamp": {"page": "0", "box": [0, 0, 9, 9]}}, "/stamp/page"),
        ({"stamp": {"page": 0, "box": [0, 0, 9, True]}}, "/stamp/box/3"),
        ({"document": {"id": "1", "name": "x", "file": "0" * 64}}, "/document/file"),
    ],
)
async def test_bad_requests_name_the_field(
    connector: Connector, changed: dict[str, Any], pointer: str
) -> None:
    answer = await connector.post(body("0" * 64, **changed))
    assert answer.status_code == 422
    problem = answer.json()
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert "1234" not in answer.text
    assert await connector.rows("SELECT * FROM signing_request") == []


@pytest.mark.parametrize("key", [None, "", "x" * 256, "with space"])
async def test_a_usable_key_is_demanded(connector: Connector, key: str | None) -> None:
    answer = await connector.post(body(await connector.document()), key=key)
    assert answer.status_code == (400 if key is None else 422)
    assert slug(answer) == ("idempotency-key-missing" if key is None else "invalid-content")


async def test_operators_see_what_is_held_within_their_agencies(
    connector: Connector, gateway: SigningGateway
) -> None:
    gateway.fault(on="sign_file", kind="drop_after", match={"user_id": "0010*"})
    ids = []
    for number, agency in enumerate((AGENCY, AGENCY, AGENCY, OTHER_AGENCY)):
        answer = await connector.post(
            body(await connector.document(), agency=agency), key=f"k{number}", agencies=("*",)
        )
        ids.append(answer.json()["request_id"])
        await connector.until(UUID(ids[-1]), "manual-review")
    fine = body(await connector.document(), signer={"user": "079199000123", "ca_name": "CA2"})
    await connector.until(
        UUID((await connector.post(fine, key="fine")).json()["request_id"]), "completed"
    )

    async def page(**query: Any) -> dict[str, Any]:
        agencies = query.pop("agencies", ("*",))
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        answer = await connector.get(
            f"/v1/signing-requests?{asked}", "operations", agencies=agencies
        )
        assert answer.status_code == 200, answer.text
        assert USER not in answer.text
        return dict(answer.json())

    everything = await page()
    assert [one["request_id"] for one in everything["items"]] == ids
    assert everything["next"] is None
    assert all(one["outcome"] for one in everything["items"])
    first = await page(limit=3)
    assert [one["request_id"] for one in first["items"]] == ids[:3]
    rest = await page(limit=3, after=first["next"])
    assert [one["request_id"] for one in rest["items"]] == ids[3:]
    assert [one["request_id"] for one in (await page(agencies=("H10",)))["items"]] == ids[3:]
    assert (await page(agencies=("H5",)))["items"] == []
    refused = await connector.get("/v1/signing-requests?limit=0", "operations")
    assert refused.status_code == 422


async def test_the_evidence_shows_when_it_was_tampered_with(
    connector: Connector, gateway: SigningGateway
) -> None:
    request_id = (await connector.post(body(await connector.document()))).json()["request_id"]
    await connector.until(UUID(request_id), "completed")
    path = f"/v1/signing-requests/{request_id}/evidence"
    whole = (await connector.get(path, "operations")).json()
    assert whole["broken_at"] is None
    assert USER not in str(whole)
    async with connector.core.database.transaction() as connection:
        await connection.execute(
            text("ALTER TABLE signing_evidence DISABLE TRIGGER signing_evidence_stays")
        )
        await connection.execute(
            text("UPDATE signing_evidence SET body = replace(convert_from(body, 'UTF8'), "
                 "'prepared', 'received')::bytea WHERE number = 2")
        )  # fmt: skip
    assert (await connector.get(path, "operations")).json()["broken_at"] == 2


async def test_the_service_is_ready_and_counts_what_it_does(connector: Connector) -> None:
    assert (await connector.http.get("/readyz")).status_code == 200
    request_id = (await connector.post(body(await connector.document()))).json()["request_id"]
    await connector.until(UUID(request_id), "completed")
    metrics = (await connector.http.get("/metrics")).text
    assert 'partner_calls_total{outcome="signed-raw",partner="esign"} 1.0' in metrics
    assert USER not in metrics
