"""Nothing but the gateway's own database is needed to answer 202: here everything else is down."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from common.service import Shared
from common.transport.rabbitmq import RabbitTransport
from simulators.timestamps import authority
from tests.integration.test_gateway_bulk import lines_of, ndjson, send
from tests.support.databases import Databases
from tests.support.gateway import (
    CLIENTS,
    NOWHERE,
    SECRET,
    RunningGateway,
    Upstream,
    dossier_code,
    gateway_database,
    running_gateway,
    step,
    submission,
)
from tests.support.rabbitmq import RabbitNode


async def takes_in(gateway: RunningGateway, number: int) -> None:
    """A token, a dossier, one without a code, a step, a bulk request: all answered."""
    token = await gateway.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(str(CLIENTS[0]["client_id"]), SECRET),
    )
    assert token.status_code == 200, token.text
    code = dossier_code(number)
    without = {**submission(), "agency": "H56.14"}
    del without["code"]
    answers = [
        await gateway.submit(submission(code)),
        await gateway.submit(without, idempotency_key=f"without-{number}"),
        await gateway.take_step(step("receive"), code, prefer="wait=1"),
    ]
    assert [answer.status_code for answer in answers] == [202] * 3, answers[0].text
    key = f"lot-{number}"
    told, _ = lines_of(await send(gateway, ndjson(submission(dossier_code(number + 50))), key))
    assert told[0]["outcome"] == "taken-in"


async def waiting(gateway: RunningGateway) -> int:
    async with gateway.core.database.reading() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM outbox"))).scalar_one())


async def test_intake_needs_only_its_database(
    databases: Databases, tmp_path, rabbit_node: RabbitNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await gateway_database(databases)
    vhost = await asyncio.to_thread(rabbit_node.broker.create_vhost, "alone")
    behind = Upstream()
    async with behind.serving():
        given: dict[str, Any] = {
            "amqp_url": vhost,
            "dossier_url": behind.url,
            "catalog_url": behind.url,
            "signature_url": behind.url,
            "portal_sync_url": behind.url,
            "tsa_urls": (behind.url,),
            "tsa_certificates": authority("tsa").root_pem.decode(),
            "sandbox_url": behind.url,
        }
        async with running_gateway(url, tmp_path, shared=Shared(), **given) as gateway:
            assert isinstance(gateway.core.transport, RabbitTransport)
            await takes_in(gateway, 1)
            async with asyncio.timeout(20):
                while await waiting(gateway):
                    await asyncio.sleep(0.05)
            await asyncio.sleep(1.5)  # the broker has written down what it was declared
    # From here on: no service behind, no broker, no place for files.
    await asyncio.to_thread(rabbit_node.kill)
    given["blobs_url"] = "s3://papers/backbone"
    for name, value in {
        "AWS_ENDPOINT": NOWHERE,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "vn",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
    }.items():
        monkeypatch.setenv(name, value)
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(behind.url)
    try:
        # Also after a restart in the middle of it.
        for number in (2, 3):
            async with running_gateway(url, tmp_path, shared=Shared(), **given) as gateway:
                await takes_in(gateway, number)
                assert await waiting(gateway) >= 4
    finally:
        await asyncio.to_thread(rabbit_node.start)
    async with running_gateway(url, tmp_path, shared=Shared(), **given) as gateway:
        async with asyncio.timeout(60):
            while await waiting(gateway):
                await asyncio.sleep(0.05)
        assert len(await gateway.told()) == 12
        assert json.loads((await gateway.get("/v1/submissions")).content)["items"]
