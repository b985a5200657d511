"""Loading the package data: what differs from what is stored is written, versioned and told."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Generic, TypeVar

import orjson
import structlog
from pydantic import BaseModel

from catalog import store
from catalog.domain import (
    Agency,
    CodeList,
    CodeListBrief,
    Procedure,
    ProcedureBrief,
    fold,
    irregularity,
)
from common.contracts.catalog import AgencyPublished, EditionPublished, Field, ProcedurePublished
from common.database import Database
from common.outbox import Outbox, Unit

log = structlog.get_logger()

Entry = TypeVar("Entry", Procedure, Agency)
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Package:
    """Data to load; a higher revision takes the place of a lower one.

    Attributes:
        version: the revision's name for people, such as a date.
    """

    revision: int
    version: str
    procedures: Sequence[Procedure]
    agencies: Sequence[Agency]
    code_lists: Sequence[CodeList]


@dataclass(frozen=True)
class Loaded:
    """How many entries were new or changed."""

    procedures: int
    agencies: int


async def keep_loaded(outbox: Outbox, database: Database) -> None:
    """Load the package's own data if it is newer than what is stored; then rest without end."""
    async with database.reading() as connection:
        stored = await store.loaded_revision(connection)
    if _manifest()["revision"] > stored:
        # Reading and checking takes half a second of CPU: not on the event loop.
        await load(outbox, await asyncio.to_thread(packaged))
    await asyncio.Event().wait()


def packaged() -> Package:
    """The data that comes with this version of the service.

    Raises:
        pydantic.ValidationError: a line of the data breaks its form.
    """
    manifest = _manifest()
    return Package(
        revision=manifest["revision"],
        version=manifest["version"],
        procedures=[_checked(entry) for entry in _lines("procedures.jsonl", Procedure)],
        agencies=_lines("agencies.jsonl", Agency),
        code_lists=_lines("code_lists.jsonl", CodeList),
    )


async def load(outbox: Outbox, package: Package) -> Loaded | None:
    """Load a package in one transaction; None if it is not newer than what is stored.

    Any number of processes may try at the same time: one loads, the others find it done.
    """
    async with outbox.transaction() as unit:
        connection = unit.connection
        await store.lock_loading(connection)
        if await store.loaded_revision(connection) >= package.revision:
            return None
        procedures = await _load_procedures(unit, package.procedures)
        agencies = await _load_agencies(unit, package.agencies)
        lists = [_code_list_row(entry) for entry in package.code_lists]
        await store.replace_code_lists(connection, lists)
        await store.note_revision(connection, package.revision, package.version)
        _tell_edition(unit, package, await store.count_told(connection))
    log.info(
        "catalogue loaded",
        version=package.version,
        changed_procedures=procedures,
        changed_agencies=agencies,
        irregular_codes=sum(entry.irregular is not None for entry in package.procedures),
    )
    return Loaded(procedures, agencies)


async def _load_procedures(unit: Unit, given: Sequence[Procedure]) -> int:
    known = await store.known_procedures(unit.connection)
    gone = await store.open_procedures_but(unit.connection, [entry.code for entry in given])
    entries = [*given, *(_closed(body, Procedure) for body in gone)]
    changes = await asyncio.to_thread(_changes, entries, known)
    rows = await asyncio.to_thread(lambda: [_procedure_row(change) for change in changes])
    await store.write_procedures(unit.connection, rows)
    for change in changes:
        if change.entry.irregular is None:
            _tell_procedure(unit, change.entry, change.version)
    return len(changes)


async def _load_agencies(unit: Unit, given: Sequence[Agency]) -> int:
    known = await store.known_agencies(unit.connection)
    gone = await store.open_agencies_but(unit.connection, [entry.code for entry in given])
    entries = [*given, *(_closed(body, Agency) for body in gone)]
    changes = _changes(entries, known)
    await store.write_agencies(
        unit.connection,
        [
            store.AgencyRow(
                change.entry.code, change.version, change.digest, change.entry.active, change.body
            )
            for change in changes
        ],
    )
    for change in changes:
        _tell_agency(unit, change.entry, change.version)
    return len(changes)


@dataclass(frozen=True, slots=True)
class _Change(Generic[Entry]):
    entry: Entry
    version: int
    digest: bytes
    body: str


def _changes(entries: Sequence[Entry], known: Mapping[str, store.Known]) -> list[_Change[Entry]]:
    """The entries whose content is not the stored one, with their next version."""
    changes = []
    for entry in entries:
        content = entry.model_dump_json()
        digest = hashlib.sha256(content.encode()).digest()
        before = known.get(entry.code)
        if before is None or before.digest != digest:
            version = before.version + 1 if before else 1
            body = f'{{"version":{version},{content[1:]}'
            changes.append(_Change(entry, version, digest, body))
    return changes


def _procedure_row(change: _Change[Procedure]) -> store.ProcedureRow:
    entry = change.entry
    brief = ProcedureBrief(
        code=entry.code,
        name=entry.name,
        field=entry.field,
        promulgator=entry.promulgator,
        levels=entry.levels,
        service_level=entry.service_level,
        active=entry.active,
        irregular=entry.irregular,
        version=change.version,
    )
    return store.ProcedureRow(
        code=entry.code,
        version=change.version,
        digest=change.digest,
        active=entry.active,
        irregular=entry.irregular,
        field_code=entry.field.code,
        field_name=entry.field.name,
        levels=",".join(entry.levels) if entry.levels is not None else None,
        folded=" " + fold(f"{entry.code} {entry.name} {entry.field.name}"),
        brief=brief.model_dump_json(),
        body=change.body,
    )


def _code_list_row(entry: CodeList) -> store.CodeListRow:
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
    return store.CodeListRow(entry.id, brief.model_dump_json(), entry.model_dump_json())


def _tell_procedure(unit: Unit, entry: Procedure, version: int) -> None:
    unit.tell(
        ProcedurePublished(
            code=entry.code,
            name=entry.name,
            field=Field(code=entry.field.code, name=entry.field.name),
            promulgator=entry.promulgator.code,
            service_level=entry.service_level,
            has_fee=entry.has_fee,
            active=entry.active,
            version=version,
        ),
        aggregate=f"procedure:{entry.code}",
        agency=entry.promulgator.code or "backbone",
        subject=entry.code,
    )


def _tell_agency(unit: Unit, entry: Agency, version: int) -> None:
    unit.tell(
        AgencyPublished(
            code=entry.code,
            legacy_code=entry.legacy_code,
            name=entry.name,
            active=entry.active,
            valid_to=entry.valid_to,
            successor=entry.successor,
            version=version,
        ),
        aggregate=f"agency:{entry.code}",
        agency=entry.code,
        subject=entry.code,
    )


def _tell_edition(unit: Unit, package: Package, told: store.Told) -> None:
    unit.tell(
        EditionPublished(
            revision=package.revision,
            name=package.version,
            procedures=told.procedures,
            agencies=told.agencies,
        ),
        aggregate="edition",
        agency="backbone",
    )


def _checked(entry: Procedure) -> Procedure:
    """A procedure with an irregular code is marked as such, and no dossier can be of it."""
    reason = irregularity(entry.code)
    if reason is None:
        return entry
    return entry.model_copy(update={"irregular": reason, "active": False})


def _closed(body: str, kind: type[Entry]) -> Entry:
    """A stored entry that the new data no longer has."""
    content = orjson.loads(body)
    del content["version"]
    return kind.model_validate({**content, "active": False})


def _manifest() -> dict[str, Any]:
    manifest: dict[str, Any] = orjson.loads(_data("manifest.json"))
    return manifest


def _lines(file: str, kind: type[Model]) -> list[Model]:
    return [kind.model_validate_json(line) for line in _data(file).splitlines()]


def _data(file: str) -> bytes:
    return (resources.files("catalog") / "data" / file).read_bytes()
