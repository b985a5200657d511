"""``NopHoSo`` into a submission, version 1 of the converter.

Confidence **code**: the forms of dates (``yyyy-MM-dd HH:mm:ss``, Vietnam's time) and the kinds of
applicants (0 citizen, 1 enterprise, 2 household business: not the portal's 1 to 4). The names of
the fields were **not found**: they are those of the portal's own items, and so **memory** at best.
What is needed has to be there; a field that is not known is left alone.

A household business is no enterprise and no citizen in the portal's list; it becomes "4, other
organisation", and the remark says what it was.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from common.contracts.codes import AgencyCode
from common.errors import Invalid
from common.problems import fields
from gateway.api.bodies import Submit
from gateway.domain.clients import CLIENT_ID_PATTERN

VIETNAM = timezone(timedelta(hours=7))

_KINDS = {"0": "1", "1": "2", "2": "4"}
_HOUSEHOLD, _HOUSEHOLD_REMARK = "2", "Hộ kinh doanh (LoaiDoiTuong 2)"
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")
_IDENTITY_KINDS = {"1": "citizen-id", "2": "old-citizen-id"}
_BY_FORM = {
    "0": (("citizen-id", r"\d{12}"), ("old-citizen-id", r"\d{9}"), ("passport", r"[A-Z]\d{6,8}")),
    "1": (("tax-code", r"\d{10}(-\d{3})?"),),
    "2": (("tax-code", r"\d{10}(-\d{3})?|\d{12}"),),
}

FIELDS = {
    "code": "MaHoSo",
    "agency": "MaDonVi",
    "procedure": "MaTTHC",
    "channel": "KenhThucHien",
    "applicant": "ChuHoSo",
    "summary": "TrichYeuHoSo",
    "submitted_at": "NgayNopHoSo",
    "processing_unit": "DonViXuLy",
    "documents": "TaiLieuNop",
    "fees": "DanhSachLePhi",
    "remark": "GhiChu",
    "return_method": "HinhThuc",
}
"""Where a fault of the submission stood in what was sent."""
_APPLICANT_FIELDS = {
    "kind": "LoaiDoiTuong",
    "name": "ChuHoSo",
    "identity": "SoGiayToChuHoSo",
    "email": "Email",
    "phone": "SoDienThoai",
    "address": "DiaChi",
    "portal_account": "MaDoiTuong",
}

Value = str | int | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class Paper(_Part):
    """An entry of ``TaiLieuNop``."""

    TenTepDinhKem: str
    TepDinhKemId: Value = None
    MaThanhPhanHoSo: Value = None
    IdTepTin: str | None = None
    """As the upload answered it."""
    HashTepTin: str | None = None
    DuongDanTaiTepTin: str | None = None


class Charge(_Part):
    """An entry of ``DanhSachLePhi``; ``Gia`` in whole đồng."""

    TenPhiLePhi: str
    MaPhiLePhi: Value = None
    Gia: Value
    LoaiPhiLePhi: Value = None
    HinhThucThu: Value = None


class NamedIdentity(_Part):
    """An entry of ``DinhDanhCHS``."""

    LoaiDinhDanh: Value
    SoDinhDanh: Value


class ClientCredentials(BaseModel):
    """The body of ``token``."""

    model_config = ConfigDict(hide_input_in_errors=True)

    client_id: str = Field(pattern=CLIENT_ID_PATTERN)
    client_secret: SecretStr = Field(min_length=1, max_length=256)


class NextValue(BaseModel):
    """The body of ``GetNextValue``: for which agency a code is wanted (either form)."""

    code: AgencyCode


class LowerLevel(_Part):
    """The body of ``NopHoSo``."""

    MaHoSo: str | None = None
    """From ``GetNextValue``, or the sender's own; without it ``IdYeuCau`` and ``MaDonVi``."""
    IdYeuCau: str | None = Field(default=None, max_length=128, pattern=r"^[\x21-\x7E]+$")
    """The sender's own id of this submission."""
    MaTTHC: str
    MaDonVi: str | None = None
    KenhThucHien: Value
    LoaiDoiTuong: Value
    ChuHoSo: str
    NgayNopHoSo: str
    TrichYeuHoSo: str
    SoGiayToChuHoSo: Value = None
    DinhDanhCHS: tuple[NamedIdentity, ...] = Field(default=(), max_length=10)
    MaDoiTuong: Value = None
    Email: str | None = None
    SoDienThoai: Value = None
    DiaChi: str | None = None
    DonViXuLy: str | None = None
    GhiChu: str | None = None
    HinhThuc: Value = None
    TaiLieuNop: tuple[Paper, ...] = Field(default=(), max_length=200)
    DanhSachLePhi: tuple[Charge, ...] = Field(default=(), max_length=100)

    def submission(self) -> Submit:
        """The same as a submission of ours.

        Raises:
            Invalid: it cannot be one; names the fields as they were sent.
        """
        kind = _text(self.LoaiDoiTuong)
        if kind not in _KINDS:
            raise _fault("LoaiDoiTuong", "phải là 0, 1 hoặc 2", "must be 0, 1 or 2")
        applicant = {
            "kind": _KINDS[kind],
            "name": self.ChuHoSo,
            "identity": self._identity(kind),
            "portal_account": _text(self.MaDoiTuong),
            "email": self.Email,
            "phone": _text(self.SoDienThoai),
            "address": self.DiaChi,
        }
        remarks = [_HOUSEHOLD_REMARK if kind == _HOUSEHOLD else None, self.GhiChu]
        body = {
            "code": self.MaHoSo,
            "agency": self.MaDonVi,
            "procedure": self.MaTTHC,
            "channel": _text(self.KenhThucHien),
            "applicant": _filled(applicant),
            "summary": self.TrichYeuHoSo,
            "submitted_at": _moment(self.NgayNopHoSo),
            "processing_unit": self.DonViXuLy,
            "documents": tuple(
                _document(paper, number) for number, paper in enumerate(self.TaiLieuNop)
            ),
            "fees": tuple(_fee(charge, at) for at, charge in enumerate(self.DanhSachLePhi)),
            "remark": ". ".join(filter(None, remarks)),
            "return_method": _text(self.HinhThuc),
        }
        try:
            return Submit.model_validate(_filled(body))
        except ValidationError as error:
            raise _as_sent(error) from None

    def _identity(self, kind: str) -> dict[str, str] | None:
        """The number with its kind: as told, or as its form alone can be."""
        for one in self.DinhDanhCHS:
            if named := _IDENTITY_KINDS.get(_text(one.LoaiDinhDanh) or ""):
                return {"type": named, "number": _text(one.SoDinhDanh) or ""}
        number = _text(self.SoGiayToChuHoSo)
        if number is None:
            return None
        for named, form in _BY_FORM[kind]:
            if re.fullmatch(form, number):
                return {"type": named, "number": number}
        raise _fault("SoGiayToChuHoSo", "không rõ loại giấy tờ", "of which kind it is is not clear")


def progress_of(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Steps as they are read here: ISO times with their offset (confidence **code**)."""
    return [
        _filled(
            {
                "ThoiDiemXuLy": _iso(step.get("at")),
                "TrangThai": step.get("status"),
                "NguoiXuLy": (step.get("official") or {}).get("name"),
                "ChucDanh": (step.get("official") or {}).get("title"),
                "PhongBanXuLy": (step.get("official") or {}).get("department"),
                "NoiDungXuLy": step.get("note"),
                "NgayBatDau": _iso(step.get("started_at")),
                "NgayKetThucTheoQuyDinh": _iso(step.get("due_at")),
            }
        )
        for step in steps
    ]


def _document(paper: Paper, number: int) -> dict[str, Any]:
    file = paper.IdTepTin.lower() if paper.IdTepTin else None
    if paper.HashTepTin and file and paper.HashTepTin.lower() != file:
        place = f"TaiLieuNop/{number}/HashTepTin"
        raise _fault(place, "không phải mã băm của tệp này", "not this file's hash")
    return _filled(
        {
            "id": _text(paper.TepDinhKemId) or file or f"{number + 1}",
            "name": paper.TenTepDinhKem,
            "component": _text(paper.MaThanhPhanHoSo),
            "file": file,
            "url": paper.DuongDanTaiTepTin,
        }
    )


def _fee(charge: Charge, number: int) -> dict[str, Any]:
    amount = _text(charge.Gia) or ""
    if not re.fullmatch(r"\d{1,13}", amount):
        raise _fault(f"DanhSachLePhi/{number}/Gia", "phải là số nguyên", "must be whole đồng")
    return _filled(
        {
            "name": charge.TenPhiLePhi,
            "code": _text(charge.MaPhiLePhi),
            "amount": int(amount),
            "kind": _text(charge.LoaiPhiLePhi),
            "method": _text(charge.HinhThucThu),
        }
    )


def _moment(told: str) -> str:
    """RFC 3339 of a Vietnamese wall-clock time."""
    try:
        if not _MOMENT.fullmatch(told):
            raise ValueError(told)
        return datetime.fromisoformat(told).replace(tzinfo=VIETNAM).isoformat()
    except ValueError:
        raise _fault(
            "NgayNopHoSo", "phải có dạng yyyy-MM-dd HH:mm:ss", "must be yyyy-MM-dd HH:mm:ss"
        ) from None


def _iso(told: Any) -> str | None:
    if not isinstance(told, str):
        return None
    return datetime.fromisoformat(told).astimezone(UTC).astimezone(VIETNAM).isoformat()


def _text(value: Value) -> str | None:
    return None if value is None else str(value).strip() or None


def _filled(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in (None, "")}


def _fault(place: str, detail: str, detail_en: str) -> Invalid:
    return Invalid(
        "Hồ sơ có trường không hợp lệ",
        "The submission has invalid fields",
        errors=[{"pointer": f"/{place}", "detail": detail, "detail_en": detail_en}],
    )


def _as_sent(error: ValidationError) -> Invalid:
    """The faults of the submission at the places where they were sent."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    for fault in faults:
        first, *rest = fault["loc"] or ("",)
        if first == "applicant" and rest:
            fault["loc"] = (_APPLICANT_FIELDS.get(str(rest[0]), str(rest[0])),)
        else:
            fault["loc"] = (FIELDS.get(str(first), str(first)), *rest[:1])
    return Invalid(
        "Hồ sơ có trường không hợp lệ",
        "The submission has invalid fields",
        errors=fields(faults[:20]),
    )
