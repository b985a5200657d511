"""Archive timestamps of completed documents (PAdES B-LTA) are renewed before their authority's
certificate ends.

Nothing of the person's is needed for it: the document holds all, and passed the verdict when it was
handed out. A renewed one takes its place only after the same verdict.
"""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter

from common.contracts.signature import SignatureAugmented
from common.errors import describe
from common.outbox import Outbox
from signature_connector.domain.assembly import Unfit
from signature_connector.domain.evidence import record
from signature_connector.domain.findings import Report, warning
from signature_connector.domain.renewal import Schedule, worthwhile
from signature_connector.domain.requests import Request, State, Step
from signature_connector.store import renewing as store
from signature_connector.store.renewing import Due
from signature_connector.use_cases.book import relate
from signature_connector.use_cases.due import work_off
from signature_connector.use_cases.finishing import (
    Finishing,
    NoTimestamp,
    NoValidationData,
    counted,
)

_LONGEST_SLEEP = 30.0
_SAME_AUTHORITY_HOURS = 6.0

Outcome = Literal["renewed", "not-due", "not-yet", "refused", "failed", "lapsed"]

log = structlog.get_logger()


class Reader(Protocol):
    """See ``verification.isolation.Examiner``."""

    async def newest_stamp(self, content: bytes, moment: datetime) -> Report:
        """The newest timestamp of a signed PDF."""


class _Refused(Exception):
    """What was made is worse than what there is.

    Attributes:
        report: says why.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(report.refusal.code if report.refusal else "")
        self.report = report


class _NotYet(Exception):
    """The authority's tokens prove hardly more than the one that there is."""


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of a document.

    Attributes:
        outcome: "not-due": it was only looked at; "not-yet": no authority has a certificate that
            lasts longer; "lapsed": it is too late.
        since: from when on it was, or will be, tried.
        ends: of the authority's certificate, as far as it is known.
        trouble: why it could not be renewed.
        file: SHA-256 of the renewed document.
    """

    outcome: Outcome
    since: datetime
    ends: datetime | None
    trouble: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    file: str | None = None


class Renewing:
    """Renews what is due; any number may run, in any number of processes.

    Args:
        finishing: has what documents are made and judged with.
        reader: reads documents in isolation.
        lease: how long one try may take, in seconds; then another worker takes the document up.
        most: how many at the same time.
    """

    def __init__(
        self,
        outbox: Outbox,
        finishing: Finishing,
        reader: Reader,
        registry: CollectorRegistry,
        *,
        schedule: Schedule,
        lease: float,
        most: int = 4,
    ) -> None:
        self._outbox = outbox
        self._finishing = finishing
        self._reader = reader
        self._schedule = schedule
        self._lease = lease
        self._most = most
        self._seen: tuple[datetime, datetime] | None = None
        self._renewals = Counter(
            "signature_renewals",
            "Renewals of archive timestamps that were tried",
            ["outcome"],
            registry=registry,
        )

    async def run(self) -> None:
        """Renew without end."""
        pause = min(self._schedule.first.total_seconds(), _LONGEST_SLEEP)
        await work_off(self.renew_due, pause, "renewal interrupted")

    async def renew_due(self) -> int:
        """Look at a batch of what is due or new; how many there were."""
        async with self._outbox.transaction() as unit:
            due = await store.claim(unit.connection, self._most, self._lease)
        await asyncio.gather(*(self._take(one) for one in due))
        return len(due)

    async def _take(self, due: Due) -> None:
        try:
            async with asyncio.timeout(self._lease * 0.9):
                result = await self._tried(due)
        except Exception as error:
            result = self._failed(due, describe(error))
        try:
            await self._write(due, result)
        except Exception as error:
            identifier = str(due.request.request_id)
            log.warning("renewal not written", request=identifier, error=describe(error))

    def _failed(self, due: Due, trouble: str) -> _Result:
        request = due.request
        since = request.returned_at or request.created_at
        if due.proof_ends is not None:
            since = max(since, self._schedule.due(due.proof_ends, request.request_id))
        return _Result("failed", since, due.proof_ends, trouble)

    async def _tried(self, due: Due) -> _Result:
        request, now = due.request, datetime.now(UTC)
        if due.proof_ends is not None and due.proof_ends <= now:
            return _Result("lapsed", now, due.proof_ends, "certificate-expired")
        content = await self._finishing.files.get(request.signed_file or "")
        stamp = await self._reader.newest_stamp(content, now)
        if stamp.refusal is not None:
            if stamp.refusal.code == "certificate-expired":
                return _Result("lapsed", now, due.proof_ends or now, stamp.refusal.code)
            return self._failed(due, stamp.refusal.code)
        ends: datetime = stamp.facts["ends"]
        since = self._schedule.due(ends, request.request_id)
        if since > now:
            return _Result("not-due", since, ends)
        since = max(since, stamp.facts["time"])
        facts: dict[str, Any] = {"from_sha256": request.signed_file}
        try:
            renewed, after = await self._renewed(content, ends, now, facts)
            stored = await self._finishing.files.put(renewed)
            changed = replace(request, result_file=stored)
            report = await self._finishing.verdict(changed, stamp.facts["signer"])
            if report.refusal is not None:
                raise _Refused(report)
        except _NotYet as error:
            return _Result("not-yet", since, ends, str(error))
        except _Refused as refused:
            facts["refused"] = refused.report.body()
            return _Result("refused", since, ends, str(refused), facts)
        except (NoTimestamp, NoValidationData, Unfit) as missing:
            why = missing.code if isinstance(missing, Unfit) else str(missing)
            return _Result("failed", since, ends, why)
        facts |= {
            "level": request.level,
            "augmented_sha256": stored,
            "renewed_until": after.isoformat(),
            "report": report.body(),
        }
        following = self._schedule.due(after, request.request_id)
        return _Result("renewed", following, after, facts=facts, file=stored)

    async def _renewed(
        self, content: bytes, ends: datetime, now: datetime, facts: dict[str, Any]
    ) -> tuple[bytes, datetime]:
        """The document with a further timestamp over all of it, and when that one's authority ends.

        Raises:
            NoTimestamp, NoValidationData, Unfit: something could not be had.
            _NotYet: it would not last longer.
            _Refused: the new timestamp is not good where it stands.
        """
        finishing = self._finishing
        if finishing.assembler is None or finishing.timestamps is None:
            raise NoTimestamp("no authority is configured")
        if not self._hopeful(ends, now):
            raise _NotYet(store.NOT_YET)
        content = await self._with_data(content, ends, now, facts)
        prepared = await finishing.assembler.archive_imprint(content, "pades")
        token = await finishing.timestamps.token(prepared.digest)
        facts["archive_timestamp"] = token.hex()
        content = await finishing.assembler.archived(prepared, token)
        stamp = await self._reader.newest_stamp(content, datetime.now(UTC))
        if stamp.refusal is not None:
            raise _Refused(stamp)
        after: datetime = stamp.facts["ends"]
        self._seen = (now, after)
        if not worthwhile(ends, after, now):
            raise _NotYet(store.NOT_YET)
        return await finishing.with_authority(content, "pades", facts), after

    def _hopeful(self, ends: datetime, now: datetime) -> bool:
        """Whether a token is worth asking for: what the last one showed counts for a while, lest
        every document of an authority asks for one a day."""
        if self._seen is None:
            return True
        at, after = self._seen
        fresh = abs((now - at).total_seconds()) < _SAME_AUTHORITY_HOURS * 3600
        return not fresh or worthwhile(ends, after, now)

    async def _with_data(
        self, content: bytes, ends: datetime, now: datetime, facts: dict[str, Any]
    ) -> bytes:
        """The document with what its newest timestamp can be validated by for ever."""
        finishing = self._finishing
        if finishing.assembler is None or finishing.revocations is None:
            raise NoValidationData("no source is configured")
        told: dict[str, Any] = {}
        facts["authority_before"] = told
        try:
            authority = await finishing.revocations.of_timestamp(content, now)
        except NoValidationData as missing:
            if not (missing.untold and self._schedule.late(ends, now)):
                raise
            told["authority_status"] = str(missing)
            return content
        authority.note(told)
        if not (authority.data.ocsps or authority.data.crls):
            return content
        told["validation_data"] = counted(authority.data)
        return await finishing.assembler.long_term(content, "pades", authority.data)

    async def _write(self, claimed: Due, result: _Result) -> None:
        now = datetime.now(UTC)
        identifier = str(claimed.request.request_id)
        if result.outcome != "not-due":
            self._renewals.labels(result.outcome).inc()
        if result.trouble is not None:
            log.warning(
                "archive timestamp not renewed",
                request=identifier,
                outcome=result.outcome,
                error=result.trouble,
                ends=result.ends.isoformat() if result.ends else None,
            )
        async with self._outbox.transaction() as unit:
            current = await store.locked(unit.connection, claimed.request.request_id)
            if current is None or current.renew_at != claimed.renew_at:
                return  # erased, or another worker's by now
            before = current.request
            after = replace(before, result_file=result.file or before.result_file)
            note = None
            if (step := _step(current, result)) is not None:
                note = record(before, step, now)
            lapsed = result.outcome == "lapsed"
            written = Due(
                after,
                self._next(result, now),
                result.ends,
                None if lapsed else result.trouble,
            )
            await store.write(unit.connection, written, note)
            if result.file is not None:
                relate(unit, after, _fact(before, after, now))

    def _next(self, result: _Result, now: datetime) -> datetime | None:
        match result.outcome:
            case "renewed" | "not-due":
                return result.since
            case "lapsed":
                return None
            case "not-yet" | "refused" if result.ends is not None:
                return self._schedule.tomorrow(now, result.ends)
            case _:
                return self._schedule.again(result.since, now, result.ends)


def _step(before: Due, result: _Result) -> Step | None:
    """What the evidence says; nothing where it says the same already."""
    match result.outcome:
        case "renewed":
            return Step(State.COMPLETED, result.facts)
        case "lapsed":
            finding = warning("renewal-lapsed")
        case "refused":
            finding = warning("renewal-troubled", result.trouble)
        case _ if result.trouble is not None and result.trouble != before.trouble:
            finding = warning("renewal-troubled", result.trouble)
        case _:
            return None
    facts = {**result.facts, "warning": finding.body()}
    return Step(State.COMPLETED, facts, reason=finding.sentence())


def _fact(before: Request, after: Request, at: datetime) -> SignatureAugmented:
    return SignatureAugmented(
        request_id=after.request_id,
        dossier_code=after.dossier_code,
        agency=after.agency,
        document_id=after.document_id,
        at=at,
        file=after.signed_file or "",
        replaces=before.signed_file or "",
        level=after.level or "b-lta",
    )
