"""The states of a signing request: whatever happens, nobody is asked twice."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from common.blobs import BlobDamaged, BlobMissing
from common.sealing import KeyRing
from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.evidence import record
from signature_connector.domain.findings import (
    Finding,
    Level,
    Report,
    passed,
    refused,
)
from signature_connector.domain.profiles import Profile
from signature_connector.domain.provider import (
    Abilities,
    Called,
    Credential,
    Credentials,
    Declined,
    NeverSent,
    Order,
    Reply,
    Signed,
    Unavailable,
    Unclear,
)
from signature_connector.domain.requests import (
    AT_REST,
    CONTINUED,
    FINAL,
    MOVES,
    WAITING,
    ImpossibleMove,
    Request,
    State,
    Step,
    after_interruption,
    moved,
)
from signature_connector.domain.sentences import SENTENCES
from signature_connector.store import requests as store
from signature_connector.use_cases.book import fact_of
from signature_connector.use_cases.providers import Always
from signature_connector.use_cases.steps import FRESH_SECONDS, Next, Steps

USER = "001099000001"
KEYS = KeyRing({"k1": SecretStr("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")}, "k1")
DOSSIER = "H56.14-261102-0001"
DOCUMENT = b"%PDF-1.7 document"
SIGNED = DOCUMENT + b" signed"
CREDENTIAL = Credential(b"certificate", "ab12", "T1")


def wish(**changed: Any) -> Request:
    given: dict[str, Any] = {
        "request_id": UUID(int=7),
        "client": "dossier",
        "dossier_code": DOSSIER,
        "agency": "H56.14",
        "document_id": "KQ1",
        "document_name": "Giấy phép",
        "file": sha256(DOCUMENT).hexdigest(),
        "ca_name": "VNPT-CA",
        "sealed_user": KEYS.seal(USER, DOSSIER),
        "created_at": datetime.now(UTC),
    }
    return Request(**{**given, **changed})


class Files:
    """A file store in memory."""

    def __init__(self) -> None:
        self.kept = {sha256(DOCUMENT).hexdigest(): DOCUMENT}
        self.trouble: Exception | None = None

    async def get(self, digest: str) -> bytes:
        if self.trouble is not None:
            raise self.trouble
        return self.kept[digest]

    async def put(self, content: bytes) -> str:
        if self.trouble is not None:
            raise self.trouble
        digest = sha256(content).hexdigest()
        self.kept[digest] = content
        return digest


PROFILE = Profile("pades", "b-b")


@dataclass
class Examiner:
    """Finds what it is told to find."""

    document_refusal: Finding | None = None
    certificate_refusal: Finding | None = None
    verdict_refusal: Finding | None = None
    asked_with: list[tuple[Sequence[bytes], ValidationData]] = field(default_factory=list)

    async def document(self, content: bytes) -> Report:
        return _report(self.document_refusal, "readable")

    async def certificate(
        self,
        der: bytes,
        serial: str,
        moment: datetime,
        chain: Sequence[bytes],
        data: ValidationData,
        user: str,
    ) -> Report:
        assert user == USER
        self.asked_with.append((chain, data))
        facts = {"certificate": {"serial_number": serial, "not_after": der.decode("latin1")}}
        return _report(self.certificate_refusal, "certificate-usable", facts)

    async def verdict(
        self,
        sent: bytes,
        content: bytes,
        certificate: bytes,
        moment: datetime,
        profile: Profile = PROFILE,
    ) -> Report:
        facts = {"signature": {"signed_at": "2026-11-02T09:00:00+00:00"}}
        return _report(self.verdict_refusal, "intact", facts)


def _report(refusal: Finding | None, code: str, facts: Any = None) -> Report:
    return Report((refusal or passed(code),), facts or {})


ABILITIES = Abilities(signs="files", waits=True, confirms="nothing")


@dataclass
class Provider:
    """Gives the answers it is given, and writes down who was asked."""

    name: str = "double"
    abilities: Abilities = ABILITIES
    lists: Any = field(default_factory=lambda: Credentials([CREDENTIAL], Reply("200")))
    signs: Any = field(default_factory=lambda: Signed({UUID(int=7): SIGNED}, Reply("200")))
    orders: list[Order] = field(default_factory=list)
    never_sent: int = 0

    async def credentials(self, user: str, ca_name: str) -> Any:
        assert user == USER
        if isinstance(self.lists, BaseException):
            raise self.lists
        return self.lists

    async def submit(self, order: Order) -> Any:
        self.orders.append(order)
        if isinstance(self.signs, NeverSent):
            self.never_sent += 1
        if isinstance(self.signs, BaseException):
            raise self.signs
        return self.signs

    async def status(self, order: Order, submission: str | None) -> Unavailable:
        raise AssertionError("this provider has no status call")

    def called(self, body: bytes) -> Called:
        raise AssertionError("this provider calls nobody")


@dataclass
class Bench:
    """Steps with doubles around them."""

    provider: Provider = field(default_factory=Provider)
    files: Files = field(default_factory=Files)
    examiner: Examiner = field(default_factory=Examiner)
    patience: timedelta = timedelta(hours=72)
    revocation: Any = None

    @property
    def steps(self) -> Steps:
        return Steps(
            Always((self.provider,)),
            self.files,
            self.examiner,
            KEYS,
            file_limit=1000,
            patience=self.patience,
            revocation=self.revocation,
        )

    async def take(self, request: Request, order: Order | None = None) -> Next:
        return await self.steps.take(request, order)

    async def run(self, request: Request, times: int = 10) -> tuple[Request, list[Step]]:
        """Step after step until it rests or has to wait."""
        order, taken = None, []
        for _ in range(times):
            one = await self.take(request, order)
            order = one.order
            assert one.step is not None
            request = moved(request, one.step)
            taken.append(one.step)
            if request.state in AT_REST or one.step.wait is not None:
                break
        return request, taken


def step_of(taken: Next) -> Step:
    assert taken.step is not None
    return taken.step


# The table.


def test_ends_are_final_and_every_state_is_reachable() -> None:
    assert set(MOVES) == set(State)
    assert {state for state in State if not MOVES[state]} == AT_REST
    assert {
        State.COMPLETED,
        State.REJECTED_BY_USER,
        State.EXPIRED,
        State.FAILED,
        State.CANCELLED,
    } == FINAL
    assert set().union(*MOVES.values()) == set(State)


def test_a_worker_never_takes_up_a_request_whose_person_is_being_asked() -> None:
    assert frozenset(State) - AT_REST - WAITING - {State.SUBMITTING} == CONTINUED
    assert all(f"'{state}'" in store.DUE for state in CONTINUED)
    assert store.DUE.count("'") == 2 * len(CONTINUED)
    for confirms, to in (
        ("any", "unknown"),
        ("accepted", "manual-review"),
        ("nothing", "manual-review"),
    ):
        asked = wish(state=State.SUBMITTING, confirms=confirms)
        assert after_interruption(asked) == to
    for state in CONTINUED | WAITING:
        assert after_interruption(wish(state=state, confirms="any")) is state


def test_the_person_may_be_asked_from_one_state_alone() -> None:
    assert [state for state in State if State.SUBMITTING in MOVES[state]] == [State.PREPARED]
    assert State.SUBMITTING not in MOVES[State.SUBMITTING]


@pytest.mark.parametrize("state", sorted(AT_REST))
@pytest.mark.parametrize("to", sorted(State))
def test_nothing_follows_an_end(state: State, to: State) -> None:
    with pytest.raises(ImpossibleMove):
        moved(wish(state=state), Step(to))


def test_a_step_cannot_change_what_was_asked_for() -> None:
    with pytest.raises(ImpossibleMove):
        moved(wish(), Step(State.PREPARED, changes={"file": "another"}))


# The way.


async def test_a_request_goes_all_the_way() -> None:
    bench = Bench()
    request, steps = await bench.run(wish())
    assert [step.to for step in steps] == [
        State.PREPARED,
        State.SUBMITTING,
        State.SIGNED_RAW,
        State.VALIDATED,
        State.COMPLETED,
    ]
    (order,) = bench.provider.orders
    assert (order.user, order.papers[0].content, order.credential) == (USER, DOCUMENT, CREDENTIAL)
    assert order.outgoing_id == uuid5(request.request_id, "1") == request.outgoing_id
    assert bench.files.kept[request.returned_file or ""] == SIGNED
    assert request.signed_at == datetime(2026, 11, 2, 9, tzinfo=UTC)
    assert request.sealed_certificate is None


async def test_no_step_notes_the_person_a_token_or_content() -> None:
    request, steps = await Bench().run(wish())
    noted = b"".join(record(request, step, datetime.now(UTC)).body for step in steps)
    for secret in (USER.encode(), DOCUMENT, SIGNED, CREDENTIAL.certificate.hex().encode()):
        assert secret not in noted


@pytest.mark.parametrize(
    ("answer", "state", "sentence"),
    [
        (Declined("rejected-by-user", Reply("4002")), "rejected-by-user", "refused-by-person"),
        (Declined("expired", Reply("4001")), "expired", "expired"),
        (Declined("failed", Reply("400")), "failed", "refused-by-provider"),
        (Unclear("TimeoutError", timed_out=True), "manual-review", "unclear-answer"),
        (Unclear("ServerDisconnectedError"), "manual-review", "unclear-answer"),
        (RuntimeError("a mistake of ours"), "manual-review", "interrupted"),
    ],
)
async def test_what_the_signing_call_ends_in(answer: Any, state: str, sentence: str) -> None:
    bench = Bench(Provider(signs=answer))
    request, _ = await bench.run(wish())
    assert request.state == state
    assert request.outcome is not None
    assert SENTENCES[sentence][0] in request.outcome
    assert len(bench.provider.orders) == 1


async def test_a_call_that_never_left_is_made_again_later() -> None:
    bench = Bench(Provider(signs=NeverSent("ClientConnectorError")))
    request, steps = await bench.run(wish())
    assert request.state is State.PREPARED
    assert steps[-1].wait is not None
    assert 0 < steps[-1].wait <= 300
    assert (request.attempts, request.submissions) == (1, 1)
    bench.provider.signs = Signed({UUID(int=7): SIGNED}, Reply("200"))
    request, _ = await bench.run(request)
    assert request.state is State.COMPLETED
    first, second = bench.provider.orders
    assert first.papers == second.papers
    assert first.outgoing_id != second.outgoing_id


async def test_an_old_preparation_is_made_anew_and_not_used() -> None:
    bench = Bench()
    request = moved(wish(), step_of(await bench.take(wish())))
    old = datetime.now(UTC) - timedelta(seconds=FRESH_SECONDS + 1)
    request, steps = await bench.run(replace(request, prepared_at=old))
    assert [step.to for step in steps][:3] == [State.RECEIVED, State.PREPARED, State.SUBMITTING]
    assert request.state is State.COMPLETED


async def test_a_certificate_is_judged_with_what_is_known_of_its_revocation() -> None:
    class Revocation:
        async def data_for(self, chain: Sequence[bytes], moment: datetime) -> ValidationData:
            assert tuple(chain) == (CREDENTIAL.certificate, b"issuer")
            return ValidationData(ocsps=[b"good"], crls=[b"list"])

    credential = replace(CREDENTIAL, chain=(b"issuer",))
    bench = Bench(Provider(lists=Credentials([credential], Reply("200"))))
    bench.revocation = Revocation()
    step = (await bench.take(wish())).step
    ((chain, data),) = bench.examiner.asked_with
    assert (chain, data.ocsps, data.crls) == ((b"issuer",), [b"good"], [b"list"])
    assert step is not None
    assert step.facts["revocation"] == {
        "ocsps": [sha256(b"good").hexdigest()],
        "crls": [sha256(b"list").hexdigest()],
    }


@pytest.mark.parametrize("code", ["certificate-revoked", "holder-differs"])
async def test_nobody_is_asked_to_sign_with_a_certificate_that_may_not(code: str) -> None:
    bench = Bench(examiner=Examiner(certificate_refusal=refused(code)))
    request, steps = await bench.run(wish())
    assert request.state is State.FAILED
    assert steps[-1].facts["finding"]["code"] == code
    assert not bench.provider.orders


@pytest.mark.parametrize(
    ("bench", "code"),
    [
        (Bench(examiner=Examiner(document_refusal=refused("encrypted"))), "encrypted"),
        (Bench(examiner=Examiner(certificate_refusal=refused("certificate-expired"))),
         "certificate-expired"),
        (Bench(Provider(lists=Credentials([], Reply("200")))), "no-certificate"),
        (Bench(Provider(lists=Declined("failed", Reply("400")))), "refused-by-provider"),
        (Bench(examiner=Examiner(verdict_refusal=refused("wrong-certificate"))),
         "wrong-certificate"),
    ],
)  # fmt: skip
async def test_a_refused_examination_ends_in_failure(bench: Bench, code: str) -> None:
    request, steps = await bench.run(wish())
    assert request.state is State.FAILED
    assert steps[-1].facts["finding"]["code"] == code
    fact = fact_of(request, datetime.now(UTC))
    assert fact is not None
    assert fact.TYPE == "signature.failed.v1"


@pytest.mark.parametrize(
    ("trouble", "code"),
    [(BlobMissing("x"), "file-missing"), (BlobDamaged("x"), "file-damaged")],
)
async def test_a_lost_file_ends_in_failure(trouble: Exception, code: str) -> None:
    bench = Bench()
    bench.files.trouble = trouble
    request, steps = await bench.run(wish())
    assert (request.state, steps[-1].facts["finding"]["code"]) == (State.FAILED, code)


async def test_a_document_above_the_limit_ends_in_failure() -> None:
    bench = Bench()
    large = b"%PDF-1.7" + b" " * 1000
    digest = await bench.files.put(large)
    request, steps = await bench.run(wish(file=digest))
    assert (request.state, steps[-1].facts["finding"]["code"]) == (State.FAILED, "too-large")


async def test_of_several_certificates_the_one_that_lasts_longest_is_used() -> None:
    listed = [Credential(until, until.decode(), "T1") for until in (b"2026", b"2029", b"2027")]
    bench = Bench(Provider(lists=Credentials(listed, Reply("200"))))
    request, _ = await bench.run(wish())
    assert request.serial_number == "2029"


@pytest.mark.parametrize("state", [State.RECEIVED, State.PREPARED, State.SIGNED_RAW])
async def test_trouble_of_ours_puts_off_and_loses_nothing(state: State) -> None:
    bench = Bench()
    bench.files.trouble = OSError("store away")
    request = wish(
        state=state, sealed_certificate="x", prepared_at=datetime.now(UTC), provider="double"
    )
    after, steps = await bench.run(request)
    assert (after.state, after.attempts) == (state, 1)
    assert steps[-1].wait is not None


@pytest.mark.parametrize("state", [State.RECEIVED, State.PREPARED])
async def test_patience_ends_before_the_person_was_asked(state: State) -> None:
    bench = Bench(Provider(lists=Unavailable("HTTP 503")))
    bench.files.trouble = OSError("away") if state is State.PREPARED else None
    old = datetime.now(UTC) - timedelta(hours=73)
    request = wish(
        state=state,
        created_at=old,
        sealed_certificate="x",
        prepared_at=datetime.now(UTC),
        provider="double",
    )
    after, _ = await bench.run(request)
    assert after.state is State.FAILED
    assert SENTENCES["gave-up"][1] in (after.outcome or "")


async def test_patience_does_not_end_for_a_document_that_came_back() -> None:
    bench = Bench()
    bench.files.trouble = OSError("away")
    old = datetime.now(UTC) - timedelta(days=30)
    after, _ = await bench.run(wish(state=State.SIGNED_RAW, created_at=old))
    assert after.state is State.SIGNED_RAW


async def test_a_signer_sealed_for_another_dossier_is_not_opened() -> None:
    stolen = wish(sealed_user=KEYS.seal(USER, "H56.14-261102-0002"))
    bench = Bench()
    request, _ = await bench.run(stolen)
    assert request.state is State.RECEIVED
    assert not bench.provider.orders


# Whatever happens.

LISTS = st.sampled_from(
    [
        Credentials([CREDENTIAL], Reply("200")),
        Credentials([CREDENTIAL], Reply("200")),
        Unavailable("HTTP 503"),
        Declined("failed", Reply("400")),
    ]
)
SIGNS = st.sampled_from(
    [
        Signed({UUID(int=7): SIGNED}, Reply("200")),
        Declined("rejected-by-user", Reply("4002")),
        Declined("expired", Reply("4001")),
        NeverSent("ClientConnectorError"),
        NeverSent("ClientConnectorError"),
        Unclear("TimeoutError", timed_out=True),
        Unclear("code 99"),
        RuntimeError("a mistake of ours"),
    ]
)
DEATHS = st.sampled_from(["lives", "lives", "lives", "dies before", "dies after", "lost answer"])
MOMENTS = st.tuples(LISTS, SIGNS, DEATHS, st.booleans())


@settings(max_examples=300, deadline=None)
@given(st.lists(MOMENTS, min_size=1, max_size=25))
def test_nobody_is_asked_twice(moments: list[tuple[Any, Any, str, bool]]) -> None:
    """A worker may die before a step is written, after it, or with the answer in its hands."""
    bench = Bench()
    row, history = wish(), [State.RECEIVED]
    order: Order | None = None

    async def play() -> None:
        nonlocal row, order
        for lists, signs, death, files_away in moments:
            if row.state in AT_REST:
                break
            if row.state is State.SUBMITTING and order is None:
                row = moved(row, Step(after_interruption(row)))  # found by the others
                history.append(row.state)
                continue
            bench.provider.lists, bench.provider.signs = lists, signs
            away = files_away and row.state is not State.SUBMITTING
            bench.files.trouble = OSError("away") if away else None
            calls, asking = len(bench.provider.orders), row.state == State.SUBMITTING
            taken = await bench.take(row, order)
            if len(bench.provider.orders) > calls:
                assert asking
                assert bench.provider.orders[-1].outgoing_id == row.outgoing_id
            if death in ("dies before", "lost answer"):
                order = None
                continue
            before, row = row, moved(row, step_of(taken))
            assert row.state in MOVES[before.state]
            history.append(row.state)
            order = None if death == "dies after" else taken.order

    asyncio.run(play())
    asked = len(bench.provider.orders) - bench.provider.never_sent
    assert asked <= 1
    for before, after in pairwise(history):
        assert before not in AT_REST
        assert after in MOVES[before]
    submissions = [i for i, state in enumerate(history) if state is State.SUBMITTING]
    for one, another in pairwise(submissions):
        assert State.PREPARED in history[one:another]
    if history[-1] is State.COMPLETED:
        assert asked == 1


def test_every_finding_has_a_sentence_in_both_languages() -> None:
    for code, (vietnamese, english) in SENTENCES.items():
        finding = Finding(code, Level.REFUSED, "detail")
        assert vietnamese
        assert english
        assert vietnamese != english
        assert finding.sentence() == f"{vietnamese} / {english} (detail)"
