"""Augmentation that did not work while a document was signed, tried again later.

A request was completed at what it had reached; its row says when the rest is due. A document is
given out again only after the same verdict as the first time.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from common.contracts.signature import SignatureAugmented
from common.errors import describe
from common.outbox import Outbox
from signature_connector.domain.assembly import Unfit
from signature_connector.domain.evidence import record
from signature_connector.domain.findings import Report, warning
from signature_connector.domain.profiles import Profile
from signature_connector.domain.requests import Request, State, Step
from signature_connector.store import augmenting as store
from signature_connector.use_cases.book import relate
from signature_connector.use_cases.due import work_off
from signature_connector.use_cases.finishing import Finishing

_LONGEST_PAUSE = timedelta(hours=1)
_UNFINISHED = "not-examinable"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a try.

    Attributes:
        missing: why it is not at its level yet; None: it is.
        final: whether trying again can change that.
        report: the verdict on what was reached; None: nothing was.
    """

    after: Request
    facts: dict[str, Any]
    missing: str | None
    final: bool
    report: Report | None = None


@dataclass(frozen=True)
class Augmenting:
    """Augments completed requests that are due.

    Args:
        finishing: augments and judges.
        first: pause before the first try and shortest pause between two.
        patience: how long after signing it is given up.
        lease: how long one try may take; then another worker takes the request up.
        most: how many at the same time.
    """

    outbox: Outbox
    finishing: Finishing
    first: timedelta
    patience: timedelta
    lease: float
    most: int = 4

    async def run(self) -> None:
        """Augment without end."""
        pause = min(self.first.total_seconds(), 30.0)
        await work_off(self.augment_due, pause, "augmentation interrupted")

    async def augment_due(self) -> int:
        """Try a batch of what is due; how many there were."""
        async with self.outbox.transaction() as unit:
            due = await store.claim(unit.connection, self.most, self.lease)
        await asyncio.gather(*(self._take(one) for one in due))
        return len(due)

    async def _take(self, request: Request) -> None:
        try:
            async with asyncio.timeout(self.lease * 0.9):
                outcome = await self._tried(request)
        except Exception as error:
            outcome = _Outcome(request, {}, describe(error), final=False)
        try:
            await self._write(request, outcome)
        except Exception as error:
            log.warning(
                "augmentation not written", request=str(request.request_id), error=describe(error)
            )

    async def _tried(self, request: Request) -> _Outcome:
        if request.state is not State.COMPLETED or request.sealed_certificate is None:
            return _Outcome(request, {}, "its certificate is not known any more", final=True)
        reached = await self.finishing.augmented(request, Profile.of(request.profile))
        missing = describe(reached.missing) if reached.missing else None
        final = isinstance(reached.missing, Unfit)
        if reached.level == request.level:
            return _Outcome(request, {}, missing, final)
        stored = await self.finishing.files.put(reached.content)
        after = replace(request, result_file=stored, level=reached.level)
        report = await self.finishing.verdict(after)
        facts = {**reached.facts, "level": reached.level, "augmented_sha256": stored}
        if report.refusal is not None:
            refused = {**facts, "refused": report.body()}
            unfinished = report.refusal.code == _UNFINISHED
            return _Outcome(request, refused, report.refusal.code, final=not unfinished)
        return _Outcome(after, facts, missing, final, report)

    async def _write(self, claimed: Request, outcome: _Outcome) -> None:
        now = datetime.now(UTC)
        waited = now - (claimed.returned_at or claimed.created_at)
        over = outcome.missing is not None and (outcome.final or waited > self.patience)
        again = outcome.missing is not None and not over
        async with self.outbox.transaction() as unit:
            current = await store.locked(unit.connection, claimed.request_id)
            if current is None or current.augment_at != claimed.augment_at:
                return  # erased, or another worker's by now
            after = replace(
                current, result_file=outcome.after.result_file, level=outcome.after.level
            )
            if again:
                pause = min(max(waited / 4, self.first), _LONGEST_PAUSE)
                after = replace(after, augment_at=now + pause)
                log.warning(
                    "not augmented yet", request=str(claimed.request_id), error=outcome.missing
                )
            else:
                after = replace(after, augment_at=None, sealed_certificate=None)
            note = None
            if over or outcome.report is not None:
                step = _step(outcome, over=over)
                note = record(current, step, now)
            await store.write(unit.connection, after, note)
            if outcome.report is not None:
                relate(unit, after, _fact(current, after, now))


def _step(outcome: _Outcome, *, over: bool) -> Step:
    facts = dict(outcome.facts)
    if outcome.report is not None:
        facts["report"] = outcome.report.body()
    if outcome.missing is not None:
        facts["not_augmented"] = outcome.missing
    reason = None
    if over:
        finding = warning("level-not-reached", outcome.missing)
        facts["warning"], reason = finding.body(), finding.sentence()
    return Step(State.COMPLETED, facts, reason=reason)


def _fact(before: Request, after: Request, at: datetime) -> SignatureAugmented:
    return SignatureAugmented(
        request_id=after.request_id,
        dossier_code=after.dossier_code,
        agency=after.agency,
        document_id=after.document_id,
        at=at,
        file=after.signed_file or "",
        replaces=before.signed_file or "",
        level=after.level or "b-b",
    )
