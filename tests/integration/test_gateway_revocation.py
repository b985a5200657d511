"""Clients are switched off, rights change, secrets and tokens end: soon, and everywhere."""

import argparse
import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
import structlog.testing
from sqlalchemy import text

from common.auth import TokenChecker
from common.command import CommandFailed
from common.errors import Unauthorised
from common.revocations import Revocations
from common.settings import TokenSettings
from gateway.__main__ import CLIENTS as COMMAND
from gateway.use_cases import credentials, revocation
from gateway.use_cases.client_desk import add_secret, disable, enable, end_secret, revoke
from tests.support.databases import Databases
from tests.support.gateway import (
    PROVINCE,
    SCOPES,
    RunningGateway,
    dossier_code,
    gateway_database,
    running_gateway,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRANT = {"grant_type": "client_credentials"}
SOON = 10.0
"""Seconds within which another replica knows; 30 are promised."""


@dataclass
class Someone:
    """A client of a test's own."""

    client_id: str
    secret: str

    @property
    def auth(self) -> tuple[str, str]:
        return self.client_id, self.secret


@dataclass
class World:
    """Two replicas of the gateway on one database, and a service that checks tokens itself."""

    one: RunningGateway
    two: RunningGateway
    revocations: Revocations
    service: TokenChecker
    url: str
    folder: Path

    async def someone(self) -> Someone:
        """A new client, registered as operators do."""
        made = Someone(f"c{secrets.token_hex(4)}", secrets.token_urlsafe(24))
        async with running_gateway(self.url, self.folder, clients=seeds(made)):
            pass
        return made

    async def token(self, client: Someone, at: RunningGateway | None = None) -> str:
        answer = await (at or self.one).http.post("/oauth/token", data=GRANT, auth=client.auth)
        return str(answer.json()["access_token"]) if answer.status_code == 200 else ""

    async def revoke(self, client: Someone, token: str) -> httpx.Response:
        return await self.one.http.post("/oauth/revoke", data={"token": token}, auth=client.auth)

    async def behind(self, token: str) -> bool:
        """Whether a service that is called directly takes the token, after its next question."""
        await self.revocations.refresh()
        try:
            await self.service.check(token)
        except Unauthorised:
            return False
        return True

    async def everywhere_refused(self, token: str) -> None:
        """Both replicas and the service refuse the token, by themselves and in time."""
        until = time.monotonic() + SOON
        while await status(self.one, token) != 401 or await status(self.two, token) != 401:
            assert time.monotonic() < until
            await asyncio.sleep(0.1)
        assert not await self.behind(token)


async def status(gateway: RunningGateway, token: str, path: str = "/v1/submissions") -> int:
    headers = {"authorization": f"Bearer {token}"}
    return (await gateway.http.get(path, headers=headers)).status_code


def seeds(*clients: Someone, **changed: Any) -> str:
    """The setting."""
    common = {"scopes": SCOPES, "agencies": [PROVINCE], **changed}
    return json.dumps([{"client_id": c.client_id, "secret": c.secret, **common} for c in clients])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    databases = Databases(postgres, f"t{secrets.token_hex(4)}")
    url = await gateway_database(databases)
    folder = tmp_path_factory.mktemp("revocation")
    async with (
        running_gateway(url, folder) as one,
        running_gateway(url, folder) as two,
    ):
        document = "http://gateway/oauth/revoked"
        revocations = Revocations(one.http, document, 15)
        keys = one.app.state.gateway.tokens.key.token_keys()
        service = TokenChecker(TokenSettings(), keys, revocations)
        yield World(one, two, revocations, service, url, folder)
    await databases.drop()


async def test_a_client_gives_its_token_back(world: World) -> None:
    """RFC 7009"""
    client = await world.someone()
    token, other = await world.token(client), await world.token(client)
    assert (await status(world.one, token), await status(world.two, token)) == (200, 200)
    assert await world.behind(token)
    answer = await world.revoke(client, token)
    assert (answer.status_code, answer.content) == (200, b"")
    assert await status(world.one, token) == 401
    await world.everywhere_refused(token)
    assert (await world.revoke(client, token)).status_code == 200
    assert await status(world.two, other) == 200
    assert await world.behind(other)


async def test_nobody_gives_back_what_is_anothers(world: World) -> None:
    client, other = await world.someone(), await world.someone()
    token = await world.token(client)
    refused = await world.revoke(other, token)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    refused = await world.revoke(Someone(client.client_id, "wrong"), token)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert await status(world.one, token) == 200


async def test_what_is_no_token_needs_no_end(world: World) -> None:
    client = await world.someone()
    token = await world.token(client)
    head, claims, signature = token.split(".")
    deep = jwt.utils.base64url_encode(b"[" * 5000).decode()
    for other in ("x", "a.b.c", f"{head}.{claims}.AAAA", f"{head}.{deep}.AAAA", "é"):
        assert (await world.revoke(client, other)).status_code == 200
    missing = await world.one.http.post("/oauth/revoke", data={}, auth=client.auth)
    assert (missing.status_code, missing.json()["error"]) == (400, "invalid_request")
    assert await status(world.one, token) == 200
    assert signature


async def test_many_tokens_given_back_end_all_of_the_client(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation, "_MOST_OF_CLIENT", 2)
    client = await world.someone()
    tokens = [await world.token(client) for _ in range(4)]
    for token in tokens[:3]:
        assert (await world.revoke(client, token)).status_code == 200
    assert await status(world.one, tokens[3]) == 401
    assert await status(world.one, await world.token(client)) == 200


async def test_a_client_that_is_switched_off_is_refused_everywhere(world: World) -> None:
    client = await world.someone()
    token = await world.token(client)
    assert await status(world.two, token) == 200
    await disable(world.one.core.database, client.client_id)
    await world.everywhere_refused(token)
    assert await world.token(client) == ""
    # Not even a restart with settings that know nothing of it brings it back.
    async with running_gateway(world.url, world.folder, clients=seeds(client)) as third:
        assert await world.token(client, third) == ""
    await enable(world.one.core.database, client.client_id)
    fresh = await world.token(client)
    await world.one.app.state.gateway.registry.refresh()
    assert await status(world.one, fresh) == 200
    assert await world.behind(fresh)
    assert await status(world.one, token) == 401


async def test_all_tokens_of_a_client_are_revoked_but_not_its_next(world: World) -> None:
    client = await world.someone()
    token = await world.token(client)
    await revoke(world.one.core.database, client.client_id)
    fresh = await world.token(client)  # in the same second, most likely
    await world.everywhere_refused(token)
    assert await status(world.one, fresh) == 200
    assert await world.behind(fresh)


async def test_one_token_is_revoked_by_its_id(world: World) -> None:
    client = await world.someone()
    token, other = await world.token(client), await world.token(client)
    jti = jwt.decode(token, options={"verify_signature": False})["jti"]
    await revoke(world.one.core.database, client.client_id, jti)
    await world.everywhere_refused(token)
    assert await status(world.two, other) == 200


async def test_a_right_that_is_taken_away_is_gone_from_tokens_that_have_it(world: World) -> None:
    client = await world.someone()
    token = await world.token(client)
    path = f"/v1/dossiers/{dossier_code()}"
    assert await status(world.one, token, path) == 503  # nobody behind, but let through
    fewer = seeds(client, scopes=["dossiers:write"])
    async with running_gateway(world.url, world.folder, clients=fewer):
        pass
    for gateway in (world.one, world.two):
        until = time.monotonic() + SOON
        while await status(gateway, token, path) != 403:
            assert time.monotonic() < until
            await asyncio.sleep(0.1)
    # A service that sees nothing but the token asks for a new one.
    assert not await world.behind(token)
    assert await world.behind(await world.token(client))


async def test_agencies_and_procedures_are_those_of_the_registry(world: World) -> None:
    client = await world.someone()
    token = await world.token(client)
    checker = world.one.core.tokens
    assert (await checker.check(token)).may_act_for(PROVINCE)
    async with world.one.core.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE client SET agencies = '{H56.14,H99}', procedures = '{1.000016}' "
                "WHERE client_id = :id"
            ),
            {"id": client.client_id},
        )
    await world.one.app.state.gateway.registry.refresh()
    principal = await checker.check(token)
    assert principal.may_act_for("H56.14.1")
    assert not principal.may_act_for(PROVINCE)
    assert not principal.may_act_for("H99")  # neither does the token say so
    assert principal.may_handle("1.000016")
    assert not principal.may_handle("1.000017")


async def test_two_secrets_are_good_until_one_is_ended(world: World) -> None:
    database = world.one.core.database
    client = await world.someone()
    newer = Someone(client.client_id, await add_secret(database, client.client_id))
    assert await world.token(client)
    assert await world.token(newer)
    assert not await world.token(Someone(client.client_id, newer.secret[:-1]))
    with pytest.raises(Exception, match="two secrets"):
        await add_secret(database, client.client_id)
    await end_secret(database, client.client_id, "older")
    assert not await world.token(client)
    assert await world.token(newer)
    with pytest.raises(Exception, match="no other way in"):
        await end_secret(database, client.client_id, "newer")
    # The settings still have the one that was ended: a restart does not bring it back.
    async with running_gateway(world.url, world.folder, clients=seeds(client)) as third:
        assert not await world.token(client, third)
        assert await world.token(newer, third)
    anew = Someone(client.client_id, "a-new-secret-in-the-settings")
    async with running_gateway(world.url, world.folder, clients=seeds(anew)) as third:
        assert await world.token(anew, third)
        assert not await world.token(newer, third)


async def test_one_secret_or_two_take_one_and_the_same_hash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await world.someone()
    newer = await add_secret(world.one.core.database, client.client_id)
    hashes = []
    made: Any = vars(credentials)["hash_secret"]

    def counting(*given: Any) -> Any:
        hashes.append(given)
        return made(*given)

    monkeypatch.setattr(credentials, "hash_secret", counting)
    for secret in (client.secret, newer, "wrong"):
        hashes.clear()
        await world.token(Someone(client.client_id, secret))
        assert len(hashes) == 1


async def test_the_list_of_revoked_tokens_names_nobody(world: World) -> None:
    client = await world.someone()
    token = await world.token(client)
    await world.revoke(client, token)
    await revoke(world.one.core.database, client.client_id)
    await world.one.app.state.gateway.registry.refresh()
    answer = await world.one.http.get("/oauth/revoked")
    jti = jwt.decode(token, options={"verify_signature": False})["jti"]
    assert set(answer.json()) == {"clients", "tokens"}
    assert client.client_id not in answer.text
    assert jti not in answer.text
    again = await world.one.http.get(
        "/oauth/revoked", headers={"if-none-match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


async def test_clients_are_not_let_in_on_what_was_known_long_ago(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await world.someone()
    token = await world.token(client)
    registry = world.two.app.state.gateway.registry
    assert await status(world.two, token) == 200

    def away() -> Any:
        raise ConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "_read_at", time.monotonic() - 15)
        patch.setattr(registry._database, "reading", away)
        assert (await world.two.core.tokens.check(token)).client_id == client.client_id
        patch.setattr(registry, "_read_at", time.monotonic() - 25)
        refused = await world.two.http.get(
            "/v1/submissions", headers={"authorization": f"Bearer {token}"}
        )
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert await status(world.two, token) == 200


async def test_operators_have_a_command(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``python -m gateway clients …``"""
    # It would tell every logger of this process to write into what is captured here.
    monkeypatch.setattr("gateway.__main__.configure_logging", lambda *_: None)
    client = await world.someone()

    async def run(*arguments: str) -> str:
        parser = argparse.ArgumentParser()
        COMMAND.arguments(parser)
        settings = world.one.core.settings
        capsys.readouterr()
        with structlog.testing.capture_logs():
            await COMMAND.work(settings, world.one.core.database, parser.parse_args(arguments))  # type: ignore[arg-type]
        return capsys.readouterr().out

    secret = (await run("add-secret", client.client_id)).strip()
    newer = Someone(client.client_id, secret)
    assert await world.token(newer)
    assert f"{client.client_id} on secrets=2" in await run("list")
    await run("end-secret", client.client_id, "older")
    assert not await world.token(client)
    token = await world.token(newer)
    await run("revoke", client.client_id)
    await run("disable", client.client_id)
    assert f"{client.client_id} off secrets=1" in await run("list")
    await world.everywhere_refused(token)
    await run("enable", client.client_id)
    assert await world.token(newer)
    jti = jwt.decode(await world.token(newer), options={"verify_signature": False})["jti"]
    await run("revoke", client.client_id, "--jti", jti)
    with pytest.raises(CommandFailed, match="no client"):
        await run("disable", "nobody")
