"""Old dossiers enter: whole, once, without disturbing what lives."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from sqlalchemy import text

from common.auth import TokenKeys
from common.contracts.dossier import DossierImported, DossierReceived
from common.envelope import decode
from common.service import Shared
from common.transport.local import LocalTransport
from dossier.main import create_app
from dossier.settings import Settings
from dossier.use_cases import importing
from tests.support.dossier_service import dossier_database, dossier_service
from tests.support.dossiers import command, envelope, submission

KEY = ec.generate_private_key(ec.SECP256R1())
SEALING = base64.b64encode(b"k" * 32).decode()
NDJSON = "application/x-ndjson"
PERSON = {
    "kind": "1",
    "name": "Nguyễn Thị Ánh",
    "identity": {"type": "citizen-id", "number": "012345678901"},
    "phone": "0912345678",
}
SECRETS = ("Nguyễn", "012345678901", "0912345678")
HISTORY = [
    {"kind": "submit", "status": "1", "at": "2015-03-02T08:00:00", "channel": "1"},
    {"kind": "receive", "status": "2", "at": "2015-03-02T09:00:00"},
    {
        "kind": "complete",
        "status": "9",
        "at": "2015-03-10",
        "official": {"name": "Lê Văn Bình"},
        "note": "Đã ký",
    },
]


def code(number: int, agency: str = "H10.15") -> str:
    return f"{agency}-150302-{number:04d}"


def line(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "code": code(number),
        "procedure": {"code": "1.000016", "name": "Đăng ký", "field": {"name": "Doanh nghiệp"}},
        "channel": "1",
        "applicant": PERSON,
        "summary": f"Hồ sơ cũ số {number}",
        "status": "9",
        "submitted_at": "2015-03-02T08:00:00",
        "due_at": "2015-03-12",
        "finished_at": "2015-03-10",
        "results": [{"id": "kq1", "name": "Giấy chứng nhận"}],
        "steps": HISTORY,
        **changed,
    }


def file(*lines: Any) -> bytes:
    return b"".join(
        one if isinstance(one, bytes) else json.dumps(one, ensure_ascii=False).encode() + b"\n"
        for one in lines
    )


async def jwks():
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key()))
    return {"keys": [{**public, "kid": "t1", "use": "sig", "alg": "ES256"}]}


def bearer(scope="operations", agencies=("H10",), client="operator") -> dict[str, str]:
    now = int(time.time())
    claims = {
        "iss": "urn:lienthong:gateway",
        "aud": "urn:lienthong:backbone",
        "iat": now,
        "exp": now + 60,
        "client_id": client,
        "scope": scope,
        "agencies": list(agencies),
        "procedures": ["*"],
    }
    token = jwt.encode(claims, KEY, "ES256", headers={"kid": "t1"})
    return {"Authorization": f"Bearer {token}"}


class Service:
    """The dossier service, as an operator calls it, and what is in its database."""

    def __init__(self, app: Any, http: httpx.AsyncClient) -> None:
        self.app, self.http = app, http

    async def send(self, content: Any, kind: str = NDJSON, may=None, **query: Any):
        return await self.http.post(
            "/v1/imports",
            content=content,
            params=query,
            headers={**(may or bearer()), "content-type": kind},
        )

    async def get(self, path: str, may=None, **query: Any):
        return await self.http.get(path, params=query, headers=may or bearer())

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        async with self.app.state.core.database.reading() as connection:
            return list(await connection.execute(text(statement), values))

    async def told(self) -> list[Any]:
        rows = await self.rows("SELECT body FROM event_log ORDER BY event_id")
        return [decode(row.body) for row in rows]

    async def contents(self) -> dict[str, list[Any]]:
        tables = ("dossier", "dossier_step", "event_log", "historic_dossier", "dossier_person")
        return {name: await self.rows(f"TABLE {name} ORDER BY 1, 2") for name in tables}


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Service]:
    settings = Settings(
        database_url=SecretStr(url),
        sealing_keys={"k1": SecretStr(SEALING)},
        sealing_key="k1",
        usage_seconds=3600,
    )
    app = create_app(settings, Shared(transport=LocalTransport(), token_keys=TokenKeys(jwks)))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://dossier") as http,
    ):
        yield Service(app, http)


@pytest.fixture
async def url(databases) -> str:
    return await dossier_database(databases)


@pytest.fixture
async def service(url: str) -> AsyncIterator[Service]:
    async with running(url) as made:
        yield made


def counts(answer: httpx.Response) -> dict[str, int]:
    assert answer.status_code == 200, answer.text
    names = ("lines", "entered", "known", "different", "refused")
    return {name: answer.json()[name] for name in names if answer.json()[name]}


def slug(answer: httpx.Response) -> str:
    return str(answer.json()["type"].rsplit(":", 1)[1])


async def test_an_old_dossier_enters_with_its_history(service: Service) -> None:
    answer = await service.send(file(line(1), line(2)))
    assert counts(answer) == {"lines": 2, "entered": 2}
    assert answer.json()["state"] == "ended"
    reader = bearer("dossiers:read")
    seen = (await service.get(f"/v1/dossiers/{code(1)}", reader)).json()
    assert (seen["status"], seen["historic"], seen["agency"]) == ("9", True, "H10.15")
    assert seen["applicant"]["name"] == "N. T. Á."
    steps = (await service.get(f"/v1/dossiers/{code(1)}/steps", reader)).json()["items"]
    assert [(step["number"], step["kind"]) for step in steps] == [
        (1, "submit"),
        (2, "receive"),
        (3, "complete"),
    ]


async def test_it_is_told_once_as_imported_and_nothing_else_happens(service: Service) -> None:
    await service.send(file(line(1)))
    (told,) = await service.told()
    event = told.event
    assert isinstance(event, DossierImported)
    assert (event.lane, event.tell_portal, event.measure) == ("bulk", False, False)
    assert (told.sequence, event.step.number) == (1, 3)
    assert await service.rows("TABLE deadline") == []
    await service.send(file(line(2)), tell_portal=True, measure=True)
    event = (await service.told())[-1].event
    assert (event.tell_portal, event.measure) == (True, True)


async def test_personal_fields_are_sealed_on_entry(service: Service) -> None:
    await service.send(file(line(1), {**line(2), "status": "x"}))
    for name in ("dossier", "dossier_step", "event_log", "historic_dossier", "historic_fault"):
        for row in await service.rows(f"TABLE {name}"):
            kept = b" ".join(
                value if isinstance(value, bytes) else str(value).encode() for value in row
            )
            assert not any(secret.encode() in kept for secret in SECRETS), name


async def test_the_same_file_again_changes_nothing(service: Service) -> None:
    content, id_ = file(line(1), line(2)), str(uuid4())
    first = await service.send(content, id=id_)
    before = await service.contents()
    assert (await service.send(content, id=id_)).json() == first.json()
    assert counts(await service.send(content)) == {"lines": 2, "known": 2}
    assert await service.contents() == before


async def test_the_same_line_twice_in_a_file_is_entered_once(service: Service) -> None:
    answer = await service.send(file(line(1), line(1), line(1, summary="khác")))
    assert counts(answer) == {"lines": 3, "entered": 1, "known": 1, "different": 1}


async def test_what_is_there_is_never_overwritten(service: Service, url: str) -> None:
    async with dossier_service(url) as live:
        name = code(1)
        sealed = service.app.state.core.keys.seal({"name": "Trần B"}, owner=name)
        event = submission(name, command("submit", sealed=sealed))
        await live.submissions.take([envelope(event, 1, aggregate=name)])
    await service.send(file(line(2)))
    before = await service.contents()
    answer = await service.send(file(line(1), line(2, summary="Khác", status="9")))
    assert counts(answer) == {"lines": 2, "different": 2}
    assert await service.contents() == before
    faults = (await service.get(f"/v1/imports/{answer.json()['id']}/faults")).json()["items"]
    assert [(fault["line"], fault["code"], fault["reason"]) for fault in faults] == [
        (1, code(1), "different"),
        (2, code(2), "different"),
    ]
    assert {error["pointer"] for error in faults[0]["errors"]} >= {"/applicant", "/status"}
    assert [error["pointer"] for error in faults[1]["errors"]] == ["/summary"]


async def test_another_person_is_a_difference(service: Service) -> None:
    await service.send(file(line(1)))
    answer = await service.send(file(line(1, applicant={**PERSON, "phone": "0912345679"})))
    assert counts(answer) == {"lines": 1, "different": 1}


async def test_a_faulty_line_is_told_by_its_number_without_what_it_said(service: Service) -> None:
    lines = (
        line(1),
        b"{not json\n",
        b"\n",
        {**line(2), "status": "99", "colour": "red"},
        line(3, finished_at="2015-01-01"),
        b"\xff\xfe\n",
        line(4),
    )
    answer = await service.send(file(*lines))
    assert counts(answer) == {"lines": 7, "entered": 2, "refused": 4}
    page = (await service.get(f"/v1/imports/{answer.json()['id']}/faults", limit=2)).json()
    assert page["next"] == 4
    rest = await service.get(f"/v1/imports/{answer.json()['id']}/faults", after=4)
    faults = [*page["items"], *rest.json()["items"]]
    assert [fault["line"] for fault in faults] == [2, 4, 5, 6]
    assert {error["pointer"] for error in faults[1]["errors"]} == {"/status", "/colour"}
    assert [error["pointer"] for error in faults[2]["errors"]] == ["/finished_at"]
    assert not any(secret in str(faults) for secret in (*SECRETS, "red", "99"))


async def test_an_import_that_broke_off_goes_on_where_it_was(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 10)
    whole, id_ = file(*(line(n) for n in range(35))), str(uuid4())

    async def broken() -> AsyncIterator[bytes]:
        yield whole[: len(whole) * 2 // 3]
        raise ConnectionResetError

    assert (await service.send(broken(), id=id_)).status_code == 500
    seen = (await service.get(f"/v1/imports/{id_}")).json()
    assert (seen["state"], seen["lines"], seen["entered"]) == ("running", 20, 20)
    answer = await service.send(whole, id=id_)
    assert counts(answer) == {"lines": 35, "entered": 35}
    assert len(await service.told()) == 35


async def test_an_import_goes_on_with_its_own_file_only(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 2)
    whole, id_ = file(*(line(n) for n in range(5))), str(uuid4())

    async def broken() -> AsyncIterator[bytes]:
        yield whole[: len(whole) * 2 // 3]
        raise ConnectionResetError

    assert (await service.send(broken(), id=id_)).status_code == 500
    other = file(*(line(n) for n in range(10, 15)))
    short = file(line(0))
    for content, measure in ((other, False), (short, False), (b"", False), (whole, True)):
        answer = await service.send(content, id=id_, measure=measure)
        assert (answer.status_code, slug(answer)) == (409, "import-differs")
    assert (await service.send(whole, may=bearer(client="x"), id=id_)).status_code == 409
    assert counts(await service.send(whole, id=id_)) == {"lines": 5, "entered": 5}
    longer = await service.send(whole + file(line(9)), id=id_)
    assert (longer.status_code, slug(longer)) == (409, "import-differs")


async def test_two_at_work_on_one_import_do_not_enter_twice(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 3)
    whole, id_ = file(*(line(n) for n in range(12))), str(uuid4())
    both = await asyncio.gather(service.send(whole, id=id_), service.send(whole, id=id_))
    assert sorted(answer.status_code for answer in both) in ([200, 200], [200, 409])
    assert len(await service.told()) == 12
    assert (await service.get(f"/v1/imports/{id_}")).json()["entered"] == 12


async def test_a_submission_that_comes_meanwhile_wins(
    service: Service, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = importing.Importing._judged
    name = code(1)
    async with dossier_service(url) as live:

        async def late(self: Any, connection: Any, read: Any) -> Any:
            found = await judged(self, connection, read)
            if not await live.rows("TABLE dossier"):
                event = submission(name, command("submit"))
                await live.submissions.take([envelope(event, 1, aggregate=name)])
            return found

        monkeypatch.setattr(importing.Importing, "_judged", late)
        assert counts(await service.send(file(line(1), line(2)))) == {
            "lines": 2,
            "entered": 1,
            "different": 1,
        }
    (row,) = await service.rows("SELECT status FROM dossier WHERE code = :code", code=name)
    assert row.status == 1


CSV = (
    "\ufeffcode;procedure_code;procedure_name;field_name;channel;applicant_kind;applicant_name;"
    "identity_type;identity_number;summary;status;submitted_at;finished_at;step_kind;step_at;"
    "step_official;step_note\r\n"
    "H10.15-150302-0001;1.000016;Đăng ký;Doanh nghiệp;1;1;Nguyễn Thị Ánh;citizen-id;012345678901;"
    '"Hồ sơ; có ""dấu""\nhai dòng";9;2015-03-02;2015-03-10;complete;2015-03-10;Lê Văn Bình;Xong'
    "\r\n"
    "H10.15-150302-0002;1.000016;Đăng ký;Doanh nghiệp;1;1;Trần B;;;Hồ sơ;10;2015-03-02;;;;;\r\n"
    "H10.15-150302-0003;1.000016;Đăng ký;Doanh nghiệp;1;1;Trần B;;;Hồ sơ;10\r\n"
)


async def test_a_table_enters_with_its_last_step(service: Service) -> None:
    answer = await service.send(CSV.encode(), "text/csv; charset=utf-8")
    assert counts(answer) == {"lines": 5, "entered": 2, "refused": 1}
    reader = bearer("dossiers:read")
    seen = (await service.get(f"/v1/dossiers/{code(1)}", reader)).json()
    assert seen["summary"] == 'Hồ sơ; có "dấu"\nhai dòng'
    (step,) = (await service.get(f"/v1/dossiers/{code(1)}/steps", reader)).json()["items"]
    assert (step["kind"], step["official"]["name"], step["note"]) == (
        "complete",
        "Lê Văn Bình",
        "Xong",
    )
    faults = await service.get(f"/v1/imports/{answer.json()['id']}/faults")
    assert [fault["line"] for fault in faults.json()["items"]] == [5]
    assert counts(await service.send(CSV.encode(), "text/csv")) == {
        "lines": 5,
        "known": 2,
        "refused": 1,
    }


@pytest.mark.parametrize("content", [b"code,colour\n", b"\xff\n", b'"open\n', b"code\n"])
async def test_a_table_without_its_heading_is_refused(service: Service, content: bytes) -> None:
    answer = await service.send(content, "text/csv")
    assert (answer.status_code, slug(answer)) == (422, "import-not-readable")


async def test_other_kinds_of_files_are_refused(service: Service) -> None:
    answer = await service.send(b"x", "application/json")
    assert (answer.status_code, slug(answer)) == (422, "import-not-readable")


async def test_operators_enter_dossiers_of_their_agencies(service: Service) -> None:
    lines = file(line(1), line(2, agency="H56.14"), line(3, code=code(3, "H56")))
    answer = await service.send(lines)
    assert counts(answer) == {"lines": 3, "entered": 1, "refused": 2}
    path = f"/v1/imports/{answer.json()['id']}"
    faults = (await service.get(f"{path}/faults")).json()["items"]
    assert [fault["reason"] for fault in faults] == ["forbidden", "forbidden"]
    for may in (bearer("dossiers:write"), bearer("dossiers:read")):
        assert (await service.send(lines, may=may)).status_code == 403
        assert (await service.get(path, may)).status_code == 403
    assert (await service.get(path, bearer(client="other"))).status_code == 404
    assert (await service.get(f"{path}/faults", bearer(client="other"))).status_code == 404
    assert (await service.get(path, bearer(client="other", agencies=("*",)))).status_code == 200
    mine, others = (
        await service.get("/v1/imports"),
        await service.get("/v1/imports", bearer(client="other")),
    )
    assert [one["id"] for one in mine.json()] == [answer.json()["id"]]
    assert others.json() == []


async def test_so_many_faults_stop_an_import(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH", 5)
    monkeypatch.setattr(importing, "_MOST_FAULTS", 7)
    answer = await service.send(b"{}\n" * 100, id=str(uuid4()))
    assert (answer.status_code, slug(answer)) == (422, "import-too-faulty")
    (seen,) = (await service.get("/v1/imports")).json()
    assert (seen["state"], seen["refused"]) == ("stopped", 10)


OPEN = [
    ("1", [], "receive", {}, "2"),
    ("5", HISTORY[:2], "give-supplement", {}, "2"),
    ("6", HISTORY[:2], "record-fee", {"online": False}, "2"),
]


@pytest.mark.parametrize(("status", "history", "kind", "fields", "then"), OPEN)
async def test_an_open_old_dossier_goes_on_as_any_other(
    service: Service, url: str, status, history, kind, fields, then
) -> None:
    steps = history and [
        *history,
        {
            "kind": {"5": "request-supplement", "6": "request-fee"}[status],
            "status": status,
            "at": "2015-03-03",
        },
    ]
    last = {"status": status, "steps": steps, "finished_at": None, "results": []}
    assert counts(await service.send(file(line(1, **last)))) == {"lines": 1, "entered": 1}
    async with dossier_service(url) as live:
        event = submission(code(1), command(kind, **fields))
        await live.submissions.take([envelope(event, 1, aggregate=code(1))])
    seen = (await service.get(f"/v1/dossiers/{code(1)}", bearer("dossiers:read"))).json()
    assert (seen["status"], seen["historic"]) == (then, False)
    told = [one.event for one in await service.told()]
    assert isinstance(told[0], DossierImported)
    assert any(isinstance(one, DossierReceived) for one in told) == (kind == "receive")


async def test_a_file_enters_from_the_command_line(url: str, tmp_path: Path) -> None:
    given = tmp_path / "old.ndjson"
    given.write_bytes(file(line(1), line(2)))
    environment = {
        **os.environ,
        "DOSSIER_DATABASE_URL": url,
        "DOSSIER_SEALING_KEYS": json.dumps({"k1": SEALING}),
        "DOSSIER_SEALING_KEY": "k1",
    }

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dossier", "import", str(given)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    first = await asyncio.to_thread(run)
    assert (first.returncode, first.stderr) == (0, "")
    assert "2 lines, 2 entered" in first.stdout
    assert (await asyncio.to_thread(run)).returncode == 0
    given.write_bytes(file(line(1)))
    other = await asyncio.to_thread(run)
    assert other.returncode == 1
    assert "import" in other.stderr


async def test_a_list_by_day_goes_on_with_the_cursor_of_its_own_order(service: Service) -> None:
    days: dict[str, Any] = {"finished_at": None, "steps": []}
    await service.send(
        file(*(line(n, submitted_at=f"2015-03-{n % 3 + 1:02d}", **days) for n in range(9)))
    )
    reader = bearer("dossiers:read")
    asked = {"submitted_from": "2015-03-01T00:00:00+07:00", "historic": "true", "limit": 4}
    first = (await service.get("/v1/dossiers", reader, **asked)).json()
    second = (await service.get("/v1/dossiers", reader, after=first["next"], **asked)).json()
    third = (await service.get("/v1/dossiers", reader, after=second["next"], **asked)).json()
    items = [*first["items"], *second["items"], *third["items"]]
    assert [item["code"] for item in items] == [code(n) for n in (0, 3, 6, 1, 4, 7, 2, 5, 8)]
    assert third["next"] is None
    assert items[0]["submitted_at"] == "2015-02-28T17:00:00Z"
    assert items[0]["version"] == 1
    wrong = await service.get("/v1/dossiers", reader, after=first["next"])
    assert (wrong.status_code, slug(wrong)) == (422, "invalid-content")
    both = await service.get("/v1/dossiers", reader, agency=["H10.15", "H10.16"])
    assert len(both.json()["items"]) == 9
    assert (await service.get("/v1/dossiers", reader, overdue="true")).json()["items"] == []
