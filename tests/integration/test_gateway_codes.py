"""Dossier codes for source systems that have none: each once, whatever happens."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text

from common.contracts.commands import Submit
from gateway.domain.codes import issued_code
from gateway.use_cases import codes
from gateway.use_cases.codes import Codes
from tests.support.databases import Databases
from tests.support.gateway import (
    AGENCY,
    NAME,
    PROVINCE,
    RunningGateway,
    dossier_code,
    gateway_database,
    running_gateway,
    submission,
)

DAY = date(2026, 11, 2)


@pytest.fixture(autouse=True)
def _one_day(monkeypatch) -> None:
    """No midnight falls into a test; the day is asked for the moment of intake."""

    def day(moment: datetime) -> date:
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
        return DAY

    monkeypatch.setattr(codes, "day_of_issue", day)


@pytest.fixture
async def gateway(databases: Databases, tmp_path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


def without_code(**changed):
    body = submission(agency=AGENCY, **changed)
    del body["code"]
    return body


def issued(number: int) -> str:
    return issued_code(AGENCY, DAY, number)


def codes_of(gateway: RunningGateway) -> Codes:
    found: Codes = gateway.app.state.gateway.codes
    return found


def slug(answer) -> str:
    return str(answer.json()["type"]).removeprefix("urn:lienthong:problem:")


async def used_by_a_source_system(gateway: RunningGateway, first: int, last: int) -> None:
    """Dossiers that came with codes of their own."""
    async with gateway.core.database.transaction() as connection:
        await connection.execute(
            text(
                """
                INSERT INTO submission (id, client_id, agency, dossier_code, kind, fingerprint,
                                        received_at)
                SELECT gen_random_uuid(), 'one-stop', 'H56.14', code, 'submit', 'k1.00', now()
                FROM unnest(CAST(:codes AS text[])) AS code
                """
            ),
            {"codes": [issued(number) for number in range(first, last + 1)]},
        )


async def test_a_dossier_without_a_code_is_given_one(gateway: RunningGateway) -> None:
    answer = await gateway.submit(without_code(), idempotency_key="k-1")
    assert answer.status_code == 202
    body = answer.json()
    assert body["dossier_code"] == issued(1)
    assert answer.headers["location"] == f"/v1/submissions/{body['submission_id']}"
    (event,) = await gateway.submissions()
    assert (event.dossier_code, event.agency) == (issued(1), AGENCY)
    assert isinstance(event.command, Submit)
    # The applicant is sealed for the code that was issued.
    assert gateway.core.keys.open(event.command.sealed, issued(1))["name"] == NAME
    second = await gateway.submit(without_code(), idempotency_key="k-2")
    assert second.json()["dossier_code"] == issued(2)


async def test_the_same_key_gives_the_same_code(gateway: RunningGateway) -> None:
    answers = [await gateway.submit(without_code(), idempotency_key="k-1") for _ in range(5)]
    assert len({answer.text for answer in answers}) == 1
    other = await gateway.submit(without_code(summary="Khác"), idempotency_key="k-1")
    assert (other.status_code, slug(other)) == (422, "idempotency-key-reused")
    elsewhere = await gateway.submit({**without_code(), "agency": PROVINCE}, idempotency_key="k-1")
    assert slug(elsewhere) == "idempotency-key-reused"
    coded = await gateway.submit(submission(issued(1), agency=AGENCY), idempotency_key="k-1")
    assert slug(coded) == "idempotency-key-reused"
    assert len(await gateway.told()) == 1
    (row,) = await gateway.rows("SELECT last FROM code_counter")
    assert row.last == 1  # repeating uses up no numbers


async def test_a_refused_one_keeps_its_answer_and_another_key_tries_again(
    gateway: RunningGateway,
) -> None:
    first = (await gateway.submit(without_code(), idempotency_key="k-1")).json()
    await gateway.refuse(first["submission_id"])
    again = (await gateway.submit(without_code(), idempotency_key="k-1")).json()
    assert (again["submission_id"], again["state"]) == (first["submission_id"], "refused")
    anew = (await gateway.submit(without_code(), idempotency_key="k-2")).json()
    assert (anew["state"], anew["dossier_code"]) == ("pending", issued(2))


@pytest.mark.parametrize(
    ("body", "key", "status", "problem"),
    [
        (without_code(), "", 400, "idempotency-key-missing"),
        ({**without_code(), "agency": None}, "k-1", 422, "invalid-content"),
        ({**without_code(), "agency": "H56.99"}, "k-1", 422, "unknown-agency"),
        ({**without_code(), "agency": "H10.15"}, "k-1", 403, "forbidden"),
    ],
)
async def test_what_a_code_cannot_be_issued_for(
    gateway: RunningGateway, body, key, status, problem
) -> None:
    answer = await gateway.submit(body, idempotency_key=key)
    assert (answer.status_code, slug(answer)) == (status, problem)
    if status == 422:
        assert answer.json()["errors"][0]["pointer"] == "/agency"
    assert await gateway.rows("SELECT 1 FROM code_counter") == []


async def test_concurrent_requests_at_two_replicas_get_different_codes(
    databases: Databases, tmp_path
) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as one, running_gateway(url, tmp_path) as two:
        answers = await asyncio.gather(
            *(
                gateway.submit(without_code(), idempotency_key=f"{name}-{number}")
                for number in range(150)
                for name, gateway in (("one", one), ("two", two))
            )
        )
        assert {answer.status_code for answer in answers} == {202}
        assert {answer.json()["dossier_code"] for answer in answers} == {
            issued(number) for number in range(1, 301)
        }
        assert len(await one.told()) == 300


async def test_concurrent_twins_at_two_replicas_are_one_dossier(
    databases: Databases, tmp_path
) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as one, running_gateway(url, tmp_path) as two:
        answers = await asyncio.gather(
            *(
                gateway.submit(without_code(), idempotency_key="k-1")
                for _ in range(25)
                for gateway in (one, two)
            )
        )
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.text for answer in answers}) == 1
        assert len(await one.told()) == 1


async def test_the_count_goes_on_after_a_restart(databases: Databases, tmp_path) -> None:
    url = await gateway_database(databases)
    given = []
    for _ in range(3):
        async with running_gateway(url, tmp_path) as gateway:
            given += await codes_of(gateway).next(AGENCY, DAY, 3)
    assert given == [issued(number) for number in range(1, 10)]


async def test_each_agency_and_day_counts_for_itself(gateway: RunningGateway) -> None:
    issuer = codes_of(gateway)
    asked = [(AGENCY, DAY), (PROVINCE, DAY), (AGENCY, date(2026, 11, 3))]
    given = await asyncio.gather(*(issuer.next(*series, 2) for series in asked * 20))
    flat = [code for found in given for code in found]
    assert len(set(flat)) == len(flat) == 120
    for series in asked:
        assert {issued_code(*series, number) for number in range(1, 41)} <= set(flat)


async def test_a_fifth_digit_follows_9999(gateway: RunningGateway) -> None:
    issuer = codes_of(gateway)
    await issuer.next(AGENCY, DAY, 9998)
    assert await issuer.next(AGENCY, DAY, 2) == [issued(9999), issued(10_000)]
    assert issued(10_000).endswith("-261102-10000")


async def test_numbers_that_a_source_system_used_are_passed_over(gateway: RunningGateway) -> None:
    await used_by_a_source_system(gateway, 1, 700)
    issuer = codes_of(gateway)
    given = await issuer.next(AGENCY, DAY, 5)
    assert len(set(given)) == 5
    assert given == sorted(given)
    assert not set(given) & {issued(number) for number in range(1, 701)}
    assert all(int(code[-4:]) < 1500 for code in given)


async def test_a_dossier_gets_the_next_number_when_its_own_is_taken(
    gateway: RunningGateway,
) -> None:
    await used_by_a_source_system(gateway, 1, 3)
    answer = await gateway.submit(without_code(), idempotency_key="k-1")
    code = answer.json()["dossier_code"]
    assert answer.status_code == 202
    assert code not in {issued(number) for number in (1, 2, 3)}


async def test_a_number_that_is_taken_after_it_was_issued_is_not_used(
    gateway: RunningGateway, monkeypatch
) -> None:
    """A source system uses the code between its issue and the dossier's intake."""
    real = Codes.next
    given: list[str] = []

    async def overtaken(self, agency, day, count=1):
        found = await real(self, agency, day, count)
        given.extend(found)
        if len(given) == 1:
            body = submission(given[0], agency=AGENCY)
            assert (await gateway.submit(body, client="other")).status_code == 202
        return found

    monkeypatch.setattr(Codes, "next", overtaken)
    answer = await gateway.submit(without_code(), idempotency_key="k-1")
    assert (answer.status_code, answer.json()["dossier_code"]) == (202, given[1])
    repeated = await gateway.submit(without_code(), idempotency_key="k-1")
    assert repeated.text == answer.text
    assert Counter(event.dossier_code for event in await gateway.submissions()) == {
        given[0]: 1,
        given[1]: 1,
    }


async def test_when_source_systems_use_all_codes_the_client_is_told_to_wait(
    gateway: RunningGateway, monkeypatch
) -> None:
    async def always_taken(self, agency, day, count=1):
        return [dossier_code(1)]

    await gateway.submit()
    monkeypatch.setattr(Codes, "next", always_taken)
    answer = await gateway.submit(without_code(), idempotency_key="k-1")
    assert (answer.status_code, slug(answer)) == (503, "codes-not-to-be-had")


async def test_no_code_is_told_before_its_number_is_committed(
    gateway: RunningGateway, monkeypatch
) -> None:
    async with gateway.core.database.transaction() as connection:
        await connection.execute(
            text(
                """
                CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '53100'; END $$
                """
            )
        )
        await connection.execute(
            text(
                """
                CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON code_counter
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()
                """
            )
        )
    answer = await gateway.submit(without_code(), idempotency_key="k-1")
    assert (answer.status_code, slug(answer)) == (503, "not-ready")
    assert await gateway.told() == []
