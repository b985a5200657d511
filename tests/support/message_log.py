"""The message log for tests: read back from the database and checked from the beginning."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from jwt.algorithms import ECAlgorithm
from sqlalchemy import text

from common.database import Database
from gateway.domain.proof import GENESIS, Header, Record, linked, root
from gateway.store.message_blocks import header_of
from gateway.store.message_log import record_of
from simulators.tsa import TimestampAuthority
from tests.support.gateway import RunningGateway, listening


def key_of(jwk: dict[str, Any]) -> ec.EllipticCurvePublicKey:
    """A public key of a JWK."""
    key = ECAlgorithm.from_jwk(jwk)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def check_signature(jwk: dict[str, Any], signature: bytes, content: bytes) -> None:
    """Raise unless an ES256 signature (r and s) is one of the content."""
    assert len(signature) == 64
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key_of(jwk).verify(encode_dss_signature(r, s), content, ec.ECDSA(SHA256()))


async def rows(database: Database, statement: str, **values: Any) -> list[Any]:
    """What a query finds."""
    async with database.reading() as connection:
        return list(await connection.execute(text(statement), values))


async def records(database: Database) -> list[Record]:
    """Every record, sealed or not, as they came."""
    found = await rows(
        database,
        """
        SELECT id, at, client_id, agency, form, digest, size, status, answer_digest, subject
        FROM message_pending UNION ALL
        SELECT id, at, client_id, agency, form, digest, size, status, answer_digest, subject
        FROM message_log ORDER BY id
        """,
    )
    return [record_of(row) for row in found]


async def checked(database: Database) -> dict[int, list[Header]]:
    """The blocks of each partition, once every number, hash, link, root and signature is right."""
    keys = {row.key_id: row.jwk for row in await rows(database, "SELECT * FROM message_key")}
    chains: dict[int, list[Header]] = {}
    for chain in await rows(database, "SELECT * FROM message_chain ORDER BY partition"):
        partition = chain.partition
        log = await rows(
            database,
            "SELECT * FROM message_log WHERE partition = :partition ORDER BY number",
            partition=partition,
        )
        assert [row.number for row in log] == list(range(1, chain.records + 1))
        link, hashes = GENESIS, []
        for row in log:
            assert record_of(row).hash() == row.hash
            link = linked(link, row.hash)
            assert row.link == link
            hashes.append(row.hash)
        assert chain.link == link
        blocks = await rows(
            database,
            "SELECT * FROM message_block WHERE partition = :partition ORDER BY number",
            partition=partition,
        )
        assert [block.number for block in blocks] == list(range(1, chain.blocks + 1))
        headers, previous, last = [], GENESIS, 0
        for block in blocks:
            header = header_of(block)
            assert (header.first, header.previous) == (last + 1, previous)
            assert header.root == root(hashes[header.first - 1 : header.last])
            assert header.link == log[header.last - 1].link
            check_signature(keys[header.key_id], block.signature, header.signed())
            last, previous = header.last, header.hash()
            headers.append(header)
        assert (last, previous) == (chain.records, chain.header)
        chains[partition] = headers
    return chains


async def seal(gateway: RunningGateway) -> int:
    """Seal what waits now; how many records."""
    return int(await gateway.app.state.gateway.log_works.sealer.seal_all())


@asynccontextmanager
async def authority(**options: Any) -> AsyncIterator[tuple[str, TimestampAuthority]]:
    """A timestamp authority that listens, and its address."""
    program = TimestampAuthority(**options)
    async with listening(program) as url:
        yield url, program


async def fault(url: str, kind: str, **rule: Any) -> None:
    """Let a simulator misbehave."""
    async with httpx.AsyncClient(base_url=url) as client:
        answer = await client.post("/_faults", json={"kind": kind, **rule})
        assert answer.status_code == 200, answer.text


async def without_faults(url: str) -> None:
    """Let it behave again."""
    async with httpx.AsyncClient(base_url=url) as client:
        await client.delete("/_faults")
