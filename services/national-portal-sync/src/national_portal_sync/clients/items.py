"""Dossiers and steps as the portal takes them: ``DongBoHoSoMC``, ``CapNhatTienDoHoSoMC``.

Names, forms, limits and code lists were seen in code that talks to the real portal; the field
tables of QCVN 120:2019/BTTTT were not found. A field that cannot be filled truthfully is left out.
Never filled for that reason: the applicant's address (there is no field for it), IsDeleted "True"
(nothing tells us that a paper was taken back), DuocThanhToanTrucTuyen from our own knowledge that
a fee was paid online (which of its values that would be is not known; the source system's own
value is passed on).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from common.contracts.commands import Document
from common.contracts.dossier import DossierState, ResultPaper, StepTaken
from national_portal_sync.clients.fields import (
    VIETNAM,
    Each,
    Profile,
    Table,
    Wire,
    amount,
    assumed,
    fixed,
    flag,
    moment,
    newer,
    optional,
    plain,
    required,
)

__all__ = [
    "DOSSIER",
    "STEP",
    "VIETNAM",
    "Link",
    "Wire",
    "dossier_item",
    "personal_fields",
    "personal_values",
    "step_item",
]

Link = Callable[[str, str], str]
"""An address for a stored file, of its SHA-256 and its name."""

LONGEST_SUMMARY, LONGEST_OFFICIAL = 1000, 50
"""Characters; seen in practice."""

_IDENTITIES: Mapping[str, tuple[str, re.Pattern[str]]] = {
    "citizen-id": ("1", re.compile(r"\d{12}")),
    "old-citizen-id": ("2", re.compile(r"\d{9}")),
}
"""LoaiDinhDanh; the portal knows of no other."""

_OTHER_PAPER = Table(
    required("TenGiayTo", "name"),
    required("SoLuong", "quantity", plain),
    optional("LoaiGiayTo", "kind", plain, note="code list not found"),
)
_FEE = Table(
    required("TenPhiLePhi", "name"),
    optional("MaPhiLePhi", "code"),
    optional("HinhThucThu", "method", note="code list not found: as the source system has it"),
    required("Gia", "amount", amount),
    optional("LoaiPhiLePhi", "kind", note="code list not found: as the source system has it"),
)
_PAPER = Table(
    required("TepDinhKemId", "paper.id"),
    required("TenTepDinhKem", "paper.name"),
    required("IsDeleted", "paper", fixed("False")),
    optional("MaThanhPhanHoSo", "paper.component"),
    optional("DuongDanTaiTepTin", "address", personal=True),
    newer("DuocSoHoa", "paper.digitised", flag),
    newer("DuocTaiSuDung", "paper.reused", note="meaning of 0, 1, 2 not found"),
    newer("DuocLayTuKhoDMQG", "paper.from_data_store", flag),
    newer("MaKetQuaThayThe", "paper.replaced_by"),
)
_SUPPLEMENT = Table(
    required("HoSoBoSungId", "number", plain),
    optional("NguoiYeuCauBoSung", "requested_by"),
    required("NoiDungBoSung", "content"),
    required("NgayBoSung", "requested_at", moment),
    optional("NguoiTiepNhanBoSung", "received_by"),
    optional("ThongTinTiepNhan", "received_note"),
    optional("NgayTiepNhanBoSung", "given_at", moment),
    required("TrangThaiBoSung", "given_at", lambda given_at: given_at is not None),
    assumed("DanhSachGiayToBoSung", "papers", Each(_OTHER_PAPER), note="as other papers"),
    assumed("DanhSachLePhiBoSung", "fees", Each(_FEE), note="as the dossier's fees"),
    optional("NgayHenTraTruoc", "due_before", moment),
    optional("NgayHenTraMoi", "due_after", moment),
)
_RESULT = Table(
    required("TenGiayTo", "paper.name"),
    optional("MaThanhPhanHoSo", "paper.component"),
    required("GiayToId", "paper.id"),
    optional("DuongDanTepTinKetQua", "address", personal=True),
    optional("MaGiayToKetQua", "paper.code"),
)
_IDENTITY = Table(
    required("LoaiDinhDanh", "kind"),
    required("SoDinhDanh", "number", personal=True),
)

DOSSIER = Table(
    required("MaHoSo", "dossier.code"),
    required("MaTTHC", "dossier.procedure.code"),
    required("TenTTHC", "dossier.procedure.name"),
    required("MaLinhVuc", "dossier.procedure.field.code", note="a third of the catalogue has none"),
    required("TenLinhVuc", "dossier.procedure.field.name"),
    optional("SoBienNhan", "dossier.receipt_number"),
    required("KenhThucHien", "dossier.channel"),
    optional("SoGiayToChuHoSo", "owner.number", personal=True),
    optional("ChuHoSo", "owner.name", personal=True),
    required("LoaiDoiTuong", "dossier.applicant_kind"),
    optional("MaDoiTuong", "account", personal=True),
    optional("ThongTinKhac", "owner.other_information", personal=True),
    optional("Email", "owner.email", personal=True),
    optional("Fax", "owner.fax", personal=True),
    optional("SoDienThoai", "owner.phone", personal=True),
    optional("GhiChu", "dossier.remark", personal=True),
    optional("ThongTinTra", "owner.return_information", personal=True),
    required("TrichYeuHoSo", "dossier.summary", longest=LONGEST_SUMMARY),
    required("NgayTiepNhan", "dossier.received_at", moment, note="empty until it is received"),
    required("NgayHenTra", "dossier.due_at", moment),
    required("TrangThaiHoSo", "dossier.status"),
    optional("NgayTra", "dossier.returned_at", moment),
    required("HinhThuc", "dossier.return_method", note="0 or 1; official list not found"),
    optional("NgayKetThucXuLy", "dossier.finished_at", moment),
    required("DonViXuLy", "unit"),
    optional("TaiLieuNop", "submitted", Each(_PAPER)),
    optional("DanhSachLePhi", "dossier.fees", Each(_FEE)),
    optional("DanhSachTepDinhKemKhac", "dossier.other_papers", Each(_OTHER_PAPER)),
    optional("DanhSachHoSoBoSung", "dossier.supplements", Each(_SUPPLEMENT)),
    optional("DanhSachGiayToKetQua", "results", Each(_RESULT)),
    newer("NoiNopHoSo", "dossier.filed_at", note="code list not found: as the source has it"),
    newer("HoSoCoThanhPhanSoHoa", "digitised"),
    newer("TaiKhoanDuocXacThucVoiVNeID", "dossier.vneid_verified", flag),
    newer("DuocThanhToanTrucTuyen", "dossier.online_payment", note="as the source system has it"),
    newer("NgayTuChoi", "dossier.refused_at", moment),
    newer("DinhDanhCHS", "identities", Each(_IDENTITY)),
    newer("NgayNopHoSo", "dossier.submitted_at", moment),
    newer("DSKetNoiCSDL", "databases", Each(Table(required("MaCSDL", "code")))),
)
"""An item of ``DongBoHoSoMC``."""

STEP = Table(
    required("MaHoSo", "code"),
    required("NguoiXuLy", "official", longest=LONGEST_OFFICIAL),
    optional("ChucDanh", "step.official.title"),
    required("ThoiDiemXuLy", "step.at", moment),
    optional("PhongBanXuLy", "step.official.department"),
    optional("NoiDungXuLy", "step.note"),
    required("TrangThai", "step.status"),
    optional("NgayBatDau", "step.started_at", moment),
    optional("NgayKetThucTheoQuyDinh", "step.due_at", moment),
)
"""An item of ``CapNhatTienDoHoSoMC``."""


def dossier_item(
    dossier: DossierState,
    applicant: Mapping[str, Any],
    profile: Profile = "2023",
    link: Link | None = None,
) -> Wire:
    """An item of ``DongBoHoSoMC``.

    Args:
        applicant: the opened personal fields.
        profile: which fields the receiving installation takes.
        link: makes addresses for files of our own store; without it such files have none.
    """
    return DOSSIER.item(_Told(dossier, _owner(applicant), link), profile)


def step_item(code: str, step: StepTaken, profile: Profile = "2023") -> Wire:
    """An item of ``CapNhatTienDoHoSoMC``.

    Raises:
        ValueError: nobody is known to have taken the step; the portal wants a name, and none is
            made up.
    """
    name = step.official.name.strip() if step.official else ""
    if not name:
        raise ValueError("a step without an official")
    return STEP.item(_Line(code, step, name), profile)


def personal_values(item: Wire) -> list[str]:
    """The personal values of a dossier's item, to be kept out of what operators read.

    Links count: whoever has one can fetch the file.
    """
    return DOSSIER.personal(item)


def personal_fields(item: Wire) -> list[str]:
    """The names of the personal fields of a dossier's item that have a value."""
    return DOSSIER.personal_names(item)


@dataclass(frozen=True, slots=True)
class _Owner:
    """The applicant, opened; what is empty is not known."""

    name: str | None
    identity: str | None
    number: str
    portal_account: str | None
    email: str | None
    phone: str | None
    fax: str | None
    other_information: str | None
    return_information: str | None


def _owner(applicant: Mapping[str, Any]) -> _Owner:
    identity = applicant.get("identity") or {}
    return _Owner(
        name=applicant.get("name"),
        identity=identity.get("type"),
        number=str(identity.get("number") or "").strip(),
        portal_account=applicant.get("portal_account"),
        email=applicant.get("email"),
        phone=applicant.get("phone"),
        fax=applicant.get("fax"),
        other_information=applicant.get("other_information"),
        return_information=applicant.get("return_information"),
    )


@dataclass(frozen=True, slots=True)
class _Identity:
    kind: str
    number: str


@dataclass(frozen=True, slots=True)
class _Named:
    code: str


@dataclass(frozen=True, slots=True)
class _File:
    """A paper and where it can be fetched from."""

    paper: Document | ResultPaper
    address: str | None


@dataclass(frozen=True, slots=True)
class _Line:
    code: str
    step: StepTaken
    official: str


@dataclass(frozen=True, slots=True)
class _Told:
    """A dossier as the table looks at it."""

    dossier: DossierState
    owner: _Owner
    link: Link | None

    @property
    def account(self) -> str | None:
        """An account of the portal is how the applicant came only where they came online."""
        return self.owner.portal_account if self.dossier.channel == "2" else None

    @property
    def unit(self) -> str:
        """The unit's name where the source system tells it; who handles a dossier is known by its
        agency's code in any case."""
        return self.dossier.processing_unit or self.dossier.agency

    @property
    def identities(self) -> tuple[_Identity, ...]:
        """The identity where it is of a kind and form that the portal knows."""
        kind, form = _IDENTITIES.get(str(self.owner.identity), ("", None))
        if form is None or not form.fullmatch(self.owner.number):
            return ()
        return (_Identity(kind, self.owner.number),)

    @property
    def submitted(self) -> list[_File]:
        """Every paper handed in, with the dossier or with a supplement, once."""
        return [
            _File(paper, self._address(paper.file, paper.name) or paper.url)
            for paper in self._papers()
        ]

    @property
    def results(self) -> list[_File]:
        """Results that are what they will be: one that waits for a signature is not there yet."""
        return [
            _File(paper, self._address(paper.file, paper.name))
            for paper in self.dossier.results
            if paper.signing in {"none", "signed"}
        ]

    @property
    def digitised(self) -> Literal["0", "1"] | None:
        """Whether any component is digitised; None where that is not known of each."""
        known = [paper.digitised for paper in self._papers()]
        if True in known:
            return "1"
        return "0" if known and None not in known else None

    @property
    def databases(self) -> list[_Named]:
        """Databases that were asked for this dossier."""
        return [_Named(code) for code in self.dossier.databases]

    def _papers(self) -> Sequence[Document]:
        papers = {paper.id: paper for paper in self.dossier.documents}
        for supplement in self.dossier.supplements:
            papers |= {paper.id: paper for paper in supplement.documents}
        return list(papers.values())

    def _address(self, file: str | None, name: str) -> str | None:
        return self.link(file, name) if self.link is not None and file else None
