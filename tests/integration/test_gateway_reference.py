"""What the gateway knows of the catalogue, and when it is ready."""

import asyncio
import json
from datetime import datetime

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.catalog import (
    AgencyPublished,
    EditionPublished,
    Field,
    ProcedurePublished,
)
from common.contracts.commands import Submit
from common.database import Database
from common.settings import DatabaseSettings
from gateway.store import catalogue as catalogue_store
from gateway.store.catalogue import Version
from gateway.use_cases import reference
from tests.support.databases import Databases
from tests.support.gateway import (
    AGENCY,
    CLIENTS,
    PROCEDURE,
    catalogue,
    dossier_code,
    gateway_database,
    running_gateway,
    submission,
)


def procedure(code: str, name: str = "Đăng ký khai sinh", *, active: bool = True):
    return ProcedurePublished(
        code=code, name=name, field=Field(code=None, name="Hộ tịch"), active=active, version=2
    )


async def test_until_the_catalogue_has_come_in_nothing_is_refused_for_good(
    databases: Databases, tmp_path
) -> None:
    url = await databases.create("gateway")
    async with running_gateway(url, tmp_path, clients=json.dumps(CLIENTS)) as gateway:
        assert (await gateway.http.get("/readyz")).status_code == 503
        early = await gateway.submit()
        assert (early.status_code, early.headers["retry-after"]) == (503, "1")
        *parts, edition = catalogue()
        await gateway.hear(*parts)
        # What has come in is enough for what it names, and for nothing else.
        assert (await gateway.submit()).status_code == 202
        unknown = submission(dossier_code(2), procedure="9.999999")
        assert (await gateway.submit(unknown)).status_code == 503
        await gateway.hear(edition)
        async with asyncio.timeout(30):
            while (await gateway.http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.05)
        assert (await gateway.submit(unknown)).status_code == 422


async def test_an_edition_that_overtook_its_procedures_is_waited_for(
    databases: Databases, tmp_path
) -> None:
    async with running_gateway(await databases.create("gateway"), tmp_path) as gateway:
        *parts, edition = catalogue()
        await gateway.hear(edition, *parts[:-1])
        await asyncio.sleep(0.6)
        assert (await gateway.http.get("/readyz")).status_code == 503


async def test_what_another_replica_heard_is_found_at_once(databases: Databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as one, running_gateway(url, tmp_path) as two:
        body = submission(dossier_code(1, "H56.77"), procedure="2.000635")
        assert (await one.submit(body)).status_code == 422
        agency = AgencyPublished(code="H56.77", legacy_code=None, name="Sở", active=True, version=1)
        await two.hear(procedure("2.000635"), agency)
        assert (await one.submit(body)).status_code == 202


@pytest.mark.parametrize("active", [True, False])
async def test_a_changed_procedure_is_taken_over(
    databases: Databases, tmp_path, monkeypatch, active: bool
) -> None:
    """Also one that is no longer offered: dossiers of the time before are still reported."""
    monkeypatch.setattr(reference, "_REFRESH_SECONDS", 0.05)
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as one, running_gateway(url, tmp_path) as two:
        assert (await one.submit()).status_code == 202
        await two.hear(
            procedure(PROCEDURE, "Tên cũ"), procedure(PROCEDURE, "Tên mới", active=active)
        )
        await asyncio.sleep(0.3)
        assert (await one.submit(submission(dossier_code(2)))).status_code == 202
        commands = [event.command for event in await one.submissions()]
        names = [command.procedure.name for command in commands if isinstance(command, Submit)]
        assert names == ["Đăng ký thành lập doanh nghiệp", "Tên mới"]


async def test_a_closed_agency_stays_known(databases: Databases, tmp_path) -> None:
    async with running_gateway(await gateway_database(databases), tmp_path) as gateway:
        await gateway.hear(
            AgencyPublished(
                code=AGENCY,
                legacy_code=None,
                name="Sở cũ",
                active=False,
                successor="H56",
                version=2,
            ),
            EditionPublished(revision=2, name="second", procedures=1, agencies=3),
        )
        assert (await gateway.submit()).status_code == 202


async def test_a_catalogue_that_stays_as_it_is_is_not_read_again(
    databases: Databases, monkeypatch
) -> None:
    """However much of it came in at one moment."""
    url = await gateway_database(databases)
    database = Database(DatabaseSettings(database_url=SecretStr(url)), name="test")
    async with database.transaction() as connection:
        for table in ("known_procedure", "known_procedure_version", "known_agency"):
            await connection.execute(
                text(f"UPDATE {table} SET changed_at = now() - interval '1 minute'")
            )
    read: list[int] = []
    since = catalogue_store.procedures_since

    async def watched(connection: AsyncConnection, moment: datetime) -> list[Version]:
        found = await since(connection, moment)
        read.append(len(found))
        return found

    monkeypatch.setattr(catalogue_store, "procedures_since", watched)
    known = reference.Reference(database)
    await known.refresh()
    await known.refresh()
    await database.close()
    assert read == [1, 0]


async def test_a_refresh_that_fails_is_tried_again(
    databases: Databases, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(reference, "_REFRESH_SECONDS", 0.02)
    async with running_gateway(await gateway_database(databases), tmp_path) as gateway:
        known = gateway.app.state.gateway.reference
        refreshed = asyncio.Event()
        refresh, tries = known.refresh, 0

        async def sometimes() -> None:
            nonlocal tries
            tries += 1
            if tries < 3:
                raise OSError("away")
            await refresh()
            refreshed.set()

        monkeypatch.setattr(known, "refresh", sometimes)
        async with asyncio.timeout(30):
            await refreshed.wait()
