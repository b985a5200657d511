"""Whatever is asked of a dossier, in whatever order, its life stays whole."""

from datetime import timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common.contracts.commands import Command, Complete, Rate, Satisfaction, SigningWish, Transfer
from common.contracts.dossier import (
    DossierFact,
    DossierTransferred,
    SigningRequested,
    SigningWorkflowRequested,
)
from common.contracts.registry import EVENTS
from common.contracts.signature import (
    SignatureCompleted,
    SignatureFact,
    SignatureFailed,
    SignatureHeld,
)
from dossier.domain import signatures, steps, table
from dossier.domain.model import Dossier, Refusal, SignedInTurn, Taken, Turn
from dossier.domain.table import KINDS, STATUSES
from tests.support.dossiers import AGENCY, SIGNED, START, code, command, result

TABLE = table.load()
SUBMISSION = UUID(int=7)
CLOSED = {"3", "7", "8", "10"}
CLOSING = ["refuse", "withdraw", "pause", "return"]
STEADY = {"receive": "2", "refuse": "3", "progress": "4", "withdraw": "7", "pause": "8"} | {
    "complete": "9",
    "return": "10",
}
# Spelled out a second time: what the wire says, not what the code's own mapping says.
TYPES = {
    "submit": "dossier.submitted.v1",
    "receive": "dossier.received.v1",
    "refuse": "dossier.refused.v1",
    "progress": "dossier.progressed.v1",
    "request-supplement": "dossier.supplement-requested.v1",
    "give-supplement": "dossier.supplement-given.v1",
    "request-fee": "dossier.fee-requested.v1",
    "record-fee": "dossier.fee-paid.v1",
    "pause": "dossier.paused.v1",
    "withdraw": "dossier.withdrawn.v1",
    "complete": "dossier.completed.v1",
    "return": "dossier.returned.v1",
    "extend": "dossier.deadline-extended.v1",
    "transfer": "dossier.transferred.v1",
    "rate": "dossier.rated.v1",
    "result-signed": "dossier.result-signed.v1",
    "result-signing-failed": "dossier.result-signing-failed.v1",
    "result-signing-held": "dossier.result-signing-failed.v1",
}

names = st.sampled_from(["1", "2", "3"])
papers = st.lists(st.builds(lambda id_: {"id": id_, "name": f"Giấy {id_}"}, names), max_size=3)
fees = st.lists(
    st.builds(
        lambda id_, amount: {"code": id_, "name": f"Phí {id_}", "amount": amount},
        names,
        st.integers(0, 9),
    ),
    max_size=3,
)
results = st.lists(
    st.builds(
        lambda id_, signed, file: result(id_, signed=signed, **({} if file else {"file": None})),
        names,
        st.booleans(),
        st.sampled_from([True, True, True, False]),
    ),
    max_size=3,
)
AGENCIES = [AGENCY, "H11.15", "H12.15"]
others = st.lists(
    st.builds(lambda id_, n: {"name": f"Giấy {id_}", "quantity": n}, names, st.integers(0, 9)),
    max_size=2,
)
moments = st.integers(-9, 9).map(lambda days: START + timedelta(days=days))
FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "submit": {"documents": papers, "fees": fees, "other_papers": others},
    "receive": {"due_at": st.none() | moments},
    "request-supplement": {"papers": others, "fees": fees},
    "give-supplement": {"documents": papers, "due_at": st.none() | moments},
    "extend": {"due_at": moments},
    "transfer": {"agency": st.sampled_from(AGENCIES)},
    "rate": {"satisfaction": st.sampled_from(get_args(Satisfaction)), "source": names},
    "request-fee": {"fees": fees},
    "record-fee": {"online": st.booleans()},
    "complete": {"results": results},
}


def ids_of(asked: SigningRequested | SigningWorkflowRequested) -> list[UUID]:
    """Of every signature that is asked for, the last one last."""
    if isinstance(asked, SigningRequested):
        return [asked.request_id]
    return [one.request_id for one in asked.signers]


def by_several(what: Command, many: int) -> Command:
    """The same, where those results that one would sign are signed by so many."""
    if not isinstance(what, Complete):
        return what
    wish = SigningWish(sealed_user="v1.k1.dXNlcg", ca_name="VNPT-CA")
    results = [
        SignedInTurn(**{**dict(one), "signing": None}, turns=(Turn(signer=wish),) * many)
        if one.signing
        else one
        for one in what.results
    ]
    return what.model_copy(update={"results": tuple(results)})


def rest(dossier: Dossier | None) -> bytes:
    """A dossier as it is stored."""
    return dossier.model_dump_json().encode() if dossier else b""


class Life(RuleBasedStateMachine):
    """One dossier, and an account of it kept apart: the facts told, and what is still open."""

    def __init__(self) -> None:
        super().__init__()
        self.dossier: Dossier | None = None
        self.facts: list[DossierFact] = []
        self.asked: list[SigningRequested | SigningWorkflowRequested] = []
        self.supplement_open = False
        self.fee_open = False
        self.agencies: list[str] = []
        """Those that had the dossier, the one that has it last."""
        self.extensions = 0
        self.rating: tuple[str, str] | None = None
        self.waits = ["none"]
        """The status, below what waits for the applicant; the last one counts."""

    @initialize(early=st.booleans())
    def mostly_begin_with_a_submission(self, early):
        if not early:
            self.ask(command("submit"))

    @rule(
        data=st.data(),
        kind=st.sampled_from([kind for kind in KINDS if kind not in CLOSING]),
        channel=st.sampled_from([None, "1", "2", "3"]),
        signers=st.integers(0, 3),
    )
    def step(self, data, kind, channel, signers):
        fields = {name: data.draw(value) for name, value in FIELDS.get(kind, {}).items()}
        if kind != "submit" or channel:
            fields["channel"] = channel
        what = command(kind, len(self.facts), **fields)
        self.ask(by_several(what, signers) if signers else what)

    @precondition(lambda self: self.dossier is not None)
    @rule()
    def is_an_old_one(self):
        """As if it had entered with its history."""
        assert self.dossier is not None
        state = self.dossier.state.model_copy(update={"historic": True})
        self.dossier = self.dossier.model_copy(update={"state": state})
        self.facts[-1] = self.facts[-1].model_copy(update={"dossier": state})

    @rule(kind=st.sampled_from(CLOSING))
    def end(self, kind):
        self.ask(command(kind, len(self.facts)))

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), kind=st.sampled_from(["completed", "failed", "held"]))
    def outcome_of_a_signature(self, data, kind):
        request = data.draw(st.sampled_from(self.asked))
        id_ = data.draw(st.sampled_from(ids_of(request)))
        before = rest(self.dossier)
        self.hear(kind, id_, request.document_id)
        if kind == "completed" and id_ != ids_of(request)[-1]:
            assert rest(self.dossier) == before

    @rule(kind=st.sampled_from(["completed", "failed", "held"]), id_=names)
    def outcome_nobody_asked_for(self, kind, id_):
        before = rest(self.dossier)
        self.hear(kind, uuid4(), id_)
        assert rest(self.dossier) == before

    def ask(self, what: Command) -> None:
        before = self.dossier
        rested = rest(before)
        # Only the first submission's id counts.
        name = SUBMISSION if before is None else uuid4()
        answer = steps.obey(TABLE, before, what, code=code(1), agency=AGENCY, submission=name)
        assert rest(before) == rested  # what a reader holds never changes under it
        if isinstance(answer, Refusal):
            self.check_refusal(answer, what)
            return
        ended = before is not None and before.state.status in CLOSED
        assert not ended or what.kind in {"rate", "transfer"}
        self.account(what)
        self.check(answer, what.kind)
        assert answer.step.channel == what.channel
        assert not answer.dossier.state.historic
        if isinstance(answer.fact, DossierTransferred):
            assert answer.fact.from_agency == answer.step.agency
        flagged = answer.step.flagged
        assert flagged is None or flagged in TABLE.reasons
        for request in answer.signings:
            known = {id_ for one in self.asked for id_ in ids_of(one)}
            assert known.isdisjoint(ids_of(request))
            self.asked.append(request)

    def check_refusal(self, refusal: Refusal, what: Command) -> None:
        status = self.dossier.state.status if self.dossier else "none"
        slug = refusal.problem.slug
        if status == "none":
            assert (slug, refusal.problem.status) == ("unknown-dossier", 404)
            assert what.kind != "submit"
        elif what.kind == "submit":
            assert (slug, refusal.problem.status) == ("dossier-exists", 409)
        elif isinstance(what, Transfer):
            assert (slug, refusal.problem.status) == ("step-not-possible", 409)
            assert what.agency == self.agencies[-1]
        elif status in CLOSED:
            assert what.kind != "rate"
            assert (slug, refusal.problem.status) == ("dossier-closed", 409)
        else:
            assert what.kind == "complete"
            assert slug in {"invalid-results", "step-not-possible"}

    def account(self, what: Command) -> None:
        """Status by the plain rule: what waits for the applicant lies on top of what was."""
        kind = what.kind
        if isinstance(what, Transfer):
            self.agencies.append(what.agency)
        elif isinstance(what, Rate):
            self.rating = (what.satisfaction, what.source)
        elif kind == "extend":
            self.extensions += 1
        if kind == "submit":
            self.waits = ["1"]
            self.agencies = [AGENCY]
        elif kind in STEADY:
            self.waits = [STEADY[kind]]
        elif kind == "request-supplement":
            self.supplement_open = True
            base = "4" if self.waits[0] == "9" else self.waits[0]
            self.waits = [base, *(one for one in self.waits[1:] if one != "5"), "5"]
        elif kind == "request-fee":
            self.fee_open = True
            self.waits = [*(one for one in self.waits if one != "6"), "6"]
        elif kind == "give-supplement":
            self.supplement_open = False
            self.waits = [one for one in self.waits if one != "5"]
        elif kind == "record-fee":
            self.fee_open = False
            self.waits = [one for one in self.waits if one != "6"]

    def hear(self, kind: str, request, document: str) -> None:
        if self.dossier is None:
            return
        said = {
            "request_id": request,
            "dossier_code": code(1),
            "agency": AGENCY,
            "document_id": document,
            "at": START,
        }
        fact: SignatureFact = {
            "completed": lambda: SignatureCompleted(**said, file=SIGNED, serial_number="1"),
            "failed": lambda: SignatureFailed(**said, outcome="expired", reason="late"),
            "held": lambda: SignatureHeld(**said, reason="cut"),
        }[kind]()
        before = self.dossier
        taken = signatures.record(before, fact)
        if taken is None:
            return
        names = {"completed": "signed", "failed": "failed", "held": "held"}
        kinds = {"completed": "result-signed", "failed": "result-signing-failed"}
        same = {"results", "status"}
        assert taken.dossier.state.model_dump(exclude=same) == before.state.model_dump(exclude=same)
        assert taken.dossier.state.status == before.state.status
        changed = [
            (old, new)
            for old, new in zip(before.state.results, taken.dossier.state.results, strict=True)
            if old != new
        ]
        ((old, new),) = changed
        assert (old.signing, new.signing) in {
            (waits, names[kind]) for waits in ("asked", "held") if waits != names[kind]
        }
        self.check(taken, kinds.get(kind, "result-signing-held"))

    def check(self, taken: Taken, kind: str) -> None:
        """A step that took effect, in each of the places where it shows."""
        before, after = self.dossier, taken.dossier
        number = len(self.facts) + 1
        assert (taken.step.number, after.steps) == (number, number)
        assert taken.step.kind == kind
        assert taken.step.status == after.state.status
        assert TYPES[kind] == taken.fact.TYPE
        assert EVENTS[taken.fact.TYPE] is type(taken.fact)
        assert (taken.fact.step, taken.fact.dossier) == (taken.step, after.state)
        if before is not None:
            kept = {"id", "code", "procedure", "channel", "applicant_kind", "sealed"} | {
                "summary",
                "submitted_at",
                "other_papers",
            }
            assert before.state.model_dump(include=kept) == after.state.model_dump(include=kept)
            assert (
                before.state.supplements == after.state.supplements[: len(before.state.supplements)]
                or kind == "give-supplement"
            )
        assert Dossier.model_validate_json(rest(after)) == after
        self.dossier = after
        self.facts.append(taken.fact)

    @invariant()
    def history_is_whole(self):
        assert [fact.step.number for fact in self.facts] == list(range(1, len(self.facts) + 1))
        assert (self.dossier is None) == (not self.facts)
        if self.dossier is not None:
            assert self.facts[-1].dossier == self.dossier.state

    @invariant()
    def status_is_one_of_the_list_and_the_one_expected(self):
        if self.dossier is not None:
            assert self.dossier.state.status in STATUSES
            assert self.dossier.state.status == self.waits[-1]

    @invariant()
    def nothing_said_is_lost(self):
        if self.dossier is None:
            return
        state = self.dossier.state
        assert [*state.former_agencies, state.agency] == self.agencies
        assert state.extensions == self.extensions
        assert (state.rating and (state.rating.satisfaction, state.rating.source)) == self.rating
        had_it = {fact.step.agency for fact in self.facts}
        assert had_it <= set(self.agencies)
        assert {fact.dossier.id for fact in self.facts} == {SUBMISSION}

    @invariant()
    def what_is_open_agrees_with_the_status(self):
        if self.dossier is None:
            return
        dossier, status = self.dossier, self.dossier.state.status
        assert dossier.fee_open == self.fee_open
        assert (dossier.open_supplement is not None) == self.supplement_open
        assert [*dossier.interrupted, status] == self.waits
        assert status != "5" or self.supplement_open
        assert status != "6" or self.fee_open
        supplements = dossier.state.supplements
        assert [one.number for one in supplements] == list(range(1, len(supplements) + 1))
        assert not (supplements and self.supplement_open) or supplements[-1].given_at is None
        assert self.supplement_open or all(one.given_at for one in supplements)

    @invariant()
    def times_agree_with_the_status(self):
        if self.dossier is None:
            return
        state = self.dossier.state
        assert (state.refused_at is not None) == (state.status == "3")
        assert (state.returned_at is not None) == (state.status == "10")
        assert state.status != "2" or state.received_at is not None
        assert state.status not in {"7", "8", "9"} or state.finished_at is not None
        assert state.status not in {"1", "2", "4", "5"} or state.finished_at is None

    @invariant()
    def every_result_that_waits_has_been_asked_for(self):
        if self.dossier is None:
            return
        asked = {one.document_id for one in self.asked}
        signings = [[*one.before, one.request_id] for one in self.dossier.signings]
        assert signings == [ids_of(one) for one in self.asked]
        every = [id_ for ids in signings for id_ in ids]
        assert len(every) == len(set(every))
        for paper in self.dossier.state.results:
            assert paper.signing == "none" or paper.id in asked


Life.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
test_a_life = Life.TestCase
