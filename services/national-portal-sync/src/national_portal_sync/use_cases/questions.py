"""Questions that people ask on the portal: fetched once, told to their agencies, answered."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.codes import canonical_agency
from common.contracts.portal import QuestionAnswered, QuestionAsked
from common.delivery import Claimed, Item, queue
from common.errors import Conflict, NotFound, describe
from common.outbox import Outbox
from common.sealing import KeyRing
from national_portal_sync.clients.answers import Verdict
from national_portal_sync.clients.portal import NationalPortal, PortalTrouble
from national_portal_sync.clients.questions import Asked, questions_in
from national_portal_sync.domain.keys import ANSWER, PARTNER
from national_portal_sync.store import questions as store

log = structlog.get_logger()


class Questions:
    """Fetches questions and sends answers.

    Args:
        accounts: yields the unit of each account and the portal as it sees it.
        keys: seal who asked and what.
        wake: tells the deliverer that an answer was queued.
        seconds: how often questions are fetched; 0 for never.
    """

    def __init__(
        self,
        outbox: Outbox,
        keys: KeyRing,
        accounts: Callable[[], Iterable[tuple[str, NationalPortal]]],
        wake: Callable[[], None],
        seconds: float,
    ) -> None:
        self._outbox = outbox
        self._keys = keys
        self._accounts = accounts
        self._wake = wake
        self._seconds = seconds

    async def run(self) -> None:
        """Fetch without end."""
        if self._seconds <= 0:
            await asyncio.Event().wait()
        while True:
            for unit, portal in self._accounts():
                try:
                    await self.fetch(unit, portal)
                except PortalTrouble as trouble:
                    log.warning("questions not fetched", unit=unit, reason=trouble.reason)
                except Exception as error:
                    log.error("questions not fetched", unit=unit, error=describe(error))
            await asyncio.sleep(self._seconds)

    async def fetch(self, unit: str, portal: NationalPortal) -> int:
        """Take in what an account is asked; how many questions are new.

        Raises:
            PortalTrouble: the portal gave no usable answer.
            SealError: no key to seal with is held.
        """
        answer = await portal.questions()
        if answer.verdict is not Verdict.DONE:
            raise PortalTrouble(f"refused ({answer.code or 'without a code'})")
        asked, unreadable = questions_in(answer)
        new = 0
        async with self._outbox.transaction() as unit_of_work:
            connection = unit_of_work.connection
            known = await store.known(connection, [one.id for one in asked])
            for one in sorted(asked, key=lambda one: one.id):
                agency = one.agency or _agency_of(unit)
                if one.id in known:
                    continue
                if agency is None:
                    unreadable += 1
                    continue
                event = self._event(one, agency)
                if await store.keep(
                    connection,
                    id=one.id,
                    agency=agency,
                    dossier_code=one.dossier_code,
                    procedure_code=one.procedure_code,
                    asked_at=one.asked_at,
                    sealed=event.sealed,
                ):
                    new += 1
                    unit_of_work.tell(event, aggregate=_aggregate(one.id), agency=agency)
        if unreadable:
            log.warning("questions that could not be understood", unit=unit, count=unreadable)
        return new

    def _event(self, one: Asked, agency: str) -> QuestionAsked:
        return QuestionAsked(
            question_id=one.id,
            agency=agency,
            dossier_code=one.dossier_code,
            procedure_code=one.procedure_code,
            asked_at=one.asked_at,
            sealed=self._keys.seal(one.personal, one.id),
        )

    async def answer(
        self,
        question: str,
        may: Callable[[str, str | None], bool],
        content: str,
        official: str | None,
        by: str,
    ) -> Row[Any]:
        """Queue an answer; the same answer again changes nothing.

        Args:
            may: whether the caller acts for an agency and deals with a procedure.
            by: the client that answers.

        Raises:
            NotFound: there is no such question for this caller.
            Conflict: it was answered otherwise before.
        """
        sha256 = hashlib.sha256(orjson.dumps([content, official])).hexdigest()
        async with self._outbox.transaction() as unit:
            row = await store.locked(unit.connection, question)
            if row is None or not may(row.agency, row.procedure_code):
                raise NotFound("Không có câu hỏi này", "There is no such question")
            if row.state != "open":
                if row.answer_sha256 == sha256:
                    return row
                raise Conflict(
                    "Câu hỏi này đã có câu trả lời khác",
                    "This question has been answered otherwise",
                )
            told = {
                "content": content,
                "official": official,
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            item = Item(
                agency=row.agency,
                subject=_aggregate(question),
                kind=ANSWER,
                key=question,
                body=self._keys.seal(told, question).encode(),
            )
            await queue(unit.connection, PARTNER, [item])
            row = await store.answer(unit.connection, question, sha256, by)
        self._wake()
        return row

    async def answered(self, connection: AsyncConnection, items: Sequence[Claimed]) -> None:
        """Note and tell that the portal took answers, in the transaction that settles them."""
        rows = await store.told(connection, [item.key for item in items])
        async with self._outbox.joining(connection) as unit:
            for row in rows:
                event = QuestionAnswered(question_id=row.id, agency=row.agency, at=row.told_at)
                unit.tell(event, aggregate=_aggregate(row.id), agency=row.agency)

    def shown(self, row: Row[Any]) -> dict[str, Any]:
        """The personal part of a question, opened."""
        opened: dict[str, Any] = self._keys.open(row.sealed, row.id)
        return opened


def _aggregate(question: str) -> str:
    return f"question:{question}"


def _agency_of(unit: str) -> str | None:
    try:
        return canonical_agency(unit)
    except ValueError:
        return None
