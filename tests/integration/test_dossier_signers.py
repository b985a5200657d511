"""A dossier's result that a rule has several sign: from the dossier service to the connector, from
person to person, and back, whatever becomes of one of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader
from sqlalchemy import text

from common.contracts.dossier import (
    DossierFact,
    ResultPaper,
    ResultSigned,
    SigningRequested,
    SigningWorkflowRequested,
)
from common.contracts.signature import SignatureFailed
from common.envelope import decode
from common.identifiers import new_id
from common.transport.base import Message
from dossier.domain.signing_rules import SigningRules
from signature_connector.consumers import subscriptions
from tests.support import signature_fixtures
from tests.support.databases import Databases
from tests.support.dossier_service import DossierService, dossier_database, dossier_service
from tests.support.dossiers import AGENCY, code, command, envelope, result, submission
from tests.support.signature_connector import (
    KEYS,
    Connector,
    connector_database,
    running_connector,
    settings,
    token,
)
from tests.support.signing_services import SigningGateway, SigningService, signing_service

USERS = ("001099000001", "001099000002", "001099000003")
DOSSIER = code(1)
STAMP = {"page": 0, "box": [50, 50, 250, 120]}


def rules(ca_name: str) -> SigningRules:
    signers = [
        {"user": USERS[0], "ca_name": ca_name, "reason": "Thẩm định"},
        {"user": USERS[1], "ca_name": ca_name, "reason": "Phê duyệt", "stamp": STAMP},
        {"user": USERS[2], "ca_name": ca_name, "seal": True},
    ]
    rule = {"agency": AGENCY, "signers": signers, "valid_from": "2026-01-01", "basis": "QĐ 1"}
    return SigningRules.model_validate(
        {"version": "1", "source": "the tests", "confidence": "made up", "rules": [rule]}
    )


@dataclass
class World:
    """A dossier service, the connector that it asks, and what goes between them."""

    dossier: DossierService
    connector: Connector

    async def completed(self) -> SigningWorkflowRequested:
        """A dossier whose result several have to sign; what the connector is asked."""
        file = await self.connector.document()
        life = [command("submit"), command("receive", 1)]
        life.append(command("complete", 2, results=[result(file=file)]))
        events = [
            envelope(submission(DOSSIER, one), number, aggregate=DOSSIER)
            for number, one in enumerate(life, 1)
        ]
        await self.dossier.submissions.take(events)
        await self.dossier.submissions.take(events)  # told twice
        ((asked, _),) = await self.asked()
        return asked

    async def asked(self) -> list[tuple[SigningWorkflowRequested, Message]]:
        """What the dossier service has asked for so far."""
        found = await self.dossier.rows(
            "SELECT body FROM event_log JOIN outbox USING (event_id) ORDER BY outbox.id"
        )
        made = [(bytes(row.body), decode(row.body)) for row in found]
        assert not [told for _, told in made if isinstance(told.event, SigningRequested)]
        return [
            (told.event, Message(told.event.TYPE, str(told.id), body))
            for body, told in made
            if isinstance(told.event, SigningWorkflowRequested)
        ]

    async def carry(self, *, connectors: tuple[Connector, ...] = (), times: int = 1) -> None:
        """Let the connector hear what the dossier service told."""
        messages = [message for _, message in await self.asked()] * times
        heard = [one.transport.publish(messages) for one in connectors or (self.connector,)]
        assert all(all(took) for took in await asyncio.gather(*heard))

    async def bring_back(self) -> None:
        """Let the dossier service hear what the connector told, twice and the last first."""
        bodies = [one.body for one in self.connector.told]
        await self.dossier.signatures.take(bodies[::-1])
        await self.dossier.signatures.take(bodies)

    async def facts(self) -> list[DossierFact]:
        """What was told of the dossier so far."""
        told = [one.event for one in await self.dossier.told()]
        return [one for one in told if isinstance(one, DossierFact)]

    async def paper(self) -> ResultPaper:
        """The result as the last fact about the dossier has it."""
        (paper,) = (await self.facts())[-1].dossier.results
        return paper

    async def history(self) -> list[tuple[str, str | None]]:
        """Kinds and notes of what came after completion."""
        return [(one.step.kind, one.step.note) for one in await self.facts()][3:]

    async def states(self, workflow: SigningWorkflowRequested) -> list[str]:
        """Where each signature stands, in their order."""
        return [(await self.connector.row(one)).state for one in ids_of(workflow)]


def retold(message: Message, **changed: Any) -> Message:
    """The same in another event, which the inbox does not know; with other data if given."""
    body = json.loads(message.body) | {"id": str(new_id())}
    body["data"] |= changed
    return Message(message.routing_key, body["id"], json.dumps(body).encode())


def signers_of(message: Message) -> list[dict[str, Any]]:
    return list(json.loads(message.body)["data"]["signers"])


def ids_of(workflow: SigningWorkflowRequested) -> list[UUID]:
    return [one.request_id for one in workflow.signers]


the_gateway = signature_fixtures.gateway_process()
gateway = signature_fixtures.gateway


@pytest.fixture
async def world(
    databases: Databases, tmp_path: Path, gateway: SigningGateway
) -> AsyncIterator[World]:
    demands = partial(rules("VNPT-CA").applied, seal=KEYS.seal)
    async with AsyncExitStack() as stack:
        dossier = await stack.enter_async_context(
            dossier_service(await dossier_database(databases), demands=demands)
        )
        configured = settings(await connector_database(databases), tmp_path, gateway)
        connector = await stack.enter_async_context(running_connector(configured))
        yield World(dossier, connector)


async def test_the_last_document_becomes_the_result_once_all_have_signed_in_their_order(
    world: World, gateway: SigningGateway
) -> None:
    workflow = await world.completed()
    await world.carry()
    assert (await world.paper()).signing == "asked"
    first, second, last = [
        await world.connector.until(one, "completed") for one in ids_of(workflow)
    ]
    assert second.source_file == first.returned_file
    assert last.source_file == second.returned_file
    books = gateway.requests()
    assert [books[str(one)]["user_id"] for one in ids_of(workflow)] == list(USERS)
    assert first.updated_at <= second.updated_at <= last.updated_at
    for one in ids_of(workflow):
        await world.connector.facts(one)
    for told in world.connector.told[:2]:  # those who sign first change nothing for the dossier
        await world.dossier.signatures.take([told.body])
    assert (await world.paper()).signing == "asked"
    await world.bring_back()
    paper = await world.paper()
    assert (paper.signing, paper.file) == ("signed", last.returned_file)
    assert await world.history() == [("result-signed", "Đã ký số kết quả kq1")]
    assert isinstance((await world.dossier.told())[-1].event, ResultSigned)
    signed = await world.connector.blobs.get(str(paper.file))
    for before in (workflow.file, first.returned_file, second.returned_file):
        assert signed.startswith(await world.connector.blobs.get(before))
    assert len(PdfFileReader(BytesIO(signed)).embedded_signatures) == 3


async def test_what_the_dossier_service_tells_names_nobody(world: World) -> None:
    workflow = await world.completed()
    for event, message in await world.asked():
        assert not [user for user in USERS if user.encode() in message.body]
        opened = [KEYS.open(one.signer.sealed_user, DOSSIER) for one in event.signers]
        assert opened == list(USERS)
    await world.carry()
    await world.connector.until(ids_of(workflow)[-1], "completed")
    everything = await world.connector.everything()
    assert str(workflow.workflow_id) in everything  # it was looked at
    assert not [user for user in USERS if user in everything]


async def test_a_workflow_that_is_told_again_is_begun_once(
    world: World, gateway: SigningGateway
) -> None:
    workflow = await world.completed()
    ((_, message),) = await world.asked()
    await world.carry(times=3)
    await world.connector.transport.publish([retold(message), message])
    last = ids_of(workflow)[-1]
    await world.connector.until(last, "completed")
    await world.carry()
    assert len(await world.connector.rows("SELECT 1 FROM signing_request")) == 3
    assert await world.connector.rows("SELECT 1 FROM parked") == []
    assert [gateway.requests()[str(one)]["asked"] for one in ids_of(workflow)] == [1, 1, 1]
    told = [await world.connector.facts(one) for one in ids_of(workflow)]
    assert [len(many) for many in told] == [1, 1, 1]


async def test_two_replicas_that_hear_it_at_once_ask_each_person_once(
    databases: Databases, tmp_path: Path, gateway: SigningGateway
) -> None:
    demands = partial(rules("VNPT-CA").applied, seal=KEYS.seal)
    configured = settings(await connector_database(databases), tmp_path, gateway)
    async with (
        dossier_service(await dossier_database(databases), demands=demands) as dossier,
        running_connector(configured) as one,
        running_connector(configured) as other,
    ):
        world = World(dossier, one)
        workflow = await world.completed()
        ((_, message),) = await world.asked()
        await asyncio.gather(
            world.carry(connectors=(one, other)), other.transport.publish([retold(message)])
        )
        last = await one.until(ids_of(workflow)[-1], "completed")
        assert await world.states(workflow) == ["completed"] * 3
        assert len(await one.rows("SELECT 1 FROM signing_request")) == 3
        assert await one.rows("SELECT 1 FROM parked") == []
        assert [gateway.requests()[str(one)]["asked"] for one in ids_of(workflow)] == [1, 1, 1]
        async with asyncio.timeout(30):
            while sum(len(each.heard(ids_of(workflow)[-1])) for each in (one, other)) < 1:
                await asyncio.sleep(0.02)
        await dossier.signatures.take([told.body for each in (one, other) for told in each.told])
        paper = await world.paper()
        assert (paper.signing, paper.file) == ("signed", last.returned_file)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [
        ({"kind": "refuse"}, "rejected-by-user", "người ký từ chối"),
        ({"kind": "expire", "ms": 50}, "expired", "quá thời gian chờ"),
        ({"kind": "wrong_certificate"}, "failed", "không ký được"),
    ],
    ids=["refusal", "expiry", "failure"],
)
async def test_where_one_does_not_sign_nobody_after_him_is_asked_and_the_dossier_is_told(
    world: World,
    gateway: SigningGateway,
    place: int,
    fault: dict[str, Any],
    state: str,
    words: str,
) -> None:
    gateway.fault(on="sign_file", match={"user_id": USERS[place]}, **fault)
    workflow = await world.completed()
    await world.carry()
    ids = ids_of(workflow)
    await world.connector.until(ids[-1], "cancelled", state)
    expected = ["completed"] * place + [state] + ["cancelled"] * (2 - place)
    assert await world.states(workflow) == expected
    assert set(gateway.requests()) == {str(one) for one in ids[: place + 1]}
    for one in ids:
        await world.connector.facts(one)
    bodies = [one.body for one in world.connector.told]
    await world.dossier.signatures.take(bodies)
    await world.dossier.signatures.take(bodies[::-1])
    paper = await world.paper()
    assert (paper.signing, paper.file) == ("failed", workflow.file)
    ((kind, note),) = await world.history()
    assert kind == "result-signing-failed"
    assert f"(chữ ký thứ {place + 1} trong 3): {words}" in str(note)


async def test_the_ends_of_several_can_come_in_any_order(
    world: World, gateway: SigningGateway
) -> None:
    gateway.fault(on="sign_file", match={"user_id": USERS[0]}, kind="refuse")
    workflow = await world.completed()
    await world.carry()
    for one in ids_of(workflow):
        (told,) = await world.connector.facts(one)
        assert isinstance(told.event, SignatureFailed)
    await world.bring_back()
    assert (await world.paper()).signing == "failed"
    assert [kind for kind, _ in await world.history()] == ["result-signing-failed"]


async def decide(connector: Connector, request_id: UUID, decision: str, **more: Any) -> None:
    bearer = token("operations", agencies=("*",))
    answer = await connector.http.post(
        f"/v1/signing-requests/{request_id}/decision",
        json={"decision": decision, "reason": "Đã hỏi người ký", **more},
        headers={"Authorization": f"Bearer {bearer}"},
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("decision", "end", "states"),
    [
        ({"decision": "repeat", "signer_agreed": True}, "signed", ["completed"] * 3),
        ({"decision": "give-up"}, "failed", ["completed", "failed", "cancelled"]),
    ],
    ids=["repeat", "give-up"],
)
async def test_while_one_is_held_the_others_wait_for_the_operator(
    world: World,
    gateway: SigningGateway,
    decision: dict[str, Any],
    end: str,
    states: list[str],
) -> None:
    gateway.fault(on="sign_file", match={"user_id": USERS[1]}, kind="drop_after", times=1)
    workflow = await world.completed()
    await world.carry()
    ids = ids_of(workflow)
    await world.connector.until(ids[1], "manual-review")
    await world.connector.facts(ids[1])
    await world.bring_back()
    assert (await world.paper()).signing == "held"
    assert [note for _, note in await world.history()] == [
        "Kết quả kq1 chưa rõ đã được ký số hay chưa (chữ ký thứ 2 trong 3), chờ kiểm tra"
    ]
    await asyncio.sleep(1.0)
    assert await world.states(workflow) == ["completed", "manual-review", "received"]
    assert str(ids[2]) not in gateway.requests()
    await decide(world.connector, ids[1], **decision)
    await world.connector.until(ids[2], "completed", "cancelled")
    assert await world.states(workflow) == states
    for one in ids:
        await world.connector.facts(one)
    await world.bring_back()
    assert (await world.paper()).signing == end


@pytest.mark.parametrize("change", ["longer", "shorter", "another person", "another order"])
async def test_a_known_workflow_with_other_signers_is_parked_as_a_whole(
    world: World, gateway: SigningGateway, change: str
) -> None:
    workflow = await world.completed()
    await world.carry()
    ids = ids_of(workflow)
    await world.connector.until(ids[-1], "completed")
    before = await world.connector.rows("SELECT * FROM signing_request ORDER BY place")
    ((_, message),) = await world.asked()
    signers = signers_of(message)
    seal = signers[-1]
    if change == "longer":
        signers[-1:] = [{**seal, "seal": False}, {**seal, "request_id": str(new_id())}]
        # Had the last been no seal, nothing but their number would tell the two apart.
        async with world.connector.core.database.transaction() as connection:
            plain = "UPDATE signing_request SET options = '{}' WHERE request_id = :id"
            await connection.execute(text(plain), {"id": ids[-1]})
        before = await world.connector.rows("SELECT * FROM signing_request ORDER BY place")
    elif change == "shorter":
        del signers[-1]
    elif change == "another person":
        signers[0]["signer"]["sealed_user"] = KEYS.seal("001099000009", DOSSIER)
    else:
        signers[0], signers[1] = signers[1], signers[0]
    await world.connector.transport.publish([retold(message, signers=signers)])
    (parked,) = await world.connector.rows("SELECT * FROM parked")
    assert (parked.consumer, parked.reason) == ("workflows", "failed")
    assert "RequestConflict" in parked.error
    after = await world.connector.rows("SELECT * FROM signing_request ORDER BY place")
    assert after == before


async def test_a_workflow_that_cannot_be_begun_is_parked_and_nobody_is_asked(
    world: World, gateway: SigningGateway
) -> None:
    """The last of the events that come together is wrong: none of its signers is taken in, and
    the others are."""
    workflow = await world.completed()
    ((_, message),) = await world.asked()
    signers = [{**one, "request_id": str(new_id()), "seal": True} for one in signers_of(message)]
    wrong = retold(message, workflow_id=str(new_id()), signers=signers)
    await world.connector.transport.publish([message, wrong])
    await world.connector.until(ids_of(workflow)[-1], "completed")
    (parked,) = await world.connector.rows("SELECT * FROM parked")
    assert "check_order" in parked.error
    assert len(await world.connector.rows("SELECT 1 FROM signing_request")) == 3
    assert gateway.books()["asked"] == 3


def test_what_was_told_before_anybody_listened_is_made_up_for() -> None:
    """A queue of its own: only of a queue that is missing the producer's log is read."""
    queues = subscriptions(None, None, lambda: None)  # type: ignore[arg-type]
    (several,) = [one for one in queues if SigningWorkflowRequested.TYPE in one.patterns]
    assert several.patterns == (SigningWorkflowRequested.TYPE,)
    assert len({one.purpose for one in queues}) == len(queues)


# Put together here, where the provider signs hashes


@pytest.fixture(scope="module")
def smartca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SigningService]:
    folder = tmp_path_factory.mktemp("services")
    options = ("--person-ms", "30", "--keys", "ecdsa", "--account", "sp:s3cret")
    with signing_service(folder, "smartca", *options) as running:
        yield running


async def test_reasons_stamp_and_seal_of_a_rule_are_in_the_document(
    databases: Databases, tmp_path: Path, smartca: SigningService
) -> None:
    (tmp_path / "secret").write_text("s3cret")
    account = {"agencies": ["*"], "client_id": "sp", "secret_file": "secret"}
    provider = {
        "name": "smartca",
        "dialect": "smartca",
        "url": smartca.url,
        "ca_names": ["VNPT-CA"],
        "accounts": [account],
        "user_seconds": 20,
    }
    (tmp_path / "providers.json").write_text(json.dumps({"providers": [provider]}))
    nowhere = SigningGateway("http://127.0.0.1:9", smartca.root)
    configured = settings(
        await connector_database(databases),
        tmp_path,
        nowhere,
        providers_file=tmp_path / "providers.json",
        lease_seconds=30.0,
    )
    demands = partial(rules("VNPT-CA").applied, seal=KEYS.seal)
    async with (
        dossier_service(await dossier_database(databases), demands=demands) as dossier,
        running_connector(configured) as connector,
    ):
        world = World(dossier, connector)
        workflow = await world.completed()
        await world.carry()
        row = await connector.until(
            ids_of(workflow)[-1], "completed", "failed", "cancelled", seconds=200
        )
        assert row.state == "completed", row.outcome
        await connector.facts(row.request_id)
        await world.bring_back()
        paper = await world.paper()
        assert (paper.signing, paper.file) == ("signed", row.result_file)
        signed = PdfFileReader(BytesIO(await connector.blobs.get(str(paper.file))))
        one, two, seal = signed.embedded_signatures
        assert one.sig_object["/Reason"] == "Thẩm định"
        assert two.sig_object["/Reason"] == "Phê duyệt"
        assert [float(side) for side in two.sig_field["/Rect"]] == STAMP["box"]
        assert "/Reason" not in seal.sig_object
        numbers = [each.signer_cert.serial_number for each in (one, two, seal)]
        assert len(set(numbers)) == 3
        for each in (one, two, seal):
            each.compute_integrity_info()
        assert seal.evaluate_signature_coverage().name == "ENTIRE_FILE"
