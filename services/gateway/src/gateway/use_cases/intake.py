"""Durable intake: a command is written down, with its event, before the client hears 202.

Nothing but the gateway's own database is needed. What waits at the same moment is written in one
transaction: submissions, where nothing stands in their way, and one event for each of these. Bulk
waits by itself, for a writer of its own, so that it takes no turn from what is live.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from common.auth import Principal
from common.batching import GroupCommit
from common.contracts.codes import agency_of_dossier
from common.contracts.commands import Command, Lane, Submit
from common.contracts.gateway import SubmissionReceived
from common.errors import Problem
from common.identifiers import new_id
from common.outbox import Outbox, Unit
from gateway.domain.submissions import Earlier, Fingerprints, Submission, same_or_problem
from gateway.errors import may_not_act_for, may_not_handle
from gateway.store import submissions
from gateway.store.submissions import Home, NewSubmission
from gateway.use_cases.message_log import Exchange, MessageLog
from gateway.use_cases.patience import committed, not_now

_TRIES = 3
_BULK_BATCH, _BULK_WAITING = 200, 1000

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
        expected: the dossier's entity tags that the client had seen (``If-Match``).
        lane: bulk goes behind.
        exchange: what is put down in the message log once it is taken in.
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
    expected: str | None = None
    lane: Lane = "live"
    exchange: Exchange | None = None
    id: UUID = field(default_factory=new_id)
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Intake:
    """Takes commands in.

    Args:
        outbox: the transactions, with the events they tell.
        fingerprints: recognise repeated requests.
        log: where what was taken in is put down.

    Attributes:
        live_wishes: how many came that were not bulk.
    """

    def __init__(self, outbox: Outbox, fingerprints: Fingerprints, log: MessageLog) -> None:
        self._outbox = outbox
        self._fingerprints = fingerprints
        self._log = log
        self._live: GroupCommit[Wish, Answer] = GroupCommit(self._write)
        self._bulk: GroupCommit[Wish, Answer] = GroupCommit(
            self._write, writers=1, largest=_BULK_BATCH, waiting=_BULK_WAITING
        )
        self.live_wishes = 0

    async def take(self, wish: Wish) -> Submission:
        """The submission of this wish, committed: a new one, or the earlier one it repeats.

        Raises:
            Forbidden: the client does not act for the dossier's agency, or does not deal with its
                procedure.
            IdempotencyKeyReused, DossierCodeTaken: see ``domain.submissions.same_or_problem``.
            Busy, NotReady: see ``gateway.use_cases.patience``.
        """
        if wish.lane == "bulk":
            answer = await committed(self._bulk, wish)
        else:
            self.live_wishes += 1
            answer = await committed(self._live, wish)
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
        homes = await self._homes(unit, wishes)
        for place, (wish, home) in enumerate(zip(wishes, homes, strict=True)):
            refused = _without_right(wish.principal, home)
            if refused is None:
                rows[place] = self._row(wish, home)
            else:
                answers[place] = refused
        for _ in range(_TRIES):
            if not rows:
                break
            await self._insert(unit, wishes, rows, answers)
        return [answer or not_now() for answer in answers]

    async def _homes(self, unit: Unit, wishes: Sequence[Wish]) -> list[Home]:
        """Where each wish's dossier belongs: as it was submitted, or else by its code."""
        asked = [wish.dossier_code for wish in wishes if wish.agency is None]
        known = await submissions.homes_of(unit.connection, asked) if asked else {}
        return [
            _home(wish)
            or known.get(wish.dossier_code)
            or Home(agency_of_dossier(wish.dossier_code), None)
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
        records = []
        for place, row in list(rows.items()):
            if row.id in written:
                wish = wishes[place]
                answers[place] = submission = _pending(row)
                _tell(unit, row, wish)
                if wish.exchange is not None:
                    records.append(wish.exchange.taken(submission))
                del rows[place]
        await self._log.add(unit.connection, records)
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
        return problem or replace(found.submission, repeated=True)

    def _row(self, wish: Wish, home: Home) -> NewSubmission:
        return NewSubmission(
            id=wish.id,
            client_id=wish.principal.client_id,
            agency=home.agency,
            procedure=home.procedure,
            dossier_code=wish.dossier_code,
            kind=wish.command.kind,
            key=wish.key,
            fingerprint=self._fingerprints.of(_identifying(wish)),
            received_at=wish.received_at,
            traceparent=wish.traceparent,
            request_id=wish.request_id,
        )


def _home(wish: Wish) -> Home | None:
    """Where a new dossier belongs, as it says itself."""
    if wish.agency is None:
        return None
    begun = wish.command
    return Home(wish.agency, begun.procedure.code if isinstance(begun, Submit) else None)


def _without_right(principal: Principal, home: Home) -> Problem | None:
    """Why a client may do nothing to a dossier, if it may not, as far as it is known here."""
    if not principal.may_act_for(home.agency):
        return may_not_act_for(home.agency)
    if home.procedure is not None and not principal.may_handle(home.procedure):
        return may_not_handle()
    return None


def _judged_by(principal: Principal, procedure: str | None) -> tuple[str, ...] | None:
    """The procedures of which the dossier has to be when its turn comes; None for any."""
    if principal.may_handle("*"):
        return None
    return (procedure,) if procedure is not None else tuple(sorted(principal.procedures))


def _identifying(wish: Wish) -> bytes:
    code = "" if wish.issued else wish.dossier_code
    content = wish.content
    if wish.expected is not None:
        content += b"\0if-match\0" + wish.expected.encode()
    return _identity(code, wish.command.kind, wish.agency or "", content)


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


def _tell(unit: Unit, row: NewSubmission, wish: Wish) -> None:
    event = SubmissionReceived.model_construct(
        submission_id=row.id,
        client_id=row.client_id,
        agency=row.agency,
        dossier_code=row.dossier_code,
        received_at=row.received_at,
        command=wish.command,
        lane=wish.lane,
        expected=wish.expected,
        procedures=_judged_by(wish.principal, row.procedure),
    )
    unit.tell(
        event,
        aggregate=row.dossier_code,
        agency=row.agency,
        subject=row.dossier_code,
        traceparent=row.traceparent,
    )
