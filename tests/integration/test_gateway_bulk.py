"""Many dossiers in one request: each line by itself, nothing doubled, whatever breaks off."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from common.contracts.gateway import SubmissionReceived
from gateway.api import bulk_lines
from tests.integration.test_gateway_intake import problem_of
from tests.support.databases import Databases
from tests.support.gateway import (
    AGENCY,
    OTHER,
    RunningGateway,
    dossier_code,
    gateway_database,
    listening,
    running_gateway,
    step,
    submission,
)

BULK = "/v1/dossiers/bulk"


@pytest.fixture
async def gateway(databases: Databases, tmp_path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


def ndjson(*lines: Any) -> bytes:
    return b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
    )


def without_code(**changed: Any) -> dict[str, Any]:
    body = submission(agency=AGENCY, **changed)
    del body["code"]
    return body


async def send(
    gateway: RunningGateway,
    content: Any,
    key: str | None = "lot-1",
    *,
    client: str = "one-stop",
    start: int | None = None,
    **headers: str,
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await gateway.http.post(
        BULK,
        content=content,
        params={} if start is None else {"from": start},
        headers={
            "content-type": "application/x-ndjson",
            **gateway.bearer(client),
            **({"idempotency-key": key} if key else {}),
            **named,
        },
    )


def lines_of(answer: httpx.Response) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What was told of each line, and what sums up."""
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    *lines, last = [json.loads(line) for line in answer.content.splitlines()]
    assert answer.headers["location"] == f"/v1/bulk/{last['bulk_id']}"
    return lines, last


def slugs(lines: list[dict[str, Any]]) -> list[str]:
    return [line["problem"]["type"].rpartition(":")[2] for line in lines]


async def test_each_line_is_taken_in_by_itself(gateway: RunningGateway) -> None:
    lines = [submission(dossier_code(n)) for n in range(1, 251)]
    told, last = lines_of(await send(gateway, ndjson(*lines)))
    assert [line["line"] for line in told] == list(range(1, 251))
    assert [line["dossier_code"] for line in told] == [dossier_code(n) for n in range(1, 251)]
    assert {(line["outcome"], line["state"]) for line in told} == {("taken-in", "pending")}
    assert last | {"bulk_id": ""} == {
        "bulk_id": "",
        "state": "ended",
        "lines": 250,
        "taken_in": 250,
        "repeated": 0,
        "refused": 0,
    }
    events = await gateway.submissions()
    assert {event.lane for event in events} == {"bulk"}
    assert {str(event.submission_id) for event in events} == {one["submission_id"] for one in told}


async def test_a_faulty_line_spoils_no_other(gateway: RunningGateway) -> None:
    lines = [
        submission(dossier_code(1)),
        b"{not json",
        submission(dossier_code(2), procedure="9.999999"),
        submission(dossier_code(3, OTHER)),
        submission(dossier_code(4), summary=""),
        b"",
        b'"' + b"x" * bulk_lines.LONGEST_LINE + b'"',
        json.dumps(submission(dossier_code(5))).encode()[:-1] + b',"channel":"2"}',
        submission(dossier_code(6)),
        submission(dossier_code(1), summary="Khác"),
    ]
    told, last = lines_of(await send(gateway, ndjson(*lines)))
    assert [one["line"] for one in told if one["outcome"] == "taken-in"] == [1, 9]
    assert slugs(told[1:8]) == [
        "malformed-json",
        "unknown-procedure",
        "forbidden",
        "invalid-content",
        "malformed-json",
        "line-too-long",
        "malformed-json",
    ]
    assert told[4]["problem"]["errors"][0]["pointer"] == "/summary"
    assert slugs(told[9:]) == ["dossier-code-taken"]
    assert (last["taken_in"], last["refused"]) == (2, 8)
    assert len(await gateway.told()) == 2


async def test_refused_lines_are_audited_as_requests_are(gateway: RunningGateway) -> None:
    await send(gateway, ndjson(submission(dossier_code(1, OTHER)), *[b"{}"] * 3))
    await gateway.app.state.gateway.refusals.write()
    rows = await gateway.rows("SELECT client_id, route, status, type FROM refusal ORDER BY type")
    assert {tuple(row) for row in rows} == {
        ("one-stop", BULK, 403, "forbidden"),
        ("one-stop", BULK, 422, "invalid-content"),
    }


async def test_steps_go_with_their_dossiers_in_the_order_of_lines(gateway: RunningGateway) -> None:
    code = dossier_code()
    lines = [
        submission(code),
        {"code": code, "step": step("receive")},
        {"code": code, "step": step("progress"), "if_match": '"2"'},
        {"code": code, "step": step("dance")},
        {"code": code, "step": step("receive", receipt_number="")},
        {"code": code, "step": step("progress"), "if_match": "2"},
    ]
    told, _ = lines_of(await send(gateway, ndjson(*lines)))
    assert [one["outcome"] for one in told] == ["taken-in"] * 3 + ["refused"] * 3
    pointers = [one["problem"]["errors"][0]["pointer"] for one in told[3:]]
    assert pointers == ["/step/kind", "/step/receipt_number", "/if_match"]
    received = sorted(await gateway.told(), key=lambda one: one.sequence or 0)
    events = [one.event for one in received if isinstance(one.event, SubmissionReceived)]
    assert [event.command.kind for event in events] == ["submit", "receive", "progress"]
    assert [event.expected for event in events] == [None, None, '"2"']


async def test_dossiers_without_a_code_are_given_one_each(gateway: RunningGateway) -> None:
    lines = [without_code() for _ in range(30)]
    told, _ = lines_of(await send(gateway, ndjson(*lines)))
    codes = {one["dossier_code"] for one in told}
    assert len(codes) == 30
    again, last = lines_of(await send(gateway, ndjson(*lines)))
    assert [one["dossier_code"] for one in again] == [one["dossier_code"] for one in told]
    assert (last["taken_in"], last["repeated"]) == (0, 30)
    assert len(await gateway.told()) == 30


async def test_what_is_sent_again_is_the_same(gateway: RunningGateway) -> None:
    lines = [submission(dossier_code(n)) for n in range(1, 6)]
    lines += [{"code": dossier_code(n), "step": step("receive")} for n in range(1, 6)]
    first, _ = lines_of(await send(gateway, ndjson(*lines)))
    again, last = lines_of(await send(gateway, ndjson(*lines)))
    assert [one["submission_id"] for one in again] == [one["submission_id"] for one in first]
    assert {one["outcome"] for one in again} == {"repeated"}
    assert (last["taken_in"], last["repeated"], last["refused"]) == (0, 10, 0)
    assert len(await gateway.told()) == 10


async def test_a_request_that_broke_off_goes_on_from_a_line(gateway: RunningGateway) -> None:
    lines = [{"code": dossier_code(n), "step": step("receive")} for n in range(1, 301)]

    async def breaking_off() -> AsyncIterator[bytes]:
        yield ndjson(*lines[:150]) + b'{"code": "'
        raise ConnectionResetError

    first, last = lines_of(await send(gateway, breaking_off()))
    assert (last["state"], last["lines"]) == ("broken-off", 150)
    seen = (await gateway.get(f"/v1/bulk/{last['bulk_id']}")).json()
    assert (seen["state"], seen["lines"], seen["taken_in"]) == ("broken-off", 150, 150)
    rest, end = lines_of(await send(gateway, ndjson(*lines[150:]), start=seen["lines"] + 1))
    assert [one["line"] for one in rest] == list(range(151, 301))
    whole, _ = lines_of(await send(gateway, ndjson(*lines)))
    assert [one["submission_id"] for one in whole] == [
        one["submission_id"] for one in [*first, *rest]
    ]
    assert end["bulk_id"] == last["bulk_id"]
    assert len(await gateway.told()) == 300


async def test_nobody_leaves_lines_out(gateway: RunningGateway) -> None:
    await send(gateway, ndjson(submission(dossier_code(1))))
    answer = await send(gateway, ndjson(submission(dossier_code(3))), start=3)
    assert (answer.status_code, problem_of(answer)) == (422, "bulk-gap")
    lines_of(await send(gateway, ndjson(submission(dossier_code(2))), start=2))
    assert len(await gateway.told()) == 2


async def test_a_refused_line_can_be_corrected_and_the_others_stay(
    gateway: RunningGateway,
) -> None:
    good, bad = submission(dossier_code(1)), submission(dossier_code(2), summary="")
    _, last = lines_of(await send(gateway, ndjson(good, bad)))
    seen = (await gateway.get(f"/v1/bulk/{last['bulk_id']}")).json()
    assert (seen["state"], seen["lines"], seen["taken_in"], seen["refused"]) == ("ended", 2, 1, 1)
    (refusal,) = seen["refusals"]
    assert (refusal["line"], refusal["problem"]["errors"][0]["pointer"]) == (2, "/summary")
    told, _ = lines_of(await send(gateway, ndjson(good, submission(dossier_code(2)))))
    assert [one["outcome"] for one in told] == ["repeated", "taken-in"]
    seen = (await gateway.get(f"/v1/bulk/{last['bulk_id']}")).json()
    assert (seen["taken_in"], seen["refused"], seen["refusals"]) == (2, 0, [])


async def test_a_line_that_was_taken_in_is_not_another_one_later(gateway: RunningGateway) -> None:
    await send(gateway, ndjson(without_code()))
    told, _ = lines_of(await send(gateway, ndjson(without_code(summary="Khác"))))
    assert slugs(told) == ["idempotency-key-reused"]
    other_key, _ = lines_of(await send(gateway, ndjson(without_code(summary="Khác")), "lot-2"))
    assert other_key[0]["outcome"] == "taken-in"


async def test_refusals_are_listed_by_the_page(gateway: RunningGateway) -> None:
    _, last = lines_of(await send(gateway, ndjson(*[b"{}"] * 130)))
    path = f"/v1/bulk/{last['bulk_id']}"
    first = (await gateway.get(path, limit=100)).json()
    second = (await gateway.get(path, limit=100, after=first["next"])).json()
    assert [one["line"] for one in first["refusals"] + second["refusals"]] == list(range(1, 131))
    assert second["next"] is None


async def test_only_its_client_sees_a_bulk_request(gateway: RunningGateway) -> None:
    _, last = lines_of(await send(gateway, ndjson(submission())))
    answer = await gateway.get(f"/v1/bulk/{last['bulk_id']}", client="other")
    assert (answer.status_code, problem_of(answer)) == (404, "no-such-bulk")
    nothing = await gateway.get(f"/v1/bulk/{UUID(int=7)}")
    assert nothing.status_code == 404


async def test_the_same_key_of_two_clients_are_two_requests(gateway: RunningGateway) -> None:
    _, one = lines_of(await send(gateway, ndjson(submission(dossier_code(1)))))
    _, two = lines_of(await send(gateway, ndjson(submission(dossier_code(2))), client="other"))
    assert one["bulk_id"] != two["bulk_id"]


async def test_what_a_bulk_request_needs(gateway: RunningGateway) -> None:
    content = ndjson(submission())
    cases = [
        (await send(gateway, content, None), 400, "idempotency-key-missing"),
        (await send(gateway, content, "a b"), 400, "idempotency-key-malformed"),
        (await send(gateway, content, client="reader"), 403, "forbidden"),
        (await send(gateway, content, start=0), 422, "invalid-content"),
        (await send(gateway, content, content_type="application/json"), 415, None),
        (await send(gateway, content, content_encoding="gzip"), 415, "unsupported-media-type"),
        (await send(gateway, content, content_length="999999999999"), 413, "body-too-large"),
    ]
    for answer, status, slug in cases:
        assert answer.status_code == status, answer.text
        assert slug is None or problem_of(answer) == slug
    assert await gateway.rows("SELECT 1 FROM submission") == []


async def test_lines_beyond_the_limit_are_not_taken_in(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_lines, "MOST_LINES", 150)
    lines = [{"code": dossier_code(n), "step": step("receive")} for n in range(1, 161)]
    told, last = lines_of(await send(gateway, ndjson(*lines)))
    assert len(told) == 150
    assert (last["state"], last["lines"]) == ("broken-off", 150)
    assert slugs([last]) == ["bulk-too-long"]
    assert len(await gateway.told()) == 150


async def test_a_twin_is_told_to_wait_and_a_crashed_one_frees_itself(
    databases: Databases, tmp_path
) -> None:
    """Two replicas: what one takes in the other leaves alone, until it shows no signs of life."""
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as one, running_gateway(url, tmp_path) as two:
        go_on = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield ndjson(submission(dossier_code(1)))
            await go_on.wait()
            yield ndjson(submission(dossier_code(2)))

        async with listening(one.app) as address, httpx.AsyncClient(base_url=address) as http:
            first = asyncio.create_task(
                http.post(
                    BULK,
                    content=slowly(),
                    headers={
                        "content-type": "application/x-ndjson",
                        "idempotency-key": "lot-1",
                        **one.bearer(),
                    },
                )
            )
            while not await one.rows("SELECT 1 FROM bulk WHERE lines = 1"):
                await asyncio.sleep(0.02)
            twin = await send(two, ndjson(submission(dossier_code(1))))
            assert (twin.status_code, problem_of(twin)) == (409, "bulk-under-way")
            assert 1 <= int(twin.headers["retry-after"]) <= 60
            here = await send(one, ndjson(submission(dossier_code(9))), "another")
            assert (here.status_code, problem_of(here)) == (503, "busy")
            # As if the first one had died a minute ago.
            async with two.core.database.transaction() as connection:
                await connection.exec_driver_sql(
                    "UPDATE bulk SET leased_until = now() - interval '1 second'"
                )
            (state,) = await two.rows("SELECT id FROM bulk")
            seen = (await two.get(f"/v1/bulk/{state.id}")).json()
            assert seen["state"] == "broken-off"
            told, last = lines_of(await send(two, ndjson(submission(dossier_code(1)))))
            assert (told[0]["outcome"], last["state"]) == ("repeated", "ended")
            go_on.set()
            end = json.loads((await first).content.splitlines()[-1])
            assert end["state"] == "broken-off"
            assert slugs([end]) == ["bulk-under-way"]


async def test_answers_come_while_lines_are_still_being_sent(gateway: RunningGateway) -> None:
    async with listening(gateway.app) as address:
        host, port = address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = (
            f"POST {BULK} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n"
            f"idempotency-key: k\r\nauthorization: {gateway.bearer()['Authorization']}\r\n"
            "transfer-encoding: chunked\r\n\r\n"
        )
        writer.write(head.encode())
        for number in (1, 2):
            line = ndjson(submission(dossier_code(number)))
            writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            async with asyncio.timeout(10):
                while dossier_code(number).encode() not in (await reader.readline()):
                    pass
        writer.close()  # in the middle
        await writer.wait_closed()
        async with asyncio.timeout(10):
            while not await gateway.rows("SELECT 1 FROM bulk WHERE state = 'broken-off'"):
                await asyncio.sleep(0.02)
    assert len(await gateway.told()) == 2
    told, _ = lines_of(await send(gateway, ndjson(submission(dossier_code(1))), "k"))
    assert told[0]["outcome"] == "repeated"


async def test_a_client_may_send_everything_before_it_reads(gateway: RunningGateway) -> None:
    """Answers that nobody reads yet hold nothing up: no deadlock of two full buffers."""
    lines = [b"{}"] * 5000
    async with listening(gateway.app) as address, httpx.AsyncClient(base_url=address) as http:
        answer = await http.post(
            BULK,
            content=ndjson(*lines),
            headers={
                "content-type": "application/x-ndjson",
                "idempotency-key": "k",
                **gateway.bearer(),
            },
            timeout=60,
        )
    told, last = lines_of(answer)
    assert (len(told), last["refused"]) == (5000, 5000)


async def test_the_message_log_has_a_record_of_each_line(gateway: RunningGateway) -> None:
    line = submission(dossier_code(1))
    told, _ = lines_of(await send(gateway, ndjson(line)))
    rows = await gateway.rows(
        "SELECT * FROM (SELECT id, form, size FROM message_pending "
        "UNION ALL SELECT id, form, size FROM message_log) AS records"
    )
    assert [(str(row.id), row.form, row.size) for row in rows] == [
        (told[0]["submission_id"], f"POST {BULK}", len(json.dumps(line).encode()))
    ]
