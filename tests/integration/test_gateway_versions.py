"""A dossier carries the procedure as it was on the day it was handed in."""

from datetime import date

from common.contracts.catalog import EditionPublished, Field, ProcedurePublished, ProcessingTime
from common.contracts.commands import Submit
from gateway.store import catalogue
from tests.support.databases import Databases
from tests.support.gateway import (
    PROCEDURE,
    dossier_code,
    gateway_database,
    running_gateway,
    submission,
)


def version(number: int, since: date | None, until: date | None, days: int) -> ProcedurePublished:
    return ProcedurePublished(
        code=PROCEDURE,
        name=f"Bản {number}",
        field=Field(code="G05-KH01", name="Thành lập doanh nghiệp"),
        service_level="full",
        has_fee=number > 1,
        time=ProcessingTime(quantity=days, unit="working-day"),
        version=number,
        valid_from=since,
        valid_to=until,
    )


async def test_the_version_of_the_day_in_vietnam_is_taken(databases: Databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as gateway:
        await gateway.hear(
            version(1, None, None, 20),
            version(1, None, date(2026, 10, 31), 20),
            version(2, date(2026, 11, 1), None, 15),
            version(2, date(2026, 11, 1), date(2026, 11, 30), 15),
            version(3, date(2026, 12, 1), None, 10),
        )
        await gateway.app.state.gateway.reference.refresh()
        moments = {
            "2025-01-01T08:00:00+07:00": 1,
            "2026-10-31T16:59:59Z": 1,  # 23:59:59 in Vietnam
            "2026-10-31T17:00:00Z": 2,  # the next day there
        }
        for number, moment in enumerate(moments, 1):
            body = submission(dossier_code(number), submitted_at=moment)
            assert (await gateway.submit(body)).status_code == 202
        commands = [event.command for event in await gateway.submissions()]
        taken = [command.procedure for command in commands if isinstance(command, Submit)]
        assert [one.version for one in taken] == list(moments.values())
        assert [one.time.quantity for one in taken if one.time] == [20, 20, 15]
        assert [one.has_fee for one in taken] == [False, False, True]
        assert {one.service_level for one in taken} == {"full"}


async def test_versions_do_not_count_as_procedures(databases: Databases, tmp_path) -> None:
    async with running_gateway(await databases.create("gateway"), tmp_path) as gateway:
        reference = gateway.app.state.gateway.reference
        await gateway.hear(
            version(1, None, date(2026, 10, 31), 20),
            version(2, date(2026, 11, 1), None, 15),
            EditionPublished(revision=1, name="first", procedures=2, agencies=0),
        )
        assert not await complete(reference)
        other = version(1, None, None, 5).model_copy(update={"code": "1.000999"})
        await gateway.hear(other)
        assert await complete(reference)
        # Before the first day that is known the first version counts.
        await gateway.hear(
            version(4, date(2026, 12, 1), None, 1).model_copy(update={"code": "1.000888"})
        )
        early = await reference.procedure("1.000888", date(2020, 1, 1))
        assert early.version == 4


async def complete(reference) -> bool:
    """Asked of the database, without the pause between two looks."""
    async with reference._database.reading() as connection:
        return await catalogue.is_complete(connection)
