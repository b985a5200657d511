"""The national portal's program answers as the facts say, refuses strictly, and keeps books."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from simulators.national_portal import NationalPortal

CODE = "000.00.15.H10-260101-0001"


def dossier(code: str = CODE, **changed: Any) -> dict[str, Any]:
    item = {
        "MaHoSo": code,
        "MaTTHC": "1.000123",
        "TenTTHC": "Cấp giấy phép xây dựng",
        "MaLinhVuc": "G17-XD01",
        "TenLinhVuc": "Hoạt động xây dựng",
        "KenhThucHien": "2",
        "LoaiDoiTuong": "1",
        "NgayTiepNhan": "20260101083000",
        "NgayHenTra": "",
        "TrangThaiHoSo": "2",
        "HinhThuc": "0",
        "DonViXuLy": "Sở Xây dựng",
    }
    return {**item, **changed}


def step(code: str = CODE, status: str = "4", **changed: Any) -> dict[str, Any]:
    item = {
        "MaHoSo": code,
        "NguoiXuLy": "Nguyễn Văn A",
        "ThoiDiemXuLy": "20260102090000",
        "TrangThai": status,
    }
    return {**item, **changed}


class Caller:
    """A caller with a session."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.session = ""

    async def post(self, path: str, body: Any, **headers: str) -> dict[str, Any]:
        reply = await self.client.post(path, json=body, headers={"dstcode": "G22", **headers})
        answer: dict[str, Any] = reply.json()
        return answer

    async def login(self, username: str = "tinh", password: str = "mat-khau") -> dict[str, Any]:
        answer = await self.post("/login", {"username": username, "password": password})
        self.session = answer["session"]
        return answer

    async def call(self, service: str, **arguments: Any) -> dict[str, Any]:
        body = {"session": self.session, "madonvi": "H10", "service": service, **arguments}
        return await self.post("/", body)

    async def create(self, *items: dict[str, Any]) -> dict[str, Any]:
        return await self.call("DongBoHoSoMC", isUpdating="False", data=list(items))

    async def update(self, *items: dict[str, Any]) -> dict[str, Any]:
        return await self.call("DongBoHoSoMC", isUpdating="True", data=list(items))

    async def progress(self, *items: dict[str, Any]) -> dict[str, Any]:
        return await self.call("CapNhatTienDoHoSoMC", data=list(items))

    async def fault(self, **rule: Any) -> None:
        (await self.client.post("/_faults", json=rule)).raise_for_status()

    async def books(self, page: str = "") -> dict[str, Any]:
        reply = await self.client.get(f"/_books{page}")
        summary: dict[str, Any] = reply.json()
        return summary


@asynccontextmanager
async def calling(portal: NationalPortal) -> AsyncIterator[Caller]:
    transport = httpx.ASGITransport(app=portal)
    async with httpx.AsyncClient(transport=transport, base_url="http://portal") as client:
        caller = Caller(client)
        await caller.login()
        yield caller


async def test_a_dossier_is_created_updated_progressed_and_looked_up() -> None:
    async with calling(NationalPortal()) as caller:
        assert await caller.call("TraCuuHoSo", mahoso=CODE) == {
            "error_code": "0",
            "message": "Thành công",
            "result": [],
        }
        for answer in (
            await caller.create(dossier()),
            await caller.update(dossier(TrangThaiHoSo="4")),
            await caller.progress(step(status="2"), step(), step()),
        ):
            assert answer == {"error_code": "0", "message": "Thành công"}
        (found,) = (await caller.call("TraCuuHoSo", mahoso=CODE))["result"]
        assert (found["MaHoSo"], found["TrangThaiHoSo"]) == (CODE, "4")

        assert await caller.books(f"/dossiers/{CODE}") == {
            "MaHoSo": CODE,
            "created": 1,
            "updated": 1,
            "status": "4",
            "statuses": ["2", "4"],
            "steps_kept": 2,
            "steps_repeated": 1,
            "item": dossier(TrangThaiHoSo="4"),
            "steps": [{"step": step(status="2"), "times": 1}, {"step": step(), "times": 2}],
        }


async def test_a_second_creation_and_an_unknown_dossier_are_refused_and_change_nothing() -> None:
    async with calling(NationalPortal()) as caller:
        await caller.create(dossier())
        again = await caller.create(dossier("H10-260101-0002"), dossier(DonViXuLy="Sở khác"))
        assert again["error_code"] == "3"
        assert "đã tồn tại" in again["message"]
        for answer in (
            await caller.update(dossier("H10-260101-0009")),
            await caller.progress(step(), step("H10-260101-0009")),
        ):
            assert answer == {"error_code": "-1", "message": "Hồ sơ H10-260101-0009 không tồn tại"}
        books = await caller.books()
        assert (books["dossiers"], books["created"], books["steps_kept"]) == (1, 1, 0)
        assert books["by_service"]["DongBoHoSoMC"] == {
            "accepted": 1,
            "refused 3": 1,
            "refused -1": 1,
        }


async def test_creating_the_same_dossier_twice_in_one_call_is_refused() -> None:
    async with calling(NationalPortal()) as caller:
        assert (await caller.create(dossier(), dossier()))["error_code"] == "3"
        assert (await caller.books())["dossiers"] == 0


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"MaTTHC": None}, "data[0].MaTTHC: phải là chuỗi ký tự"),
        ({"TenTTHC": ""}, "data[0].TenTTHC: không được để trống"),
        ({"LoaiDoiTuong": "0"}, "data[0].LoaiDoiTuong: giá trị không có trong danh mục"),
        ({"TrangThaiHoSo": 4}, "data[0].TrangThaiHoSo: phải là chuỗi ký tự"),
        ({"TrangThaiHoSo": "11"}, "data[0].TrangThaiHoSo: giá trị không có trong danh mục"),
        ({"NgayTiepNhan": "2026-01-01"}, "NgayTiepNhan: phải theo định dạng yyyyMMddHHmmss"),
        ({"NgayHenTra": "20261301000000"}, "NgayHenTra: phải theo định dạng yyyyMMddHHmmss"),
        ({"TrichYeuHoSo": "x" * 1001}, "TrichYeuHoSo: dài quá 1000 ký tự"),
        ({"TaiLieuNop": [{"IsDeleted": False}]}, "TaiLieuNop: [0]: IsDeleted: phải là chuỗi"),
        ({"DanhSachTepDinhKemKhac": [{"SoLuong": "1"}]}, "SoLuong: phải là số nguyên"),
        ({"DanhSachHoSoBoSung": {}}, "DanhSachHoSoBoSung: phải là danh sách"),
    ],
)
async def test_a_malformed_item_is_refused_with_its_field(
    changed: dict[str, Any], complaint: str
) -> None:
    async with calling(NationalPortal()) as caller:
        answer = await caller.create(dossier(**changed))
        assert answer["error_code"] == "-2"
        assert complaint in answer["message"]
        assert (await caller.books())["dossiers"] == 0


async def test_every_mandatory_field_is_mandatory() -> None:
    names = "MaHoSo MaTTHC TenTTHC MaLinhVuc TenLinhVuc LoaiDoiTuong NgayTiepNhan TrangThaiHoSo"
    async with calling(NationalPortal()) as caller:
        for name in (*names.split(), "HinhThuc", "DonViXuLy"):
            item = dossier()
            del item[name]
            assert (await caller.create(item))["message"] == (
                f"data[0].{name}: thiếu trường bắt buộc"
            )
        await caller.create(dossier())
        for name in ("MaHoSo", "NguoiXuLy", "ThoiDiemXuLy", "TrangThai"):
            item = step()
            del item[name]
            assert name in (await caller.progress(item))["message"]


async def test_what_the_facts_leave_open_passes_and_is_counted() -> None:
    async with calling(NationalPortal()) as caller:
        answer = await caller.create(dossier(MaLinhVuc="", NgayTiepNhan="", TruongMoi=1))
        assert answer["error_code"] == "0"
        books = await caller.books()
        assert books["empty_mandatory"] == {"MaLinhVuc": 1, "NgayTiepNhan": 1}
        assert books["unknown_fields"] == {"TruongMoi": 1}


@pytest.mark.parametrize(
    "arguments",
    [
        {"isUpdating": False, "data": [dossier()]},
        {"isUpdating": "false", "data": [dossier()]},
        {"isUpdating": "False", "data": []},
        {"isUpdating": "False", "data": dossier()},
        {"isUpdating": "False", "data": [dossier()] * 1001},
        {"isUpdating": "False", "data": ["H10"]},
        {"isUpdating": "False", "data": [dossier()], "madonvi": ""},
    ],
)
async def test_a_malformed_call_is_refused(arguments: dict[str, Any]) -> None:
    async with calling(NationalPortal()) as caller:
        assert (await caller.call("DongBoHoSoMC", **arguments))["error_code"] == "-2"


async def test_sessions_must_be_known_and_expire() -> None:
    async with calling(NationalPortal()) as caller:
        known, caller.session = caller.session, "somebody"
        refused = await caller.create(dossier())
        assert refused["error_code"] == "-3"
        assert "Phiên làm việc" in refused["message"]
        caller.session = known
        assert (await caller.create(dossier()))["error_code"] == "0"
        assert (await caller.post("/", {}, dstcode=""))["message"] == "Thiếu dstcode"
    async with calling(NationalPortal(session_ttl=0)) as caller:
        assert (await caller.create(dossier()))["error_code"] == "-3"


async def test_only_given_accounts_are_let_in() -> None:
    async with calling(NationalPortal(accounts={"tinh": "mat-khau"})) as caller:
        assert caller.session
        for user, password in (("tinh", "sai"), ("ai", "mat-khau"), ("", "")):
            answer = await caller.login(user, password)
            assert (answer["session"], answer["error_code"]) == ("", "-1")


async def test_success_is_told_in_the_ways_that_were_seen() -> None:
    async with calling(NationalPortal(mixed_success=True)) as caller:
        told = [await caller.create(dossier(f"H10-260101-{i:04}")) for i in range(40)]
        assert {answer["error_code"] for answer in told} == {"0", "00", ""}
        assert all("thành công" in a["message"] for a in told if a["error_code"] == "")
        again = [await caller.create(dossier(f"H10-260101-{i:04}")) for i in range(40)]
        assert {answer["error_code"] for answer in again} == {"3", "-3"}
        assert all("đã tồn tại" in answer["message"] for answer in again)


async def test_the_catalogue_is_answered_from_what_was_loaded() -> None:
    record = {"MaTTHC": "1.000123", "TENTTHC": "Cấp giấy phép xây dựng", "TRANGTHAI": "1"}
    loaded = {"procedures": [record], "agencies": [{"MADONVI": "H10"}]}
    async with calling(NationalPortal(catalogue=loaded)) as caller:
        results = {
            service: (await caller.call(service, maTTHC="1.000123"))["result"]
            for service in (
                "LayThuTuc",
                "LayDanhSachTTHC",
                "LayDanhMucCoQuan",
                "LayDanhMucLinhVuc",
            )
        }
        assert results == {
            "LayThuTuc": [record],
            "LayDanhSachTTHC": [{"MaTTHC": "1.000123", "TENTTHC": "Cấp giấy phép xây dựng"}],
            "LayDanhMucCoQuan": [{"MADONVI": "H10"}],
            "LayDanhMucLinhVuc": [],
        }
        assert (await caller.call("LayThuTuc", maTTHC="9.999999"))["result"] == []


async def test_calls_the_real_portal_is_not_known_to_have_need_the_flag() -> None:
    async with calling(NationalPortal()) as caller:
        for service in ("DanhSachHoSoTheoNgay", "TraCuuTienDo", "XoaHoSo"):
            assert (await caller.call(service, ngay="20260101"))["error_code"] == "-4"
    async with calling(NationalPortal(extensions=True)) as caller:
        await caller.create(dossier(), dossier("H10-260102-0001", NgayTiepNhan="20260102000000"))
        await caller.progress(step())
        of_day = await caller.call("DanhSachHoSoTheoNgay", ngay="20260101")
        assert of_day["result"] == [CODE]
        assert (await caller.call("TraCuuTienDo", mahoso=CODE))["result"] == [step()]


async def test_a_fault_makes_the_portal_answer_per_item() -> None:
    async with calling(NationalPortal()) as caller:
        await caller.create(dossier())
        await caller.fault(on="DongBoHoSoMC", kind="per_item")
        answer = await caller.create(
            dossier(), dossier("H10-260101-0002"), dossier("", HinhThuc="")
        )
        assert [told["error_code"] for told in answer["result"]] == ["3", "0", "-2"]
        assert answer["result"][1]["MaHoSo"] == "H10-260101-0002"
        books = await caller.books()
        assert (books["dossiers"], books["by_service"]["DongBoHoSoMC"]["partly"]) == (2, 1)


async def test_a_forgotten_dossier_is_acknowledged_and_not_kept() -> None:
    async with calling(NationalPortal()) as caller:
        await caller.fault(on="*", kind="forget", key=CODE)
        for answer in (
            await caller.create(dossier(), dossier("H10-260101-0002")),
            await caller.update(dossier()),
            await caller.progress(step()),
        ):
            assert answer["error_code"] == "0"
        books = await caller.books("/dossiers")
        assert [row["MaHoSo"] for row in books["items"]] == ["H10-260101-0002"]
        assert (await caller.call("TraCuuHoSo", mahoso=CODE))["result"] == []


async def test_forgetting_without_a_name_takes_the_first_dossier_and_stays_with_it() -> None:
    async with calling(NationalPortal()) as caller:
        await caller.fault(on="DongBoHoSoMC", kind="forget")
        await caller.create(dossier())
        await caller.create(dossier("H10-260101-0002"))
        await caller.update(dossier())
        assert [row["MaHoSo"] for row in (await caller.books("/dossiers"))["items"]] == [
            "H10-260101-0002"
        ]


async def test_faults_on_sessions_and_codes() -> None:
    async with calling(NationalPortal()) as caller:
        await caller.fault(on="DongBoHoSoMC", kind="session_lost", times=1)
        assert (await caller.create(dossier()))["error_code"] == "-3"
        assert (await caller.create(dossier()))["error_code"] == "-3"
        await caller.login()
        await caller.fault(on="DongBoHoSoMC", kind="success_code", code="", message="thành công")
        assert await caller.create(dossier()) == {"error_code": "", "message": "thành công"}
        await caller.fault(on="CapNhatTienDoHoSoMC", kind="wrong_code", times=1)
        odd = await caller.progress(step())
        assert (odd["error_code"], "không thành công" in odd["message"]) == ("99", True)
        await caller.fault(on="CapNhatTienDoHoSoMC", kind="wrong_code", times=1, work=True)
        assert (await caller.progress(step()))["error_code"] == "99"
        assert (await caller.books())["steps_kept"] == 1


async def test_a_body_that_is_no_object_is_refused_and_other_paths_do_not_exist() -> None:
    async with calling(NationalPortal()) as caller:
        for body in (b"", b"[1]", b'{"a":', b"\xff"):
            reply = await caller.client.post("/", content=body, headers={"dstcode": "G22"})
            assert (reply.status_code, reply.json()["error_code"]) == (400, "-2")
        assert (await caller.client.post("/other", json={})).status_code == 404
        assert (await caller.client.get("/")).status_code == 404


async def test_a_body_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.wire.BODY_LIMIT", 1000)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 500

    async with calling(NationalPortal()) as caller:
        assert (await caller.client.post("/", content=body())).status_code == 413


async def test_a_fault_that_is_not_known_is_refused_with_those_that_are() -> None:
    async with calling(NationalPortal()) as caller:
        reply = await caller.client.post("/_faults", json={"kind": "nonsense"})
        assert reply.status_code == 400
        assert "per_item" in reply.json()["error"]
