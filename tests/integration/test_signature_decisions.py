"""Cancelling, what operators decide about held requests, and callbacks, by the whole service."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from common.contracts.signature import SignatureCompleted, SignatureFailed
from signature_connector.domain.provider import Signed, Unclear
from signature_connector.providers.esign import EsignGateway
from signature_connector.store import waiting
from tests.support import signature_fixtures
from tests.support.signature_connector import (
    OTHER_AGENCY,
    USER,
    Connector,
    token,
)
from tests.support.signing_services import SigningGateway

REASON = "Đã gọi điện cho người ký"


the_gateway = signature_fixtures.gateway_process("--keys", "ecdsa")
gateway = signature_fixtures.gateway
connector = signature_fixtures.connector


async def held(connector: Connector, gateway: SigningGateway) -> UUID:
    """A request whose person signed, and whose answer was lost."""
    gateway.fault(on="sign_file", kind="drop_after", times=1)
    request_id = await connector.asked()
    await connector.until(request_id, "manual-review")
    return request_id


async def decide(
    connector: Connector, request_id: UUID, decision: str, **more: Any
) -> httpx.Response:
    rights = more.pop("rights", {})
    bearer = token(*more.pop("scopes", ("operations",)), **rights)
    return await connector.http.post(
        f"/v1/signing-requests/{request_id}/decision",
        json={"decision": decision, "reason": REASON, **more},
        headers={"Authorization": f"Bearer {bearer}"},
    )


async def cancel(connector: Connector, request_id: UUID, **rights: Any) -> httpx.Response:
    bearer = token("signing:write", **rights)
    return await connector.http.post(
        f"/v1/signing-requests/{request_id}/cancellation",
        headers={"Authorization": f"Bearer {bearer}"},
    )


async def records(connector: Connector, request_id: UUID) -> list[dict[str, Any]]:
    path = f"/v1/signing-requests/{request_id}/evidence"
    body = (await connector.get(path, "operations", agencies=("*",))).json()
    assert body["broken_at"] is None
    return [one["record"] for one in body["records"]]


async def test_an_operator_confirms_with_the_signed_file_and_it_is_judged_like_any(
    connector: Connector, gateway: SigningGateway, monkeypatch
) -> None:
    signed_elsewhere = await connector.asked()
    await connector.until(signed_elsewhere, "completed")
    submit = EsignGateway.submit
    lost: dict[UUID, Any] = {}

    async def losing(self, order):
        answer = await submit(self, order)
        assert isinstance(answer, Signed)
        lost.update(answer.results)
        return Unclear("lost")

    monkeypatch.setattr(EsignGateway, "submit", losing)
    request_id = await connector.asked()
    await connector.until(request_id, "manual-review")
    row = await connector.row(request_id)
    wrong = (await connector.row(signed_elsewhere)).returned_file
    for file in (wrong, row.file):
        refused = await decide(connector, request_id, "confirm", file=file)
        assert refused.status_code == 422, refused.text
        assert refused.json()["type"].endswith("not-the-signed-file")
    assert (await connector.row(request_id)).state == "manual-review"
    missing = await decide(connector, request_id, "confirm", file="f" * 64)
    assert (missing.status_code, missing.json()["type"].rsplit(":")[-1]) == (422, "unknown-file")

    file = await connector.blobs.put(lost[request_id])
    done = await decide(connector, request_id, "confirm", file=file)
    assert done.status_code == 200, done.text
    await connector.until(request_id, "completed")
    told = (await connector.facts(request_id, 2))[-1]
    assert isinstance(told.event, SignatureCompleted)
    assert told.event.file == file


async def test_an_operator_has_it_asked_anew_when_the_person_agreed(
    connector: Connector, gateway: SigningGateway
) -> None:
    request_id = await held(connector, gateway)
    unasked = await decide(connector, request_id, "repeat")
    assert unasked.status_code == 422
    first, again = await asyncio.gather(
        decide(connector, request_id, "repeat", signer_agreed=True),
        decide(connector, request_id, "repeat", signer_agreed=True),
    )
    assert (first.status_code, again.status_code) == (200, 200)
    row = await connector.until(request_id, "completed")
    assert row.submissions == 2
    assert gateway.requests()[str(request_id)]["asked"] == 2
    types = [one.type for one in await connector.facts(request_id, 2)]
    assert types == ["signature.held.v1", "signature.completed.v1"]
    noted = await connector.rows("SELECT * FROM desk_action WHERE event_id = :id", id=request_id)
    assert [(one.action, one.what, one.client_id, one.reason) for one in noted] == [
        ("repeat", "signing", "one-stop", REASON)
    ]
    decided = [one for one in await records(connector, request_id) if "decision" in one["facts"]]
    assert [one["facts"]["signer_agreed"] for one in decided] == [True]
    assert REASON not in str(decided)


async def test_an_operator_gives_up_and_everybody_hears_of_it(
    connector: Connector, gateway: SigningGateway
) -> None:
    request_id = await held(connector, gateway)
    assert (await decide(connector, request_id, "give-up")).json()["state"] == "failed"
    assert (await decide(connector, request_id, "give-up")).json()["state"] == "failed"
    other = await decide(connector, request_id, "repeat", signer_agreed=True)
    assert (other.status_code, other.json()["type"].rsplit(":")[-1]) == (
        409,
        "signing-request-not-held",
    )
    told = (await connector.facts(request_id, 2))[-1]
    assert isinstance(told.event, SignatureFailed)
    assert told.event.outcome == "failed"
    assert (await connector.row(request_id)).sealed_certificate is None


async def test_only_operators_of_the_agency_decide(
    connector: Connector, gateway: SigningGateway
) -> None:
    request_id = await held(connector, gateway)
    nobody = await decide(connector, request_id, "give-up", scopes=("signing:write",))
    assert nobody.status_code == 403
    foreign = await decide(connector, request_id, "give-up", rights={"agencies": (OTHER_AGENCY,)})
    assert foreign.status_code == 404
    assert (await connector.row(request_id)).state == "manual-review"


async def test_what_nobody_was_asked_for_is_cancelled_at_once(
    connector: Connector, gateway: SigningGateway
) -> None:
    gateway.fault(on="get_certificate", kind="status", code=503)
    request_id = await connector.asked()
    assert (await cancel(connector, request_id, agencies=(OTHER_AGENCY,))).status_code == 404
    answer = await cancel(connector, request_id)
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert (await cancel(connector, request_id)).json()["state"] == "cancelled"
    (told,) = await connector.facts(request_id)
    assert isinstance(told.event, SignatureFailed)
    assert told.event.outcome == "cancelled"
    gateway.reset()
    await asyncio.sleep(2.0)
    assert (await connector.row(request_id)).state == "cancelled"
    assert str(request_id) not in gateway.requests()


async def test_what_the_person_does_after_a_late_cancellation_still_counts(
    connector: Connector, gateway: SigningGateway
) -> None:
    gateway.fault(on="sign_file", kind="slow", ms=1500, times=1)
    request_id = await connector.asked()
    await connector.until(request_id, "submitting")
    answer = await cancel(connector, request_id)
    assert (answer.status_code, answer.json()["state"]) == (200, "submitting")
    await connector.until(request_id, "completed")
    last = (await records(connector, request_id))[-1]
    assert last["facts"]["by"] == "one-stop"
    assert "cancellation_wanted_at" in last["facts"]


async def test_callbacks_of_nobody_change_nothing(connector: Connector) -> None:
    for provider, body in (("nobody", b"{}"), ("esign", b"{}"), ("esign", b"\xff" * 1000)):
        answer = await connector.http.post(f"/v1/signing-callbacks/{provider}", content=body)
        assert answer.status_code == 404
    huge = await connector.http.post("/v1/signing-callbacks/esign", content=b"x" * 300_000)
    assert huge.status_code == 413
    assert await connector.rows("SELECT * FROM signing_callback") == []


async def test_callbacks_are_kept_once_and_only_so_many(connector: Connector) -> None:
    async with connector.core.database.transaction() as connection:
        for number in range(30):
            for _ in range(2):
                await waiting.store_callback(
                    connection, "later", bytes([number]) * 32, f"T{number}", None, 10
                )
    rows = await connector.rows("SELECT times FROM signing_callback")
    assert [row.times for row in rows] == [2] * 30
    async with connector.core.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE signing_callback SET received_at = now() - "
                "get_byte(digest, 0) * interval '1 min'"
            )
        )
        await waiting.trim_callbacks(connection, 7, 10)
    assert len(await connector.rows("SELECT * FROM signing_callback")) <= 11
    assert USER not in await connector.everything()
