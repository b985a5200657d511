"""What is put down in the message log, and how it is sealed."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from common.database import Database, DatabaseAway
from gateway.domain.proof import Record
from gateway.store import message_blocks
from gateway.store import message_log as stored_records
from gateway.use_cases import sealing
from gateway.use_cases.log_key import LogKey
from gateway.use_cases.sealing import Sealer
from tests.support import message_log
from tests.support.databases import Databases
from tests.support.gateway import (
    AGENCY,
    NAME,
    NUMBER,
    PROCEDURE,
    RunningGateway,
    Upstream,
    dossier_code,
    gateway_database,
    running_gateway,
    settings,
    step,
    submission,
)

SLOW: dict[str, Any] = {"message_log_seconds": 60}
"""The test itself seals."""
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"


@pytest.fixture
async def gateway(databases: Databases, tmp_path) -> AsyncIterator[RunningGateway]:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, **SLOW) as running:
        yield running


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def only_record(gateway: RunningGateway) -> Record:
    (record,) = await message_log.records(gateway.core.database)
    return record


async def test_a_dossier_taken_in_is_put_down_with_both_contents(gateway: RunningGateway) -> None:
    body = json.dumps(submission(), ensure_ascii=False, indent=3).encode()
    answer = await gateway.submit(body)
    record = await only_record(gateway)
    told = answer.json()
    assert str(record.id) == told["submission_id"]
    assert (record.client_id, record.agency) == ("one-stop", AGENCY)
    assert (record.form, record.status) == ("POST /v1/dossiers", 202)
    assert (record.digest, record.size) == (digest(body), len(body))
    assert record.answer_digest == digest(answer.content)
    assert record.subject == told["dossier_code"]


async def test_a_step_is_put_down(gateway: RunningGateway) -> None:
    await gateway.submit()
    answer = await gateway.take_step(step())
    record = (await message_log.records(gateway.core.database))[1]
    assert (record.form, record.subject) == ("POST /v1/dossiers/{code}/steps", dossier_code())
    assert record.answer_digest == digest(answer.content)


async def test_a_dossier_through_the_exchange_door_is_put_down(gateway: RunningGateway) -> None:
    lower_level = {
        "MaHoSo": dossier_code(),
        "MaTTHC": PROCEDURE,
        "KenhThucHien": "2",
        "LoaiDoiTuong": 0,
        "ChuHoSo": NAME,
        "SoGiayToChuHoSo": NUMBER,
        "TrichYeuHoSo": "Đăng ký thành lập công ty",
        "NgayNopHoSo": "2026-11-02 08:15:00",
    }
    body = json.dumps(lower_level).encode()
    answer = await gateway.http.post(
        "/exchange/v1/NopHoSo",
        content=body,
        headers={**gateway.bearer(), "content-type": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    record = await only_record(gateway)
    assert (record.form, record.status) == ("POST /exchange/v1/NopHoSo", 200)
    assert (record.digest, record.answer_digest) == (digest(body), digest(answer.content))
    assert str(record.id) == answer.json()["data"]["MaTiepNhan"]


async def test_a_repetition_is_not_put_down_again(gateway: RunningGateway) -> None:
    for _ in range(3):
        assert (await gateway.submit()).status_code == 202
    await only_record(gateway)


async def test_a_refused_submission_leaves_no_record_of_being_taken_in(
    gateway: RunningGateway,
) -> None:
    await gateway.submit()
    assert (await gateway.submit(client="other")).status_code == 409
    await only_record(gateway)


async def test_an_outcome_is_put_down_as_it_will_be_answered(gateway: RunningGateway) -> None:
    first = (await gateway.submit()).json()
    second = (await gateway.take_step(step())).json()
    await gateway.apply(first["submission_id"])
    await gateway.refuse(second["submission_id"], status=412, slug="dossier-changed")
    outcomes = (await message_log.records(gateway.core.database))[2:]
    assert [(one.form, one.status) for one in outcomes] == [
        ("outcome submit", 200),
        ("outcome receive", 412),
    ]
    for told, outcome in zip((first, second), outcomes, strict=True):
        assert outcome.subject == told["submission_id"]
        answer = await gateway.get(f"/v1/submissions/{told['submission_id']}")
        assert outcome.answer_digest == digest(answer.content)


async def test_an_outcome_told_twice_is_put_down_once(gateway: RunningGateway) -> None:
    taken = (await gateway.submit()).json()
    await gateway.apply(taken["submission_id"])
    await gateway.apply(taken["submission_id"])
    assert len(await message_log.records(gateway.core.database)) == 2


async def test_what_is_not_committed_is_not_put_down(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(gateway.app.state.gateway.log_works.log, "add", fails)
    assert (await gateway.submit()).status_code == 500
    assert await gateway.submissions() == []
    assert await message_log.records(gateway.core.database) == []


async def test_sealing_numbers_links_and_signs_every_record(gateway: RunningGateway) -> None:
    for block in range(3):
        await asyncio.gather(
            *(gateway.submit(submission(dossier_code(block * 10 + n))) for n in range(1, 10))
        )
        assert await message_log.seal(gateway) == 9
    chains = await message_log.checked(gateway.core.database)
    assert set(chains) == {0, 1}
    assert sum(header.last - header.first + 1 for all_ in chains.values() for header in all_) == 27
    assert await message_log.seal(gateway) == 0


async def test_large_backlogs_are_sealed_block_by_block(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "LARGEST_BLOCK", 10)
    monkeypatch.setattr(sealing, "_SLICE", 4)
    await asyncio.gather(*(gateway.submit(submission(dossier_code(n))) for n in range(1, 61)))
    assert await message_log.seal(gateway) == 60
    chains = await message_log.checked(gateway.core.database)
    for headers in chains.values():
        assert all(header.last - header.first + 1 <= 12 for header in headers)
        assert len(headers) >= 2


async def sealers(gateway: RunningGateway, folder, count: int) -> list[Sealer]:
    """Further replicas' sealers on the same database."""
    url = gateway.core.settings.database_url.get_secret_value()
    given = settings(url, folder)
    key = LogKey(given.signing_key)
    return [Sealer(Database(given, name=f"r{n}"), key, 2, 1.0) for n in range(count)]


async def test_several_replicas_seal_without_gap_or_double(
    gateway: RunningGateway, tmp_path
) -> None:
    others = await sealers(gateway, tmp_path, 3)
    try:
        for round_ in range(5):
            await asyncio.gather(
                *(gateway.submit(submission(dossier_code(round_ * 20 + n))) for n in range(1, 15)),
                *(other.seal_all() for other in others for _ in range(3)),
                message_log.seal(gateway),
            )
        await message_log.seal(gateway)
        assert sum(other.sealed for other in others) > 0
    finally:
        for other in others:
            await other.database.close()
    await message_log.checked(gateway.core.database)
    assert len(await message_log.records(gateway.core.database)) == 70


@pytest.mark.parametrize("step_", ["move", "close", "sign", "commit"])
async def test_a_sealer_that_dies_anywhere_leaves_everything_as_it_was(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, step_: str
) -> None:
    await asyncio.gather(*(gateway.submit(submission(dossier_code(n))) for n in range(1, 10)))
    sealer = gateway.app.state.gateway.log_works.sealer

    class Killed(BaseException):
        pass

    def dies(*_: object) -> None:
        raise Killed

    async def dies_after(work, *given):
        await work(*given)
        raise Killed

    with monkeypatch.context() as patched:
        if step_ == "sign":
            patched.setattr(LogKey, "sign", dies)
        else:
            place = {
                "move": (stored_records, "move"),
                "close": (message_blocks, "close"),
                "commit": (message_blocks, "close"),
            }[step_]
            work = getattr(*place)
            patched.setattr(*place, lambda *given: dies_after(work, *given))
        with pytest.raises(Killed):
            await sealer.seal_all()
    assert await gateway.rows("SELECT 1 FROM message_log") == []
    assert await gateway.rows("SELECT 1 FROM message_block") == []
    assert await message_log.seal(gateway) == 9
    await message_log.checked(gateway.core.database)


SEALING_REPLICA = """
import asyncio, sys, uvloop
from pathlib import Path
from pydantic import SecretStr
from common.database import Database
from gateway.use_cases import sealing
from gateway.use_cases.log_key import LogKey
from tests.support.gateway import settings

sealing.LARGEST_BLOCK, sealing._SLICE = 8, 3  # many steps to be killed between

async def main(url, key, folder):
    database = Database(settings(url, Path(folder)), name="replica")
    sealer = sealing.Sealer(database, LogKey(SecretStr(key)), 2, 1.0)
    while True:
        if await sealer.seal_all():
            print("sealed", flush=True)

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main(*sys.argv[1:]))
"""


async def test_killed_sealers_leave_no_gap_and_no_double(gateway: RunningGateway, tmp_path) -> None:
    url = gateway.core.settings.database_url.get_secret_value()
    key = gateway.core.settings.signing_key.get_secret_value()  # type: ignore[attr-defined]
    count = 0
    for kill in range(4):
        output = tmp_path / f"replica-{kill}.log"
        command = [sys.executable, "-c", SEALING_REPLICA, url, key, str(tmp_path)]
        with output.open("wb") as written:
            replica = subprocess.Popen(command, stdout=written, stderr=subprocess.STDOUT)
        try:
            async with asyncio.timeout(60):
                while b"sealed" not in output.read_bytes():
                    assert replica.poll() is None, output.read_text()
                    await gateway.submit(submission(dossier_code(count := count + 1)))
                for _ in range(10 + kill * 7):
                    await gateway.submit(submission(dossier_code(count := count + 1)))
        finally:
            replica.kill()
            replica.wait()
    async with asyncio.timeout(60):  # until the server has noticed that they are gone
        while await gateway.rows("SELECT 1 FROM message_pending"):
            await message_log.seal(gateway)
    await message_log.checked(gateway.core.database)
    assert len(await message_log.records(gateway.core.database)) == count


async def test_nobody_changes_or_takes_out_what_is_sealed(gateway: RunningGateway) -> None:
    await gateway.submit()
    await message_log.seal(gateway)
    for statement in (
        "UPDATE message_log SET client_id = 'somebody-else'",
        "DELETE FROM message_log",
        "TRUNCATE message_log",
        "UPDATE message_block SET root = link",
        "UPDATE message_block SET signature = link",
        "DELETE FROM message_block",
        "TRUNCATE message_block",
    ):
        with pytest.raises(DBAPIError, match="only added to"):
            async with gateway.core.database.transaction() as connection:
                await connection.execute(text(statement))
    await message_log.checked(gateway.core.database)


async def test_records_of_any_time_find_a_place(gateway: RunningGateway) -> None:
    """A clock that is years off stops nothing; the records lie in the default partition."""
    log = gateway.app.state.gateway.log_works.log
    await gateway.submit()
    record = await only_record(gateway)
    strays = [replace(record, id=UUID(int=number)) for number in (7, 2**128 - 1)]
    async with gateway.core.database.transaction() as connection:
        await log.add(connection, strays)
    assert await message_log.seal(gateway) == 3
    await message_log.checked(gateway.core.database)
    assert len(await gateway.rows("SELECT 1 FROM message_log_other")) == 2


async def test_fewer_partitions_leave_nothing_unsealed(databases: Databases, tmp_path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, **SLOW, message_log_partitions=5) as gateway:
        await asyncio.gather(*(gateway.submit(submission(dossier_code(n))) for n in range(1, 40)))
    async with running_gateway(url, tmp_path, **SLOW, message_log_partitions=1) as gateway:
        assert await message_log.seal(gateway) == 39
        assert len(await message_log.checked(gateway.core.database)) == 5


async def test_blocks_are_sealed_every_few_seconds_by_themselves(
    databases: Databases, tmp_path
) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, message_log_seconds=0.05) as gateway:
        await gateway.submit()
        async with asyncio.timeout(20):
            while not await gateway.rows("SELECT 1 FROM message_block"):
                await asyncio.sleep(0.02)
        await message_log.checked(gateway.core.database)


async def test_another_key_signs_from_then_on_and_both_stay_known(
    databases: Databases, tmp_path
) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path, **SLOW, message_log_partitions=1) as gateway:
        await gateway.submit()
        await message_log.seal(gateway)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    async with running_gateway(
        url, tmp_path, **SLOW, message_log_partitions=1, log_key=pem
    ) as gateway:
        await gateway.submit(submission(dossier_code(2)))
        await message_log.seal(gateway)
        chains = await message_log.checked(gateway.core.database)
    first, second = chains[0]
    assert first.key_id == LogKey(settings(url, tmp_path).signing_key).id
    assert first.key_id != second.key_id


async def test_a_receipt_is_given_on_request_and_matches_the_log(gateway: RunningGateway) -> None:
    plain = await gateway.submit()
    assert "exchange-receipt" not in plain.headers
    answer = await gateway.submit(submission(dossier_code(2)), prefer="receipt")
    assert answer.headers["preference-applied"] == "receipt"
    (key,) = await gateway.rows("SELECT key_id, jwk FROM message_key")
    receipt = answer.headers["exchange-receipt"]
    header = jwt.get_unverified_header(receipt)
    assert header == {"alg": "ES256", "kid": key.key_id, "typ": "exchange-receipt+jwt"}
    claims = jwt.decode(receipt, jwt.PyJWK(key.jwk), ["ES256"], issuer="urn:lienthong:gateway")
    await message_log.seal(gateway)
    (row,) = await gateway.rows(
        "SELECT * FROM message_log WHERE id = :id", id=answer.json()["submission_id"]
    )
    assert claims["hash"] == row.hash.hex()
    assert claims["partition"] == row.partition
    assert claims["record"] == stored_records.record_of(row).members()
    assert claims["record"]["answer_digest"] == digest(answer.content)


@pytest.mark.parametrize("sealed", [False, True])
async def test_who_lost_the_answer_gets_the_same_receipt_by_repeating(
    gateway: RunningGateway, sealed: bool
) -> None:
    first = await gateway.submit(prefer="receipt")
    if sealed:
        await message_log.seal(gateway)
    again = await gateway.submit(prefer="receipt")
    told = [
        jwt.decode(answer.headers["exchange-receipt"], options={"verify_signature": False})
        for answer in (first, again)
    ]
    for one in told:
        del one["iat"]
    assert told[0] == told[1]


async def test_a_receipt_holds_nothing_personal(gateway: RunningGateway) -> None:
    answer = await gateway.submit(prefer="receipt")
    claims = jwt.decode(answer.headers["exchange-receipt"], options={"verify_signature": False})
    assert set(claims) == {"iss", "iat", "partition", "hash", "record"}
    said = json.dumps(claims, ensure_ascii=False)
    for value in submission()["applicant"].values():
        if value not in ("1", None) and isinstance(value, str):
            assert value not in said


async def test_the_state_of_the_log_is_for_operators(gateway: RunningGateway) -> None:
    await gateway.submit()
    path = "/internal/message-log/state"
    assert (await gateway.http.get(path)).status_code == 401
    assert (await gateway.get(path)).status_code == 403
    operator = gateway.bearer(scopes=["operations"])
    told = (await gateway.http.get(path, headers=operator)).json()
    assert sum(one["pending"] for one in told["partitions"]) == 1
    assert told["authorities"] == []
    await message_log.seal(gateway)
    told = (await gateway.http.get(path, headers=operator)).json()
    assert sum(one["pending"] for one in told["partitions"]) == 0
    assert sum(one["unstamped"] for one in told["partitions"]) == 1
    (key,) = await gateway.rows("SELECT key_id FROM message_key")
    assert told["key_id"] == key.key_id
    measured = (await gateway.http.get("/metrics")).text
    assert 'message_log_unstamped_blocks{partition="' in measured


async def test_files_are_put_down_as_they_come_and_as_they_are_handed_out(
    gateway: RunningGateway,
) -> None:
    headers = {**gateway.bearer(), "content-type": "application/pdf"}
    up = await gateway.http.post("/v1/files", content=PDF, headers=headers)
    assert up.status_code == 201
    down = await gateway.get(f"/v1/files/{digest(PDF)}")
    assert down.content == PDF
    came, went = await message_log.records(gateway.core.database)
    assert (came.form, came.status, came.subject) == ("POST /v1/files", 201, digest(PDF))
    assert (came.digest, came.size) == (digest(PDF), len(PDF))
    assert came.answer_digest == digest(up.content)
    assert (went.form, went.client_id) == ("GET /v1/files/{sha256}", "one-stop")
    assert (went.answer_digest, went.subject) == (digest(PDF), digest(PDF))
    assert (went.digest, went.size) == (digest(b""), 0)


async def test_a_file_that_cannot_be_put_down_is_not_handed_out(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {**gateway.bearer(), "content-type": "application/pdf"}
    await gateway.http.post("/v1/files", content=PDF, headers=headers)

    async def fails(*_: object) -> None:
        raise DatabaseAway

    monkeypatch.setattr(gateway.app.state.gateway.log_works.log, "add", fails)
    answer = await gateway.get(f"/v1/files/{digest(PDF)}")
    assert answer.status_code == 503
    assert PDF not in answer.content


@pytest.mark.parametrize(
    ("scopes", "purpose", "put_down"),
    [
        (["dossiers:read", "dossiers:personal"], "giai-quyet", True),
        (["dossiers:read", "dossiers:personal"], "", False),
        (["dossiers:read"], "giai-quyet", False),
    ],
)
async def test_a_dossier_read_in_clear_is_put_down_as_it_was_answered(
    databases: Databases, tmp_path, scopes: list[str], purpose: str, put_down: bool
) -> None:
    url = await gateway_database(databases)
    upstream = Upstream(body=b'{"code":"%s","agency":"H56.14"}' % dossier_code().encode())
    async with (
        upstream.serving(),
        running_gateway(url, tmp_path, **SLOW, dossier_url=upstream.url) as gateway,
    ):
        headers = gateway.bearer(scopes=scopes)
        if purpose:
            headers["x-purpose"] = purpose
        answer = await gateway.http.get(f"/v1/dossiers/{dossier_code()}", headers=headers)
        assert answer.status_code == 200, answer.text
        found = await message_log.records(gateway.core.database)
    assert [(one.form, one.subject, one.answer_digest) for one in found] == (
        [("GET /v1/dossiers/{code}", dossier_code(), digest(answer.content))] if put_down else []
    )
