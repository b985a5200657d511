"""What is done with batches of events (load, decide, save, tell), and who may read what."""

from collections.abc import Sequence

import structlog

from common.auth import Principal
from common.contracts.codes import within
from common.contracts.dossier import StepTaken, SubmissionApplied, SubmissionRefused
from common.contracts.gateway import SubmissionReceived
from common.contracts.signature import SignatureFact
from common.database import Database
from common.envelope import Received
from common.errors import Forbidden, describe
from common.outbox import Unit
from common.sealing import KeyRing, SealError
from dossier import store
from dossier.domain import masking, signatures, steps
from dossier.domain.masking import Applicant
from dossier.domain.model import Dossier, Refusal, Taken
from dossier.domain.table import Table
from dossier.errors import PersonalDataUnreadable, UnknownDossier
from dossier.store import Listed, Wanted

PERSONAL = "dossiers:personal"

log = structlog.get_logger()


async def obey_submissions(table: Table, unit: Unit, events: Sequence[Received]) -> None:
    """Do what submissions ask for; each ends in exactly one outcome, applied or refused."""
    due = [(cause, cause.event) for cause in events if isinstance(cause.event, SubmissionReceived)]
    dossiers = await store.lock(unit.connection, {event.dossier_code for _, event in due})
    taken: list[Taken] = []
    for cause, submission in due:
        code = submission.dossier_code
        before = dossiers.get(code)
        outcome = steps.obey(table, before, submission.command, code=code, agency=submission.agency)
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
        )
        unit.tell(applied, aggregate=code, agency=agency, subject=code, cause=cause)
    await store.save(unit.connection, taken)


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
        if code not in dossiers:
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


async def known_dossier(database: Database, principal: Principal, code: str) -> Dossier:
    """A dossier that the client may know of.

    Raises:
        UnknownDossier: there is none, or it is of an agency the client does not act for: which of
            the two is not told.
    """
    async with database.reading() as connection:
        dossier = await store.find(connection, code)
    if dossier is None or not principal.may_act_for(dossier.state.agency):
        raise UnknownDossier("Không có hồ sơ với mã này", "There is no dossier of this code")
    return dossier


async def history(
    database: Database, principal: Principal, code: str, *, after: int, limit: int
) -> list[StepTaken]:
    """Steps of a dossier that the client may know of, from the one after ``after``.

    Raises:
        UnknownDossier: as ``known_dossier``.
    """
    await known_dossier(database, principal, code)
    async with database.reading() as connection:
        return await store.steps(connection, code, after=after, limit=limit)


async def list_dossiers(
    database: Database,
    principal: Principal,
    *,
    agency: str | None,
    status: str | None,
    procedure: str | None,
    after: tuple[str, str] | None,
    limit: int,
) -> list[Listed]:
    """Dossiers by agency and code, of the client's agencies.

    Args:
        agency: only this one and those below it.
        after: agency and code of the last one seen.

    Raises:
        Forbidden: the client acts neither for the agency nor for one below it.
    """
    subtrees = _overlap(principal.agencies, agency or "*")
    if not subtrees:
        raise Forbidden(
            "Token không có quyền với cơ quan này",
            "The token does not act for this agency",
        )
    async with database.reading() as connection:
        return await store.page(connection, Wanted(subtrees, status, procedure, after, limit))


def _overlap(granted: Sequence[str], asked: str) -> list[str]:
    """The subtrees that lie both in what is granted and in what is asked for, each once."""
    common = {asked if within(asked, root) else root for root in granted if _meet(root, asked)}
    return [
        root
        for root in sorted(common)
        if not any(other != root and within(root, other) for other in common)
    ]


def _meet(one: str, other: str) -> bool:
    return within(one, other) or within(other, one)


def masked_applicant(keys: KeyRing, dossier: Dossier) -> Applicant | None:
    """The applicant as anybody may see it who may see the dossier; None where no key opens it."""
    try:
        return masking.masked(_opened(keys, dossier))
    except PersonalDataUnreadable:
        return None


async def read_personal(
    database: Database, keys: KeyRing, principal: Principal, dossier: Dossier, *, request_id: str
) -> Applicant:
    """The applicant in clear; the reading is put down before anything is handed out.

    Raises:
        PersonalDataUnreadable: no key of this service opens it.
    """
    applicant = _opened(keys, dossier)
    async with database.transaction() as connection:
        await store.note_read(
            connection,
            form="GET /v1/dossiers/{code}",
            dossier=dossier,
            client_id=principal.client_id,
            client_agencies=principal.agencies,
            request_id=request_id,
            fields=sorted(applicant.model_dump(exclude_none=True)),
            status=200,
        )
    return applicant


def _opened(keys: KeyRing, dossier: Dossier) -> Applicant:
    try:
        return masking.read(keys.open(dossier.state.sealed, dossier.code))
    except (SealError, ValueError) as error:
        log.error("sealed data does not open", dossier=dossier.code, error=describe(error))
        raise PersonalDataUnreadable from None
