"""The book of requests in hand: every step with its evidence and its event, in one transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import structlog

from common.batching import GroupCommit
from common.contracts.dossier import SigningRequested
from common.contracts.signature import (
    SignatureCompleted,
    SignatureFact,
    SignatureFailed,
    SignatureHeld,
)
from common.database import Database, database_is_away
from common.envelope import Received
from common.errors import describe
from common.identifiers import new_id
from common.outbox import Outbox, Unit
from signature_connector.domain.evidence import record
from signature_connector.domain.findings import refused, warning
from signature_connector.domain.requests import (
    AT_REST,
    FINAL,
    MOVES,
    Request,
    State,
    Step,
    after_interruption,
    moved,
)
from signature_connector.store import requests as store
from signature_connector.store import waiting, workers
from signature_connector.store.requests import Change, Wanted

Written = TypeVar("Written")

_DATABASE_PAUSE_SECONDS = 0.5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Entry:
    change: Change
    at: datetime


class Book:
    """Writes the steps of requests that workers have in hand, each with its evidence and event.

    Steps that are taken at the same moment share a transaction.
    """

    def __init__(
        self, database: Database, outbox: Outbox, news: timedelta = timedelta(minutes=15)
    ) -> None:
        """The book.

        Args:
            news: for how long a provider is asked about an order that was given by a worker that
                died over it.
        """
        self._database = database
        self._outbox = outbox
        self._news = news
        self._steps = GroupCommit(self._write, writers=2, largest=100)

    async def claim(self, worker: UUID, most: int, *, waits: bool = True) -> list[Request]:
        """Take up requests that are due: of providers that hold the call, or of the others."""
        async with self._database.reading() as connection:  # the statement stands on its own
            return await store.claim(connection, worker, most, waits=waits)

    async def claim_batch(self, worker: UUID, batch: UUID) -> list[Request] | None:
        """Take up all of a batch that nobody was asked for yet; None where another has some."""
        async with self._database.transaction() as connection:
            return await store.claim_batch(connection, worker, batch)

    async def put_off(self, worker: UUID, ids: Sequence[UUID], wait: float) -> None:
        """Let go of requests on which nothing could be done now."""

        async def write() -> None:
            async with self._database.transaction() as connection:
                await waiting.put_off(connection, worker, ids, wait)

        await _persistently(write)

    async def next_due(self, providers: Sequence[str]) -> float | None:
        """Seconds until a provider is to be asked about an order; None where none waits."""
        async with self._database.reading() as connection:
            return await waiting.next_due(connection, providers)

    async def claim_waiting(
        self, worker: UUID, limits: Mapping[str, int], rates: Mapping[str, float]
    ) -> list[Request]:
        """Take up requests whose provider is to be asked how it went, within the budget."""
        async with self._database.transaction() as connection:
            claimed = await waiting.claim(connection, worker, limits, rates)
            orders = [one.order_id for one in claimed if one.batch and one.order_id]
            if orders:
                claimed += await waiting.mates(connection, worker, orders)
            return claimed

    async def postpone(self, worker: UUID, pauses: Mapping[UUID, float]) -> None:
        """Let go of requests that are not decided yet."""

        async def write() -> None:
            async with self._database.transaction() as connection:
                await waiting.postpone(connection, worker, pauses)

        await _persistently(write)

    async def note(self, worker: UUID, request_id: UUID, step: Step) -> None:
        """Add to the evidence of a request that has ended; it is not asked about any more."""
        now = datetime.now(UTC)
        async with self._database.transaction() as connection:
            request = (await store.find(connection, [request_id], lock=True))[request_id]
            if request.state in AT_REST:
                late = _late(request, step)
                await store.add_late(connection, request, record(request, late, now))
            await waiting.postpone(connection, worker, {request_id: -1.0})

    async def let_go(self, worker: UUID, in_hand: Iterable[UUID]) -> None:
        """Free what the worker took up without hearing that it was committed: nothing was done."""
        async with self._database.transaction() as connection:
            await store.let_go(connection, worker, in_hand)

    async def move(self, worker: UUID, request: Request, step: Step) -> Request | None:
        """Write a step, for as long as it takes; the request as it then stands.

        None when the worker does not have it in hand any more: it is at rest, put off, or was
        taken from a worker that seemed dead. In the last case nothing was written.
        """
        now = datetime.now(UTC)
        entry = _Entry(_change(worker, request, step, now), now)
        if not await _persistently(partial(self._steps.add, entry)):
            await self._note_late(request.request_id, step, now)
            return None
        return entry.change.request if entry.change.keeps else None

    async def _write(self, entries: Sequence[_Entry]) -> Sequence[bool]:
        async with self._outbox.transaction() as unit:
            written = await self._apply(unit, entries)
        return [entry.change.request.request_id in written for entry in entries]

    async def _apply(self, unit: Unit, entries: Sequence[_Entry]) -> set[UUID]:
        changes = [entry.change for entry in entries]
        changed = await store.change(unit.connection, changes)
        written = set(changed)
        for entry in entries:
            request = entry.change.request
            if request.request_id not in written:
                continue
            tell(unit, request, entry.at)
            if request.state in FINAL:
                await self._conclude(unit, request, changed[request.request_id], entry.at)
        missing = [c for c in changes if c.request.request_id not in written]
        if missing:
            written |= await store.landed(unit.connection, missing)
        return written

    async def _conclude(
        self, unit: Unit, request: Request, cancelled: Wanted | None, at: datetime
    ) -> None:
        """What an end brings with it: a wish to cancel is noted, the next signer has his turn."""
        if cancelled is not None:
            facts = {"cancellation_wanted_at": cancelled.at, "by": cancelled.client}
            too_late = Step(request.state, facts, reason=warning("cancelled-late").sentence())
            await store.add_late(unit.connection, request, record(request, too_late, at))
        if request.workflow is not None:
            await hand_on(unit, request, at)

    async def _note_late(self, request_id: UUID, step: Step, at: datetime) -> None:
        """Keep what a worker found out too late: an operator will want to know it."""
        log.warning("step too late", request=str(request_id), state=step.to)
        async with self._database.transaction() as connection:
            found = await store.find(connection, [request_id], lock=True)
            request = found.get(request_id)
            if request is None or request.state not in AT_REST:
                return
            late = _late(request, step)
            await store.add_late(connection, request, record(request, late, at))

    async def seen(self, ours: Sequence[UUID], lease: float) -> bool:
        """Signs of life of a process's workers; whether dead ones may have left something."""
        async with self._database.reading() as connection:  # the statement stands on its own
            return await workers.seen(connection, ours, lease)

    async def disown(self, worker: UUID, request_id: UUID) -> None:
        """Leave a request whose step cannot be written to whoever looks after the dead."""

        async def write() -> None:
            async with self._database.transaction() as connection:
                await workers.disown(connection, worker, request_id, new_id())

        await _persistently(write)

    async def take_from_dead(self, lease: float) -> int:
        """Free what workers without a sign of life had in hand; how many requests there were.

        A request whose person was being asked goes to an operator, all others to any worker.
        """
        async with self._outbox.transaction() as unit:
            await workers.forget_dead(unit.connection, lease)
            return await self._free(unit, None)

    async def leave(self, worker: UUID) -> None:
        """Free, in the same way, what a worker that ends still has in hand."""
        async with self._outbox.transaction() as unit:
            await workers.leave(unit.connection, worker)
            await self._free(unit, worker)

    async def _free(self, unit: Unit, worker: UUID | None) -> int:
        now = datetime.now(UTC)
        orphans = await workers.abandoned(unit.connection, worker)
        entries = [
            _Entry(_change(last, request, self._interrupted(request), now), now)
            for request, last in orphans
            if after_interruption(request) is not request.state
        ]
        if entries:
            await self._apply(unit, entries)
        held = {entry.change.request.request_id for entry in entries}
        others = [request.request_id for request, _ in orphans if request.request_id not in held]
        await workers.release(unit.connection, others)
        return len(orphans)

    def _interrupted(self, request: Request) -> Step:
        to = after_interruption(request)
        return Step(
            to,
            {"outgoing_id": str(request.outgoing_id)},
            changes={"deadline": datetime.now(UTC) + self._news},
            wait=0.0,
            reason=refused("interrupted").sentence(),
        )


async def _persistently(write: Callable[[], Awaitable[Written]]) -> Written:
    """Write what must not be lost, for as long as the database is away."""
    while True:
        try:
            return await write()
        except Exception as error:
            if not database_is_away(error):
                raise
            log.warning("not written yet", error=describe(error))
            await asyncio.sleep(_DATABASE_PAUSE_SECONDS)


def _late(request: Request, step: Step) -> Step:
    return Step(
        request.state,
        {"would_be": step.to, **step.facts},
        reason=warning("late-answer").sentence(),
    )


def _change(worker: UUID, request: Request, step: Step, at: datetime) -> Change:
    note = record(request, step, at)
    after = replace(moved(request, step), evidence_count=note.number, evidence_head=note.digest)
    return Change(
        worker=worker,
        was=request.state,
        request=after,
        record=note,
        keeps=step.wait is None and step.to not in AT_REST,
        wait=step.wait or 0.0,
    )


async def hand_on(unit: Unit, request: Request, at: datetime) -> None:
    """Give the next signer of a document his turn; without a result there is none for anybody."""
    if request.state is State.COMPLETED:
        await store.succeed(unit.connection, request.request_id, request.signed_file or "")
        return
    for next_one in await store.successors(unit.connection, request.request_id):
        finding = refused("signer-before", request.state.value)
        step = Step(
            State.CANCELLED,
            {"finding": finding.body(), "after": str(request.request_id)},
            reason=finding.sentence(),
        )
        await end(unit, next_one, step, at)


async def end(
    unit: Unit,
    request: Request,
    step: Step,
    at: datetime,
    moves: Mapping[State, frozenset[State]] = MOVES,
) -> Request:
    """Take a step with a locked request that nobody has in hand, or whose holder is to lose it."""
    note = record(request, step, at)
    after = replace(
        moved(request, step, moves), evidence_count=note.number, evidence_head=note.digest
    )
    await store.put(unit.connection, after, note)
    tell(unit, after, at)
    if after.state in FINAL and after.workflow is not None:
        await hand_on(unit, after, at)
    return after


def tell(unit: Unit, request: Request, at: datetime) -> None:
    """Tell the fact that a request has come to rest, if it has."""
    fact = fact_of(request, at)
    if fact is not None:
        relate(unit, request, fact)


def relate(unit: Unit, request: Request, fact: SignatureFact) -> None:
    """Tell a fact about a request, as a consequence of what asked for it."""
    cause = None
    if request.causation is not None:
        cause = Received(
            id=request.causation,
            type=SigningRequested.TYPE,
            producer=request.client,
            agency=request.agency,
            subject=request.dossier_code,
            time=request.created_at,
            stream=None,
            sequence=None,
            event=None,
            traceparent=request.traceparent,
            correlation=request.correlation or str(request.causation),
            body=b"",
        )
    unit.tell(
        fact,
        aggregate=str(request.request_id),
        agency=request.agency,
        subject=request.dossier_code,
        cause=cause,
        traceparent=request.traceparent,
    )


def fact_of(request: Request, at: datetime) -> SignatureFact | None:
    """What the others are told of a request in this state."""
    common: dict[str, Any] = {
        "request_id": request.request_id,
        "dossier_code": request.dossier_code,
        "agency": request.agency,
        "document_id": request.document_id,
        "at": at,
    }
    reason = request.outcome or ""
    match request.state:
        case State.COMPLETED:
            return SignatureCompleted(
                **common,
                file=request.signed_file,
                serial_number=request.serial_number,
                signed_at=request.signed_at,
                level=request.level,
            )
        case State.MANUAL_REVIEW:
            return SignatureHeld(**common, reason=reason)
        case State.REJECTED_BY_USER | State.EXPIRED | State.FAILED | State.CANCELLED:
            return SignatureFailed(**common, outcome=request.state.value, reason=reason)
    return None
