"""What the main job does not show: each act is a few calls and what must come of them.

Played after the books were compared, with dossiers of their own.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from backbone.demo.client import ClientSystem
from backbone.demo.comparison import Check
from backbone.demo.lives import Procedure
from common.http import http_client

AGENCY = "H49"
_VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
_PATIENCE_SECONDS = 60.0
_IDENTITY = {"type": "citizen-id", "number": "099123456789"}
_PAPER = b"%PDF-1.4\n% a paper of the demonstration\n%%EOF\n"


@dataclass
class Scene:
    """Where the acts are played.

    Attributes:
        url: base address of each service.
        portal: address of the national portal's own books.
    """

    http: httpx.AsyncClient
    headers: dict[str, str]
    url: Callable[[str], str]
    portal: str
    procedure: Procedure
    credentials: tuple[str, str]
    operator: dict[str, str]
    """Headers of somebody who may act for all agencies."""
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    codes: list[str] = field(default_factory=list)
    """Dossiers that the acts made."""

    async def call(
        self, method: str, service: str, path: str, *, expect: int, **given: Any
    ) -> httpx.Response:
        """One call that must be answered as expected.

        Raises:
            AssertionError: it was not; the text says how.
        """
        headers = {**self.headers, **given.pop("headers", {})}
        answer = await self.http.request(method, self.url(service) + path, headers=headers, **given)
        if answer.status_code != expect:
            raise AssertionError(
                f"{method} {path}: {answer.status_code} instead of {expect}: {answer.text[:300]}"
            )
        return answer

    def submission(self, **changed: Any) -> dict[str, Any]:
        """A dossier without a code."""
        return {
            "agency": AGENCY,
            "procedure": self.procedure.code,
            "channel": "2",
            "applicant": {"kind": "1", "name": "Nguyễn Thị Ví Dụ", "identity": _IDENTITY},
            "summary": "Đề nghị giải quyết thủ tục",
            "submitted_at": self.began,
            **changed,
        }

    async def submit(self, key: str, **changed: Any) -> str:
        """Submit a dossier, wait for its outcome, and return its code."""
        told = await self.call(
            "POST",
            "gateway",
            "/v1/dossiers",
            expect=200,
            json=self.submission(**changed),
            headers={"idempotency-key": key, "prefer": "wait=20"},
        )
        code = str(told.json()["dossier_code"])
        self.codes.append(code)
        return code

    async def at_portal(self, code: str) -> dict[str, Any]:
        """The item that the portal holds of a dossier, once it is there."""
        return dict((await self.until(lambda: self.held(code)))["item"])

    async def held(self, code: str) -> dict[str, Any] | None:
        """What the portal holds of a dossier, if anything."""
        answer = await self.http.get(f"{self.portal}/_books/dossiers/{code}")
        return dict(answer.json()) if answer.status_code == 200 else None

    async def until(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask until there is an answer that is not empty.

        Raises:
            TimeoutError: there is none within a minute.
        """
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                if answer := await ask():
                    return answer
                await asyncio.sleep(0.2)


async def codes_are_issued_once(scene: Scene) -> Check:
    """Twenty dossiers without a code, each sent twice at the same time."""
    check = Check("dossier codes issued, none twice", 20, 0)
    keys = [f"acts/code/{number}" for number in range(20)]
    told = await asyncio.gather(*(scene.submit(key) for key in keys for _ in range(2)))
    pairs = list(zip(told[::2], told[1::2], strict=True))
    check.found = len(set(told))
    check.differences = [f"{one} and {other} for one key" for one, other in pairs if one != other]
    if check.found != check.sent:
        check.differences.append(f"{check.found} codes for {check.sent} dossiers")
    return check


async def files_reach_the_portal_as_links(scene: Scene) -> Check:
    """A paper is uploaded, named by a dossier, and read by the link that the portal was given."""
    check = Check("papers read by the portal's links", 1, 0)
    stored = await scene.call(
        "POST",
        "gateway",
        "/v1/files",
        expect=201,
        content=_PAPER,
        headers={"content-type": "application/pdf"},
    )
    paper = {"id": "don", "name": "Đơn đề nghị", "file": stored.json()["sha256"]}
    code = await scene.submit("acts/file", documents=[paper])
    item = await scene.at_portal(code)
    link = item["TaiLieuNop"][0]["DuongDanTaiTepTin"]
    read = await scene.http.get(link)
    if hashlib.sha256(read.content).hexdigest() == stored.json()["sha256"]:
        check.found = 1
    else:
        check.differences.append(f"{link.partition('?')[0]}: {read.status_code}, not the paper")
    return check


async def a_lower_level_submits_once(scene: Scene) -> Check:
    """The door in the shape of NopHoSo: token, code, and the same submission twice."""
    check = Check("submissions from below, once", 1, 0)
    base = scene.url("gateway") + "/exchange/v1"
    client_id, secret = scene.credentials
    asked = {"client_id": client_id, "client_secret": secret}
    token = (await scene.http.post(f"{base}/token", json=asked)).json()["data"]["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    told = await scene.http.post(f"{base}/GetNextValue", json={"code": AGENCY}, headers=headers)
    code = told.json()["data"]["MaHoSo"]
    body = {
        "MaHoSo": code,
        "MaTTHC": scene.procedure.code,
        "KenhThucHien": "2",
        "LoaiDoiTuong": "0",
        "ChuHoSo": "Trần Văn Ví Dụ",
        "TrichYeuHoSo": "Đề nghị giải quyết thủ tục",
        "NgayNopHoSo": datetime.now(_VIETNAM).strftime("%Y-%m-%d %H:%M:%S"),
    }
    answers = [await scene.http.post(f"{base}/NopHoSo", json=body, headers=headers) for _ in "12"]
    if {answer.json()["code"] for answer in answers} != {"0"}:
        check.differences += [answer.text[:200] for answer in answers]
        return check
    scene.codes.append(code)
    item = await scene.at_portal(code)
    check.found = int(item["LoaiDoiTuong"] == "1")
    if not check.found:
        check.differences.append(f"{code}: LoaiDoiTuong {item['LoaiDoiTuong']} at the portal")
    return check


async def old_dossiers_stay_here(scene: Scene) -> Check:
    """Dossiers of years ago enter the system of record, and nobody outside hears of them."""
    check = Check("old dossiers in, none told outside", 50, 0)
    lines: list[dict[str, Any]] = [
        {
            "code": f"{AGENCY}-1503{1 + number % 28:02d}-{1 + number:04d}",
            "procedure": {
                "code": scene.procedure.code,
                "name": scene.procedure.name,
                "field": {"name": "Hộ tịch"},
            },
            "channel": "1",
            "summary": "Hồ sơ cũ",
            "status": "10",
            "applicant": {"kind": "1", "name": "Lê Thị Ví Dụ"},
            "submitted_at": "2015-03-02T08:00:00",
            "finished_at": "2015-03-12",
            "returned_at": "2015-03-13",
        }
        for number in range(check.sent)
    ]
    started = await scene.call(
        "POST",
        "dossier",
        "/v1/imports",
        expect=200,
        content="\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode(),
        headers={"content-type": "application/x-ndjson"},
    )
    run = started.json()
    check.found = run["entered"] + run["known"]
    if check.found != check.sent:
        check.differences.append(f"{run}")
    for line in lines[:5]:
        if await scene.held(line["code"]):
            check.differences.append(f"{line['code']}: the portal was told")
    return check


async def a_person_is_found_and_every_reading_put_down(scene: Scene) -> Check:
    """Search by identity number, a reading in clear, and the record of both."""
    check = Check("readings of personal data, put down", 2, 0)
    purpose = {"x-purpose": "demonstration"}
    found = await scene.call(
        "POST",
        "gateway",
        "/v1/dossiers/search",
        expect=200,
        json={"identity": _IDENTITY},
        headers=purpose,
    )
    codes = [item["code"] for item in found.json()["items"]]
    if not codes:
        check.differences.append("nobody was found by the identity number")
        return check
    read = await scene.call(
        "GET", "gateway", f"/v1/dossiers/{codes[0]}", expect=200, headers=purpose
    )
    if read.json()["applicant"]["identity"]["number"] != _IDENTITY["number"]:
        check.differences.append(f"{codes[0]}: not shown in clear")
    log = await scene.call("GET", "gateway", "/v1/personal-reads?limit=200", expect=200)
    mine = [row for row in log.json()["items"] if row["purpose"] == "demonstration"]
    check.found = min(len(mine), 2)
    if len(mine) < check.sent:
        check.differences.append(f"{len(mine)} of 2 readings were put down")
    return check


async def the_catalogue_keeps_versions(scene: Scene) -> Check:
    """A record in the national shape changes a procedure; what was before stays readable."""
    check = Check("versions of a changed procedure", 2, 0)
    record = {
        "MaTTHC": scene.procedure.code,
        "TENTTHC": scene.procedure.name + " (sửa đổi)",
        "LINHVUCTHUCHIEN": [{"TENLINHVUC": "Hộ tịch"}],
    }
    await scene.call(
        "POST",
        "catalog",
        "/v1/imports",
        expect=200,
        content=json.dumps(record, ensure_ascii=False).encode(),
        headers={**scene.operator, "content-type": "application/x-ndjson"},
    )
    told = await scene.call(
        "GET", "gateway", f"/v1/procedures/{scene.procedure.code}/versions", expect=200
    )
    check.found = len(told.json()["items"])
    if check.found < check.sent:
        check.differences.append(f"{scene.procedure.code}: {check.found} versions")
    return check


async def the_day_reconciles(scene: Scene) -> Check:
    """What we believe the portal has is what the portal shows, for every dossier of the day."""
    check = Check("dossiers of the day, reconciled", 0, 0)
    for code in scene.codes:
        await scene.at_portal(code)
    day = datetime.now(_VIETNAM).date().isoformat()
    begun = await scene.call(
        "POST",
        "national-portal-sync",
        "/v1/reconciliations",
        expect=202,
        json={"agency": AGENCY, "day": day},
    )
    place = f"/v1/reconciliations/{begun.json()['id']}"

    async def done() -> dict[str, Any] | None:
        told = await scene.call("GET", "national-portal-sync", place, expect=200)
        return told.json() if told.json()["state"] == "done" else None

    report = await scene.until(done)
    check.sent, check.found = report["checked"], report["agreed"]
    check.differences = [
        f"{one['code']}: {one['kind']}"
        for one in report["differences"]
        if one["kind"] != "not-checkable"
    ]
    if not check.sent:
        check.differences.append("nothing was checked")
    return check


async def conformance_is_shown_with_evidence(scene: Scene) -> Check:
    """Điều 13.2: exchanges with the three systems were seen."""
    check = Check("connections of Điều 13.2, seen", 3, 0)

    async def seen() -> set[str] | None:
        told = await scene.call("GET", "gateway", f"/v1/conformance/{AGENCY}", expect=200)
        points = told.json()["points"]
        met = {part["id"] for point in points for part in point["parts"] if part["state"] == "met"}
        wanted = {"b.national-portal", "c.monitoring", "d.signing-gateway"}
        return met & wanted if met >= wanted else None

    try:
        check.found = len(await scene.until(seen))
    except TimeoutError:
        check.differences.append("not every exchange was seen within a minute")
    return check


ACTS = (
    codes_are_issued_once,
    files_reach_the_portal_as_links,
    a_lower_level_submits_once,
    old_dossiers_stay_here,
    a_person_is_found_and_every_reading_put_down,
    the_day_reconciles,
    conformance_is_shown_with_evidence,
    the_catalogue_keeps_versions,
)


async def play(
    system: ClientSystem,
    operator: ClientSystem,
    url: Callable[[str], str],
    portal: str,
    procedure: Procedure,
    credentials: tuple[str, str],
) -> list[Check]:
    """Play all acts, one after the other; an act that breaks off is a difference of its own.

    Args:
        system: the client system, for its token.
        operator: one that may act for all agencies.
        url: base address of each service.
        portal: address of the national portal's books.
        procedure: what the dossiers are about.
        credentials: client id and secret.
    """
    checks = []
    async with http_client(timeout=60.0) as http:
        scene = Scene(
            http,
            await system.authorization(http),
            url,
            portal,
            procedure,
            credentials,
            await operator.authorization(http),
        )
        for act in ACTS:
            try:
                checks.append(await act(scene))
            except (AssertionError, TimeoutError, httpx.HTTPError, KeyError) as error:
                name = act.__name__.replace("_", " ")
                checks.append(Check(name, 1, 0, differences=[f"{type(error).__name__}: {error}"]))
    return checks
