"""The items of DongBoHoSoMC and CapNhatTienDoHoSoMC.

Known (seen in code that talks to the real portal, no specification): field names, which are
presumably mandatory, that every value is a string unless it is marked otherwise, dates
yyyyMMddHHmmss, the code lists. Two limits were seen in practice: 1000 characters of TrichYeuHoSo,
50 of NguoiXuLy.

Own choice: mandatory fields must also be non-empty, except MaLinhVuc (a third of the national
catalogue has no field code, and none may be invented), NgayTiepNhan (a dossier that is only
registered was not received yet) and HinhThuc (the applicant need not have said how the result is
to be returned). These are counted in the books when empty.
"""

from simulators.shapes import (
    Shape,
    at_most,
    boolean,
    integer,
    list_of,
    moment,
    moment_or_empty,
    one_of,
    some_text,
    text,
)

FLAG = one_of("0", "1")
STATUS = one_of(*(str(code) for code in range(1, 11)))

SUBMITTED = Shape(
    {
        "TepDinhKemId": text,
        "TenTepDinhKem": text,
        "IsDeleted": one_of("True", "False"),
        "MaThanhPhanHoSo": text,
        "DuongDanTaiTepTin": text,
        "DuocSoHoa": FLAG,
        "DuocTaiSuDung": one_of("0", "1", "2"),
        "DuocLayTuKhoDMQG": FLAG,
        "MaKetQuaThayThe": text,
    }
)
FEE = Shape(
    {
        "TenPhiLePhi": text,
        "MaPhiLePhi": text,
        "HinhThucThu": text,
        "Gia": text,
        "LoaiPhiLePhi": text,
    }
)
OTHER_PAPER = Shape({"TenGiayTo": text, "SoLuong": integer, "LoaiGiayTo": integer})
SUPPLEMENT = Shape(
    {
        "HoSoBoSungId": integer,
        "NguoiYeuCauBoSung": text,
        "NoiDungBoSung": text,
        "NgayBoSung": moment_or_empty,
        "NguoiTiepNhanBoSung": text,
        "ThongTinTiepNhan": text,
        "NgayTiepNhanBoSung": moment_or_empty,
        "TrangThaiBoSung": boolean,
        "DanhSachGiayToBoSung": list_of(Shape({})),
        "DanhSachLePhiBoSung": list_of(Shape({})),
        "NgayHenTraTruoc": moment_or_empty,
        "NgayHenTraMoi": moment_or_empty,
    }
)
RESULT_PAPER = Shape(
    {
        "TenGiayTo": text,
        "MaThanhPhanHoSo": text,
        "GiayToId": text,
        "DuongDanTepTinKetQua": text,
        "MaGiayToKetQua": text,
    }
)

DOSSIER = Shape(
    mandatory=(
        "MaHoSo",
        "MaTTHC",
        "TenTTHC",
        "MaLinhVuc",
        "TenLinhVuc",
        "LoaiDoiTuong",
        "NgayTiepNhan",
        "TrangThaiHoSo",
        "HinhThuc",
        "DonViXuLy",
    ),
    fields={
        "MaHoSo": some_text,
        "MaTTHC": some_text,
        "TenTTHC": some_text,
        "MaLinhVuc": text,
        "TenLinhVuc": some_text,
        "SoBienNhan": text,
        "KenhThucHien": one_of("1", "2", "3"),
        "SoGiayToChuHoSo": text,
        "ChuHoSo": text,
        "LoaiDoiTuong": one_of("1", "2", "3", "4"),
        "MaDoiTuong": text,
        "ThongTinKhac": text,
        "Email": text,
        "Fax": text,
        "SoDienThoai": text,
        "GhiChu": text,
        "ThongTinTra": text,
        "TrichYeuHoSo": at_most(1000),
        "NgayTiepNhan": moment_or_empty,
        "NgayHenTra": moment_or_empty,
        "TrangThaiHoSo": STATUS,
        "NgayTra": moment_or_empty,
        "HinhThuc": one_of("0", "1", ""),
        "NgayKetThucXuLy": moment_or_empty,
        "DonViXuLy": some_text,
        "TaiLieuNop": list_of(SUBMITTED),
        "DanhSachLePhi": list_of(FEE),
        "DanhSachTepDinhKemKhac": list_of(OTHER_PAPER),
        "DanhSachHoSoBoSung": list_of(SUPPLEMENT),
        "DanhSachGiayToKetQua": list_of(RESULT_PAPER),
        "NoiNopHoSo": at_most(2),
        "HoSoCoThanhPhanSoHoa": FLAG,
        "TaiKhoanDuocXacThucVoiVNeID": FLAG,
        "DuocThanhToanTrucTuyen": one_of("0", "1", "2", "3"),
        "NgayTuChoi": moment_or_empty,
        "DinhDanhCHS": list_of(
            Shape({"LoaiDinhDanh": one_of("1", "2"), "SoDinhDanh": at_most(40)})
        ),
        "NgayNopHoSo": moment_or_empty,
        "DSKetNoiCSDL": list_of(Shape({"MaCSDL": text})),
    },
)

STEP = Shape(
    mandatory=("MaHoSo", "NguoiXuLy", "ThoiDiemXuLy", "TrangThai"),
    fields={
        "MaHoSo": some_text,
        "NguoiXuLy": at_most(50, some_text),
        "ChucDanh": text,
        "ThoiDiemXuLy": moment,
        "PhongBanXuLy": text,
        "NoiDungXuLy": text,
        "TrangThai": STATUS,
        "NgayBatDau": moment_or_empty,
        "NgayKetThucTheoQuyDinh": moment_or_empty,
    },
)

ANSWER = Shape(
    mandatory=("MaHoiDap", "NoiDungTraLoi"),
    fields={
        "MaHoiDap": some_text,
        "NoiDungTraLoi": some_text,
        "NguoiTraLoi": text,
        "NgayTraLoi": moment,
    },
)
"""Our own choice; the real fields were not found."""

MAY_BE_EMPTY = ("MaLinhVuc", "NgayTiepNhan", "HinhThuc")
