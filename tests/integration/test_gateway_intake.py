"""Handing in dossiers and steps: taken in once, durably, by those who may."""

import asyncio
import json
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import text

from common.contracts.commands import Submit
from common.contracts.gateway import SubmissionReceived
from common.service import Shared
from gateway.use_cases import patience
from tests.support.databases import Databases
from tests.support.gateway import (
    AGENCY,
    NAME,
    NUMBER,
    OTHER,
    PROVINCE,
    BrokerAway,
    RunningGateway,
    dossier_code,
    gateway_database,
    running_gateway,
    step,
    submission,
)


@pytest.fixture
async def gateway(databases: Databases, tmp_path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


def problem_of(answer) -> str:
    """The slug of a problem, after looking at what every problem has."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["title"]
    assert body["title_en"]
    return str(body["type"]).removeprefix("urn:lienthong:problem:")


async def test_a_dossier_is_taken_in_and_told(gateway: RunningGateway) -> None:
    answer = await gateway.submit(x_request_id="anfrage-1")
    assert answer.status_code == 202
    body = answer.json()
    assert body == {
        "submission_id": body["submission_id"],
        "dossier_code": dossier_code(),
        "kind": "submit",
        "state": "pending",
        "received_at": body["received_at"],
    }
    assert answer.headers["location"] == f"/v1/submissions/{body['submission_id']}"
    (row,) = await gateway.rows("SELECT * FROM submission")
    assert (row.client_id, row.agency, row.request_id) == ("one-stop", AGENCY, "anfrage-1")
    (received,) = await gateway.told()
    event = received.event
    assert isinstance(event, SubmissionReceived)
    assert (str(event.submission_id), event.agency) == (body["submission_id"], AGENCY)
    assert received.stream == f"gateway/1/{dossier_code()}"
    assert received.subject == dossier_code()
    command = event.command
    assert isinstance(command, Submit)
    assert command.procedure.field.code == "G05-KH01"
    assert gateway.core.keys.open(command.sealed, dossier_code()) == {
        "name": NAME,
        "identity": {"type": "citizen-id", "number": NUMBER},
        "email": "buoi@example.vn",
        "phone": "0903 123 456",
        "address": "12 Lê Lợi, Phường Bến Nghé",
    }


async def test_the_same_key_with_the_same_content_is_the_same_submission(
    gateway: RunningGateway,
) -> None:
    first = await gateway.submit(idempotency_key="k-1")
    body = dict(reversed(submission().items()))
    again = await gateway.submit(json.dumps(body, indent=2).encode(), idempotency_key="k-1")
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert len(await gateway.told()) == 1


async def test_the_same_key_with_other_content_is_refused(gateway: RunningGateway) -> None:
    await gateway.submit(idempotency_key="k-1")
    other_dossier = await gateway.submit(submission(dossier_code(2)), idempotency_key="k-1")
    assert (other_dossier.status_code, problem_of(other_dossier)) == (422, "idempotency-key-reused")
    other_summary = await gateway.submit(submission(summary="Khác"), idempotency_key="k-1")
    assert problem_of(other_summary) == "idempotency-key-reused"
    as_a_step = await gateway.take_step(step(), idempotency_key="k-1")
    assert problem_of(as_a_step) == "idempotency-key-reused"
    assert len(await gateway.told()) == 1


async def test_keys_of_two_clients_have_nothing_to_do_with_each_other(
    gateway: RunningGateway,
) -> None:
    await gateway.submit(idempotency_key="k-1")
    other = await gateway.submit(submission(dossier_code(2)), client="other", idempotency_key="k-1")
    assert other.status_code == 202
    assert len(await gateway.told()) == 2


async def test_the_same_dossier_with_the_same_content_is_the_same_submission(
    gateway: RunningGateway,
) -> None:
    first = await gateway.submit(idempotency_key="k-1")
    for headers in ({}, {"idempotency_key": "k-2"}):
        again = await gateway.submit(**headers)
        assert again.json()["submission_id"] == first.json()["submission_id"]
    assert len(await gateway.told()) == 1


async def test_a_dossier_code_is_taken(gateway: RunningGateway) -> None:
    await gateway.submit()
    other_content = await gateway.submit(submission(summary="Khác"))
    assert (other_content.status_code, problem_of(other_content)) == (409, "dossier-code-taken")
    other_client = await gateway.submit(client="other")
    assert (other_client.status_code, problem_of(other_client)) == (409, "dossier-code-taken")
    assert len(await gateway.told()) == 1


async def test_an_applied_dossiers_code_stays_taken(gateway: RunningGateway) -> None:
    first = (await gateway.submit()).json()
    await gateway.apply(first["submission_id"])
    again = await gateway.submit()
    assert again.json()["submission_id"] == first["submission_id"]
    assert again.json()["state"] == "applied"
    assert problem_of(await gateway.submit(submission(summary="Khác"))) == "dossier-code-taken"


async def test_a_refused_dossiers_code_is_free_again(gateway: RunningGateway) -> None:
    first = (await gateway.submit(idempotency_key="k-1")).json()
    await gateway.refuse(first["submission_id"])
    corrected = await gateway.submit(submission(summary="Đã sửa"))
    assert corrected.status_code == 202
    assert corrected.json()["state"] == "pending"
    assert corrected.json()["submission_id"] != first["submission_id"]
    assert len(await gateway.told()) == 2
    # What was refused is still what its key answers.
    replayed = await gateway.submit(idempotency_key="k-1")
    assert replayed.json()["submission_id"] == first["submission_id"]
    assert replayed.json()["state"] == "refused"


async def test_unchanged_content_is_tried_again_only_under_a_new_key(
    gateway: RunningGateway,
) -> None:
    first = (await gateway.submit()).json()
    await gateway.refuse(first["submission_id"])
    repeated = (await gateway.submit()).json()
    assert (repeated["submission_id"], repeated["state"]) == (first["submission_id"], "refused")
    anew = (await gateway.submit(idempotency_key="another-attempt")).json()
    assert anew["state"] == "pending"
    assert len(await gateway.told()) == 2


@pytest.mark.parametrize("key", ["", "k-1"])
async def test_fifty_twins_are_one_submission(gateway: RunningGateway, key: str) -> None:
    answers = await asyncio.gather(*(gateway.submit(idempotency_key=key) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["submission_id"] for answer in answers}) == 1
    assert len(await gateway.rows("SELECT 1 FROM submission")) == 1
    assert len(await gateway.told()) == 1


async def test_twins_at_two_replicas_are_one_submission(databases: Databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as one, running_gateway(url, tmp_path) as two:
        for number in range(1, 6):
            body = submission(dossier_code(number))
            answers = await asyncio.gather(
                *(gateway.submit(body) for _ in range(10) for gateway in (one, two))
            )
            assert {answer.status_code for answer in answers} == {202}
            assert len({answer.json()["submission_id"] for answer in answers}) == 1
        assert len(await one.told()) == 5


async def test_of_fifty_rivals_for_a_code_one_wins(gateway: RunningGateway) -> None:
    answers = await asyncio.gather(
        *(gateway.submit(submission(summary=f"Bản {number}")) for number in range(50))
    )
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 49
    assert len(await gateway.told()) == 1


async def test_one_faulty_entry_spoils_no_other(gateway: RunningGateway) -> None:
    """They share a transaction; each has its own answer."""
    await gateway.submit(submission(dossier_code(1)))
    answers = await asyncio.gather(
        *(gateway.submit(submission(dossier_code(number))) for number in range(2, 20)),
        gateway.submit(submission(dossier_code(1), summary="Khác")),
        gateway.take_step(step(), code=dossier_code(1, OTHER)),
    )
    assert [answer.status_code for answer in answers] == [202] * 18 + [409, 403]
    assert len(await gateway.told()) == 19


async def test_steps_of_a_dossier_keep_the_order_of_their_answers(gateway: RunningGateway) -> None:
    await gateway.submit()
    for kind in ("receive", "progress", "complete", "return"):
        assert (await gateway.take_step(step(kind))).status_code == 202
    kinds = [event.command.kind for event in await gateway.submissions()]
    assert kinds == ["submit", "receive", "progress", "complete", "return"]
    assert [received.sequence for received in await gateway.told()] == [1, 2, 3, 4, 5]


async def test_a_step_is_taken_once_for_its_key(gateway: RunningGateway) -> None:
    first = await gateway.take_step(step(), idempotency_key="s-1")
    again = await gateway.take_step(step(), idempotency_key="s-1")
    assert first.json() == again.json()
    other = await gateway.take_step(step("progress"), idempotency_key="s-1")
    assert (other.status_code, problem_of(other)) == (422, "idempotency-key-reused")
    elsewhere = await gateway.take_step(step(), dossier_code(2), idempotency_key="s-1")
    assert problem_of(elsewhere) == "idempotency-key-reused"
    # The same step under another key is another step: a dossier may be processed twice alike.
    assert (await gateway.take_step(step())).json() != first.json()
    assert len(await gateway.told()) == 2


async def test_a_step_needs_a_key(gateway: RunningGateway) -> None:
    answer = await gateway.take_step(step(), idempotency_key="")
    assert (answer.status_code, problem_of(answer)) == (400, "idempotency-key-missing")


async def test_202_only_after_the_commit(gateway: RunningGateway, monkeypatch) -> None:
    """The database refuses the commit itself: the client must not hear that it is taken in."""
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
                CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON submission
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()
                """
            )
        )
    answers = await asyncio.gather(
        *(gateway.submit(submission(dossier_code(number))) for number in range(1, 6))
    )
    assert {(answer.status_code, problem_of(answer)) for answer in answers} == {(503, "not-ready")}
    assert answers[0].headers["retry-after"] == "2"
    assert await gateway.rows("SELECT 1 FROM submission") == []
    async with gateway.core.database.transaction() as connection:
        await connection.execute(text("DROP TRIGGER at_commit ON submission"))
    assert (await gateway.submit()).status_code == 202


async def test_one_row_that_cannot_be_written_spoils_no_other(gateway: RunningGateway) -> None:
    async with gateway.core.database.transaction() as connection:
        await connection.execute(
            text(
                f"ALTER TABLE submission ADD CHECK (dossier_code <> '{dossier_code(3)}') NOT VALID"
            )
        )
    answers = await asyncio.gather(
        *(gateway.submit(submission(dossier_code(number))) for number in range(1, 6))
    )
    assert [answer.status_code for answer in answers] == [202, 202, 500, 202, 202]
    assert len(await gateway.told()) == 4


async def test_nothing_but_the_own_database_is_needed(databases: Databases, tmp_path) -> None:
    """Dossier, catalogue and broker are away (as in all these tests, but for the broker)."""
    shared = Shared(transport=BrokerAway())
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, shared=shared) as gateway:
        assert (await gateway.submit()).status_code == 202
        assert (await gateway.take_step(step())).status_code == 202
        await asyncio.sleep(0.3)
        waiting = "SELECT type FROM outbox JOIN event_log USING (event_id) WHERE type LIKE :types"
        assert len(await gateway.rows(waiting, types="submission.%")) == 2
        read = await gateway.get(f"/v1/procedures/{submission()['procedure']}")
        assert (read.status_code, problem_of(read)) == (503, "upstream-unavailable")


async def test_a_database_that_is_away_is_told_as_such(
    databases: Databases, postgres: str, tmp_path
) -> None:
    url = await gateway_database(databases)
    name = url.rsplit("/", 1)[1]

    async def as_admin(statement: str) -> None:
        connection = await asyncpg.connect(postgres)
        await connection.execute(statement)
        await connection.close()

    async with running_gateway(url, tmp_path) as gateway:
        await as_admin(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await as_admin(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        answers = await asyncio.gather(
            *(gateway.submit(submission(dossier_code(number))) for number in range(1, 30)),
            gateway.get("/v1/submissions"),
            gateway.submit(submission(procedure="9.999999")),
        )
        await as_admin(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert {(answer.status_code, problem_of(answer)) for answer in answers} == {
            (503, "not-ready")
        }
        assert (await gateway.submit()).status_code == 202


async def test_more_than_may_wait_is_told_to_come_back(
    gateway: RunningGateway, monkeypatch
) -> None:
    monkeypatch.setattr(gateway.app.state.gateway.intake._live, "_most", 0)
    answer = await gateway.submit()
    assert (answer.status_code, problem_of(answer)) == (503, "busy")
    assert answer.headers["retry-after"] == "1"


async def test_a_transaction_that_hangs_is_not_waited_for(
    gateway: RunningGateway, monkeypatch
) -> None:
    monkeypatch.setattr(patience, "_SECONDS", 0.2)
    async with gateway.core.database.transaction() as connection:
        await connection.execute(text("LOCK TABLE submission"))
        answer = await gateway.submit()
        assert (answer.status_code, problem_of(answer)) == (503, "not-ready")
    async with asyncio.timeout(30):
        while not await gateway.told():
            await asyncio.sleep(0.01)
    # It was written after all; asking again finds it.
    assert (await gateway.submit()).status_code == 202
    assert len(await gateway.told()) == 1


async def test_a_client_acts_for_its_own_agencies_only(gateway: RunningGateway) -> None:
    client = "foreign"
    submitted = await gateway.submit(client=client)
    assert (submitted.status_code, problem_of(submitted)) == (403, "forbidden")
    stepped = await gateway.take_step(step(), client=client)
    assert (stepped.status_code, problem_of(stepped)) == (403, "forbidden")
    # It does not learn either which codes exist there.
    for unknown in (submission(procedure="9.999999"), submission(dossier_code(1, "H56.99"))):
        assert (await gateway.submit(unknown, client=client)).status_code == 403
    own = await gateway.submit(submission(dossier_code(1, OTHER)), client=client)
    assert own.status_code == 202
    assert len(await gateway.rows("SELECT 1 FROM submission")) == 1


async def test_a_step_needs_rights_for_the_agency_the_dossier_was_submitted_to(
    gateway: RunningGateway,
) -> None:
    """The code names the department, the dossier belongs to the province."""
    await gateway.submit(submission(agency=PROVINCE))
    department = gateway.bearer(agencies=[AGENCY])
    path = f"/v1/dossiers/{dossier_code()}/steps"
    answer = await gateway.http.post(
        path, json=step(), headers={**department, "idempotency-key": "s-1"}
    )
    assert answer.status_code == 403
    assert (await gateway.take_step(step())).status_code == 202


async def test_writing_needs_its_scope(gateway: RunningGateway) -> None:
    for answer in (
        await gateway.submit(client="reader"),
        await gateway.take_step(step(), client="reader"),
    ):
        assert (answer.status_code, problem_of(answer)) == (403, "forbidden")
        assert "dossiers:write" in answer.json()["detail_en"]


async def test_without_a_token_nothing_is_taken_in(gateway: RunningGateway) -> None:
    for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic eDp5"}):
        answer = await gateway.http.post("/v1/dossiers", json=submission(), headers=headers)
        assert (answer.status_code, problem_of(answer)) == (401, "unauthorised")
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_unknown_codes_of_the_catalogue(gateway: RunningGateway) -> None:
    procedure = await gateway.submit(submission(procedure="9.999999"))
    assert (procedure.status_code, problem_of(procedure)) == (422, "unknown-procedure")
    assert procedure.json()["errors"][0]["pointer"] == "/procedure"
    by_code = await gateway.submit(submission(dossier_code(1, "H56.99")))
    assert (by_code.status_code, problem_of(by_code)) == (422, "unknown-agency")
    assert by_code.json()["errors"][0]["pointer"] == "/code"
    given = await gateway.submit(submission(agency="H56.14.77"))
    assert problem_of(given) == "unknown-agency"
    assert given.json()["errors"][0]["pointer"] == "/agency"
    mismatch = await gateway.submit(submission(agency=OTHER))
    assert (mismatch.status_code, problem_of(mismatch)) == (422, "code-agency-mismatch")


async def test_the_old_form_of_an_agency_code_is_the_same_agency(gateway: RunningGateway) -> None:
    answer = await gateway.submit(submission("000.00.14.H56-261102-0001"))
    assert answer.status_code == 202
    (row,) = await gateway.rows("SELECT agency FROM submission")
    assert row.agency == AGENCY


async def test_no_personal_data_is_anywhere_in_the_database(gateway: RunningGateway) -> None:
    signer = "079188000777"
    uploaded = await gateway.http.post(
        "/v1/files",
        content=b"%PDF-1.7 result",
        headers={"content-type": "application/pdf", **gateway.bearer()},
    )
    wish = {"user": signer, "ca_name": "VNPT-CA"}
    result = {"id": "kq1", "name": "Giấy phép", "file": uploaded.json()["sha256"], "signing": wish}
    submitted = (await gateway.submit(idempotency_key="k-1")).json()
    assert (await gateway.take_step(step("complete", results=[result]))).status_code == 202
    await gateway.submit(submission(summary="Khác"))
    await gateway.refuse(submitted["submission_id"])
    columns = await gateway.rows(
        """
        SELECT table_name, column_name, data_type FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type IN ('text', 'bytea', 'jsonb', 'ARRAY')
        """
    )
    assert len({column.table_name for column in columns}) > 10
    searched = 0
    for table, column, kind in columns:
        shown = f"encode({column}, 'escape')" if kind == "bytea" else f"{column}::text"
        for (value,) in await gateway.rows(f"SELECT {shown} FROM {table}"):
            searched += 1
            for personal in (NAME, NUMBER, signer, "buoi@example.vn", "0903 123 456", "Lê Lợi"):
                assert personal not in (value or "")
                escaped = "".join(
                    f"\\{byte:03o}" if byte > 127 else chr(byte) for byte in personal.encode()
                )
                assert escaped not in (value or "")
    assert searched > 60


async def test_an_event_carries_the_trace_of_its_own_request(
    databases: Databases, tmp_path
) -> None:
    """Requests share a transaction, not a trace."""
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as gateway:
        traces = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 11)]
        await asyncio.gather(
            *(
                gateway.submit(submission(dossier_code(number)), traceparent=traces[number - 1])
                for number in range(1, 11)
            )
        )
        for received in await gateway.told():
            number = int(str(received.subject)[-4:])
            assert str(received.traceparent).split("-")[1] == f"{number:032x}"
        rows = await gateway.rows("SELECT dossier_code, traceparent FROM submission")
        assert all(int(row.dossier_code[-4:]) == int(row.traceparent[3:35], 16) for row in rows)
