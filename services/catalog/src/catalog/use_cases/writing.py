"""Writing what a source says: versions, the catalogue as it is today, events. The one way in."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeAlias

import orjson

from catalog.domain.catalogue import (
    Agency,
    CodeList,
    CodeListBrief,
    Origin,
    Procedure,
    ProcedureBrief,
    fold,
    irregularity,
    parent_of,
)
from catalog.domain.versions import digest, digest_of, may_follow
from catalog.store import catalogue as store
from catalog.store import versions
from catalog.store.versions import Given, Kind, Version
from common.contracts.catalog import AgencyPublished, Field, ProcedurePublished
from common.contracts.codes import canonical_agency
from common.outbox import Unit

Content: TypeAlias = Procedure | Agency | CodeList


@dataclass(frozen=True, slots=True)
class Said:
    """What a source says of one entry.

    Attributes:
        valid_from: from which day on, where the source says that.
        silent: fields that the source has no place for; what another one said of them stays.
    """

    content: Content
    valid_from: date | None = None
    silent: frozenset[str] = frozenset()

    @property
    def kind(self) -> Kind:
        """Which kind of entry it is."""
        return kind_of(self.content)

    @property
    def code(self) -> str:
        """The entry's code."""
        return self.content.id if isinstance(self.content, CodeList) else self.content.code


@dataclass(frozen=True, slots=True)
class Written:
    """What came of it.

    Attributes:
        outranked: left as they are, since a source that goes before has spoken of them.
    """

    changed: int = 0
    unchanged: int = 0
    outranked: int = 0

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.outranked + other.outranked,
        )


def kind_of(content: Content) -> Kind:
    """Which kind of entry a content is of."""
    match content:
        case Procedure():
            return "procedure"
        case Agency():
            return "agency"
        case CodeList():
            return "code-list"


async def write(unit: Unit, origin: Origin, said: Sequence[Said], today: date) -> Written:
    """Write what a source says of entries of one kind, each at most once; the caller has the lock.

    What the source has said in the same words before is not written again, even where another
    source has spoken since.
    """
    if not said:
        return Written()
    kind = said[0].kind
    codes = [one.code for one in said]
    newest = await versions.newest(unit.connection, kind, codes)
    before = await versions.newest(unit.connection, kind, codes, origin)
    kept = await versions.bodies(unit.connection, kind, [one.code for one in said if one.silent])
    given: list[Given] = []
    unchanged = outranked = 0
    digests = await asyncio.to_thread(lambda: [digest(one.content) for one in said])
    for one, new in zip(said, digests, strict=True):
        last = newest.get(one.code)
        if one.code in before and before[one.code].digest == new:
            unchanged += 1
        elif not may_follow(origin, last.origin if last else None):
            outranked += 1
        elif (body := _merged(one, kept.get(one.code))) is None:
            unchanged += 1
        else:
            given.append(
                Given(
                    code=one.code,
                    version=last.version + 1 if last else 1,
                    digest=new,
                    valid_from=one.valid_from or (today if last else None),
                    body=body,
                )
            )
    if given:
        ended, added = await versions.add(unit.connection, kind, origin, given, today)
        await refresh(unit, kind, [one.code for one in given], today)
        for version in (*ended, *added):
            tell(unit, version)
    return Written(len(given), unchanged, outranked)


def _merged(said: Said, before: str | None) -> str | None:
    """The content, with what the source is silent on as it was; None where that changes nothing."""
    body = said.content.model_dump_json()
    if before is None or not said.silent:
        return body
    old, new = orjson.loads(before), orjson.loads(body)
    new |= {name: old[name] for name in said.silent if name in old}
    if digest_of(old) == digest_of(new):
        return None
    return orjson.dumps(new).decode()


async def refresh(unit: Unit, kind: Kind, codes: Sequence[str], today: date) -> None:
    """Bring what is served of these entries to the versions that are valid today."""
    valid = await versions.valid(unit.connection, kind, codes, today)
    if not valid:
        return
    if kind == "procedure":
        rows = await asyncio.to_thread(lambda: [_procedure_row(one) for one in valid])
        await store.write_procedures(unit.connection, rows)
    elif kind == "agency":
        await store.write_agencies(unit.connection, [_agency_row(one) for one in valid])
    else:
        await store.write_code_lists(unit.connection, [_code_list_row(one) for one in valid])


async def refresh_outdated(unit: Unit, today: date) -> int:
    """The same for all entries that need it: a version whose first day has come is served."""
    await versions.lock(unit.connection)
    refreshed = 0
    kinds: tuple[Kind, ...] = ("procedure", "agency", "code-list")
    for kind in kinds:
        codes = await store.outdated(unit.connection, kind, today)
        if codes:
            await refresh(unit, kind, codes, today)
        refreshed += len(codes)
    return refreshed


def tell(unit: Unit, version: Version) -> None:
    """Tell a version; of procedures those that a dossier can name, of code lists none."""
    if version.kind == "procedure" and irregularity(version.code) is None:
        _tell_procedure(unit, version)
    elif version.kind == "agency":
        _tell_agency(unit, version)


def _tell_procedure(unit: Unit, version: Version) -> None:
    entry = Procedure.model_validate_json(version.body)
    unit.tell(
        ProcedurePublished(
            code=entry.code,
            name=entry.name,
            field=Field(code=entry.field.code, name=entry.field.name),
            promulgator=entry.promulgator.code,
            service_level=entry.service_level,
            has_fee=entry.has_fee,
            time=entry.longest_time,
            active=entry.active,
            version=version.version,
            valid_from=version.valid_from,
            valid_to=version.valid_to,
        ),
        aggregate=f"procedure:{entry.code}",
        agency=entry.promulgator.code or "backbone",
        subject=entry.code,
    )


def _tell_agency(unit: Unit, version: Version) -> None:
    if version.valid_to is not None:
        return  # what is told is the agency, not its versions: the one that follows says all
    entry = Agency.model_validate_json(version.body)
    unit.tell(
        AgencyPublished(
            code=entry.code,
            legacy_code=entry.legacy_code,
            name=entry.name,
            active=entry.active,
            valid_from=entry.valid_from,
            valid_to=entry.valid_to,
            successor=entry.successor,
            parent=parent_of(entry.code),
            version=version.version,
        ),
        aggregate=f"agency:{entry.code}",
        agency=entry.code,
        subject=entry.code,
    )


def _procedure_row(version: Version) -> store.ProcedureRow:
    entry = Procedure.model_validate_json(version.body)
    brief = ProcedureBrief(
        code=entry.code,
        name=entry.name,
        field=entry.field,
        promulgator=entry.promulgator,
        levels=entry.levels,
        service_level=entry.service_level,
        active=entry.active,
        irregular=entry.irregular,
        version=version.version,
    )
    words = (entry.code, entry.name, entry.field.name, *(entry.keywords or ()))
    return store.ProcedureRow(
        code=entry.code,
        version=version.version,
        digest=digest(entry),
        active=entry.active,
        irregular=entry.irregular,
        field_code=entry.field.code,
        field_name=entry.field.name,
        levels=_joined(entry.levels),
        audiences=_joined(entry.applicants),
        topics=_joined(entry.topics),
        agencies=_joined(_agencies(entry)),
        service_level=entry.service_level,
        folded=" " + fold(" ".join(words)),
        folded_name=f" {fold(entry.name)} ",
        folded_code=fold(entry.code),
        brief=brief.model_dump_json(),
        body=version.rendered(),
    )


def _agencies(entry: Procedure) -> list[str] | None:
    """Codes (new form) of the agencies that have to do with a procedure."""
    codes = {entry.promulgator.code, *(one.code for one in entry.agencies or ())}
    found = sorted(code for one in codes if one and (code := _canonical(one)))
    return found or None


def _canonical(code: str) -> str | None:
    try:
        return canonical_agency(code)
    except ValueError:
        return None


def _joined(values: Iterable[str] | None) -> str | None:
    return None if values is None else store.SEPARATOR.join(values)


def _agency_row(version: Version) -> store.AgencyRow:
    entry = Agency.model_validate_json(version.body)
    body = version.rendered()
    return store.AgencyRow(entry.code, version.version, digest(entry), entry.active, body)


def _code_list_row(version: Version) -> store.CodeListRow:
    entry = CodeList.model_validate_json(version.body)
    brief = CodeListBrief(
        id=entry.id,
        title=entry.title,
        version=entry.version,
        effective_from=entry.effective_from,
        effective_to=entry.effective_to,
        basis=entry.basis,
        confidence=entry.confidence,
        items=len(entry.items),
    )
    rendered = version.rendered()
    return store.CodeListRow(entry.id, version.version, brief.model_dump_json(), rendered)
