"""Batches through the dossier service's consumers on a real PostgreSQL."""

import asyncio
import random
from collections import Counter
from functools import partial

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from structlog.testing import capture_logs

from common.contracts.commands import Command
from common.contracts.dossier import (
    DossierFact,
    DossierState,
    SigningRequested,
    SubmissionApplied,
    SubmissionRefused,
)
from common.contracts.gateway import SubmissionReceived
from common.contracts.signature import SignatureCompleted, SignatureFailed
from common.identifiers import new_id
from common.sealing import KeyRing
from dossier.domain import table
from dossier.domain.model import Dossier, Refusal
from dossier.domain.signing_rules import SigningRules
from dossier.domain.steps import obey
from tests.support.dossier_service import dossier_database, dossier_service
from tests.support.dossiers import (
    AGENCY,
    SIGNED,
    START,
    code,
    command,
    envelope,
    result,
    submission,
)

TABLE = table.load()


@pytest.fixture
async def service(databases):
    async with dossier_service(await dossier_database(databases)) as made:
        yield made


LIVES: list[list[Command]] = [
    [
        command("submit"),
        command("receive", 1),
        command("progress", 2),
        command("complete", 3),
        command("return", 4),
    ],
    [command("submit"), command("refuse", 1), command("progress", 2)],
    [
        command("submit"),
        command("request-supplement", 1),
        command("give-supplement", 2),
        command("receive", 3),
    ],
    [
        command("submit"),
        command("receive", 1),
        command("request-fee", 2),
        command("record-fee", 3),
        command("submit", 4),
    ],
    [command("receive"), command("submit", 1), command("progress", 2), command("withdraw", 3)],
    [
        command("submit"),
        command("receive", 1),
        command("complete", 2, results=[result(signed=True), result("kq2")]),
    ],
]


class Gateway:
    """Numbers submissions as the gateway does: each dossier is a stream."""

    def __init__(self) -> None:
        self.sent: dict[str, list[SubmissionReceived]] = {}

    def event(self, dossier: str, what: Command, *, agency: str = AGENCY) -> bytes:
        made = submission(dossier, what, agency=agency)
        line = self.sent.setdefault(dossier, [])
        line.append(made)
        return envelope(made, len(line), aggregate=dossier)

    @property
    def ids(self):
        return [one.submission_id for line in self.sent.values() for one in line]


def mixed(size: int) -> tuple[Gateway, list[bytes]]:
    """A batch of whole lives, interleaved by chance, each in its own order."""
    chance, gateway = random.Random(7), Gateway()
    waiting = {code(n): list(LIVES[n % len(LIVES)]) for n in range(size // 3)}
    batch: list[bytes] = []
    while len(batch) < size:
        dossier = chance.choice([name for name, line in waiting.items() if line])
        batch.append(gateway.event(dossier, waiting[dossier].pop(0)))
    return gateway, batch


def outcomes(told):
    return [
        one.event for one in told if isinstance(one.event, SubmissionApplied | SubmissionRefused)
    ]


async def state_of(service, dossier: str) -> DossierState:
    (row,) = await service.rows("SELECT body FROM dossier WHERE code = :code", code=dossier)
    return Dossier.model_validate_json(row.body).state


async def check_whole(service) -> dict[str, list[DossierFact]]:
    """History, state, columns and events tell the same of every dossier; the facts by dossier."""
    told = await service.told()
    facts: dict[str, list[DossierFact]] = {}
    numbers: dict[str, list[int | None]] = {}
    for one in told:
        if isinstance(one.event, DossierFact):
            facts.setdefault(one.event.dossier.code, []).append(one.event)
            numbers.setdefault(one.event.dossier.code, []).append(one.sequence)
    for stream in numbers.values():
        assert stream == list(range(1, len(stream) + 1))
    rows = await service.rows("SELECT * FROM dossier")
    assert {row.code for row in rows} == set(facts)
    for row in rows:
        told_of = facts[row.code]
        dossier = Dossier.model_validate_json(row.body)
        assert dossier.state == told_of[-1].dossier
        assert row.version == dossier.steps == len(told_of)
        assert (row.status, row.agency) == (int(dossier.state.status), dossier.state.agency)
        assert (row.procedure, row.channel) == (dossier.state.procedure.code, dossier.state.channel)
        steps = await service.rows(
            "SELECT number, convert_from(body, 'UTF8') AS body FROM dossier_step "
            "WHERE code = :code ORDER BY number",
            code=row.code,
        )
        assert [step.number for step in steps] == list(range(1, len(steps) + 1))
        assert [step.body for step in steps] == [fact.step.told().decode() for fact in told_of]
    return facts


async def test_a_batch_of_200_mixed_submissions(service):
    gateway, batch = mixed(200)
    with capture_logs() as logs:
        await service.submissions.take(batch)
    assert logs == []  # taken as one, not event by event
    facts = await check_whole(service)
    told = await service.told()
    ended = outcomes(told)
    assert sorted(one.submission_id for one in ended) == sorted(gateway.ids)
    assert len(ended) == 200
    by_submission = {one.submission_id: one for one in ended}
    for dossier, line in gateway.sent.items():
        steps_told = iter(facts.get(dossier, []))
        state = None
        for sent in line:
            expected = obey(
                TABLE,
                state,
                sent.command,
                code=dossier,
                agency=AGENCY,
                submission=sent.submission_id,
            )
            outcome = by_submission[sent.submission_id]
            if isinstance(expected, Refusal):
                assert outcome.problem == expected.problem.body()
                continue
            state = expected.dossier
            assert next(steps_told) == expected.fact
            assert (outcome.step_number, outcome.status) == (state.steps, state.state.status)
            assert outcome.flagged == expected.step.flagged
        assert next(steps_told, None) is None
    kinds = Counter(type(one) for one in ended)
    assert kinds[SubmissionRefused] > 10
    problems = {
        one.problem["type"].rsplit(":", 1)[1] for one in ended if isinstance(one, SubmissionRefused)
    }
    assert problems == {"unknown-dossier", "dossier-closed", "dossier-exists"}
    assert await service.rows("SELECT 1 FROM parked") == []


async def test_events_name_their_cause_subject_and_agency(service):
    gateway = Gateway()
    await service.submissions.take([gateway.event(code(1), command("submit"))])
    fact, applied = await service.told()
    for one in (fact, applied):
        assert (one.subject, one.agency, one.producer) == (code(1), AGENCY, "dossier")
    assert fact.stream == f"dossier/1/{code(1)}"
    assert applied.stream is None
    assert fact.correlation == applied.correlation


async def test_a_batch_that_comes_again_changes_and_tells_nothing(service):
    _, batch = mixed(120)
    await service.submissions.take(batch)
    before = await service.contents()
    await service.submissions.take(batch)
    await service.submissions.take(batch[60:])
    assert await service.contents() == before


async def test_batches_cut_anywhere_end_in_the_same(service, databases):
    gateway, batch = mixed(60)
    await service.submissions.take(batch)
    async with dossier_service(await dossier_database(databases)) as other:
        for start in range(0, 60, 7):
            await other.submissions.take(batch[start : start + 7])
        for dossier in gateway.sent:
            whole = await service.rows("SELECT body FROM dossier WHERE code = :c", c=dossier)
            cut = await other.rows("SELECT body FROM dossier WHERE code = :c", c=dossier)
            assert whole == cut
        steps = "SELECT code, number, body FROM dossier_step ORDER BY 1, 2"
        assert await service.rows(steps) == await other.rows(steps)


async def test_order_is_the_streams_not_that_of_arrival(service):
    gateway = Gateway()
    events = [gateway.event(code(1), one) for one in LIVES[0]]
    await service.submissions.take([events[2], events[1]])
    assert await service.rows("SELECT 1 FROM dossier") == []
    await service.submissions.take([events[4], events[0], events[3]])
    facts = await check_whole(service)
    assert [f.step.kind for f in facts[code(1)]] == [one.kind for one in LIVES[0]]


async def test_a_poisonous_submission_spoils_nothing_but_its_own_dossier(service):
    gateway, batch = mixed(40)
    poison = gateway.event(code(9001), command("submit"), agency="H10\x00")
    behind = gateway.event(code(9001), command("receive", 1))
    await service.submissions.take([*batch[:20], poison, behind, *batch[20:]])
    facts = await check_whole(service)
    assert code(9001) not in facts
    healthy = [
        s.submission_id for name, line in gateway.sent.items() if name != code(9001) for s in line
    ]
    assert sorted(one.submission_id for one in outcomes(await service.told())) == sorted(healthy)
    parked = await service.rows("SELECT reason, sequence, body FROM parked ORDER BY sequence")
    assert [(row.reason, row.sequence) for row in parked] == [("failed", 1), ("early", 2)]
    assert [row.body for row in parked] == [poison, behind]


async def test_undecodable_bytes_are_parked_with_the_batch_done(service):
    gateway = Gateway()
    await service.submissions.take([b"\xff not json", gateway.event(code(1), command("submit"))])
    (row,) = await service.rows("SELECT reason, body FROM parked")
    assert (row.reason, row.body) == ("undecodable", b"\xff not json")
    assert set(await check_whole(service)) == {code(1)}


# Signatures


def signed(request: SigningRequested, sequence: int = 1) -> bytes:
    fact = SignatureCompleted(
        request_id=request.request_id,
        dossier_code=request.dossier_code,
        agency=request.agency,
        document_id=request.document_id,
        at=START,
        file=SIGNED,
        serial_number="54",
    )
    aggregate = str(request.request_id)
    return envelope(fact, sequence, aggregate=aggregate, producer="signature-connector")


async def completed(service, gateway: Gateway, dossiers: list[str]) -> list[SigningRequested]:
    """Dossiers with a result that waits for its signature; the requests, by dossier."""
    life = [command("submit"), command("receive", 1)]
    life.append(command("complete", 2, results=[result(signed=True)]))
    await service.submissions.take([gateway.event(d, one) for d in dossiers for one in life])
    told = [one.event for one in await service.told()]
    return sorted(
        (one for one in told if isinstance(one, SigningRequested)), key=lambda r: r.dossier_code
    )


async def test_a_signature_is_asked_for_once_and_its_outcome_recorded_once(service):
    gateway = Gateway()
    (request,) = await completed(service, gateway, [code(1)])
    assert request.agency == AGENCY
    before = outcomes(await service.told())
    await service.signatures.take([signed(request)])
    await service.signatures.take([signed(request), signed(request)])
    state = await state_of(service, code(1))
    assert [(one.signing, one.file) for one in state.results] == [("signed", SIGNED)]
    facts = await check_whole(service)
    assert [f.step.kind for f in facts[code(1)]][-2:] == ["complete", "result-signed"]
    assert outcomes(await service.told()) == before


async def test_signatures_that_no_dossier_asked_for_are_passed_over(service):
    gateway = Gateway()
    (request,) = await completed(service, gateway, [code(1)])
    before = await service.rows("SELECT * FROM dossier")
    strangers = [
        request.model_copy(update={"request_id": new_id()}),
        request.model_copy(update={"request_id": new_id(), "dossier_code": code(2)}),
        request.model_copy(update={"request_id": new_id(), "dossier_code": None}),
    ]
    await service.signatures.take([signed(one) for one in strangers])
    assert await service.rows("SELECT * FROM dossier") == before
    assert await service.rows("SELECT 1 FROM parked") == []
    positions = await service.rows("SELECT last FROM position WHERE consumer = 'signatures'")
    assert [row.last for row in positions] == [1, 1, 1]


async def test_two_queues_at_once_on_the_same_dossiers(service):
    gateway = Gateway()
    dossiers = [code(n) for n in range(40)]
    requests = await completed(service, gateway, dossiers)
    steps = [gateway.event(d, command("progress", 5)) for d in reversed(dossiers)]
    steps += [gateway.event(d, command("complete", 6)) for d in dossiers]
    steps += [gateway.event(d, command("return", 7)) for d in reversed(dossiers)]
    outcomes_of_signing = [signed(request) for request in requests]

    async def by(consumer, events, size):
        for start in range(0, len(events), size):
            await consumer.take(events[start : start + size])

    with capture_logs() as logs:
        await asyncio.gather(
            by(service.submissions, steps, 15), by(service.signatures, outcomes_of_signing, 4)
        )
    assert logs == []  # nobody had to be taken one by one: the row locks alone keep order
    facts = await check_whole(service)
    for dossier in dossiers:
        kinds = Counter(f.step.kind for f in facts[dossier])
        assert kinds["result-signed"] == kinds["return"] == 1
        assert len(facts[dossier]) == 7
        state = await state_of(service, dossier)
        assert (state.status, state.results[0].signing) == ("10", "signed")


async def test_returning_before_the_signature_is_flagged_and_the_signature_still_recorded(service):
    gateway = Gateway()
    (request,) = await completed(service, gateway, [code(1)])
    await service.submissions.take([gateway.event(code(1), command("return", 5))])
    assert outcomes(await service.told())[-1].flagged == "result-not-signed"
    failed = SignatureFailed(
        request_id=request.request_id,
        dossier_code=code(1),
        agency=AGENCY,
        document_id="kq1",
        at=START,
        outcome="rejected-by-user",
        reason="no",
    )
    aggregate = str(request.request_id)
    await service.signatures.take(
        [envelope(failed, 1, aggregate=aggregate, producer="signature-connector")]
    )
    state = await state_of(service, code(1))
    assert (state.status, state.results[0].signing) == ("10", "failed")
    await check_whole(service)


async def test_the_same_dossier_begun_in_two_streams_at_once_is_begun_once(service):
    """The gateway restored from a backup counts in a new epoch: nothing orders the two streams."""
    one, other = submission(code(1), command("submit")), submission(code(1), command("submit", 9))
    async with service.database.transaction() as connection:
        # Holds the key back until both have looked and found no dossier.
        await connection.execute(text("LOCK TABLE dossier IN SHARE MODE"))
        both = asyncio.gather(
            service.submissions.take([envelope(one, 1, aggregate=code(1), epoch=1)]),
            service.submissions.take([envelope(other, 1, aggregate=code(1), epoch=2)]),
        )
        await asyncio.sleep(0.3)
    await both
    await check_whole(service)
    ended = outcomes(await service.told())
    assert Counter(type(one) for one in ended) == {SubmissionApplied: 1, SubmissionRefused: 1}
    assert {one.submission_id for one in ended} == {one.submission_id, other.submission_id}
    assert await service.rows("SELECT 1 FROM parked") == []


async def test_a_result_that_a_rule_speaks_of_is_signed_though_nobody_asked(databases):
    rules = SigningRules.model_validate(
        {
            "version": "1",
            "source": "the tests",
            "confidence": "made up",
            "rules": [
                {
                    "agency": AGENCY,
                    "signer": {"user": "001099000007", "ca_name": "VNPT-CA"},
                    "valid_from": "2026-01-01",
                    "basis": "QĐ 1/QĐ-UBND",
                }
            ],
        }
    )
    keys = KeyRing({"k1": SecretStr("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")}, "k1")
    demands = partial(rules.applied, seal=keys.seal)
    gateway, dossier = Gateway(), code(1)
    complete = command("complete", 2, results=[result(), result("kq2", file=None)])
    events = [
        gateway.event(dossier, what)
        for what in (command("submit"), command("receive", 1), complete)
    ]
    async with dossier_service(await dossier_database(databases), demands=demands) as service:
        await service.submissions.take(events)
        await service.submissions.take(events)  # told twice
        asked = [e.event for e in await service.told() if isinstance(e.event, SigningRequested)]
        assert [(one.document_id, one.signer.ca_name) for one in asked] == [("kq1", "VNPT-CA")]
        assert keys.open(asked[0].signer.sealed_user, dossier) == "001099000007"
        papers = (await state_of(service, dossier)).results
        assert [(paper.id, paper.signing) for paper in papers] == [
            ("kq1", "asked"),
            ("kq2", "none"),
        ]
