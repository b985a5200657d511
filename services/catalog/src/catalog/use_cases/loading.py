"""Loading the package data: what differs from what is stored is written, versioned and told."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, TypeVar

import orjson
import structlog
from pydantic import BaseModel

from catalog.domain.catalogue import Agency, CodeList, Procedure, irregularity
from catalog.domain.versions import vietnam_day
from catalog.store import catalogue as store
from catalog.store import versions
from catalog.store.versions import Kind
from catalog.use_cases.writing import Said, refresh_outdated, write
from common.contracts.catalog import EditionPublished
from common.database import Database
from common.errors import describe
from common.outbox import Outbox, Unit

_LOOK_SECONDS = 60.0

log = structlog.get_logger()

Listed = TypeVar("Listed", Procedure, Agency)
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
    """Load the package's own data if it is newer than what is stored; then, without end, serve
    versions from the day on which they become valid."""
    async with database.reading() as connection:
        stored = await store.loaded_revision(connection)
    if _manifest()["revision"] > stored:
        # Reading and checking takes half a second of CPU: not on the event loop.
        await load(outbox, await asyncio.to_thread(packaged))
    while True:
        try:
            async with outbox.transaction() as unit:
                await refresh_outdated(unit, vietnam_day())
        except Exception as error:
            log.warning("versions not refreshed", error=describe(error))
        await asyncio.sleep(_LOOK_SECONDS)


def packaged() -> Package:
    """The data that comes with this version of the service.

    Raises:
        pydantic.ValidationError: a line of the data breaks its form.
    """
    manifest = _manifest()
    return Package(
        revision=manifest["revision"],
        version=manifest["version"],
        procedures=[checked(entry) for entry in _lines("procedures.jsonl", Procedure)],
        agencies=_lines("agencies.jsonl", Agency),
        code_lists=_lines("code_lists.jsonl", CodeList),
    )


async def load(outbox: Outbox, package: Package) -> Loaded | None:
    """Load a package in one transaction; None if it is not newer than what is stored.

    Any number of processes may try at the same time: one loads, the others find it done. What the
    national portal or an operator has said since is left as it is.
    """
    today = vietnam_day()
    async with outbox.transaction() as unit:
        connection = unit.connection
        await versions.lock(connection)
        if await store.loaded_revision(connection) >= package.revision:
            return None
        procedures = await _load(unit, "procedure", package.procedures, Procedure)
        agencies = await _load(unit, "agency", package.agencies, Agency)
        await write(unit, "package", [Said(entry) for entry in package.code_lists], today)
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


async def _load(unit: Unit, kind: Kind, given: Sequence[Listed], model: type[Listed]) -> int:
    """Write the entries, and close those of earlier packages that are no longer listed."""
    today = vietnam_day()
    known = await versions.newest(unit.connection, kind)
    listed = {entry.code for entry in given}
    left = [
        code for code, newest in known.items() if newest.origin == "package" and code not in listed
    ]
    entries = list(given)
    for version in await versions.valid(unit.connection, kind, left, today):
        entry = model.model_validate_json(version.body)
        if entry.active:
            entries.append(entry.model_copy(update={"active": False}))
    written = await write(unit, "package", [Said(entry) for entry in entries], today)
    return written.changed


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


def checked(entry: Procedure) -> Procedure:
    """A procedure with an irregular code is marked as such, and no dossier can be of it."""
    reason = irregularity(entry.code)
    if reason is None:
        return entry
    return entry.model_copy(update={"irregular": reason, "active": False})


def _manifest() -> dict[str, Any]:
    manifest: dict[str, Any] = orjson.loads(_data("manifest.json"))
    return manifest


def _lines(file: str, kind: type[Model]) -> list[Model]:
    return [kind.model_validate_json(line) for line in _data(file).splitlines()]


def _data(file: str) -> bytes:
    return (resources.files("catalog") / "data" / file).read_bytes()
