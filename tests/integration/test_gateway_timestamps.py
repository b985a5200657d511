"""Timestamps of the message log's blocks: the first authority that gives a good one, whenever."""

import asyncio
import hashlib
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms

from common.http import http_client
from gateway.domain.proof import stamped
from gateway.store import message_blocks
from gateway.store.message_blocks import header_of
from gateway.use_cases.stamping import Stamper
from gateway.use_cases.timestamps import Authorities, NotStamped, trusted_certificates
from simulators.tsa import TimestampAuthority
from tests.support import message_log
from tests.support.databases import Databases
from tests.support.gateway import (
    NOWHERE,
    RunningGateway,
    dossier_code,
    gateway_database,
    listening,
    running_gateway,
    settings,
    submission,
)

CONTENT = b"a block and its signature"


@asynccontextmanager
async def authorities(
    *programs: TimestampAuthority, urls: tuple[str, ...] | None = None, seconds: float = 5.0
) -> AsyncIterator[tuple[Authorities, list[str]]]:
    """Authorities that listen, and a client of all of them that trusts the first one's root."""
    async with AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(listening(program)) for program in programs]
        http = await stack.enter_async_context(http_client())
        trusted = [
            certificate
            for program in programs
            for certificate in trusted_certificates(program.authority.root_pem.decode())
        ]
        yield Authorities(http, urls or addresses, trusted, seconds), addresses


async def test_a_timestamp_certifies_the_content_and_now() -> None:
    program = TimestampAuthority()
    async with authorities(program) as (asked, (url,)):
        stamp = await asked.stamp(CONTENT)
    assert stamp.tsa == url
    assert abs(stamp.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert [row.key for row in program.stamped.rows] == [hashlib.sha256(CONTENT).hexdigest()]
    assert cms.ContentInfo.load(stamp.token)["content_type"].native == "signed_data"


async def test_standard_tools_accept_the_token(tmp_path: Path) -> None:
    program = TimestampAuthority()
    async with authorities(program) as (asked, _):
        stamp = await asked.stamp(CONTENT)
    (tmp_path / "content").write_bytes(CONTENT)
    (tmp_path / "token").write_bytes(stamp.token)
    (tmp_path / "root.pem").write_bytes(program.authority.root_pem)
    verify = ["openssl", "ts", "-verify", "-token_in", "-in", "token", "-data", "content"]
    done = subprocess.run(
        [*verify, "-CAfile", "root.pem"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Verification: OK" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("other_content", {}),
        ("other_nonce", {}),
        ("stranger", {}),
        ("rejection", {}),
        ("garbage", {}),
        ("drop_before", {}),
        ("drop_after", {"reset": True}),
        ("status", {"code": 503, "retry_after": 1}),
        ("delay", {"ms": 3000}),
        ("slow_drip", {"ms": 50}),
        ("half_open", {}),
    ],
)
async def test_an_authority_that_misbehaves_is_passed_over(kind: str, rule: dict[str, Any]) -> None:
    bad, good = TimestampAuthority(), TimestampAuthority()
    async with authorities(bad, good, seconds=1.0) as (asked, (first, second)):
        await message_log.fault(first, kind, **rule)
        assert (await asked.stamp(CONTENT)).tsa == second
        assert (asked.all[0].given, asked.all[0].failed) == (0, 1)
        assert asked.all[0].error
        await message_log.without_faults(first)
        asked.all[0].breaker.reset()
        assert (await asked.stamp(CONTENT)).tsa == first
        assert asked.all[0].error is None


async def test_an_authority_nobody_trusts_stamps_nothing() -> None:
    program, other = TimestampAuthority(), TimestampAuthority()
    async with http_client() as http, listening(program) as url:
        trusted = trusted_certificates(other.authority.root_pem.decode())
        with pytest.raises(NotStamped):
            await Authorities(http, [url], trusted, 5.0).stamp(CONTENT)


async def test_one_that_fails_often_is_left_alone_for_a_while() -> None:
    bad, good = TimestampAuthority(), TimestampAuthority()
    async with authorities(bad, good) as (asked, (first, _)):
        await message_log.fault(first, "status", code=500)
        for _ in range(10):
            await asked.stamp(CONTENT)
        assert asked.all[0].failed == 3
        assert asked.all[0].breaker.open


@pytest.fixture
async def gateway(databases: Databases, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, message_log_seconds=60) as running:
        yield running


async def blocks(gateway: RunningGateway, count: int) -> None:
    """Seal that many blocks, one after the other."""
    for number in range(count):
        await gateway.submit(submission(dossier_code(number + 1)))
        await message_log.seal(gateway)


def stamper(gateway: RunningGateway, asked: Authorities, lease: float = 60.0) -> Stamper:
    return Stamper(gateway.core.database, asked, 0.05, lease)


STAMPED = "SELECT * FROM message_block WHERE token IS NOT NULL ORDER BY stamped_at, sealed_at"


async def test_blocks_wait_while_every_authority_is_away_and_intake_goes_on(
    gateway: RunningGateway,
) -> None:
    program = TimestampAuthority()
    async with authorities(program, urls=(NOWHERE,)) as (asked, _):
        for number in range(1, 4):
            assert (await gateway.submit(submission(dossier_code(number)))).status_code == 202
            assert await message_log.seal(gateway) == 1
            with pytest.raises(NotStamped):
                await stamper(gateway, asked).stamp_next()
    assert await gateway.rows(STAMPED) == []
    async with authorities(program) as (asked, _):
        late = stamper(gateway, asked)
        order: list[set[tuple[int, int]]] = []
        while await late.stamp_next():
            done = {(row.partition, row.number) for row in await gateway.rows(STAMPED)}
            order.append(done - set().union(*order))
    sealed = await gateway.rows("SELECT partition, number FROM message_block ORDER BY sealed_at")
    assert order == [{(row.partition, row.number)} for row in sealed]


async def test_the_token_that_is_kept_is_one_of_the_block_and_its_signature(
    gateway: RunningGateway,
) -> None:
    await blocks(gateway, 1)
    program = TimestampAuthority()
    async with authorities(program) as (asked, (url,)):
        await stamper(gateway, asked).stamp_next()
    (row,) = await gateway.rows(STAMPED)
    digest = stamped(header_of(row), row.signature)
    assert [one.key for one in program.stamped.rows] == [digest.hex()]
    assert row.tsa == url
    token = cms.ContentInfo.load(row.token)["content"]["encap_content_info"]["content"].parsed
    assert token["message_imprint"]["hashed_message"].native == digest
    assert token["gen_time"].native == row.stamped_at


async def test_replicas_share_the_blocks(gateway: RunningGateway) -> None:
    await blocks(gateway, 8)
    program = TimestampAuthority()
    async with authorities(program) as (asked, _):
        replicas = [stamper(gateway, asked) for _ in range(4)]

        async def all_of(one: Stamper) -> None:
            while await one.stamp_next():
                pass

        await asyncio.gather(*(all_of(one) for one in replicas))
    assert len(await gateway.rows(STAMPED)) == 8
    assert (len(program.stamped.rows), program.stamped.repeated()) == (8, 0)


async def test_a_block_whose_asker_was_killed_is_asked_for_again(gateway: RunningGateway) -> None:
    await blocks(gateway, 1)
    program = TimestampAuthority()
    async with authorities(program) as (asked, _):
        mine, other = stamper(gateway, asked, lease=0.3), stamper(gateway, asked, lease=0.3)
        # Killed after asking, before writing: all that stays is the claim.
        async with gateway.core.database.transaction() as connection:
            assert await message_blocks.claim(connection, 0.3) is not None
        assert await other.stamp_next() is False
        await asyncio.sleep(0.4)
        assert await mine.stamp_next() is True
    assert len(await gateway.rows(STAMPED)) == 1


async def test_the_first_token_stays(gateway: RunningGateway) -> None:
    await blocks(gateway, 1)
    async with authorities(TimestampAuthority()) as (asked, _):
        await stamper(gateway, asked).stamp_next()
        (row,) = await gateway.rows(STAMPED)
        async with gateway.core.database.transaction() as connection:
            again = await asked.stamp(CONTENT)
            kept = await message_blocks.stamp(
                connection, header_of(row), again.token, again.tsa, again.at
            )
        assert not kept
    (now,) = await gateway.rows(STAMPED)
    assert now.token == row.token


async def test_a_running_gateway_stamps_by_itself_as_soon_as_an_authority_is_back(
    databases: Databases, tmp_path: Path
) -> None:
    url = await gateway_database(databases)
    program = TimestampAuthority()
    async with listening(program) as tsa:
        await message_log.fault(tsa, "status", code=503, times=2)
        async with running_gateway(
            url,
            tmp_path,
            message_log_seconds=0.05,
            tsa_urls=(NOWHERE, tsa),
            tsa_certificates=program.authority.root_pem.decode(),
        ) as gateway:
            assert (await gateway.submit()).status_code == 202
            async with asyncio.timeout(30):
                while not await gateway.rows(STAMPED):
                    await asyncio.sleep(0.05)
            operator = gateway.bearer(scopes=["operations"])
            answer = await gateway.http.get("/internal/message-log/state", headers=operator)
    away, back = answer.json()["authorities"]
    assert (away["timestamps"], back["timestamps"]) == (0, 1)
    assert away["failures"] >= 1
    assert away["error"]


def test_addresses_need_certificates_to_trust(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tsa_certificates"):
        settings("postgresql+asyncpg://x/y", tmp_path, tsa_urls=("http://tsa.example",))
    with pytest.raises(ValueError, match="addresses"):
        settings("postgresql+asyncpg://x/y", tmp_path, tsa_urls=("file:///etc/passwd",))
