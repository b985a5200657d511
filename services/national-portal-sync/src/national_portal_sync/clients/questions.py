"""Questions from the portal and the answers to them.

Only the names of the two services are known (``LayDanhSachHoiDapGuiTuDVCQG``,
``DongBoKetQuaHoiDapGuiTuDVCQG``; seen in code). The fields are our own choice, in the manner of the
portal's other items, until somebody has seen the real ones: so reading takes several spellings and
leaves alone what it does not know.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from common.contracts.codes import (
    AGENCY_PATTERN,
    DOSSIER_PATTERN,
    PROCEDURE_PATTERN,
    canonical_agency,
)
from national_portal_sync.clients.answers import Answer
from national_portal_sync.clients.items import VIETNAM, Wire

_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("MaHoiDap", "IdHoiDap", "MaCauHoi", "Id"),
    "agency": ("MaCoQuan", "MaDonVi"),
    "dossier": ("MaHoSo",),
    "procedure": ("MaTTHC",),
    "asked_at": ("NgayHoi", "NgayGui"),
    "name": ("HoTen", "NguoiHoi"),
    "email": ("Email",),
    "phone": ("SoDienThoai", "DienThoai"),
    "address": ("DiaChi",),
    "title": ("TieuDe",),
    "content": ("NoiDung", "NoiDungCauHoi"),
}
"""Spellings, the likeliest first. Confidence: memory at best."""
_PERSONAL = ("name", "email", "phone", "address", "title", "content")
_LONGEST = 20_000
_LONGEST_ID = 100
_STAMP = "%Y%m%d%H%M%S"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the portal told it.

    Attributes:
        id: the portal's; where it has none, one made of the whole entry.
        agency: new form of the code; None where none that can be understood is given.
        personal: who asked and what, by name.
    """

    id: str
    agency: str | None
    dossier_code: str | None
    procedure_code: str | None
    asked_at: datetime | None
    personal: Mapping[str, str]


def read_question(entry: Any) -> Asked | None:
    """Understand an entry of the list; None where it is none."""
    if not isinstance(entry, dict):
        return None
    told = {name: _first(entry, spellings) for name, spellings in _NAMES.items()}
    if not told["content"] and not told["title"]:
        return None
    return Asked(
        id=_id(told["id"], entry),
        agency=_agency(told["agency"]),
        dossier_code=_matching(told["dossier"], DOSSIER_PATTERN, 60),
        procedure_code=_matching(told["procedure"], PROCEDURE_PATTERN, 45),
        asked_at=_moment(told["asked_at"]),
        personal={name: value for name in _PERSONAL if (value := told[name])},
    )


def answer_item(question_id: str, answer: Mapping[str, Any]) -> Wire:
    """An item of ``DongBoKetQuaHoiDapGuiTuDVCQG``."""
    item: Wire = {
        "MaHoiDap": question_id,
        "NoiDungTraLoi": str(answer["content"]),
        "NgayTraLoi": datetime.fromisoformat(answer["at"]).astimezone(VIETNAM).strftime(_STAMP),
    }
    if official := answer.get("official"):
        item["NguoiTraLoi"] = str(official)
    return item


def by_question(answer: Answer) -> Answer:
    """An answer about items that are named by their question, as if each named its dossier."""
    if answer.result is None:
        return answer
    named = [
        {**one, "MaHoSo": one["MaHoiDap"]} if isinstance(one, dict) and "MaHoiDap" in one else one
        for one in answer.result
    ]
    return replace(answer, result=tuple(named))


def questions_in(answer: Answer) -> tuple[list[Asked], int]:
    """The questions of an answer, and how many entries could not be understood."""
    entries: Sequence[Any] = answer.result or ()
    read = [read_question(entry) for entry in entries]
    return [one for one in read if one is not None], read.count(None)


def _first(entry: Mapping[str, Any], spellings: Sequence[str]) -> str:
    for name in spellings:
        value = entry.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip().replace("\0", "")[:_LONGEST]
    return ""


def _id(told: str, entry: Mapping[str, Any]) -> str:
    if told and len(told) <= _LONGEST_ID:
        return told
    text = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
    return "sha256:" + hashlib.sha256(text).hexdigest()


def _agency(told: str) -> str | None:
    if not _matching(told, AGENCY_PATTERN, 35):
        return None
    try:
        return canonical_agency(told)
    except ValueError:
        return None


def _matching(told: str, pattern: str, longest: int) -> str | None:
    return told if len(told) <= longest and re.fullmatch(pattern, told) else None


def _moment(told: str) -> datetime | None:
    try:
        if re.fullmatch(r"\d{14}", told):
            return datetime.strptime(told, _STAMP).replace(tzinfo=VIETNAM)
        moment = datetime.fromisoformat(told)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=VIETNAM)
