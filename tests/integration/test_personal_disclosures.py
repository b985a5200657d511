"""What the portal is given of a person is put down with the call's outcome."""

from collections.abc import AsyncIterator

import pytest

from national_portal_sync.store import disclosures
from tests.support.databases import Databases
from tests.support.portal import PERSONAL, Rig, code_of, life, prepared, rig

CODE = code_of(1)


@pytest.fixture
async def at_work(databases: Databases) -> AsyncIterator[Rig]:
    template = await databases.template("portal", prepared)
    async with rig(await databases.create("portal", template=template)) as made:
        yield made


async def test_each_call_with_personal_data_is_put_down_without_its_values(at_work: Rig) -> None:
    await at_work.take(*life(CODE, 1, 2))
    await at_work.drain()
    await at_work.take(*life(CODE, 3, 3))
    await at_work.drain()
    first, second = await at_work.rows("SELECT * FROM disclosure ORDER BY id")
    assert (first.dossier, first.agency, first.outcome) == (CODE, "H10.15", "done")
    assert {"ChuHoSo", "Email", "SoDienThoai", "SoGiayToChuHoSo"} <= set(first.fields)
    assert first.account is not None
    assert second.version > first.version
    assert not any(value in str(first) for value in PERSONAL)


async def test_who_looks_finds_the_entries_of_the_agencies_it_audits(at_work: Rig) -> None:
    other = code_of(2, "H11")
    await at_work.take(*life(CODE, 1, 1), *life(other, 1, 1))
    await at_work.drain()
    async with at_work.database.reading() as connection:
        for agencies, dossier, expected in (
            (["*"], None, {CODE, other}),
            (["H10"], None, {CODE}),
            (["H1"], None, set()),
            ([], None, set()),
            (["*"], other, {other}),
        ):
            found = await disclosures.page(connection, agencies, ["*"], dossier, 0, 100)
            assert {row.dossier for row in found} == expected, (agencies, dossier)


async def test_old_entries_fall(at_work: Rig) -> None:
    await at_work.take(*life(CODE, 1, 1), *life(code_of(2), 1, 1))
    await at_work.drain()
    async with at_work.database.transaction() as connection:
        await connection.exec_driver_sql(
            f"UPDATE disclosure SET at = now() - interval '401 days' WHERE dossier = '{CODE}'"
        )
    await disclosures.forget_old(at_work.database, 400)
    left = await at_work.rows("SELECT dossier FROM disclosure")
    assert [row.dossier for row in left] == [code_of(2)]
