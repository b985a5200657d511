"""Old months of the message log are archived before they fall, and never without a timestamp."""

import io
import zipfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from common.blobs import BlobDamaged, Blobs
from common.identifiers import lowest_id_at
from gateway.domain.proof import Record
from gateway.store import message_blocks
from gateway.use_cases import log_archive
from gateway.use_cases.log_archive import Archive
from tests.support import message_log
from tests.support.databases import Databases
from tests.support.gateway import RunningGateway, gateway_database, running_gateway

JANUARY, FEBRUARY, MARCH = (datetime(2020, month, 1, tzinfo=UTC) for month in (1, 2, 3))
LATER = datetime(2021, 6, 1, tzinfo=UTC)
DAYS = 365


@pytest.fixture
async def gateway(databases: Databases, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    url = await gateway_database(databases)
    async with running_gateway(
        url, tmp_path, message_log_seconds=60, message_log_partitions=1
    ) as running:
        for start, end in ((JANUARY, FEBRUARY), (FEBRUARY, MARCH)):
            await execute(
                running,
                f"CREATE TABLE message_log_{start:%Y_%m} PARTITION OF message_log "
                f"FOR VALUES FROM ('{lowest_id_at(start)}') TO ('{lowest_id_at(end)}')",
            )
        yield running


async def execute(gateway: RunningGateway, statement: str) -> None:
    async with gateway.core.database.transaction() as connection:
        await connection.execute(text(statement))


@pytest.fixture
def archive(gateway: RunningGateway, tmp_path: Path) -> Archive:
    exports = gateway.app.state.gateway.log_export
    return Archive(gateway.core.database, exports, Blobs(f"file://{tmp_path / 'blobs'}"), DAYS)


async def sealed(gateway: RunningGateway, *days: datetime) -> None:
    """A sealed block with a record of each day."""
    made = [
        Record(
            id=UUID(int=lowest_id_at(day).int + number),
            at=day,
            client_id="one-stop",
            agency="H56.14",
            form="POST /v1/dossiers",
            digest="00" * 32,
            size=1,
            status=202,
            answer_digest="11" * 32,
            subject=f"H56.14-200101-{number:04d}",
        )
        for number, day in enumerate(days)
    ]
    log = gateway.app.state.gateway.log_works.log
    async with gateway.core.database.transaction() as connection:
        await log.add(connection, made)
    assert await message_log.seal(gateway) == len(made)


async def stamp_all(gateway: RunningGateway) -> None:
    """Give every block something in the place of its timestamp."""
    async with gateway.core.database.transaction() as connection:
        while block := await message_blocks.claim(connection, 60):
            await message_blocks.stamp(
                connection, block.header, b"token", "http://tsa", datetime.now(UTC)
            )


def within(start: datetime, day: int) -> datetime:
    return start + timedelta(days=day)


async def test_an_old_month_falls_once_it_is_archived(
    gateway: RunningGateway, archive: Archive
) -> None:
    await sealed(gateway, within(JANUARY, 3), within(JANUARY, 4))
    await sealed(gateway, within(JANUARY, 20))
    await stamp_all(gateway)
    assert await archive.archive_old(LATER) == ["message_log_2020_01", "message_log_2020_02"]
    assert await gateway.rows("SELECT 1 FROM message_log") == []
    blocks = await gateway.rows("SELECT * FROM message_block ORDER BY number")
    assert [(block.number, block.dropped_at is not None) for block in blocks] == [
        (1, True),
        (2, True),
    ]
    (digest,) = {block.archive for block in blocks}
    kept = zipfile.ZipFile(io.BytesIO(await archive.blobs.get(digest)))
    content = b"".join(kept.read(name) for name in kept.namelist())
    for number in (0, 1):
        assert f"H56.14-200101-{number:04d}".encode() in content


async def test_a_month_with_an_unstamped_block_stays(
    gateway: RunningGateway, archive: Archive
) -> None:
    await sealed(gateway, within(JANUARY, 3))
    await stamp_all(gateway)
    await sealed(gateway, within(JANUARY, 4))
    assert await archive.archive_old(LATER) == []
    assert len(await gateway.rows("SELECT 1 FROM message_log")) == 2
    await stamp_all(gateway)
    assert "message_log_2020_01" in await archive.archive_old(LATER)


async def test_a_month_stays_until_all_of_it_is_old_enough(
    gateway: RunningGateway, archive: Archive
) -> None:
    await sealed(gateway, within(JANUARY, 3))
    await stamp_all(gateway)
    assert await archive.archive_old(FEBRUARY + timedelta(days=DAYS - 1)) == []
    assert await archive.archive_old(FEBRUARY + timedelta(days=DAYS)) == ["message_log_2020_01"]


async def test_a_block_over_the_end_of_a_month_is_archived_whole_and_once(
    gateway: RunningGateway, archive: Archive
) -> None:
    await sealed(gateway, within(JANUARY, 30), within(FEBRUARY, 0))
    await sealed(gateway, within(FEBRUARY, 3))
    await stamp_all(gateway)
    first = FEBRUARY + timedelta(days=DAYS)
    assert await archive.archive_old(first) == ["message_log_2020_01"]
    assert len(await gateway.rows("SELECT 1 FROM message_log")) == 2
    assert await archive.archive_old(LATER) == ["message_log_2020_02"]
    blocks = await gateway.rows("SELECT archive FROM message_block ORDER BY number")
    assert len({block.archive for block in blocks}) == 2


async def test_nothing_falls_whose_archive_cannot_be_read_back(
    gateway: RunningGateway, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sealed(gateway, within(JANUARY, 3))
    await stamp_all(gateway)
    put = archive.blobs.put_stream

    async def damaged(parts):
        stored = await put(parts)
        for file in (tmp_path / "blobs").rglob(stored.digest):
            file.write_bytes(file.read_bytes()[:-1])
        return stored

    monkeypatch.setattr(archive.blobs, "put_stream", damaged)
    with pytest.raises(BlobDamaged):
        await archive.archive_old(LATER)
    assert len(await gateway.rows("SELECT 1 FROM message_log")) == 1


async def test_the_database_itself_drops_nothing_that_is_not_archived(
    gateway: RunningGateway, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sealed(gateway, within(JANUARY, 3))
    await stamp_all(gateway)

    async def forgets(*_: object) -> None:
        return None

    monkeypatch.setattr(archive, "_export", forgets)
    monkeypatch.setattr(archive, "_check", forgets)
    with pytest.raises(Exception, match="check constraint"):
        await archive.archive_old(LATER)
    assert len(await gateway.rows("SELECT 1 FROM message_log")) == 1


async def test_archives_are_of_bounded_size(
    gateway: RunningGateway, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_archive, "LARGEST_ARCHIVE", 2)
    for day in range(5):
        await sealed(gateway, within(JANUARY, day))
    await stamp_all(gateway)
    await archive.archive_old(LATER)
    blocks = await gateway.rows("SELECT archive FROM message_block ORDER BY number")
    assert [blocks.index(block) for block in blocks] == [0, 0, 2, 2, 4]


async def test_the_chain_can_be_followed_after_months_have_fallen(
    gateway: RunningGateway, archive: Archive
) -> None:
    await sealed(gateway, within(JANUARY, 3))
    await stamp_all(gateway)
    await archive.archive_old(LATER)
    await sealed(gateway, within(FEBRUARY, 3))
    before, after = await gateway.rows("SELECT * FROM message_block ORDER BY number")
    assert after.previous == message_blocks.header_of(before).hash()
    (chain,) = await gateway.rows("SELECT * FROM message_chain WHERE partition = 0")
    assert (chain.records, chain.blocks) == (2, 2)
