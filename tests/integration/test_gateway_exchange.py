"""The door for lower-level submissions: a NopHoSo becomes a dossier of the right agency, once."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.contracts.commands import Submit
from tests.support.databases import Databases
from tests.support.gateway import (
    AGENCY,
    NAME,
    NUMBER,
    PROCEDURE,
    SECRET,
    RunningGateway,
    Upstream,
    dossier_code,
    gateway_database,
    passed_claims,
    running_gateway,
)

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"


@pytest.fixture
async def gateway(databases: Databases, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(await gateway_database(databases), tmp_path) as running:
        yield running


def filed(**changed: Any) -> dict[str, Any]:
    body = {
        "MaHoSo": dossier_code(),
        "MaTTHC": PROCEDURE,
        "KenhThucHien": "2",
        "LoaiDoiTuong": 0,
        "ChuHoSo": NAME,
        "SoGiayToChuHoSo": NUMBER,
        "Email": "buoi@example.vn",
        "SoDienThoai": "0903123456",
        "TrichYeuHoSo": "Đăng ký thành lập công ty",
        "NgayNopHoSo": "2026-11-02 08:15:00",
        "DanhSachLePhi": [{"TenPhiLePhi": "Lệ phí", "Gia": "50000"}],
        "TruongMoi": {"không": "biết"},
    }
    return {name: value for name, value in {**body, **changed}.items() if value is not None}


async def post(
    gateway: RunningGateway, service: str, body: Any, client: str = "one-stop"
) -> httpx.Response:
    return await gateway.http.post(
        f"/exchange/v1/{service}", json=body, headers=gateway.bearer(client)
    )


async def submits(gateway: RunningGateway) -> list[Submit]:
    told = await gateway.submissions()
    return [one.command for one in told if isinstance(one.command, Submit)]


async def test_the_whole_order_of_calls_from_the_token_to_the_dossier(
    gateway: RunningGateway,
) -> None:
    asked = {"client_id": "one-stop", "client_secret": SECRET}
    token = (await gateway.http.post("/exchange/v1/token", json=asked)).json()
    assert (token["code"], token["data"]["token_type"]) == ("0", "Bearer")
    bearer = {"authorization": f"Bearer {token['data']['access_token']}"}

    async def call(service: str, **more: Any) -> dict[str, Any]:
        headers = {**bearer, **more.pop("headers", {})}
        answer = await gateway.http.post(f"/exchange/v1/{service}", headers=headers, **more)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        assert set(told) == {"code", "message", "data"}
        assert told["code"] == "0"
        return dict(told["data"])

    code = (await call("GetNextValue", json={"code": "000.00.14.H56"}))["MaHoSo"]
    other = (await call("GetNextValue", json={"code": AGENCY}))["MaHoSo"]
    assert code.startswith("000.00.14.H56-")
    assert other != code
    file = await call("upload", content=PDF, headers={"content-type": "application/pdf"})
    paper = {"TenTepDinhKem": "Đơn", "MaThanhPhanHoSo": "TP01", **file}
    told = await call("NopHoSo", json=filed(MaHoSo=code, TaiLieuNop=[paper]))
    assert told["MaHoSo"] == code
    (event,) = await gateway.submissions()
    assert (event.agency, event.dossier_code) == (AGENCY, code)
    command = event.command
    assert isinstance(command, Submit)
    assert command.at.isoformat() == "2026-11-02T01:15:00+00:00"
    assert command.documents[0].file == file["IdTepTin"]
    assert (command.applicant_kind, command.channel, command.fees[0].amount) == ("1", "2", 50000)
    opened = gateway.core.keys.open(command.sealed, code)
    assert opened["identity"] == {"type": "citizen-id", "number": NUMBER}
    assert NUMBER not in event.model_dump_json()
    assert NAME not in event.model_dump_json()


@pytest.mark.parametrize(
    ("theirs", "number", "ours", "remark"),
    [
        (0, NUMBER, "1", None),
        ("1", "0101234567", "2", None),
        (2, "0101234567-001", "4", "Hộ kinh doanh (LoaiDoiTuong 2)"),
    ],
)
async def test_kinds_of_applicants_are_converted_at_the_edge(
    gateway: RunningGateway, theirs: Any, number: str, ours: str, remark: str | None
) -> None:
    answer = await post(gateway, "NopHoSo", filed(LoaiDoiTuong=theirs, SoGiayToChuHoSo=number))
    assert answer.status_code == 200, answer.text
    (command,) = await submits(gateway)
    assert (command.applicant_kind, command.remark) == (ours, remark)


async def test_the_same_again_is_the_same_and_other_content_is_refused(
    gateway: RunningGateway,
) -> None:
    first = await post(gateway, "NopHoSo", filed())
    again = await post(gateway, "NopHoSo", filed(TruongMoi="khác"))
    assert (first.status_code, again.json()) == (200, first.json())
    other = await post(gateway, "NopHoSo", filed(TrichYeuHoSo="Khác"))
    assert (other.status_code, other.json()["code"]) == (409, "dossier-code-taken")
    stranger = await post(gateway, "NopHoSo", filed(), client="other")
    assert stranger.json()["code"] == "dossier-code-taken"
    assert len(await gateway.submissions()) == 1


async def test_without_a_code_the_senders_own_id_is_the_key(gateway: RunningGateway) -> None:
    body = filed(MaHoSo=None, IdYeuCau="yc-1", MaDonVi=AGENCY)
    first = await post(gateway, "NopHoSo", body)
    again = await post(gateway, "NopHoSo", body)
    assert (first.status_code, again.json()) == (200, first.json())
    other = await post(gateway, "NopHoSo", {**body, "TrichYeuHoSo": "Khác"})
    assert other.json()["code"] == "idempotency-key-reused"
    neither = await post(gateway, "NopHoSo", filed(MaHoSo=None, MaDonVi=AGENCY))
    assert neither.json()["code"] == "idempotency-key-missing"
    assert len(await gateway.submissions()) == 1


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"LoaiDoiTuong": "3"}, "LoaiDoiTuong"),
        ({"NgayNopHoSo": "20261102081500"}, "NgayNopHoSo"),
        ({"NgayNopHoSo": "2026-02-30 08:00:00"}, "NgayNopHoSo"),
        ({"SoGiayToChuHoSo": "không rõ"}, "SoGiayToChuHoSo"),
        ({"Email": "không phải"}, "Email"),
        ({"ChuHoSo": None}, "ChuHoSo"),
        ({"KenhThucHien": "9"}, "KenhThucHien"),
        ({"DanhSachLePhi": [{"TenPhiLePhi": "x", "Gia": "1.5"}]}, "DanhSachLePhi/0/Gia"),
        (
            {"TaiLieuNop": [{"TenTepDinhKem": "x", "IdTepTin": "a" * 64, "HashTepTin": "b" * 64}]},
            "TaiLieuNop/0/HashTepTin",
        ),
    ],
)
async def test_what_it_needs_is_told_by_the_names_that_were_sent(
    gateway: RunningGateway, changed: dict[str, Any], field: str
) -> None:
    answer = await post(gateway, "NopHoSo", filed(**changed))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-content")
    assert [fault["field"] for fault in answer.json()["data"]["errors"]] == [field]
    assert await gateway.submissions() == []


async def test_every_refusal_has_the_same_envelope(gateway: RunningGateway) -> None:
    async def refused(answer: httpx.Response, status: int, code: str) -> None:
        told = answer.json()
        assert (answer.status_code, told["code"]) == (status, code)
        assert set(told) == {"code", "message", "data"}
        assert told["message"]

    wrong = {"client_id": "one-stop", "client_secret": "x" * 20}
    await refused(await gateway.http.post("/exchange/v1/token", json=wrong), 401, "unauthorised")
    nobody = await gateway.http.post("/exchange/v1/NopHoSo", json=filed())
    await refused(nobody, 401, "unauthorised")
    await refused(await post(gateway, "NopHoSo", filed(), client="reader"), 403, "forbidden")
    await refused(await post(gateway, "NopHoSo", filed(), client="foreign"), 403, "forbidden")
    foreign = await post(gateway, "GetNextValue", {"code": AGENCY}, client="foreign")
    await refused(foreign, 403, "forbidden")
    unknown = await post(gateway, "NopHoSo", filed(MaTTHC="9.999999"))
    await refused(unknown, 422, "unknown-procedure")
    paper = {"TenTepDinhKem": "x", "IdTepTin": "a" * 64}
    await refused(await post(gateway, "NopHoSo", filed(TaiLieuNop=[paper])), 422, "unknown-file")
    broken = await gateway.http.post(
        "/exchange/v1/NopHoSo",
        content=b"{",
        headers={**gateway.bearer(), "content-type": "application/json"},
    )
    await refused(broken, 400, "malformed-json")


async def test_a_submission_that_was_refused_says_so(gateway: RunningGateway) -> None:
    told = (await post(gateway, "NopHoSo", filed())).json()
    await gateway.refuse(told["data"]["MaTiepNhan"])
    again = await post(gateway, "NopHoSo", filed())
    assert (again.status_code, again.json()["code"]) == (409, "dossier-exists")


async def test_progress_is_read_with_iso_times(databases: Databases, tmp_path: Path) -> None:
    body = {
        "status": "4",
        "items": [
            {"at": "2026-11-02T02:00:00Z", "status": "4", "official": {"name": "Trần Thị Bình"}}
        ],
        "next": None,
    }
    url = await gateway_database(databases)
    async with (
        Upstream(body=json.dumps(body).encode()).serving() as dossier,
        running_gateway(url, tmp_path, dossier_url=dossier.url) as gateway,
    ):
        path = f"/exchange/v1/TienDo/{dossier_code()}"
        told = (await gateway.http.get(path, headers=gateway.bearer())).json()
        assert (told["code"], told["data"]["TrangThaiHoSo"]) == ("0", "4")
        assert told["data"]["TienDo"] == [
            {
                "ThoiDiemXuLy": "2026-11-02T09:00:00+07:00",
                "TrangThai": "4",
                "NguoiXuLy": "Trần Thị Bình",
            }
        ]
        dossier.status = 404
        dossier.body = b'{"type":"urn:lienthong:problem:not-found","title":"Kh\xc3\xb4ng"}'
        gone = await gateway.http.get(path, headers=gateway.bearer())
        assert (gone.status_code, gone.json()["code"]) == (404, "not-found")


async def test_questions_pass_through_with_the_clients_own_token(
    databases: Databases, tmp_path: Path
) -> None:
    url = await gateway_database(databases)
    async with (
        Upstream(body=b'{"items":[],"next":null}').serving() as portal,
        running_gateway(url, tmp_path, portal_sync_url=portal.url) as gateway,
    ):
        bearer = gateway.bearer(scopes=["questions:read", "questions:write"])
        read = await gateway.http.get("/v1/questions?state=open", headers=bearer)
        assert read.json() == {"items": [], "next": None}
        answer = {"content": "Ngày mai"}
        path = "/v1/questions/HD%2F1/answer"
        await gateway.http.post(path, json=answer, headers=bearer)
        asked, answered = portal.asked
        assert asked.url.query == b"state=open"
        assert answered.url.raw_path == b"/v1/questions/HD%2F1/answer"
        assert passed_claims(asked)["scope"] == "questions:read questions:write"
        assert (
            await gateway.http.get("/v1/questions", headers=gateway.bearer())
        ).status_code == 403
    async with running_gateway(url, tmp_path) as gateway:
        bearer = gateway.bearer(scopes=["questions:read"])
        assert (await gateway.http.get("/v1/questions", headers=bearer)).status_code == 503
