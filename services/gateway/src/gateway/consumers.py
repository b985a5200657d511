"""What the gateway hears: outcomes of submissions, and the catalogue."""

from collections.abc import Sequence
from uuid import UUID

import structlog

from common.contracts.catalog import AgencyPublished, EditionPublished, ProcedurePublished
from common.contracts.codes import agency_of_dossier
from common.contracts.dossier import DossierImported, SubmissionApplied, SubmissionRefused
from common.envelope import Received
from common.erasure import erasures
from common.inbox import Subscription
from common.outbox import Unit
from gateway.store import catalogue as known
from gateway.store import submissions
from gateway.store.erasure import erase
from gateway.store.submissions import Outcome
from gateway.use_cases.message_log import MessageLog, Render, outcome_record
from gateway.use_cases.waiting import Waiting

_PATIENCE_SECONDS = 0.05
"""A client may be waiting for an outcome, so not for long."""

log = structlog.get_logger()


async def catalogue(unit: Unit, events: Sequence[Received]) -> None:
    """Keep what the gateway needs of the catalogue: that a code exists, and a procedure's versions.

    An inactive procedure or agency stays known: dossiers of the time before are reported later,
    and their codes name agencies that have been merged since.
    """
    procedures: list[ProcedurePublished] = []
    agencies: set[str] = set()
    editions: list[EditionPublished] = []
    for received in events:
        match received.event:
            case ProcedurePublished() as event:
                procedures.append(event)
            case AgencyPublished() as event:
                agencies.add(event.code)
            case EditionPublished() as event:
                editions.append(event)
    if procedures:
        await known.keep_procedures(unit.connection, procedures)
    if agencies:
        await known.keep_agencies(unit.connection, sorted(agencies))
    for edition in editions:
        await known.keep_edition(unit.connection, edition)


class Outcomes:
    """Writes down what became of submissions, and wakes those who wait for it."""

    def __init__(self, waiting: Waiting, log: MessageLog, render: Render) -> None:
        self._waiting = waiting
        self._log = log
        self._render = render

    async def __call__(self, unit: Unit, events: Sequence[Received]) -> None:
        outcomes: list[Outcome] = []
        told: dict[UUID, bytes] = {}
        for event in events:
            if outcome := _outcome(event):
                outcomes.append(outcome)
                told[outcome.submission_id] = event.body
        if not outcomes:
            return
        decided = await submissions.decide(unit.connection, outcomes)
        if len(decided) < len(outcomes):
            log.warning("outcomes of unknown submissions", count=len(outcomes) - len(decided))
        records = [outcome_record(one, told[one.id], self._render) for one in decided]
        await self._log.add(unit.connection, records)
        self._waiting.hint(outcome.submission_id for outcome in outcomes)


def _outcome(received: Received) -> Outcome | None:
    match received.event:
        case SubmissionApplied() as event:
            return Outcome(
                event.submission_id,
                "applied",
                received.time,
                event.step_number,
                event.flagged,
                agency=event.agency,
                procedure=event.procedure_code,
            )
        case SubmissionRefused() as event:
            return Outcome(event.submission_id, "refused", received.time, problem=event.problem)
    return None


async def imported(unit: Unit, events: Sequence[Received]) -> None:
    """Old dossiers may be with another agency than their code names: rights follow that one."""
    facts = [event.event for event in events if isinstance(event.event, DossierImported)]
    elsewhere = {
        fact.dossier.code: (fact.dossier.agency, fact.step.number)
        for fact in facts
        if fact.dossier.agency != agency_of_dossier(fact.dossier.code)
    }
    if elsewhere:
        await submissions.place(unit.connection, elsewhere)


def subscriptions(
    waiting: Waiting, message_log: MessageLog, render: Render
) -> tuple[Subscription, ...]:
    """Every queue of the gateway.

    Args:
        render: the content that tells a client of its submission.
    """
    outcomes = Outcomes(waiting, message_log, render)
    return (
        Subscription(
            "outcomes",
            ("submission.applied.v1", "submission.refused.v1"),
            outcomes,
            patience=_PATIENCE_SECONDS,
        ),
        Subscription("catalog", ("catalog.#",), catalogue),
        # Always the first of its stream, so that nothing is missed by hearing nothing else of it.
        Subscription("imports", ("dossier.imported.v1",), imported),
        erasures(erase),
    )
