"""Questions of the national portal: taken in once, told to their agency, answered once."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from common.contracts.portal import QuestionAnswered, QuestionAsked
from common.envelope import decode
from common.outbox import Outbox
from national_portal_sync.clients.portal import Account, NationalPortal
from national_portal_sync.use_cases.questions import Questions
from tests.support.databases import Databases
from tests.support.portal import KEYS, PERSONAL, Rig, prepared, rig

ASKED = {
    "MaHoiDap": "HD-1",
    "MaCoQuan": "000.00.15.H10",
    "MaHoSo": "H10.15-261102-0001",
    "HoTen": "Nguyễn Văn Kín",
    "Email": "kin@example.vn",
    "SoDienThoai": "0900000001",
    "TieuDe": "Hỏi về thời hạn",
    "NoiDung": "Hồ sơ của tôi, CCCD 010099000123, bao giờ có kết quả?",
    "NgayHoi": "20261103081500",
    "TruongLa": {"khác": 1},
}


class Asking:
    """The service's questions, without their own loop."""

    def __init__(self, portal: Rig) -> None:
        self.rig = portal
        account = Account(
            f"{portal.url}/login", f"{portal.url}/", "tinh", SecretStr("mat-khau"), "H10", "G22"
        )
        self.portal = NationalPortal(portal.http, account, seconds=10)
        self.questions = Questions(
            Outbox(portal.database, "national-portal-sync"),
            KEYS,
            lambda: [("H10", self.portal)],
            lambda: None,
            300,
        )
        partner: Any = portal.deliverer._partner
        partner._answered = self.questions.answered

    async def fetch(self) -> int:
        return await self.questions.fetch("H10", self.portal)

    async def told(self) -> list[Any]:
        rows = await self.rig.rows("SELECT body FROM event_log ORDER BY event_id")
        return [decode(row.body).event for row in rows]

    async def answer(self, content: str = "Ngày 10/11", **changed: Any) -> Any:
        given: dict[str, Any] = {"may": lambda agency, procedure: True, "official": "Trần Thị Bình"}
        given.update(changed)
        return await self.questions.answer("HD-1", content=content, by="one-stop", **given)


@pytest.fixture
async def asking(databases: Databases) -> AsyncIterator[Asking]:
    template = await databases.template("portal", prepared)
    async with rig(await databases.create("portal", template=template)) as made:
        made.portal.asked["HD-1"] = dict(ASKED)
        yield Asking(made)


async def test_a_question_is_taken_in_once_and_told_sealed(asking: Asking) -> None:
    assert await asking.fetch() == 1
    assert await asking.fetch() == 0
    (event,) = await asking.told()
    assert isinstance(event, QuestionAsked)
    assert (event.question_id, event.agency, event.dossier_code) == (
        "HD-1",
        "H10.15",
        "H10.15-261102-0001",
    )
    assert event.asked_at is not None
    assert event.asked_at.isoformat() == "2026-11-03T08:15:00+07:00"
    opened = KEYS.open(event.sealed, "HD-1")
    assert (opened["name"], opened["content"]) == (ASKED["HoTen"], ASKED["NoiDung"])
    rows = await asking.rig.rows(
        "SELECT q::text AS question, convert_from(l.body, 'UTF8') AS event "
        "FROM portal_question q, event_log l"
    )
    for value in PERSONAL:
        assert value not in rows[0].question
        assert value not in rows[0].event


async def test_an_answer_reaches_the_portal_once_and_is_told_when_it_has(asking: Asking) -> None:
    await asking.fetch()
    await asking.answer()
    await asking.answer()  # the same again
    rows = await asking.rig.rows("SELECT convert_from(body, 'UTF8') AS body FROM delivery")
    assert len(rows) == 1
    assert "10/11" not in rows[0].body
    assert len(await asking.told()) == 1  # not answered until the portal has it
    await asking.rig.drain()
    (reply,) = asking.rig.portal.replies["HD-1"]
    assert (reply["NoiDungTraLoi"], reply["NguoiTraLoi"]) == ("Ngày 10/11", "Trần Thị Bình")
    event = (await asking.told())[-1]
    assert isinstance(event, QuestionAnswered)
    assert event.question_id == "HD-1"
    assert await asking.fetch() == 0
    assert (await asking.rig.rows("SELECT state FROM portal_question"))[0].state == "told"


async def test_a_question_is_not_answered_in_two_ways_nor_by_another_agency(
    asking: Asking,
) -> None:
    await asking.fetch()
    with pytest.raises(Exception, match="no such question"):
        await asking.answer(may=lambda agency, procedure: agency == "H56")
    await asking.answer()
    with pytest.raises(Exception, match="answered otherwise"):
        await asking.answer("Ngày 12/11")


async def test_an_answer_whose_outcome_is_unknown_goes_out_again_under_its_key(
    asking: Asking,
) -> None:
    await asking.fetch()
    asking.rig.fault("DongBoKetQuaHoiDapGuiTuDVCQG", "drop_after", times=1)
    await asking.answer()
    await asking.rig.drain()
    assert len(asking.rig.portal.replies["HD-1"]) == 2
    assert [type(event) for event in await asking.told()].count(QuestionAnswered) == 1


async def test_what_is_no_question_is_left_alone_and_one_without_an_id_is_known_again(
    asking: Asking,
) -> None:
    asking.rig.portal.asked["x"] = {"TruongLa": 1}
    asking.rig.portal.asked["y"] = {"NoiDung": "Hỏi gì?", "MaCoQuan": "không phải mã"}
    assert await asking.fetch() == 2
    assert await asking.fetch() == 0
    rows = await asking.rig.rows("SELECT id, agency FROM portal_question ORDER BY id")
    assert rows[1].id.startswith("sha256:")
    assert rows[1].agency == "H10"
