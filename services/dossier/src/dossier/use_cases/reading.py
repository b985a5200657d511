"""Who may read what of dossiers."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from common.auth import Principal
from common.contracts.codes import within
from common.contracts.dossier import StepTaken
from common.database import Database
from common.errors import Forbidden, describe
from common.sealing import KeyRing, SealError
from dossier.domain import masking
from dossier.domain.masking import Applicant
from dossier.domain.model import Dossier
from dossier.errors import PersonalDataUnreadable, UnknownDossier
from dossier.store import dossiers as store
from dossier.store import lists
from dossier.store.lists import Line, Wanted
from dossier.use_cases.auditing import Audit

PERSONAL = "dossiers:personal"

log = structlog.get_logger()


async def known_dossier(database: Database, principal: Principal, code: str) -> Dossier:
    """A dossier that the client may know of.

    Raises:
        UnknownDossier: there is none, or it is of an agency that the client does not act for, or
            of a procedure that it does not deal with: which of them is not told.
    """
    async with database.reading() as connection:
        dossier = await store.find(connection, code)
    if dossier is None or not _may_know(principal, dossier):
        raise UnknownDossier("Không có hồ sơ với mã này", "There is no dossier of this code")
    return dossier


def _may_know(principal: Principal, dossier: Dossier) -> bool:
    state = dossier.state
    return principal.may_act_for(state.agency) and principal.may_handle(state.procedure.code)


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


async def list_dossiers(database: Database, principal: Principal, wanted: Wanted) -> list[Line]:
    """Dossiers of the client's agencies and procedures.

    Args:
        wanted: ``subtrees`` are those asked for; of them those are listed that are granted, too.

    Raises:
        Forbidden: the client acts neither for the agency nor for one below it, or does not deal
            with the procedure that is asked for.
    """
    subtrees = _overlap(principal.agencies, *wanted.subtrees)
    if not subtrees:
        raise Forbidden(
            "Token không có quyền với cơ quan này",
            "The token does not act for this agency",
        )
    if wanted.procedure is not None and not principal.may_handle(wanted.procedure):
        raise Forbidden(
            "Token không có quyền với thủ tục này",
            "The token does not deal with this procedure",
        )
    granted = None if principal.may_handle("*") else tuple(sorted(principal.procedures))
    async with database.reading() as connection:
        return await lists.page(connection, replace(wanted, subtrees=subtrees, procedures=granted))


def _overlap(granted: Sequence[str], *asked: str) -> list[str]:
    """The subtrees that lie both in what is granted and in what is asked for, each once."""
    common = {
        one if within(one, root) else root for root in granted for one in asked if _meet(root, one)
    }
    return [
        root
        for root in sorted(common)
        if not any(other != root and within(root, other) for other in common)
    ]


def _meet(one: str, other: str) -> bool:
    return within(one, other) or within(other, one)


def masked_applicant(keys: KeyRing, dossier: Dossier) -> Applicant | None:
    """The applicant as anybody may see it who may see the dossier; None where no key opens it, or
    where it was erased."""
    if dossier.erased is not None:
        return None
    try:
        return masking.masked(_opened(keys, dossier))
    except PersonalDataUnreadable:
        return None


async def read_personal(audit: Audit, keys: KeyRing, dossier: Dossier) -> Applicant | None:
    """The applicant in clear; the reading is put down before anything is handed out.

    None where it was erased.

    Raises:
        PersonalDataUnreadable: no key of this service opens it.
    """
    code, agency = dossier.code, dossier.state.agency
    if dossier.erased is not None:
        await audit.note(200, dossier=code, agency=agency)
        return None
    try:
        applicant = _opened(keys, dossier)
    except PersonalDataUnreadable as problem:
        await audit.note(problem.status, dossier=code, agency=agency)
        raise
    fields = tuple(sorted(applicant.model_dump(exclude_none=True)))
    await audit.note(200, dossier=code, agency=agency, fields=fields)
    return applicant


def _opened(keys: KeyRing, dossier: Dossier) -> Applicant:
    try:
        return masking.read(keys.open(dossier.state.sealed, dossier.code))
    except (SealError, ValueError) as error:
        log.error("sealed data does not open", dossier=dossier.code, error=describe(error))
        raise PersonalDataUnreadable from None
