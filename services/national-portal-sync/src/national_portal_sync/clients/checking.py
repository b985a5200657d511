"""What the portal shows of dossiers: the look-up of one and, where it has that, a list of a day.

The look-up is known (``TraCuuHoSo``); which fields its answer has is not, so whatever it shows is
taken. No list is known of the real portal: ``DanhSachHoSoTheoNgay`` is our simulator's, and a
partner's list would be called here.
"""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from national_portal_sync.clients.answers import Answer, Verdict, holds
from national_portal_sync.clients.portal import NationalPortal
from national_portal_sync.domain.reconciliation import Fields, Seen

FIELDS = Fields(
    status="TrangThaiHoSo",
    key="MaHoSo",
    personal=frozenset(
        {
            *("ChuHoSo", "SoGiayToChuHoSo", "MaDoiTuong", "DinhDanhCHS"),
            *("Email", "Fax", "SoDienThoai", "ThongTinKhac", "GhiChu", "ThongTinTra"),
            "TrichYeuHoSo",  # free text, in which people are named
        }
    ),
    passing=frozenset({"DuongDanTaiTepTin", "DuongDanTepTinKetQua"}),  # their signatures expire
)


class Checking:
    """The portal as reconciliation sees it.

    Args:
        portal: the portal as the account of an agency (new form of its code) sees it.
        lists: whether it offers a list of a day.
    """

    def __init__(self, portal: Callable[[str], NationalPortal], *, lists: bool) -> None:
        self._portal = portal
        self.lists = lists

    async def look_up(self, agency: str, code: str) -> Seen:
        """What the portal shows of a dossier.

        Raises:
            PortalTrouble: it gave no usable answer.
        """
        answer = await self._portal(agency).look_up(code)
        there = holds(answer, code)
        return Seen(there, _shown(answer, code) if there else {})

    async def of_day(self, agency: str, day: date) -> list[str] | None:
        """Codes of the dossiers that the portal has as received on a day; None where it does not
        say.

        Raises:
            PortalTrouble: it gave no usable answer.
        """
        answer = await self._portal(agency).of_day(f"{day:%Y%m%d}")
        if answer.verdict is not Verdict.DONE or answer.result is None:
            return None
        codes = [one.get("MaHoSo") if isinstance(one, dict) else one for one in answer.result]
        return [code for code in codes if isinstance(code, str)]


def _shown(answer: Answer, code: str) -> Mapping[str, Any]:
    for entry in answer.result or ():
        if isinstance(entry, dict) and entry.get("MaHoSo", code) == code:
            return entry
    return {}
