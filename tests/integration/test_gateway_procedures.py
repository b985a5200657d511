"""What a client may do that deals with some procedures only: steps, codes, its own submissions."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.contracts.catalog import Field, ProcedurePublished
from tests.support.databases import Databases
from tests.support.dossier_flow import Flow, running_flow
from tests.support.gateway import (
    AGENCY,
    PROCEDURE,
    RunningGateway,
    dossier_code,
    gateway_database,
    running_gateway,
    step,
    submission,
)

FOREIGN = "1.004227"
CODE = dossier_code()


@pytest.fixture
async def gateway(databases: Databases, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


@pytest.fixture
async def flow(databases: Databases, tmp_path: Path) -> AsyncIterator[Flow]:
    async with running_flow(databases, tmp_path) as running:
        yield running


def rights(gateway: RunningGateway, *procedures: str, client: str = "other") -> dict[str, str]:
    """A token for these procedures, of a client whose registered ones are no more than that."""
    header = gateway.bearer(client, procedures=procedures)
    registry = gateway.app.state.gateway.registry
    registry.clients[client] = replace(registry.clients[client], procedures=procedures)
    return header


async def step_by(
    gateway: RunningGateway, header: dict[str, str], code: str = CODE, **headers: str
) -> httpx.Response:
    """A step on a dossier, with a key of its own."""
    given = {"idempotency-key": f"key-{len(await gateway.submissions())}-{code}", **headers}
    return await gateway.http.post(
        f"/v1/dossiers/{code}/steps", json=step(), headers={**header, **given}
    )


async def test_a_dossier_of_another_procedure_is_not_taken_in(gateway: RunningGateway) -> None:
    header = rights(gateway, FOREIGN)
    answer = await gateway.http.post("/v1/dossiers", json=submission(), headers=header)
    assert answer.status_code == 403
    assert answer.json()["detail_en"] == f"This client does not deal with the procedure {PROCEDURE}"
    assert await gateway.submissions() == []


async def test_a_step_on_a_dossier_of_another_procedure_is_refused_at_once(
    gateway: RunningGateway,
) -> None:
    assert (await gateway.submit()).status_code == 202
    answer = await step_by(gateway, rights(gateway, FOREIGN))
    assert answer.status_code == 403
    assert PROCEDURE not in answer.text
    assert len(await gateway.submissions()) == 1


async def test_a_step_says_of_which_procedure_its_dossier_has_to_be(
    gateway: RunningGateway,
) -> None:
    assert (await gateway.submit()).status_code == 202
    assert (await step_by(gateway, rights(gateway, PROCEDURE, FOREIGN))).status_code == 202
    assert (await step_by(gateway, rights(gateway, "*"))).status_code == 202
    unheard = await step_by(gateway, rights(gateway, PROCEDURE, FOREIGN), dossier_code(9))
    assert unheard.status_code == 202
    _, known, everything, unknown = await gateway.submissions()
    assert known.procedures == (PROCEDURE,)
    assert everything.procedures is None
    assert unknown.procedures == (PROCEDURE, FOREIGN)


async def test_a_step_that_the_gateway_cannot_judge_is_judged_with_the_dossier(flow: Flow) -> None:
    gateway = flow.gateway
    assert (await flow.submit(submission())).status_code == 200
    async with gateway.core.database.transaction() as connection:  # as a row of before
        await connection.exec_driver_sql("UPDATE submission SET procedure = NULL")
    header = rights(gateway, FOREIGN)
    answer = await step_by(gateway, header, prefer="wait=20")
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (403, "forbidden")
    own = await gateway.http.get(answer.headers["location"], headers=header)
    assert own.json()["state"] == "refused"
    assert len(await flow.history(CODE)) == 1
    answer = await step_by(gateway, rights(gateway, PROCEDURE), prefer="wait=20")
    assert answer.status_code == 200, answer.text


async def test_a_code_that_passes_to_another_procedure_takes_no_steps_of_before(flow: Flow) -> None:
    """What the gateway knew of a code was true when the step came, and is not when it is obeyed."""
    told = flow.gateway
    await told.hear(
        ProcedurePublished(
            code=FOREIGN, name="Khác", field=Field(code=None, name="Đất đai"), version=1
        )
    )
    assert (await flow.submit(submission(procedure=FOREIGN))).status_code == 200
    async with told.core.database.transaction() as connection:  # as it was known a moment ago
        await connection.exec_driver_sql(f"UPDATE submission SET procedure = '{PROCEDURE}'")
    answer = await step_by(told, rights(told, PROCEDURE), prefer="wait=20")
    assert answer.status_code == 403, answer.text


async def test_own_submissions_follow_the_rights_of_now(gateway: RunningGateway) -> None:
    header = rights(gateway, PROCEDURE)
    sent = await gateway.http.post("/v1/dossiers", json=submission(), headers=header)
    where = sent.headers["location"]

    async def seen(header: dict[str, str]) -> tuple[int, int]:
        one = await gateway.http.get(where, headers=header)
        page: Any = (await gateway.http.get("/v1/submissions", headers=header)).json()
        return one.status_code, len(page["items"])

    assert await seen(header) == (200, 1)
    assert await seen(rights(gateway, FOREIGN)) == (404, 0)
    assert await seen(rights(gateway, "*")) == (200, 1)
    elsewhere = gateway.bearer("foreign", procedures=("*",))
    assert (await gateway.http.get(where, headers=elsewhere)).status_code == 404


async def test_a_pending_dossier_is_there_for_its_procedure_alone(gateway: RunningGateway) -> None:
    assert (await gateway.submit()).status_code == 202

    async def read(header: dict[str, str]) -> int:
        return (await gateway.http.get(f"/v1/dossiers/{CODE}", headers=header)).status_code

    assert await read(rights(gateway, PROCEDURE)) == 200
    assert await read(rights(gateway, FOREIGN)) == 503  # nobody is behind, nothing to tell of


async def test_codes_and_files_need_a_procedure_at_least(gateway: RunningGateway) -> None:
    header = rights(gateway)
    answer = await gateway.http.post(
        "/exchange/v1/GetNextValue", json={"code": AGENCY}, headers=header
    )
    assert answer.status_code == 403
    answer = await gateway.http.post(
        "/v1/files", content=b"%PDF-1.4", headers={**header, "content-type": "application/pdf"}
    )
    assert answer.status_code == 403
