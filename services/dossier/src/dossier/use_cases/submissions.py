"""What is done with batches of events: load, decide, save, tell."""

from collections.abc import Callable, Sequence

from common.contracts.commands import Command, Complete
from common.contracts.dossier import SubmissionApplied, SubmissionRefused
from common.contracts.gateway import SubmissionReceived
from common.contracts.signature import SignatureFact
from common.envelope import Received
from common.outbox import Unit
from dossier.domain import signatures, steps
from dossier.domain.deadlines import Deadlines
from dossier.domain.model import Dossier, Refusal, Taken
from dossier.domain.rights import without_right
from dossier.domain.table import Table
from dossier.store import dossiers as store
from dossier.use_cases.deadlines import schedule
from dossier.use_cases.indexing import Indexing

Demands = Callable[[Complete, Dossier], Complete]
"""Adds to what completes a dossier the signatures that its results have to bear."""


async def obey_submissions(
    table: Table,
    deadlines: Deadlines,
    unit: Unit,
    events: Sequence[Received],
    *,
    indexing: Indexing | None = None,
    demands: Demands | None = None,
) -> None:
    """Do what submissions ask for; each ends in exactly one outcome, applied or refused.

    Args:
        indexing: enters new dossiers in the index of persons; without it they are entered later.
        demands: what has to be signed though nobody asked for it.
    """
    due = [(cause, cause.event) for cause in events if isinstance(cause.event, SubmissionReceived)]
    dossiers = await store.lock(unit.connection, {event.dossier_code for _, event in due})
    taken: list[Taken] = []
    for cause, submission in due:
        code = submission.dossier_code
        before = dossiers.get(code)
        outcome = without_right(before, submission.procedures) or steps.obey(
            table,
            before,
            _demanded(submission.command, before, demands),
            code=code,
            agency=submission.agency,
            submission=submission.submission_id,
            lane=submission.lane,
            deadlines=deadlines,
            expected=submission.expected,
        )
        if isinstance(outcome, Refusal):
            agency = before.state.agency if before else submission.agency
            refused = SubmissionRefused(
                submission_id=submission.submission_id,
                dossier_code=code,
                agency=agency,
                problem=outcome.problem.body(),
            )
            unit.tell(refused, aggregate=code, agency=agency, subject=code, cause=cause)
            continue
        dossiers[code] = outcome.dossier
        taken.append(outcome)
        _tell(unit, outcome, cause)
        agency = outcome.dossier.state.agency
        applied = SubmissionApplied(
            submission_id=submission.submission_id,
            dossier_code=code,
            agency=agency,
            status=outcome.step.status,
            step_number=outcome.step.number,
            flagged=outcome.step.flagged,
            procedure_code=outcome.dossier.state.procedure.code,
        )
        unit.tell(applied, aggregate=code, agency=agency, subject=code, cause=cause)
    indexed = await indexing.enter(unit.connection, taken) if indexing else {}
    await store.save(unit.connection, taken, indexed)
    await schedule(deadlines, unit, taken)


def _demanded(command: Command, before: Dossier | None, demands: Demands | None) -> Command:
    if demands is None or before is None or not isinstance(command, Complete):
        return command
    return demands(command, before)


async def record_signatures(unit: Unit, events: Sequence[Received]) -> None:
    """Record the outcomes of signatures; those that no dossier asked for are left alone."""
    due = [
        (cause, cause.event, cause.event.dossier_code)
        for cause in events
        if isinstance(cause.event, SignatureFact) and cause.event.dossier_code is not None
    ]
    dossiers = await store.lock(unit.connection, {code for _, _, code in due})
    taken: list[Taken] = []
    for cause, fact, code in due:
        if code not in dossiers or dossiers[code].erased is not None:
            continue
        outcome = signatures.record(dossiers[code], fact)
        if outcome is None:
            continue
        dossiers[code] = outcome.dossier
        taken.append(outcome)
        _tell(unit, outcome, cause)
    await store.save(unit.connection, taken)


def _tell(unit: Unit, taken: Taken, cause: Received) -> None:
    code, agency = taken.dossier.code, taken.dossier.state.agency
    unit.tell(taken.fact, aggregate=code, agency=agency, subject=code, cause=cause)
    for request in taken.signings:
        unit.tell(request, aggregate=code, agency=agency, subject=code, cause=cause)
