"""The sync with the national portal, against the simulator's program and in one process."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from backbone.leash import Leashed
from catalog.clients.portal import Account, Portal
from catalog.store import runs
from catalog.use_cases import sync as syncing
from catalog.use_cases.sync import Sync
from common.http import http_client
from common.identifiers import new_id
from tests.support.catalog import Listener, database_of, operator, running
from tests.unit.test_catalog_records import RECORD

COUNT = 120


def code(number: int) -> str:
    return f"1.{number:06}"


def record(number: int, name: str = "Thủ tục") -> dict[str, Any]:
    return {**RECORD, "MaTTHC": code(number), "TENTTHC": f"{name} {number}"}


def write(
    file: Path, records: list[Any], agencies: Sequence[Any] = (), fields: Sequence[Any] = ()
) -> None:
    """Give the simulator another catalogue."""
    content = {"procedures": records, "agencies": list(agencies), "fields": list(fields)}
    other = file.with_suffix(".new")
    other.write_bytes(orjson.dumps(content))
    other.rename(file)


@asynccontextmanager
async def simulator(folder: Path, *more: str) -> AsyncIterator[tuple[str, Path]]:
    """The portal's program, and the file that it reads its catalogue from."""
    file = folder / "catalogue.json"
    write(file, [record(n) for n in range(COUNT)])
    log = folder / "portal.log"
    options = ["--port", "0", "--catalogue", str(file), *more]
    program = Leashed([sys.executable, "-m", "simulators", "national-portal", *options], log=log)
    try:
        async with asyncio.timeout(30):
            while not log.exists() or b'"url"' not in log.read_bytes():
                await asyncio.sleep(0.05)
        started = next(line for line in log.read_bytes().splitlines() if b'"url"' in line)
        yield orjson.loads(started)["url"], file
    finally:
        program.kill()


def settings(url: str) -> dict[str, Any]:
    return {
        "portal_url": url,
        "portal_username": "catalog",
        "portal_password": SecretStr("secret"),
        "portal_unit": "G22",
        "portal_dstcode": "VN:GOV:DVCQG",
        "portal_sync_hours": 24,
    }


async def finished(client: httpx.AsyncClient, id_: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            run = (await client.get(f"/v1/imports/{id_}", headers=operator())).json()
            if run["state"] in ("ended", "failed"):
                return run
            await asyncio.sleep(0.1)


async def test_what_changes_at_the_portal_becomes_a_second_version(database_url, tmp_path) -> None:
    """Sessions end every moment, as they do in long runs."""
    async with (
        simulator(tmp_path, "--session-ttl", "0.3", "--success", "mixed") as (url, file),
        running(await database_url("catalog"), Listener(), **settings(url)) as client,
    ):
        async with asyncio.timeout(30):
            while not (log := (await client.get("/v1/imports", headers=operator())).json())[
                "items"
            ]:
                await asyncio.sleep(0.1)
        run = await finished(client, log["items"][0]["id"])
        assert (run["read"], run["changed"], run["faults"]) == (COUNT, COUNT, 0)
        assert (run["kind"], run["asked_by"]) == ("portal", None)

        changed = [record(n) for n in range(COUNT)]
        changed[7] = record(7, "Tên mới")
        changed[8] = {"MaTTHC": code(8)}  # cannot be read
        gone = changed.pop(9)
        write(
            file,
            changed,
            agencies=[{"MADONVI": "H56.14", "TENDONVI": "Sở Xây dựng"}, {"MADONVI": "?"}],
            fields=[{"MALINHVUC": "G17-XD01", "TENLINHVUC": "Hoạt động xây dựng"}],
        )
        asked = await client.post("/v1/imports/sync", headers=operator())
        assert (asked.status_code, asked.json()["asked_by"]) == (202, "operator")
        run = await finished(client, asked.json()["id"])
        assert (run["changed"], run["faults"]) == (1 + 1 + 1 + 1, 2)
        places = {fault["place"]: fault["reason"] for fault in run["fault_list"]}
        assert places == {
            "agency 000002": "no usable MADONVI or TENDONVI",
            code(8): "no TENTTHC",
        }
        seven = (await client.get(f"/v1/procedures/{code(7)}")).json()
        assert (seven["name"], seven["origin"]) == ("Tên mới 7", "national")
        listed = (await client.get(f"/v1/procedures/{code(7)}/versions")).json()["items"]
        assert [one["name"] for one in listed][:2] == ["Tên mới 7", "Thủ tục 7"]
        assert (await client.get(f"/v1/procedures/{code(8)}")).json()["name"] == "Thủ tục 8"
        assert not (await client.get(f"/v1/procedures/{gone['MaTTHC']}")).json()["active"]
        agency = (await client.get("/v1/agencies/H56.14")).json()
        assert (agency["name"], agency["parent"]) == ("Sở Xây dựng", "H56")
        field = (await client.get("/v1/code-lists/field")).json()
        assert (field["basis"], len(field["items"])) == ("national-portal", 1)

        again = await client.post("/v1/imports/sync", headers=operator())
        run = await finished(client, again.json()["id"])
        assert run["changed"] == 0


class Killed(BaseException):
    """The process ends here."""


def answering(records: dict[str, Any], asked: list[str], die_at: int = 10**9) -> Any:
    """A portal's client in place of the real one."""

    class Answering:
        async def procedures(self) -> list[Any]:
            return [{"MaTTHC": code} for code in records]

        async def procedure(self, code: str) -> list[Any]:
            if len(asked) >= die_at:
                raise Killed
            asked.append(code)
            return [records[code]]

        async def agencies(self) -> list[Any]:
            return []

        fields = agencies

    return Answering()


async def test_a_killed_run_goes_on_from_where_it_was(database_url, monkeypatch) -> None:
    records = {code(n): record(n) for n in range(120)}
    asked: list[str] = []
    async with database_of(await database_url("catalog")) as (database, outbox):

        def replica(die_at: int = 10**9) -> Sync:
            portal = answering(records, asked, die_at)
            return Sync(outbox, database, portal, every=3600, parallel=4)

        with pytest.raises(BaseException):  # noqa: B017, PT011 - a group or the kill itself
            await replica(die_at=70).once()
        # While the dead one's lease runs, nobody takes the run over; nor does a second one begin.
        other = replica()
        assert not await other.once()
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE import_run SET held_until = now()"))
        before = len(asked)
        assert await other.once()
        assert asked[before] == code(50)  # behind the last step that was written
        assert not await other.once()
        async with database.reading() as connection:
            (run,) = await runs.runs(connection, None, 5)
        assert (run.state, run.read, run.changed, run.faults) == ("ended", 120, 120, 0)


async def test_who_lost_the_run_writes_nothing_more(database_url) -> None:
    records = {code(n): record(n) for n in range(60)}
    async with database_of(await database_url("catalog")) as (database, outbox):
        asked: list[str] = []
        portal = answering(records, asked)
        fetch = portal.procedure

        async def stolen(code: str) -> Any:
            async with database.transaction() as connection:
                await connection.execute(
                    text("UPDATE import_run SET holder = :other"), {"other": new_id()}
                )
            return await fetch(code)

        portal.procedure = stolen
        assert await Sync(outbox, database, portal, every=3600, parallel=4).once()
        async with database.reading() as connection:
            rows = await connection.execute(text("SELECT count(*) FROM entry_version"))
            assert rows.scalar_one() == 0


async def test_replicas_share_one_run(database_url) -> None:
    records = {code(n): record(n) for n in range(30)}
    asked: list[str] = []
    async with database_of(await database_url("catalog")) as (database, outbox):
        replicas = [
            Sync(outbox, database, answering(records, asked), every=3600, parallel=2)
            for _ in range(3)
        ]
        done = await asyncio.gather(*(replica.once() for replica in replicas))
        assert sorted(done) == [False, False, True]
        assert sorted(asked) == sorted(records)


async def test_a_list_that_came_in_part_closes_nothing(database_url) -> None:
    records = {code(n): record(n) for n in range(60)}
    async with database_of(await database_url("catalog")) as (database, outbox):
        portal = answering(records, [])
        sync = Sync(outbox, database, portal, every=0, parallel=4)
        assert await sync.once()
        for n in range(20):
            del records[code(n)]
        assert await sync.once()
        async with database.reading() as connection:
            run = (await runs.runs(connection, None, 1))[0]
            (fault,) = await runs.faults(connection, run.id)
            open_ones = await connection.execute(
                text("SELECT count(*) FROM procedure WHERE active")
            )
            assert open_ones.scalar_one() == 60
        assert fault.reason == "20 procedures left the list at once: none was closed"


async def test_a_portal_that_does_not_answer_is_asked_again_later(
    database_url, monkeypatch
) -> None:
    monkeypatch.setattr(syncing, "_QUICK_TRIES", ())
    async with (
        database_of(await database_url("catalog")) as (database, outbox),
        http_client() as http,
    ):
        nowhere = "http://127.0.0.1:9"
        account = Account(nowhere, nowhere, "u", SecretStr("p"), "G22", "D")
        sync = Sync(outbox, database, Portal(http, account, seconds=2), every=3600, parallel=2)
        assert await sync.once()
        assert not await sync.once()
        async with database.reading() as connection:
            (run,) = await runs.runs(connection, None, 5)
        assert run.state == "waiting"
        assert run.error
        assert "secret" not in run.error
        run = await sync.ask("operator")  # the unfinished one, at once
        assert await sync.once()


async def test_a_file_is_imported_from_the_command_line(database_url, tmp_path) -> None:
    url = await database_url("catalog")
    file = tmp_path / "records.json"
    file.write_bytes(orjson.dumps({"procedures": [record(1), record(2), {"MaTTHC": "x"}]}))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "catalog", "import", str(file)),
        env={"CATALOG_DATABASE_URL": url, "PATH": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, problems = await process.communicate()
    assert process.returncode == 1
    assert b"read 3, changed 2, unchanged 0, faults 1" in out
    assert b"1 records were left out" in problems
