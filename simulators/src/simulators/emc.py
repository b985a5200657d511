"""The monitoring system (EMC): dossier tracking and a page tracker.

Known (seen in one code base; no official interface was found): POST /TrackingMCDT with the field
names and code lists below, judged by the HTTP status alone. The page tracker is Matomo-like, and
the bulk tracking body and answer of Matomo's HTTP API are publicly documented.

Own choice: every field but Level is mandatory (a dossier need not say its service level),
CodeProfile must equal MaHoSo, the words of the answers, and 400 for a refusal (for the tracker:
when any request of the body is invalid, from memory of Matomo's own behaviour).
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson

from simulators.books import Counted, Entry, Tally, json_text
from simulators.faults import FORGET, Answer, Call, Kind
from simulators.shapes import Shape, integer, one_of, some_text, text
from simulators.wire import Simulator, View, as_answer

_IDENTIFIER = re.compile(r"\d{9}|\d{12}").fullmatch

USER = Shape(
    mandatory=("ID_local", "ID_QG", "TYPE", "LOCATION"),
    fields={"ID_local": text, "ID_QG": text, "TYPE": one_of("1", "2"), "LOCATION": text},
)


def user_text(value: Any) -> str | None:
    """A JSON object inside a string, as the one source sends it."""
    if value.__class__ is not str:
        return "phải là chuỗi ký tự"
    try:
        return USER.complaint(orjson.loads(value))
    except orjson.JSONDecodeError:
        return "phải là JSON trong chuỗi ký tự"


_FIELDS = {
    "CodeProfile": some_text,
    "SiteId": integer,
    "CodeTTHC": some_text,
    "NameTTHC": some_text,
    "MaHoSo": some_text,
    "Status": one_of("0", "1", "2", "3", "4"),
    "FormsReception": one_of("1", "2"),
    "FormsPayments": one_of("0", "1", "2"),
    "Level": one_of("0", "1", "3", "4"),
    "IsFromDVCQG": one_of("0", "1"),
    "IsDVCBC": one_of("0", "1", "2"),
    "Data": text,
    "User": user_text,
}
RECORD = Shape(_FIELDS, mandatory=tuple(name for name in _FIELDS if name != "Level"))


class Emc(Simulator):
    """The monitoring system's program; records are counted by (MaHoSo, Status, Data)."""

    name = "emc"

    def __init__(self, seed: int = 0, state: Path | None = None, delay_ms: float = 0) -> None:
        self.records = Tally()
        self.tracked = Tally()
        self.identifier_like = 0
        super().__init__(seed, state, delay_ms)

    def service_of(self, path: str, payload: Mapping[str, Any]) -> str | None:
        return {"/TrackingMCDT": "TrackingMCDT", "/matomo.php": "matomo.php"}.get(path)

    async def work(self, service: str, call: Call, entry: Entry) -> Answer:
        if service == "matomo.php":
            return self._track(call, entry)
        wrong = RECORD.complaint(call.payload)
        if call.payload is None or wrong is not None:
            return self._refuse(entry, wrong or "")
        if call.payload["CodeProfile"] != call.payload["MaHoSo"]:
            return self._refuse(entry, "CodeProfile: phải trùng với MaHoSo")
        entry.items = 1
        forgotten = call.payload["MaHoSo"] in call.switches.get("forget", ())
        self.books.keep(entry, "accepted", None if forgotten else {"record": call.payload})
        return as_answer({"status": "ok"})

    def _track(self, call: Call, entry: Entry) -> Answer:
        requests = call.payload.get("requests") if call.payload else None
        if not isinstance(requests, list) or not requests:
            return self._refuse(entry, "requests: phải là danh sách khác rỗng")
        good = [request for request in requests if _is_tracker_request(request)]
        entry.items, invalid = len(requests), len(requests) - len(good)
        self.books.keep(entry, "partly" if invalid else "accepted", {"tracked": good})
        return as_answer(
            {
                "status": "error" if invalid else "success",
                "tracked": len(good),
                "invalid": invalid,
            },
            status=400 if invalid else 200,
        )

    def _refuse(self, entry: Entry, wrong: str) -> Answer:
        self.books.keep(entry, "refused 400")
        return as_answer({"status": "error", "message": wrong}, status=400)

    def odd(self, code: str, message: str) -> Answer:
        return as_answer({"status": code, "message": message})

    def facts(self, payload: Mapping[str, Any]) -> dict[str, list[str]]:
        return {name: [str(payload[name])] for name in ("MaHoSo", "Status") if name in payload}

    def kinds(self) -> dict[str, Kind]:
        return {**super().kinds(), "forget": FORGET}

    def fold(self, kept: Mapping[str, Any]) -> None:
        if (record := kept.get("record")) is not None:
            key = (record["MaHoSo"], record["Status"], record["Data"])
            self.records.count(key, json_text(record))
            user = orjson.loads(record["User"])
            self.identifier_like += any(_IDENTIFIER(user[name]) for name in ("ID_local", "ID_QG"))
        for request in kept.get("tracked", ()):
            self.tracked.count(request, request.encode())

    def forget_all(self) -> None:
        self.records.clear()
        self.tracked.clear()
        self.identifier_like = 0

    def totals(self) -> dict[str, Any]:
        by_status: Counter[str] = Counter()
        for row in self.records.rows:
            by_status[row.key[1]] += row.times
        return {
            "records": len(self.records.rows),
            "repeated": self.records.repeated(),
            "by_status": by_status,
            "identifier_like": self.identifier_like,
            "tracker_requests": len(self.tracked.rows),
            "tracker_repeated": self.tracked.repeated(),
        }

    def views(self) -> dict[str, View]:
        return {
            "records": View(lambda: self.records.rows, _record),
            "tracker": View(lambda: self.tracked.rows, _tracker_request),
        }


def _record(row: Counted, brief: bool) -> dict[str, Any]:
    code, status, data = row.key
    shown = {"MaHoSo": code, "Status": status, "Data": data, "times": row.times}
    return shown if brief else {**shown, "record": orjson.Fragment(row.text)}


def _tracker_request(row: Counted, brief: bool) -> dict[str, Any]:
    return {"request": row.key, "times": row.times}


def _is_tracker_request(request: Any) -> bool:
    if not isinstance(request, str) or not request.startswith("?"):
        return False
    asked = parse_qs(request[1:])
    return asked.get("rec") == ["1"] and asked.get("idsite", [""])[0].isdigit()
