"""A client's rate and its submissions of a day hold over all gateways of one database."""

import asyncio
import json
import time
from contextlib import AsyncExitStack

from sqlalchemy import text

from common.database import DatabaseAway
from gateway.use_cases.limits import Defaults, Limits, Rate
from tests.support.gateway import (
    CLIENTS,
    SECRET,
    dossier_code,
    gateway_database,
    running_gateway,
    submission,
)

SLOW = {**CLIENTS[0], "per_second": 5.0, "burst": 20}
STILL = {**CLIENTS[0], "per_second": 0.01, "burst": 20}
FEW = {**CLIENTS[0], "per_day": 5}


async def requests(gateway, count: int, client: str = "one-stop"):
    return await asyncio.gather(
        *(gateway.get("/v1/submissions", client=client) for _ in range(count))
    )


async def test_two_gateways_together_let_through_what_one_may(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(
                running_gateway(url, tmp_path / str(number), clients=json.dumps([SLOW]))
            )
            for number in range(2)
        ]
        began = time.monotonic()
        answers = []
        for _ in range(10):
            for found in await asyncio.gather(*(requests(one, 5) for one in gateways)):
                answers += found
            await asyncio.sleep(0.05)
        seconds = time.monotonic() - began
    taken = [one for one in answers if one.status_code == 200]
    refused = [one for one in answers if one.status_code == 429]
    assert len(taken) + len(refused) == 100
    # Nobody held anything before: not even a slice comes on top.
    assert len(taken) <= 20 + 5 * seconds + 1
    assert len(taken) >= 20
    (told,) = {one.json()["type"] for one in refused}
    assert told == "urn:lienthong:problem:rate-exceeded"
    assert {one.headers["retry-after"] for one in refused} == {"1"}
    assert refused[-1].json()["violated-policies"] == ["rate"]


async def test_answers_say_what_is_left(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, clients=json.dumps([SLOW])) as gateway:
        answer = await gateway.get("/v1/submissions")
        assert answer.headers["ratelimit-policy"] == '"rate";q=20;w=4'
        assert answer.headers["ratelimit"] == '"rate";r=19;t=1'
        assert "ratelimit" not in (await gateway.http.get("/v1/submissions")).headers
        answer = await gateway.submit()
        assert '"day";q=1000000;w=86400' in answer.headers["ratelimit-policy"]


async def test_a_client_that_asks_too_much_does_not_hinder_another(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, clients=json.dumps([STILL])) as gateway:
        await requests(gateway, 60)
        assert (await gateway.get("/v1/submissions")).status_code == 429
        others = await requests(gateway, 60, client="other")
        assert {one.status_code for one in others} == {200}


async def test_a_bucket_fills_again(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    client = {**CLIENTS[0], "per_second": 20.0, "burst": 3}
    async with running_gateway(url, tmp_path, clients=json.dumps([client])) as gateway:
        await requests(gateway, 10)
        await asyncio.sleep(0.25)
        assert (await gateway.get("/v1/submissions")).status_code == 200


async def test_the_days_submissions_are_counted_once_over_all_gateways(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(
                running_gateway(url, tmp_path / str(number), clients=json.dumps([FEW]))
            )
            for number in range(2)
        ]
        bodies = [submission(dossier_code(number)) for number in range(1, 9)]
        answers = await asyncio.gather(
            *(gateways[number % 2].submit(body) for number, body in enumerate(bodies))
        )
        assert sorted(one.status_code for one in answers) == [202] * 5 + [429] * 3
        refused = next(one for one in answers if one.status_code == 429)
        assert refused.json()["type"] == "urn:lienthong:problem:quota-exceeded"
        assert refused.json()["violated-policies"] == ["day"]
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        # Reads go on.
        assert (await gateways[0].get("/v1/submissions")).status_code == 200


async def test_repeated_and_refused_submissions_do_not_count(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, clients=json.dumps([FEW])) as gateway:
        first = submission(dossier_code(1))
        for _ in range(4):
            assert (await gateway.submit(first)).status_code == 202
        for _ in range(3):
            assert (await gateway.submit({**first, "summary": "khác"})).status_code == 409
        for number in range(2, 6):
            assert (await gateway.submit(submission(dossier_code(number)))).status_code == 202
        assert (await gateway.submit(submission(dossier_code(6)))).status_code == 429
        (row,) = await gateway.rows("SELECT taken, per_day FROM day_quota")
        assert tuple(row) == (5, 5)


async def test_what_a_gateway_did_not_need_is_given_back_when_it_stops(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    client = {**CLIENTS[0], "per_second": 0.001, "burst": 100}
    for number in range(3):
        async with running_gateway(
            url, tmp_path / str(number), clients=json.dumps([client])
        ) as gateway:
            taken = [one.status_code for one in await requests(gateway, 30)]
            assert taken == [200] * 30
    async with running_gateway(url, tmp_path / "last", clients=json.dumps([client])) as gateway:
        taken = [one.status_code for one in await requests(gateway, 30)]
        assert taken.count(200) == 10


async def test_without_the_database_a_gateway_lets_its_share_through_and_no_more(
    databases, tmp_path, monkeypatch
) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as gateway:
        one = Rate(0.001, 40)
        limits = Limits(gateway.core.database, Defaults(one, 10, one, one, replicas=4))
        for _ in range(8):  # what it had leased by then is spent first
            await limits.request("client")

        def away():
            raise DatabaseAway("away")

        monkeypatch.setattr(gateway.core.database, "reading", away)
        taken = 0
        for _ in range(100):
            try:
                await limits.request("client")
                taken += 1
            except Exception as error:
                assert type(error).__name__ == "RateExceeded"  # noqa: PT017
        slice_and_quarter = 1
        assert 10 <= taken <= 40 / 4 + slice_and_quarter + 5
        fresh = [await _outcome(limits, "never seen before") for _ in range(30)]
        assert fresh.count("through") == 10


async def _outcome(limits: Limits, client_id: str) -> str:
    try:
        await limits.request(client_id)
    except Exception as error:
        return type(error).__name__
    return "through"


async def test_a_limit_that_is_changed_holds_soon(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as gateway:
        assert {one.status_code for one in await requests(gateway, 5)} == {200}
        async with gateway.core.database.transaction() as connection:
            await connection.execute(
                text("UPDATE client SET per_second = 1, burst = 2 WHERE client_id = 'one-stop'")
            )
        let_through = 10
        async with asyncio.timeout(60):  # while the database is slow, the limits of before count
            while let_through > 3:
                await gateway.app.state.gateway.limits.close()  # as after some idle seconds
                found = [one.status_code for one in await requests(gateway, 10)]
                let_through = found.count(200)


async def test_token_requests_are_limited_by_client_id(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(
        url, tmp_path, token_rate_per_second=0.01, token_rate_burst=3
    ) as gateway:

        async def ask(secret: str, path: str = "/oauth/token"):
            form = {"grant_type": "client_credentials"}
            if path == "/oauth/token":
                return await gateway.http.post(path, data=form, auth=("one-stop", secret))
            return await gateway.http.post(
                path, json={"client_id": "one-stop", "client_secret": secret}
            )

        assert (await ask(SECRET)).status_code == 200
        found = [(await ask("wrong secret, quite wrong")).status_code for _ in range(5)]
        # The client proved here to be itself: this address has a count of its own.
        assert found == [401, 401, 401, 429, 429]
        refused = await ask(SECRET, "/exchange/v1/token")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 1
        other = await gateway.http.post(
            "/oauth/token",
            data={"grant_type": "client_credentials"},
            auth=("other", SECRET + "-2"),
        )
        assert other.status_code == 200


async def test_strangers_are_limited_by_address(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(
        url,
        tmp_path,
        stranger_rate_per_second=0.01,
        stranger_rate_burst=3,
        trusted_proxies=["127.0.0.0/8"],
    ) as gateway:

        async def ask(address: str, path: str = "/.well-known/jwks.json", **headers: str):
            sent = {"x-forwarded-for": address, **headers}
            return (await gateway.http.get(path, headers=sent)).status_code

        assert [await ask("203.0.113.1") for _ in range(5)] == [200, 200, 200, 429, 429]
        # What the caller itself put in front of it does not count.
        assert await ask("198.51.100.7, 203.0.113.1") == 429
        assert await ask("203.0.113.2") == 200
        found = [await ask(f"2001:db8::{number}") for number in range(5)]
        assert found == [200, 200, 200, 429, 429]
        assert await ask("2001:db8:0:1::1") == 200
        # Clients with a token are counted as clients.
        assert await ask("203.0.113.1", "/v1/submissions", **gateway.bearer()) == 200
        assert await ask("203.0.113.1", "/healthz") == 200


async def test_who_is_refused_costs_no_database(databases, tmp_path) -> None:
    url = await gateway_database(databases)
    client = {**CLIENTS[0], "per_second": 0.01, "burst": 2}
    async with running_gateway(url, tmp_path, clients=json.dumps([client])) as gateway:
        await requests(gateway, 4)
        before = await gateway.rows("SELECT at FROM rate_bucket WHERE key = 'one-stop'")
        refused = await requests(gateway, 20)
        assert {one.status_code for one in refused} == {429}
        assert await gateway.rows("SELECT at FROM rate_bucket WHERE key = 'one-stop'") == before
