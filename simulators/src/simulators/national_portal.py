"""The national portal (Cổng DVCQG): sessions, dossiers, progress steps.

Known (seen in two independent code bases that talk to the real portal; the field tables of QCVN
120:2019 were not found): login and envelope, the services and their arguments, `result` as a list
that is empty for an unknown dossier, "đã tồn tại" for a second creation, and that success is told
inconsistently ("0", "00", or only by "thành công" in the message).

Own choice: the numbers of the other error codes, the sentences, that an unknown session is "-3",
that a call is taken or refused as a whole, at most 1000 items a call, that progress does not
change the dossier's status, and everything under `extensions`. Of the questions only the names of
the two services are known: their fields, that answered questions are no longer listed, and that an
answer given again replaces the one before are own choices too.
"""

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from simulators.books import Entry, json_text
from simulators.faults import FORGET, Answer, Call, Kind, Proceed, Reply, Rule
from simulators.portal_catalogue import Catalogue, Rows
from simulators.portal_shapes import ANSWER, DOSSIER, MAY_BE_EMPTY, STEP
from simulators.shapes import Shape
from simulators.wire import Simulator, View, as_answer

ITEM_LIMIT = 1000
DONE = "Thành công"
PLAIN_SUCCESS = {"error_code": "0", "message": DONE}
MIXED_SUCCESS = (
    {"error_code": "0"},
    {"error_code": "00", "message": DONE},
    {"error_code": "", "message": "Thực hiện thành công"},
)


class Refused(Exception):
    """A call is refused as a whole, with a code and a Vietnamese sentence."""

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass(slots=True)
class Dossier:
    """What the portal holds of one dossier; `item` and the steps are kept as their JSON text."""

    code: str
    created: int = 0
    updated: int = 0
    item: bytes = b"{}"
    received: str = ""
    statuses: list[str] = field(default_factory=list)
    steps: dict[bytes, int] = field(default_factory=dict)

    def as_json(self, brief: bool) -> dict[str, Any]:
        row = {
            "MaHoSo": self.code,
            "created": self.created,
            "updated": self.updated,
            "status": self.statuses[-1],
            "statuses": self.statuses,
            "steps_kept": len(self.steps),
            "steps_repeated": sum(self.steps.values()) - len(self.steps),
        }
        if not brief:
            row["item"] = orjson.Fragment(self.item)
            row["steps"] = [
                {"step": orjson.Fragment(step), "times": times}
                for step, times in self.steps.items()
            ]
        return row


class NationalPortal(Simulator):
    """The portal's program.

    Parameters:
        session_ttl: life of a session from its login, seconds.
        accounts: user names and passwords; None lets any non-empty pair in.
        mixed_success: tell success in the three ways that were seen, drawn by the seed.
        catalogue: lists `procedures` (LayThuTuc records), `agencies`, `fields` to answer from, or
            a JSON file with them, which is read again when it changes.
        extensions: offer the calls that the real portal is not known to have.
        questions: what people have asked, each with at least MaHoiDap and NoiDung.
    """

    name = "national-portal"

    def __init__(
        self,
        seed: int = 0,
        state: Path | None = None,
        delay_ms: float = 0,
        *,
        session_ttl: float = 1800,
        accounts: Mapping[str, str] | None = None,
        mixed_success: bool = False,
        catalogue: Mapping[str, Rows] | Path | None = None,
        extensions: bool = False,
        questions: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.asked = {str(one["MaHoiDap"]): dict(one) for one in questions}
        self.replies: dict[str, list[dict[str, Any]]] = {}
        self.dossiers: dict[str, Dossier] = {}
        self.in_order: list[Dossier] = []
        self.empty_mandatory: Counter[str] = Counter()
        self.unknown_fields: Counter[str] = Counter()
        self.sessions: dict[str, float] = {}
        self._session_ttl = session_ttl
        self._accounts = accounts
        self._mixed = random.Random(seed) if mixed_success else None
        self._catalogue = Catalogue(catalogue)
        self._services = {**SERVICES, **EXTENSIONS} if extensions else SERVICES
        super().__init__(seed, state, delay_ms)

    def service_of(self, path: str, payload: Mapping[str, Any]) -> str | None:
        if path == "/login":
            return "login"
        return str(payload.get("service")) if path == "/" else None

    async def work(self, service: str, call: Call, entry: Entry) -> Answer:
        try:
            if call.payload is None:
                raise Refused("-2", "Dữ liệu phải là một đối tượng JSON", status=400)
            if not call.headers.get(b"dstcode"):
                raise Refused("-2", "Thiếu dstcode")
            if service == "login":
                return self._login(call.payload, entry)
            self._check_session(call.payload)
            serve = self._services.get(service)
            if serve is None:
                raise Refused("-4", f"Dịch vụ {service} không được hỗ trợ")
            return serve(self, call, entry)
        except Refused as refused:
            self.books.keep(entry, f"refused {refused.code}")
            failure = {"error_code": refused.code, "message": refused.message}
            if service == "login":
                failure = {"session": "", **failure}
            return as_answer(failure, refused.status)

    def odd(self, code: str, message: str) -> Answer:
        return as_answer({"error_code": code, "message": message})

    def facts(self, payload: Mapping[str, Any]) -> dict[str, list[str]]:
        if (code := payload.get("mahoso")) is not None:
            return {"MaHoSo": [str(code)]}
        data = payload.get("data")
        items = data if isinstance(data, list) else []
        return {"MaHoSo": [str(item.get("MaHoSo")) for item in items if isinstance(item, dict)]}

    def kinds(self) -> dict[str, Kind]:
        return {
            **super().kinds(),
            "per_item": Kind(_per_item),
            "success_code": Kind(_success_code, {"code": "00", "message": DONE}),
            "session_lost": Kind(self._lose_sessions),
            "forget": FORGET,
        }

    # Sessions.

    def _login(self, payload: Mapping[str, Any], entry: Entry) -> Answer:
        user, password = payload.get("username"), payload.get("password")
        known = (
            bool(user and password)
            if self._accounts is None
            else password is not None and self._accounts.get(str(user)) == password
        )
        if not known:
            raise Refused("-1", "Sai tên đăng nhập hoặc mật khẩu")
        session = uuid4().hex
        self.sessions[session] = time.monotonic() + self._session_ttl
        self.books.keep(entry, "accepted")
        return as_answer({"session": session, "error_code": "0"})

    def _check_session(self, payload: Mapping[str, Any]) -> None:
        session = payload.get("session")
        if self.sessions.get(str(session), 0) < time.monotonic():
            self.sessions.pop(str(session), None)
            raise Refused("-3", "Phiên làm việc không hợp lệ hoặc đã hết hạn")
        if not isinstance(madonvi := payload.get("madonvi"), str) or not madonvi:
            raise Refused("-2", "Thiếu madonvi")

    async def _lose_sessions(self, rule: Rule, call: Call, proceed: Proceed) -> Reply:
        self.sessions.clear()
        return await proceed()

    # Dossiers and steps.

    def _sync(self, call: Call, entry: Entry) -> Answer:
        updating = _field(call, "isUpdating")
        if updating not in ("True", "False"):
            raise Refused("-2", 'isUpdating: phải là "True" hoặc "False"')
        kept = "updated" if updating == "True" else "created"
        return self._take(call, entry, DOSSIER, kept)

    def _progress(self, call: Call, entry: Entry) -> Answer:
        return self._take(call, entry, STEP, "steps")

    def _take(self, call: Call, entry: Entry, shape: Shape, kept: str) -> Answer:
        """Take all the items or none of them; under the fault `per_item`, those that are good."""
        items = _items(call)
        entry.items = len(items)
        forgotten = call.switches.get("forget", ())
        good: list[dict[str, Any]] = []
        per_item: list[dict[str, str]] | None = [] if "per_item" in call.switches else None
        seen: set[str] = set()
        for i, item in enumerate(items):
            try:
                if (wrong := shape.complaint(item)) is not None:
                    raise Refused("-2", f"data[{i}].{wrong}")
                code = item["MaHoSo"]
                if code not in forgotten:
                    self._check_known(code, seen, kept)
                    good.append(item)
                seen.add(code)
                told = PLAIN_SUCCESS
            except Refused as refused:
                if per_item is None:
                    raise
                told = {"error_code": refused.code, "message": refused.message}
            if per_item is not None:
                code = item.get("MaHoSo", "") if isinstance(item, dict) else ""
                per_item.append({"MaHoSo": str(code), **told})
        whole = per_item is None or all(told["error_code"] == "0" for told in per_item)
        self.books.keep(entry, "accepted" if whole else "partly", {kept: good})
        success = dict(self._success(call))
        return as_answer(success if per_item is None else {**success, "result": per_item})

    def _check_known(self, code: str, seen: set[str], kept: str) -> None:
        known = code in self.dossiers
        if kept == "created" and (known or code in seen):
            mixed = self._mixed is not None and self._mixed.random() < 0.5
            raise Refused("-3" if mixed else "3", f"Hồ sơ {code} đã tồn tại")
        if kept != "created" and not known:
            raise Refused("-1", f"Hồ sơ {code} không tồn tại")

    def _success(self, call: Call) -> Mapping[str, str]:
        if (told := call.switches.get("success")) is not None:
            return {"error_code": told[0], "message": told[1]}
        return PLAIN_SUCCESS if self._mixed is None else self._mixed.choice(MIXED_SUCCESS)

    # Questions.

    def _look_up(self, call: Call, entry: Entry) -> Answer:
        dossier = self.dossiers.get(_text(call, "mahoso"))
        if dossier is None:
            return self._found(call, entry, [])
        item = orjson.loads(dossier.item)
        shown = ("MaHoSo", "MaTTHC", "NgayTiepNhan", "TrangThaiHoSo")
        return self._found(call, entry, [{name: item[name] for name in shown}])

    def _procedure(self, call: Call, entry: Entry) -> Answer:
        code = _text(call, "maTTHC")
        return self._found(call, entry, self._catalogue.procedure(code))

    def _procedures(self, call: Call, entry: Entry) -> Answer:
        rows = self._catalogue.rows("procedures")
        short = [{"MaTTHC": row.get("MaTTHC"), "TENTTHC": row.get("TENTTHC")} for row in rows]
        return self._found(call, entry, short)

    def _agencies(self, call: Call, entry: Entry) -> Answer:
        return self._found(call, entry, self._catalogue.rows("agencies"))

    def _fields(self, call: Call, entry: Entry) -> Answer:
        return self._found(call, entry, self._catalogue.rows("fields"))

    def _questions(self, call: Call, entry: Entry) -> Answer:
        open_ones = [one for key, one in self.asked.items() if key not in self.replies]
        return self._found(call, entry, open_ones)

    def _answers(self, call: Call, entry: Entry) -> Answer:
        items = _items(call)
        entry.items = len(items)
        for i, item in enumerate(items):
            if (wrong := ANSWER.complaint(item)) is not None:
                raise Refused("-2", f"data[{i}].{wrong}")
            if item["MaHoiDap"] not in self.asked:
                raise Refused("-1", f"Câu hỏi {item['MaHoiDap']} không tồn tại")
        self.books.keep(entry, "accepted", {"answers": items})
        return as_answer(dict(self._success(call)))

    def _of_day(self, call: Call, entry: Entry) -> Answer:
        day = _text(call, "ngay")
        codes = [row.code for row in self.in_order if row.received.startswith(day)]
        return self._found(call, entry, codes)

    def _steps_of(self, call: Call, entry: Entry) -> Answer:
        dossier = self.dossiers.get(_text(call, "mahoso"))
        steps = [orjson.Fragment(step) for step in dossier.steps] if dossier else []
        return self._found(call, entry, steps)

    def _found(self, call: Call, entry: Entry, result: Sequence[Any]) -> Answer:
        entry.items = len(result)
        self.books.keep(entry, "accepted")
        return as_answer({**self._success(call), "result": result})

    # Books.

    def fold(self, kept: Mapping[str, list[dict[str, Any]]]) -> None:
        for item in kept.get("created", ()):
            dossier = self._dossier(item["MaHoSo"])
            dossier.created += 1
            self._hold(dossier, item)
        for item in kept.get("updated", ()):
            dossier = self._dossier(item["MaHoSo"])
            dossier.updated += 1
            self._hold(dossier, item)
        for step in kept.get("steps", ()):
            steps = self._dossier(step["MaHoSo"]).steps
            text = json_text(step)
            steps[text] = steps.get(text, 0) + 1
            self.unknown_fields.update(step.keys() - STEP.fields.keys())
        for item in kept.get("answers", ()):
            self.replies.setdefault(item["MaHoiDap"], []).append(item)

    def _dossier(self, code: str) -> Dossier:
        dossier = self.dossiers.get(code)
        if dossier is None:
            dossier = self.dossiers[code] = Dossier(code)
            self.in_order.append(dossier)
        return dossier

    def _hold(self, dossier: Dossier, item: dict[str, Any]) -> None:
        dossier.item = json_text(item)
        dossier.received = item["NgayTiepNhan"]
        dossier.statuses.append(item["TrangThaiHoSo"])
        self.empty_mandatory.update(name for name in MAY_BE_EMPTY if not item[name])
        self.unknown_fields.update(item.keys() - DOSSIER.fields.keys())

    def forget_all(self) -> None:
        self.dossiers.clear()
        self.in_order.clear()
        self.replies.clear()
        self.empty_mandatory.clear()
        self.unknown_fields.clear()

    def totals(self) -> dict[str, Any]:
        rows = self.in_order
        return {
            "dossiers": len(rows),
            "created": sum(row.created for row in rows),
            "updated": sum(row.updated for row in rows),
            "steps_kept": sum(len(row.steps) for row in rows),
            "steps_repeated": sum(sum(row.steps.values()) - len(row.steps) for row in rows),
            "by_status": Counter(row.statuses[-1] for row in rows),
            "empty_mandatory": self.empty_mandatory,
            "unknown_fields": self.unknown_fields,
            "questions": len(self.asked),
            "questions_answered": len(self.replies),
        }

    def views(self) -> dict[str, View]:
        return {"dossiers": View(lambda: self.in_order, Dossier.as_json, self.dossiers.get)}


SERVICES = {
    "TraCuuHoSo": NationalPortal._look_up,
    "DongBoHoSoMC": NationalPortal._sync,
    "CapNhatTienDoHoSoMC": NationalPortal._progress,
    "LayThuTuc": NationalPortal._procedure,
    "LayDanhSachTTHC": NationalPortal._procedures,
    "LayDanhMucCoQuan": NationalPortal._agencies,
    "LayDanhMucLinhVuc": NationalPortal._fields,
    "LayDanhSachHoiDapGuiTuDVCQG": NationalPortal._questions,
    "DongBoKetQuaHoiDapGuiTuDVCQG": NationalPortal._answers,
}
EXTENSIONS = {
    "DanhSachHoSoTheoNgay": NationalPortal._of_day,
    "TraCuuTienDo": NationalPortal._steps_of,
}


async def _per_item(rule: Rule, call: Call, proceed: Proceed) -> Reply:
    call.switches["per_item"] = True
    return await proceed()


async def _success_code(rule: Rule, call: Call, proceed: Proceed) -> Reply:
    call.switches["success"] = (rule["code"], rule["message"])
    return await proceed()


def _field(call: Call, name: str) -> Any:
    return call.payload.get(name) if call.payload else None


def _text(call: Call, name: str) -> str:
    value = _field(call, name)
    if not isinstance(value, str) or not value:
        raise Refused("-2", f"{name}: thiếu trường bắt buộc")
    return value


def _items(call: Call) -> list[Any]:
    data = _field(call, "data")
    if not isinstance(data, list) or not 1 <= len(data) <= ITEM_LIMIT:
        raise Refused("-2", f"data: phải là danh sách có từ 1 đến {ITEM_LIMIT} phần tử")
    return data
