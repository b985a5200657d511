"""Keys are kept for their days and then forgotten; a dossier code is never taken twice."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from gateway.use_cases import keeping
from gateway.use_cases.keeping import Keeping
from tests.integration.test_gateway_bulk import lines_of, ndjson, send, without_code
from tests.integration.test_gateway_intake import problem_of
from tests.support.databases import Databases
from tests.support.gateway import (
    RunningGateway,
    dossier_code,
    gateway_database,
    running_gateway,
    step,
    submission,
)

REPLAYED = "idempotent-replayed"


@pytest.fixture
async def gateway(databases: Databases, tmp_path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


async def after(gateway: RunningGateway, **days: float) -> int:
    """What retention forgets when that much time has gone by."""
    worker = Keeping(gateway.core.database, 30)
    return await worker.forget(datetime.now(UTC) + timedelta(**days))


async def test_a_key_is_good_for_thirty_days(gateway: RunningGateway) -> None:
    first = await gateway.take_step(step(), idempotency_key="k")
    assert await after(gateway, days=29, hours=23) == 0
    again = await gateway.take_step(step(), idempotency_key="k")
    assert (again.headers[REPLAYED], again.json()) == ("true", first.json())
    assert await after(gateway, days=30, minutes=1) == 1
    anew = await gateway.take_step(step("progress"), idempotency_key="k")
    assert anew.status_code == 202
    assert REPLAYED not in anew.headers
    assert len(await gateway.told()) == 2


async def test_a_dossier_code_outlives_its_key(gateway: RunningGateway) -> None:
    first = await gateway.submit(idempotency_key="k")
    await gateway.apply(first.json()["submission_id"])
    assert await after(gateway, days=31) == 1
    for headers in ({"idempotency_key": "k"}, {"idempotency_key": "other"}, {}):
        same = await gateway.submit(**headers)
        assert same.json()["submission_id"] == first.json()["submission_id"]
        other = await gateway.submit(submission(summary="Khác"), **headers)
        assert (other.status_code, problem_of(other)) == (409, "dossier-code-taken")
    assert len(await gateway.told()) == 1


async def test_an_attempt_whose_key_is_forgotten_stays_refused_for_itself_alone(
    gateway: RunningGateway,
) -> None:
    """Forgetting must not make two refused attempts at the same content one."""
    for key in ("", "k-1", "k-2"):
        taken = await gateway.submit(idempotency_key=key)
        await gateway.refuse(taken.json()["submission_id"])
    assert await after(gateway, days=31) == 2
    unkeyed = await gateway.submit()
    assert (unkeyed.json()["state"], unkeyed.headers[REPLAYED]) == ("refused", "true")
    anew = await gateway.submit(idempotency_key="k-1")
    assert (anew.json()["state"], REPLAYED in anew.headers) == ("pending", False)


async def test_it_goes_on_where_it_was(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "_BATCH", 100)
    told, _ = lines_of(await send(gateway, ndjson(*[without_code() for _ in range(230)])))
    assert await after(gateway, days=31) == 230
    assert await after(gateway, days=32) == 0
    await gateway.take_step(step(), idempotency_key="young")
    assert await after(gateway, days=29) == 0
    assert await after(gateway, days=33) == 1
    assert len({one["submission_id"] for one in told}) == 230
    assert len(await gateway.rows("SELECT 1 FROM submission")) == 231


async def test_bulk_requests_are_forgotten_with_their_keys(gateway: RunningGateway) -> None:
    line = submission(dossier_code(1))
    first, last = lines_of(await send(gateway, ndjson(line, b"{}")))
    await after(gateway, days=31)
    assert (await gateway.get(f"/v1/bulk/{last['bulk_id']}")).status_code == 404
    assert await gateway.rows("SELECT 1 FROM bulk_refusal") == []
    again, anew = lines_of(await send(gateway, ndjson(line, without_code())))
    assert anew["bulk_id"] != last["bulk_id"]
    # Its code is what is left to know the dossier by.
    assert again[0]["submission_id"] == first[0]["submission_id"]
    assert again[1]["outcome"] == "taken-in"
