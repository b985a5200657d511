"""The monitoring system's program: strict about its code lists, honest about what it counted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest

from simulators.emc import Emc

CODE = "000.00.15.H10-260101-0001"


def user(identifier: str = "k3:9f2c", **changed: str) -> str:
    known = {"ID_local": identifier, "ID_QG": identifier, "TYPE": "2", "LOCATION": "H10"}
    return orjson.dumps({**known, **changed}).decode()


def record(**changed: Any) -> dict[str, Any]:
    known = {
        "CodeProfile": CODE,
        "SiteId": 7,
        "CodeTTHC": "1.000123",
        "NameTTHC": "Cấp giấy phép xây dựng",
        "MaHoSo": CODE,
        "Status": "1",
        "FormsReception": "1",
        "FormsPayments": "0",
        "Level": "4",
        "IsFromDVCQG": "0",
        "IsDVCBC": "0",
        "Data": "",
        "User": user(),
    }
    return {**known, **changed}


@asynccontextmanager
async def tracking() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=Emc())
    async with httpx.AsyncClient(transport=transport, base_url="http://emc") as client:
        yield client


async def test_records_are_kept_in_order_and_repeats_are_counted() -> None:
    async with tracking() as client:
        for status in ("1", "2", "2", "3"):
            reply = await client.post("/TrackingMCDT", json=record(Status=status))
            assert (reply.status_code, reply.json()) == (200, {"status": "ok"})
        rows = (await client.get("/_books/records")).json()["items"]
        assert [(row["Status"], row["times"]) for row in rows] == [("1", 1), ("2", 2), ("3", 1)]
        assert rows[0]["record"] == record()
        totals = (await client.get("/_books")).json()
        assert (totals["records"], totals["repeated"]) == (3, 1)
        assert totals["by_status"] == {"1": 1, "2": 2, "3": 1}


async def test_a_record_may_leave_out_a_service_level_that_is_not_known() -> None:
    async with tracking() as client:
        unknown = record()
        del unknown["Level"]
        assert (await client.post("/TrackingMCDT", json=unknown)).status_code == 200


@pytest.mark.parametrize("name", [name for name in record() if name != "Level"])
async def test_every_other_field_is_mandatory(name: str) -> None:
    async with tracking() as client:
        incomplete = record()
        del incomplete[name]
        reply = await client.post("/TrackingMCDT", json=incomplete)
        assert reply.status_code == 400
        assert reply.json()["message"] == f"{name}: thiếu trường bắt buộc"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"Status": "5"}, "Status: giá trị không có trong danh mục"),
        ({"Status": 1}, "Status: phải là chuỗi ký tự"),
        ({"FormsReception": "3"}, "FormsReception: giá trị không có trong danh mục"),
        ({"FormsPayments": "3"}, "FormsPayments: giá trị không có trong danh mục"),
        ({"Level": "2"}, "Level: giá trị không có trong danh mục"),
        ({"IsFromDVCQG": "2"}, "IsFromDVCQG: giá trị không có trong danh mục"),
        ({"IsDVCBC": "3"}, "IsDVCBC: giá trị không có trong danh mục"),
        ({"SiteId": "7"}, "SiteId: phải là số nguyên"),
        ({"CodeProfile": "other"}, "CodeProfile: phải trùng với MaHoSo"),
        ({"User": {"ID_local": ""}}, "User: phải là chuỗi ký tự"),
        ({"User": "k3"}, "User: phải là JSON trong chuỗi ký tự"),
        ({"User": user(TYPE="3")}, "User: TYPE: giá trị không có trong danh mục"),
    ],
)
async def test_a_value_outside_the_known_forms_is_refused(
    changed: dict[str, Any], complaint: str
) -> None:
    async with tracking() as client:
        reply = await client.post("/TrackingMCDT", json=record(**changed))
        assert (reply.status_code, reply.json()["message"]) == (400, complaint)
        books = (await client.get("/_books")).json()
        assert (books["records"], books["by_service"]["TrackingMCDT"]) == (0, {"refused 400": 1})


async def test_a_citizens_bare_number_is_noticed() -> None:
    async with tracking() as client:
        await client.post("/TrackingMCDT", json=record(User=user("001099000001")))
        await client.post("/TrackingMCDT", json=record(Status="2"))
        assert (await client.get("/_books")).json()["identifier_like"] == 1


async def test_bulk_tracking_is_counted_by_text() -> None:
    async with tracking() as client:
        usage = "?idsite=1&rec=1&e_c=gateway&e_a=requests&e_n=H10&e_v=12"
        body = {"requests": [usage, usage, "?idsite=1&rec=1&e_c=dossier"]}
        reply = await client.post("/matomo.php", json=body)
        assert reply.json() == {"status": "success", "tracked": 3, "invalid": 0}
        bad = [usage, "?idsite=1", "?rec=1&idsite=x", "rec=1", 5]
        reply = await client.post("/matomo.php", json={"requests": bad})
        assert reply.status_code == 400
        assert reply.json() == {"status": "error", "tracked": 1, "invalid": 4}
        rows = (await client.get("/_books/tracker")).json()["items"]
        assert [(row["request"], row["times"]) for row in rows] == [
            (usage, 3),
            ("?idsite=1&rec=1&e_c=dossier", 1),
        ]
        assert (await client.post("/matomo.php", json={"requests": []})).status_code == 400


async def test_a_forgotten_record_is_acknowledged_and_not_kept() -> None:
    async with tracking() as client:
        await client.post("/_faults", json={"on": "TrackingMCDT", "kind": "forget", "key": CODE})
        assert (await client.post("/TrackingMCDT", json=record())).json() == {"status": "ok"}
        other = record(MaHoSo="H10-2", CodeProfile="H10-2")
        await client.post("/TrackingMCDT", json=other)
        rows = (await client.get("/_books/records")).json()["items"]
        assert [row["MaHoSo"] for row in rows] == ["H10-2"]
