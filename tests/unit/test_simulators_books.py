"""The books: in order, paged, and the same after the program was killed."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulators.books import Books
from simulators.emc import Emc
from simulators.national_portal import NationalPortal

SENDER = {"dstcode": "G22"}


def dossier(number: int) -> dict[str, Any]:
    return {
        "MaHoSo": f"H10-260101-{number:04}",
        "MaTTHC": "1.000123",
        "TenTTHC": "Cấp giấy phép xây dựng",
        "MaLinhVuc": "",
        "TenLinhVuc": "Hoạt động xây dựng",
        "LoaiDoiTuong": "1",
        "NgayTiepNhan": "20260101083000",
        "TrangThaiHoSo": "2",
        "HinhThuc": "0",
        "DonViXuLy": "Sở Xây dựng",
    }


def open_session(client: httpx.Client) -> dict[str, str]:
    pair = {"username": "u", "password": "p"}
    session = client.post("/login", json=pair, headers=SENDER).json()["session"]
    return {"session": session, "madonvi": "H10"}


def create(client: httpx.Client, session: dict[str, str], *numbers: int) -> str:
    call = {**session, "service": "DongBoHoSoMC", "isUpdating": "False"}
    data = [dossier(number) for number in numbers]
    answer = client.post("/", json={**call, "data": data}, headers=SENDER).json()
    code: str = answer["error_code"]
    return code


@contextmanager
def started(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, str]]]:
    """Programs in a process of their own, and the address of each program."""
    command = [sys.executable, "-m", "simulators", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            count = 3 if arguments[0] == "all" else 1
            lines = [json.loads(process.stdout.readline()) for _ in range(count)]
            yield process, {line["program"]: line["url"] for line in lines}
        finally:
            process.terminate()
            process.wait(10)


def test_killed_programs_know_everything_they_had_answered(tmp_path: Path) -> None:
    arguments = ("all", "--ports-base", "0", "--state", str(tmp_path), "--keys", "ecdsa")
    with started(*arguments) as (process, urls):
        assert list(urls) == ["national-portal", "signing-gateway", "emc"]
        with httpx.Client(base_url=urls["national-portal"]) as client:
            session = open_session(client)
            assert create(client, session, 1, 2) == "0"
            assert create(client, session, 2) == "3"
            before = [client.get(f"/_books{page}").json() for page in ("", "/dossiers", "/calls")]
        with httpx.Client(base_url=urls["emc"]) as client:
            body = {"requests": ["?idsite=1&rec=1&e_c=gateway"]}
            assert client.post("/matomo.php", json=body).status_code == 200
        root = httpx.get(f"{urls['signing-gateway']}/root.pem").text
        process.kill()
    with started(*arguments) as (_, urls):
        with httpx.Client(base_url=urls["national-portal"]) as client:
            again = [client.get(f"/_books{page}").json() for page in ("", "/dossiers", "/calls")]
            assert again == before
            assert create(client, session, 3) == "-3"
            assert create(client, open_session(client), 3) == "0"
            numbers = [row["number"] for row in client.get("/_books/calls").json()["items"]]
            assert numbers == [1, 2, 3, 4, 5, 6]
        assert httpx.get(f"{urls['emc']}/_books").json()["tracker_requests"] == 1
        assert (tmp_path / "signing-gateway" / "root.pem").read_text() == root
        assert httpx.get(f"{urls['signing-gateway']}/_health").json() == {
            "status": "ok",
            "program": "signing-gateway",
        }


def test_a_stopping_program_cuts_the_calls_it_never_answered() -> None:
    with started("emc", "--port", "0") as (process, urls), ThreadPoolExecutor(1) as thread:
        url = urls["emc"]
        httpx.post(f"{url}/_faults", json={"on": "*", "kind": "half_open"}).raise_for_status()
        body = {"requests": ["?idsite=1&rec=1"]}
        waiting = thread.submit(httpx.post, f"{url}/matomo.php", json=body, timeout=10)
        while httpx.get(f"{url}/_books").json()["tracker_requests"] == 0:
            time.sleep(0.01)
        process.terminate()
        with pytest.raises(httpx.RemoteProtocolError):
            waiting.result(10)
        assert process.wait(10) == 0


def test_a_line_cut_short_by_a_kill_is_dropped_and_the_journal_goes_on(tmp_path: Path) -> None:
    kept: list[Any] = []
    books = Books(tmp_path, kept.append, kept.clear)
    for word in ("a", "b"):
        entry = books.begin("x")
        books.keep(entry, "accepted", {"word": word})
        books.finish(entry, "answered")
    books.finish(books.begin("y"), "dropped")
    books.close()
    journal = tmp_path / "books.jsonl"
    with journal.open("ab") as tail:
        tail.write(b'{"number":4,"time":1.0,"service":"x","ite')
    kept.clear()
    again = Books(tmp_path, kept.append, kept.clear)
    assert kept == [{"word": "a"}, {"word": "b"}]
    assert [(entry.number, entry.outcome, entry.end) for entry in again.calls] == [
        (1, "accepted", "answered"),
        (2, "accepted", "answered"),
        (3, "not_done", "dropped"),
    ]
    again.keep(again.begin("x"), "accepted", {"word": "c"})
    again.close()
    kept.clear()
    last = Books(tmp_path, kept.append, kept.clear)
    assert [word["word"] for word in kept] == ["a", "b", "c"]
    assert (last.calls[-1].number, last.calls[-1].end) == (4, "open")
    last.clear()
    last.close()
    assert (kept, journal.read_bytes()) == ([], b"")


async def test_books_are_paged_in_order_of_arrival() -> None:
    portal = NationalPortal()
    portal.fold({"created": [dossier(number) for number in range(12)]})
    transport = httpx.ASGITransport(app=portal)
    async with httpx.AsyncClient(transport=transport, base_url="http://portal") as client:
        seen: list[str] = []
        after: int | None = 0
        while after is not None:
            query = f"after={after}&limit=5&brief=1"
            page = (await client.get(f"/_books/dossiers?{query}")).json()
            assert page["total"] == 12
            assert len(page["items"]) <= 5
            assert all("item" not in row for row in page["items"])
            seen += [row["MaHoSo"] for row in page["items"]]
            after = page["next"]
        assert seen == [f"H10-260101-{number:04}" for number in range(12)]
        assert (await client.get("/_books/dossiers/unknown")).status_code == 404
        assert (await client.get("/_books/nonsense")).status_code == 404
        for query in ("limit=0", "limit=5001", "after=-1", "after=x"):
            assert (await client.get(f"/_books/dossiers?{query}")).status_code == 400
        emptied = (await client.delete("/_books")).json()
        assert (emptied["dossiers"], emptied["calls"]) == (0, 0)


async def test_every_call_is_numbered_in_order_with_what_came_of_it() -> None:
    transport = httpx.ASGITransport(app=Emc())
    async with httpx.AsyncClient(transport=transport, base_url="http://emc") as client:
        await client.post("/matomo.php", json={"requests": ["?idsite=1&rec=1"]})
        await client.post("/TrackingMCDT", json={})
        rows = (await client.get("/_books/calls")).json()["items"]
        assert [{**row, "time": 0} for row in rows] == [
            {
                "number": 1,
                "time": 0,
                "service": "matomo.php",
                "outcome": "accepted",
                "end": "answered",
                "items": 1,
            },
            {
                "number": 2,
                "time": 0,
                "service": "TrackingMCDT",
                "outcome": "refused 400",
                "end": "answered",
                "items": 0,
            },
        ]
        assert rows[0]["time"] <= rows[1]["time"]


@pytest.mark.parametrize(
    "wrong",
    [("portal", "--port", "0"), ("national-portal", "--port", "0", "--account", "x")],
)
def test_a_wrong_command_is_refused_with_a_sentence(wrong: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "simulators", *wrong]
    run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert run.returncode == 2
    assert "Error" in run.stderr
