"""Whatever dossier or step there is takes the portal's form, and can be read back from it."""

import string
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.contracts.commands import Document, Fee, Official, OtherPaper, ProcedureSummary
from common.contracts.dossier import DossierState, ResultPaper, StepTaken, Supplement
from national_portal_sync.clients.fields import PROFILES, VIETNAM
from national_portal_sync.clients.items import dossier_item, step_item
from simulators.portal_shapes import DOSSIER, STEP


def link(digest: str, name: str) -> str:
    return f"https://cong.example.vn/v1/files/{digest}?n={name}"


texts = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x1EF9, exclude_categories=["Cs"]), max_size=1200
)
names = texts.filter(str.strip)
moments = st.integers(200_000_000, 7_000_000_000).map(
    lambda second: datetime.fromtimestamp(second, UTC)
)
maybe = st.none()
documents = st.builds(
    Document,
    id=names,
    name=texts,
    component=maybe | texts,
    url=maybe | texts,
    file=maybe | st.just("9f86d081"),
    digitised=maybe | st.booleans(),
    reused=maybe | st.sampled_from("012"),
    from_data_store=maybe | st.booleans(),
    replaced_by=maybe | texts,
)
fees = st.builds(
    Fee,
    code=maybe | texts,
    name=texts,
    amount=st.integers(0, 10**12),
    kind=maybe | texts,
    method=maybe | texts,
)
other_papers = st.lists(
    st.builds(OtherPaper, name=texts, quantity=st.integers(0, 999), kind=maybe | st.integers(0, 9)),
    max_size=2,
).map(tuple)
states = st.builds(
    DossierState,
    code=st.from_regex(r"\AH\d{2}\.\d{2}-26\d{4}-\d{4,7}\Z"),
    agency=st.from_regex(r"\AH\d{2}(\.\d{2})?\Z"),
    procedure=st.builds(
        ProcedureSummary,
        code=st.from_regex(r"\A\d\.\d{6}\Z"),
        name=names,
        field=st.fixed_dictionaries({"code": maybe | names, "name": names}),
    ),
    channel=st.sampled_from("123"),
    applicant_kind=st.sampled_from("1234"),
    sealed=st.just("v1.k.x"),
    summary=texts,
    status=st.sampled_from([str(number) for number in range(1, 11)]),
    processing_unit=maybe | names,
    receipt_number=maybe | texts,
    submitted_at=moments,
    received_at=maybe | moments,
    due_at=maybe | moments,
    finished_at=maybe | moments,
    returned_at=maybe | moments,
    refused_at=maybe | moments,
    return_method=maybe | st.sampled_from("01"),
    paid_online=maybe | st.booleans(),
    documents=st.lists(documents, max_size=3).map(tuple),
    fees=st.lists(fees, max_size=3).map(tuple),
    other_papers=other_papers,
    vneid_verified=maybe | st.booleans(),
    online_payment=maybe | st.sampled_from("0123"),
    filed_at=maybe | st.sampled_from("123"),
    databases=st.lists(names, max_size=2).map(tuple),
    remark=maybe | texts,
    supplements=st.lists(
        st.builds(
            Supplement,
            number=st.integers(1, 99),
            content=texts,
            requested_at=moments,
            requested_by=maybe | texts,
            papers=other_papers,
            fees=st.lists(fees, max_size=2).map(tuple),
            given_at=maybe | moments,
            received_by=maybe | texts,
            received_note=maybe | texts,
            documents=st.lists(documents, max_size=2).map(tuple),
            due_before=maybe | moments,
            due_after=maybe | moments,
        ),
        max_size=2,
    ).map(tuple),
    results=st.lists(
        st.builds(
            ResultPaper,
            id=names,
            name=texts,
            component=maybe | texts,
            code=maybe | texts,
            file=maybe | st.just("9f86d081"),
            signing=st.sampled_from(["none", "asked", "signed", "failed", "held"]),
        ),
        max_size=3,
    ).map(tuple),
)
digits = st.text(string.digits, max_size=14)
applicants = st.fixed_dictionaries(
    {"name": texts},
    optional={
        "identity": maybe
        | st.fixed_dictionaries(
            {
                "type": st.sampled_from(["citizen-id", "old-citizen-id", "passport", "tax-code"]),
                "number": digits,
            }
        ),
        "portal_account": maybe | texts,
        "email": maybe | texts,
        "phone": maybe | texts,
        "address": maybe | texts,
        "fax": maybe | texts,
        "other_information": maybe | texts,
        "return_information": maybe | texts,
    },
)

NOT_TEXT = {"HoSoBoSungId": int, "TrangThaiBoSung": bool, "SoLuong": int, "LoaiGiayTo": int}


def check_values(item: dict[str, Any]) -> None:
    for name, value in item.items():
        assert value is not None
        if isinstance(value, list):
            assert value, f"{name} is empty"
            for part in value:
                check_values(part)
        else:
            assert type(value) is NOT_TEXT.get(name, str), name


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(states, applicants, st.sampled_from(PROFILES), maybe | st.just(link))
def test_whatever_dossier_there_is_takes_the_portals_form(
    dossier: DossierState, applicant: dict[str, Any], profile: Any, linked: Any
) -> None:
    item = dossier_item(dossier, applicant, profile, linked)
    assert DOSSIER.complaint(item) is None
    check_values(item)
    assert len(item["TrichYeuHoSo"]) <= 1000
    identity = applicant.get("identity") or {}
    for told in item.get("DinhDanhCHS", []):
        assert told["SoDinhDanh"] == identity["number"]
        wanted = {"1": ("citizen-id", 12), "2": ("old-citizen-id", 9)}[told["LoaiDinhDanh"]]
        assert (identity["type"], len(told["SoDinhDanh"])) == wanted
    for name in ("SoGiayToChuHoSo", "MaDoiTuong", "ChuHoSo"):
        assert item.get(name) != ""


def at(value: str | None) -> datetime | None:
    """A moment of the wire."""
    return datetime.strptime(value, "%Y%m%d%H%M%S").replace(tzinfo=VIETNAM) if value else None


def truth(value: str | None) -> bool | None:
    """A flag of the wire."""
    return None if value is None else {"0": False, "1": True}[value]


def fee_back(fee: dict[str, Any]) -> dict[str, Any]:
    return {
        "code": fee.get("MaPhiLePhi"),
        "name": fee["TenPhiLePhi"],
        "amount": int(fee["Gia"]),
        "kind": fee.get("LoaiPhiLePhi"),
        "method": fee.get("HinhThucThu"),
    }


def other_back(paper: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": paper["TenGiayTo"],
        "quantity": paper["SoLuong"],
        "kind": paper.get("LoaiGiayTo"),
    }


def read_back(item: dict[str, Any]) -> dict[str, Any]:
    """What an item says, in the words of the dossier; what it does not say is None."""
    return {
        "code": item["MaHoSo"],
        "procedure": (
            item["MaTTHC"],
            item["TenTTHC"],
            item["MaLinhVuc"] or None,
            item["TenLinhVuc"],
        ),
        "receipt_number": item.get("SoBienNhan"),
        "channel": item["KenhThucHien"],
        "applicant_kind": item["LoaiDoiTuong"],
        "summary": item["TrichYeuHoSo"],
        "status": item["TrangThaiHoSo"],
        "return_method": item["HinhThuc"] or None,
        "remark": item.get("GhiChu"),
        "filed_at": item.get("NoiNopHoSo"),
        "online_payment": item.get("DuocThanhToanTrucTuyen"),
        "vneid_verified": truth(item.get("TaiKhoanDuocXacThucVoiVNeID")),
        "databases": [one["MaCSDL"] for one in item.get("DSKetNoiCSDL", ())],
        "received_at": at(item["NgayTiepNhan"]),
        "due_at": at(item["NgayHenTra"]),
        "returned_at": at(item.get("NgayTra")),
        "finished_at": at(item.get("NgayKetThucXuLy")),
        "refused_at": at(item.get("NgayTuChoi")),
        "submitted_at": at(item["NgayNopHoSo"]),
        "documents": [
            {
                "id": paper["TepDinhKemId"],
                "name": paper["TenTepDinhKem"],
                "component": paper.get("MaThanhPhanHoSo"),
                "digitised": truth(paper.get("DuocSoHoa")),
                "reused": paper.get("DuocTaiSuDung"),
                "from_data_store": truth(paper.get("DuocLayTuKhoDMQG")),
                "replaced_by": paper.get("MaKetQuaThayThe"),
            }
            for paper in item.get("TaiLieuNop", ())
        ],
        "fees": [fee_back(fee) for fee in item.get("DanhSachLePhi", ())],
        "other_papers": [other_back(one) for one in item.get("DanhSachTepDinhKemKhac", ())],
        "supplements": [
            {
                "number": one["HoSoBoSungId"],
                "content": one["NoiDungBoSung"],
                "requested_at": at(one["NgayBoSung"]),
                "requested_by": one.get("NguoiYeuCauBoSung"),
                "given": one["TrangThaiBoSung"],
                "given_at": at(one.get("NgayTiepNhanBoSung")),
                "received_by": one.get("NguoiTiepNhanBoSung"),
                "received_note": one.get("ThongTinTiepNhan"),
                "papers": [other_back(paper) for paper in one.get("DanhSachGiayToBoSung", ())],
                "fees": [fee_back(fee) for fee in one.get("DanhSachLePhiBoSung", ())],
                "due_before": at(one.get("NgayHenTraTruoc")),
                "due_after": at(one.get("NgayHenTraMoi")),
            }
            for one in item.get("DanhSachHoSoBoSung", ())
        ],
        "results": [
            {
                "id": paper["GiayToId"],
                "name": paper["TenGiayTo"],
                "component": paper.get("MaThanhPhanHoSo"),
                "code": paper.get("MaGiayToKetQua"),
            }
            for paper in item.get("DanhSachGiayToKetQua", ())
        ],
    }


def said(value: Any) -> Any:
    """A part of a dossier as it can be said: empty is none."""
    if isinstance(value, dict):
        return {name: said(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [said(part) for part in value]
    return None if value == "" else value


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(states, applicants)
def test_what_the_portal_is_told_can_be_read_back(
    dossier: DossierState, applicant: dict[str, Any]
) -> None:
    item = dossier_item(dossier, applicant, "2023-assumed", link)
    told = read_back(item)
    procedure = dossier.procedure
    papers = {paper.id: paper for paper in dossier.documents}
    for one in dossier.supplements:
        papers |= {paper.id: paper for paper in one.documents}
    meant: dict[str, Any] = {name: getattr(dossier, name) for name in told}
    meant |= {
        "procedure": (procedure.code, procedure.name, procedure.field.code, procedure.field.name),
        "summary": dossier.summary
        if len(dossier.summary) <= 1000
        else dossier.summary[:1000].rstrip(),
        "documents": [paper.model_dump(exclude={"url", "file"}) for paper in papers.values()],
        "fees": [fee.model_dump() for fee in dossier.fees],
        "other_papers": [paper.model_dump() for paper in dossier.other_papers],
        "supplements": [
            one.model_dump(exclude={"documents"}) | {"given": one.given_at is not None}
            for one in dossier.supplements
        ],
        "results": [
            paper.model_dump(exclude={"file", "signing"})
            for paper in dossier.results
            if paper.signing in ("none", "signed")
        ],
    }
    assert said(told) == said(meant)
    for wire, name in (
        ("ChuHoSo", "name"),
        ("Email", "email"),
        ("Fax", "fax"),
        ("SoDienThoai", "phone"),
        ("ThongTinKhac", "other_information"),
        ("ThongTinTra", "return_information"),
    ):
        assert item.get(wire) == (applicant.get(name) or None)
    for paper, shown in zip(papers.values(), item.get("TaiLieuNop", ()), strict=True):
        wanted = link(paper.file, paper.name) if paper.file else paper.url
        assert shown.get("DuongDanTaiTepTin") == (wanted or None)


@settings(max_examples=100, deadline=None)
@given(
    st.builds(
        StepTaken,
        number=st.integers(1, 500),
        kind=st.just("progress"),
        status=st.sampled_from("123456789"),
        at=moments,
        official=st.builds(Official, name=names, title=maybe | texts, department=maybe | texts),
        note=maybe | texts,
        started_at=maybe | moments,
        due_at=maybe | moments,
    )
)
def test_whatever_step_there_is_takes_the_portals_form(step: StepTaken) -> None:
    item = step_item("H10-260101-0001", step)
    assert STEP.complaint(item) is None
    check_values(item)
    assert step.official is not None
    assert item["NguoiXuLy"] in step.official.name
