"""The gateway judges rights by the agency that has the dossier, as soon as it hears of it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest

from common.contracts.catalog import Field
from common.contracts.commands import ProcedureSummary
from common.contracts.dossier import (
    DossierImported,
    DossierState,
    StepTaken,
    SubmissionApplied,
)
from tests.support.databases import Databases
from tests.support.gateway import (
    AGENCY,
    OTHER,
    PROVINCE,
    RunningGateway,
    dossier_code,
    gateway_database,
    running_gateway,
    step,
    submission,
)

NOON = datetime(2015, 3, 2, 5, tzinfo=UTC)


@pytest.fixture
async def gateway(databases: Databases, tmp_path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


async def transfer(gateway: RunningGateway, agency: str, code: str | None = None) -> UUID:
    """A transfer that was taken in; its outcome is still to come."""
    body = step("transfer", agency=agency, reason="Sáp nhập")
    answer = await gateway.take_step(body, code)
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["submission_id"])


def applied(submission_id: UUID, agency: str, number: int, code: str | None = None):
    return SubmissionApplied(
        submission_id=submission_id,
        dossier_code=code or dossier_code(),
        agency=agency,
        status="2",
        step_number=number,
    )


async def who_may(gateway: RunningGateway, code: str | None = None) -> list[str]:
    answers = {
        client: await gateway.take_step(step("progress"), code, client=client)
        for client in ("one-stop", "foreign")
    }
    assert {answer.status_code for answer in answers.values()} <= {202, 403}
    return [client for client, answer in answers.items() if answer.status_code == 202]


async def test_rights_pass_on_when_the_transfer_has_taken_effect(gateway: RunningGateway) -> None:
    await gateway.submit()
    moved = await transfer(gateway, OTHER)
    assert await who_may(gateway) == ["one-stop"]
    await gateway.hear(applied(moved, OTHER, 2))
    assert await who_may(gateway) == ["foreign"]
    rows = await gateway.rows(
        "SELECT agency FROM submission WHERE client_id = 'foreign' AND dossier_code = :code",
        code=dossier_code(),
    )
    assert [row.agency for row in rows] == [OTHER]


@pytest.mark.parametrize("together", [True, False])
async def test_the_last_transfer_counts_in_whatever_order_outcomes_come(
    gateway: RunningGateway, together
) -> None:
    await gateway.submit()
    first = applied(await transfer(gateway, OTHER), OTHER, 2)
    second = applied(await transfer(gateway, PROVINCE), PROVINCE, 3)
    for events in [(second, first)] if together else [(second,), (first,)]:
        await gateway.hear(*events)
    assert await who_may(gateway) == ["one-stop"]


async def test_other_steps_and_refused_transfers_move_nothing(gateway: RunningGateway) -> None:
    await gateway.submit()
    refused = await transfer(gateway, OTHER)
    await gateway.refuse(str(refused), "step-not-possible")
    received = (await gateway.take_step(step())).json()["submission_id"]
    await gateway.hear(applied(UUID(received), OTHER, 2))
    assert await who_may(gateway) == ["one-stop"]


async def test_a_dossier_that_was_not_handed_in_here_passes_on_too(gateway: RunningGateway) -> None:
    """Such as an old one that was imported: its code alone says whose it is."""
    old = dossier_code(77)
    moved = await transfer(gateway, OTHER, old)
    await gateway.hear(applied(moved, OTHER, 12, old))
    assert await who_may(gateway, old) == ["foreign"]


async def test_the_target_needs_to_exist_and_no_rights(gateway: RunningGateway) -> None:
    await gateway.submit(submission(agency=AGENCY))
    body = step("transfer", agency="H99.01", reason="Sáp nhập")
    unknown = await gateway.take_step(body)
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["pointer"] == "/agency"
    await transfer(gateway, OTHER)
    foreign = await gateway.take_step(
        step("transfer", agency=OTHER, reason="Lấy về"), client="foreign"
    )
    assert foreign.status_code == 403


async def test_an_old_dossier_is_stepped_by_the_agency_it_entered_with(
    gateway: RunningGateway,
) -> None:
    entered = DossierState(
        code=dossier_code(),
        agency=OTHER,
        procedure=ProcedureSummary(
            code="1.000001", name="Cấp phép", field=Field(code=None, name="x")
        ),
        channel="1",
        applicant_kind="1",
        sealed="",
        summary="Hồ sơ cũ",
        status="2",
        submitted_at=NOON,
        historic=True,
    )
    last = StepTaken(number=1, kind="submit", status="2", at=NOON)
    assert await who_may(gateway) == ["one-stop"]
    await gateway.hear(DossierImported(dossier=entered, step=last))
    assert await who_may(gateway) == ["foreign"]
