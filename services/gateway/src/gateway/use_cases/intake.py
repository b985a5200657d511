"""Durable intake: a command is written down, with its event, before the client hears 202.

Nothing but the gateway's own database is needed. What waits at the same moment is written in one
transaction: submissions, where nothing stands in their way, and one event for each of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from common.auth import Principal
from common.batching import GroupCommit
from common.contracts.codes import agency_of_dossier
from common.contracts.commands import Command
from common.contracts.gateway import SubmissionReceived
from common.errors import Problem
from common.identifiers import new_id
from common.outbox import Outbox, Unit
from gateway.domain.submissions import Earlier, Fingerprints, Submission, same_or_problem
from gateway.errors import may_not_act_for
from gateway.store import submissions
from gateway.store.submissions import NewSubmission
from gateway.use_cases.patience import committed, not_now

_TRIES = 3

Answer = Submission | Problem


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asks to be taken in.

    Attributes:
        agency: the dossier's (new form); None where the dossier is expected to be known.
        command: with its personal fields sealed.
        content: canonical content in clear, to compare with earlier requests; it is never stored.
        key: the ``Idempotency-Key``.
        issued: the dossier code is a new one of ours: it is no part of what the client asks.
    """

    principal: Principal
    dossier_code: str
    agency: str | None
    command: Command
    content: bytes = field(repr=False)
    key: str | None
    traceparent: str | None = None
    request_id: str = ""
    issued: bool = False
    id: UUID = field(default_factory=new_id)
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Intake:
    """Takes commands in.

    Args:
        outbox: the transactions, with the events they tell.
        fingerprints: recognise repeated requests.
    """

    def __init__(self, outbox: Outbox, fingerprints: Fingerprints) -> None:
        self._outbox = outbox
        self._fingerprints = fingerprints
        self._group: GroupCommit[Wish, Answer] = GroupCommit(self._write)

    async def take(self, wish: Wish) -> Submission:
        """The submission of this wish, committed: a new one, or the earlier one it repeats.

        Raises:
            Forbidden: the client does not act for the dossier's agency.
            IdempotencyKeyReused, DossierCodeTaken: see ``domain.submissions.same_or_problem``.
            Busy, NotReady: see ``gateway.use_cases.patience``.
        """
        answer = await committed(self._group, wish)
        if isinstance(answer, Problem):
            raise answer
        return answer

    def repeated(self, found: Submission, agency: str, content: bytes) -> Submission:
        """A submission found by its key, for a request that came without a dossier code.

        Raises:
            IdempotencyKeyReused: it was for something else.
        """
        identity = _identity("", "submit", agency, content)
        answer = self._judged(Earlier("key", found), found.client_id, identity)
        if isinstance(answer, Problem):
            raise answer
        return answer

    async def _write(self, wishes: Sequence[Wish]) -> Sequence[Answer]:
        async with self._outbox.transaction() as unit:
            return await self._decide(unit, wishes)

    async def _decide(self, unit: Unit, wishes: Sequence[Wish]) -> list[Answer]:
        answers: list[Answer | None] = [None] * len(wishes)
        rows: dict[int, NewSubmission] = {}
        agencies = await self._agencies(unit, wishes)
        for place, wish in enumerate(wishes):
            agency = agencies[place]
            if wish.principal.may_act_for(agency):
                rows[place] = self._row(wish, agency)
            else:
                answers[place] = may_not_act_for(agency)
        for _ in range(_TRIES):
            if not rows:
                break
            await self._insert(unit, wishes, rows, answers)
        return [answer or not_now() for answer in answers]

    async def _agencies(self, unit: Unit, wishes: Sequence[Wish]) -> list[str]:
        """The agency of each wish's dossier: as it was submitted, or else that of its code."""
        asked = [wish.dossier_code for wish in wishes if wish.agency is None]
        known = await submissions.agencies_of(unit.connection, asked) if asked else {}
        return [
            wish.agency or known.get(wish.dossier_code) or agency_of_dossier(wish.dossier_code)
            for wish in wishes
        ]

    async def _insert(
        self,
        unit: Unit,
        wishes: Sequence[Wish],
        rows: dict[int, NewSubmission],
        answers: list[Answer | None],
    ) -> None:
        """Write rows and answer those that were, or what stands in the way of the others.

        A row is left where its obstacle went away between the two statements: then once more.
        """
        written = await submissions.insert(unit.connection, list(rows.values()))
        for place, row in list(rows.items()):
            if row.id in written:
                answers[place] = _pending(row)
                _tell(unit, row, wishes[place].command)
                del rows[place]
        if not rows:
            return
        places = list(rows)
        earlier = await submissions.in_the_way(unit.connection, list(rows.values()))
        for number, found in earlier.items():
            place = places[number]
            wish = wishes[place]
            answers[place] = self._judged(found, wish.principal.client_id, _identifying(wish))
            del rows[place]

    def _judged(self, found: Earlier, client_id: str, identity: bytes) -> Answer:
        problem = same_or_problem(
            found,
            client_id=client_id,
            same_content=self._fingerprints.matches(found.submission.fingerprint, identity),
        )
        return problem or found.submission

    def _row(self, wish: Wish, agency: str) -> NewSubmission:
        return NewSubmission(
            id=wish.id,
            client_id=wish.principal.client_id,
            agency=agency,
            dossier_code=wish.dossier_code,
            kind=wish.command.kind,
            key=wish.key,
            fingerprint=self._fingerprints.of(_identifying(wish)),
            received_at=wish.received_at,
            traceparent=wish.traceparent,
            request_id=wish.request_id,
        )


def _identifying(wish: Wish) -> bytes:
    code = "" if wish.issued else wish.dossier_code
    return _identity(code, wish.command.kind, wish.agency or "", wish.content)


def _identity(code: str, kind: str, agency: str, content: bytes) -> bytes:
    """All that makes two requests the same one."""
    return f"{code}\0{kind}\0{agency}\0".encode() + content


def _pending(row: NewSubmission) -> Submission:
    return Submission(
        row.id,
        row.client_id,
        row.agency,
        row.dossier_code,
        row.kind,
        row.fingerprint,
        "pending",
        row.received_at,
    )


def _tell(unit: Unit, row: NewSubmission, command: Command) -> None:
    event = SubmissionReceived.model_construct(
        submission_id=row.id,
        client_id=row.client_id,
        agency=row.agency,
        dossier_code=row.dossier_code,
        received_at=row.received_at,
        command=command,
    )
    unit.tell(
        event,
        aggregate=row.dossier_code,
        agency=row.agency,
        subject=row.dossier_code,
        traceparent=row.traceparent,
    )
