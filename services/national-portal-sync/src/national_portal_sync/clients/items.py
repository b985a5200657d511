"""Dossiers and steps as the portal takes them: ``DongBoHoSoMC``, ``CapNhatTienDoHoSoMC``.

Every value is a string unless marked. A field that we cannot fill truthfully is left out; one that
is presumably mandatory is then sent empty, which is how the portal is told "none" (as seen with
NgayHenTra). Left out because no source says what their values mean, or because nothing tells us:
Fax, GhiChu, ThongTinKhac, ThongTinTra, NoiNopHoSo, TaiKhoanDuocXacThucVoiVNeID, DSKetNoiCSDL,
DanhSachTepDinhKemKhac, DuocThanhToanTrucTuyen (which of "1" and "2" it would be), HinhThucThu, the
links of results and the papers of supplements.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from common.contracts.commands import Document, Fee
from common.contracts.dossier import DossierState, ResultPaper, StepTaken, Supplement

Wire = dict[str, Any]

VIETNAM = timezone(timedelta(hours=7))
"""Asia/Ho_Chi_Minh; without summer time since 1975."""
LONGEST_SUMMARY, LONGEST_OFFICIAL = 1000, 50
"""Characters; seen in practice."""

_IDENTITIES: Mapping[str, tuple[str, re.Pattern[str]]] = {
    "citizen-id": ("1", re.compile(r"\d{12}")),
    "old-citizen-id": ("2", re.compile(r"\d{9}")),
}
"""LoaiDinhDanh; the portal knows of no other."""
_PERSONAL = ("ChuHoSo", "SoGiayToChuHoSo", "MaDoiTuong", "Email", "SoDienThoai")


def dossier_item(dossier: DossierState, applicant: Mapping[str, Any]) -> Wire:
    """An item of ``DongBoHoSoMC``.

    Args:
        applicant: the opened personal fields.
    """
    item: Wire = {
        "MaHoSo": dossier.code,
        "MaTTHC": dossier.procedure.code,
        "TenTTHC": dossier.procedure.name,
        "MaLinhVuc": dossier.procedure.field.code or "",
        "TenLinhVuc": dossier.procedure.field.name,
        "KenhThucHien": dossier.channel,
        "LoaiDoiTuong": dossier.applicant_kind,
        "TrichYeuHoSo": dossier.summary[:LONGEST_SUMMARY],
        "NgayTiepNhan": _moment(dossier.received_at),
        "NgayHenTra": _moment(dossier.due_at),
        "TrangThaiHoSo": dossier.status,
        "HinhThuc": dossier.return_method or "",
        # The unit's name where the source system tells it; who handles a dossier is known by its
        # agency's code in any case.
        "DonViXuLy": dossier.processing_unit or dossier.agency,
        "NgayNopHoSo": _moment(dossier.submitted_at),
    }
    submitted = _submitted(dossier)
    optional = {
        "SoBienNhan": dossier.receipt_number,
        "NgayTra": _moment(dossier.returned_at),
        "NgayKetThucXuLy": _moment(dossier.finished_at),
        "NgayTuChoi": _moment(dossier.refused_at),
        "HoSoCoThanhPhanSoHoa": _digitised(submitted),
        **_owner(applicant, online=dossier.channel == "2"),
        "TaiLieuNop": [_document(document) for document in submitted],
        "DanhSachLePhi": [_fee(fee) for fee in dossier.fees],
        "DanhSachHoSoBoSung": [_supplement(one) for one in dossier.supplements],
        "DanhSachGiayToKetQua": [
            _result(paper) for paper in dossier.results if paper.signing in {"none", "signed"}
        ],
    }
    return item | _filled(optional)


def step_item(code: str, step: StepTaken) -> Wire:
    """An item of ``CapNhatTienDoHoSoMC``.

    Raises:
        ValueError: nobody is known to have taken the step; the portal wants a name, and none is
            made up.
    """
    official = step.official
    name = official.name.strip() if official else ""
    if official is None or not name:
        raise ValueError("a step without an official")
    item: Wire = {
        "MaHoSo": code,
        "NguoiXuLy": name[:LONGEST_OFFICIAL].rstrip(),
        "ThoiDiemXuLy": _moment(step.at),
        "TrangThai": step.status,
    }
    optional = {
        "ChucDanh": official.title,
        "PhongBanXuLy": official.department,
        "NoiDungXuLy": step.note,
        "NgayBatDau": _moment(step.started_at),
        "NgayKetThucTheoQuyDinh": _moment(step.due_at),
    }
    return item | _filled(optional)


def personal_values(item: Wire) -> list[str]:
    """The personal values of a dossier's item, to be kept out of what operators read."""
    return [item[name] for name in _PERSONAL if name in item]


def _owner(applicant: Mapping[str, Any], *, online: bool) -> Wire:
    identity = applicant.get("identity") or {}
    number = str(identity.get("number") or "").strip()
    owner: Wire = {
        "ChuHoSo": applicant.get("name"),
        "SoGiayToChuHoSo": number,
        "Email": applicant.get("email"),
        "SoDienThoai": applicant.get("phone"),
        # An account of the portal is how the applicant came only where they came online.
        "MaDoiTuong": applicant.get("portal_account") if online else None,
    }
    kind, form = _IDENTITIES.get(str(identity.get("type")), ("", None))
    if form is not None and form.fullmatch(number):
        owner["DinhDanhCHS"] = [{"LoaiDinhDanh": kind, "SoDinhDanh": number}]
    return owner


def _submitted(dossier: DossierState) -> list[Document]:
    """Every paper handed in, with the dossier or with a supplement, once."""
    papers = {paper.id: paper for paper in dossier.documents}
    for supplement in dossier.supplements:
        papers |= {paper.id: paper for paper in supplement.documents}
    return list(papers.values())


def _document(document: Document) -> Wire:
    return {
        "TepDinhKemId": document.id,
        "TenTepDinhKem": document.name,
        "IsDeleted": "False",
        **_filled(
            {
                "MaThanhPhanHoSo": document.component,
                "DuongDanTaiTepTin": document.url,
                "DuocSoHoa": _flag(document.digitised),
            }
        ),
    }


def _fee(fee: Fee) -> Wire:
    return {
        "TenPhiLePhi": fee.name,
        "Gia": str(fee.amount),
        **_filled({"MaPhiLePhi": fee.code, "LoaiPhiLePhi": fee.kind}),
    }


def _supplement(supplement: Supplement) -> Wire:
    return {
        "HoSoBoSungId": supplement.number,  # an integer on the wire
        "NoiDungBoSung": supplement.content,
        "NgayBoSung": _moment(supplement.requested_at),
        "TrangThaiBoSung": supplement.given_at is not None,  # a boolean on the wire
        **_filled(
            {
                "NguoiYeuCauBoSung": supplement.requested_by,
                "NgayTiepNhanBoSung": _moment(supplement.given_at),
                "NgayHenTraTruoc": _moment(supplement.due_before),
                "NgayHenTraMoi": _moment(supplement.due_after),
            }
        ),
    }


def _result(paper: ResultPaper) -> Wire:
    return {
        "TenGiayTo": paper.name,
        "GiayToId": paper.id,
        **_filled({"MaThanhPhanHoSo": paper.component}),
    }


def _digitised(documents: Sequence[Document]) -> Literal["0", "1"] | None:
    """Whether any component is digitised; None where that is not known of each."""
    known = [document.digitised for document in documents]
    if True in known:
        return "1"
    return "0" if known and None not in known else None


def _flag(value: bool | None) -> Literal["0", "1"] | None:
    if value is None:
        return None
    return "1" if value else "0"


def _moment(value: datetime | None) -> str:
    """``yyyyMMddHHmmss`` in Vietnam's time; empty for none."""
    if value is None:
        return ""
    at = value.astimezone(VIETNAM)
    return f"{at.year:04}{at.month:02}{at.day:02}{at.hour:02}{at.minute:02}{at.second:02}"


def _filled(fields: Wire) -> Wire:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value}
