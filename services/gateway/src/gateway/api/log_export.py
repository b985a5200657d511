"""``/internal/message-log``: the message log for those who check it, outside of this system."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from common.auth import Principal, principal_of
from common.contracts.codes import DossierCode
from common.errors import Forbidden, Invalid
from gateway.api.parts import GatewayOf
from gateway.domain import evidence, log_export
from gateway.domain.clients import CLIENT_ID_PATTERN
from gateway.domain.log_choice import (
    Choice,
    Days,
    NotInTheLog,
    Numbers,
    Selection,
    TooManyChosen,
)
from gateway.errors import NotAnchoredYet, NoTimestamp, NotInTheMessageLog, TooManyExchanges
from gateway.use_cases.evidence import NotAnchored, NothingToSealWith
from gateway.use_cases.log_export import LogExport
from gateway.use_cases.timestamps import NotStamped

EXPORT_SECONDS = 3600.0
"""How long an export may take to be fetched."""

router = APIRouter(prefix="/internal/message-log", include_in_schema=False)
log = structlog.get_logger()

_SCOPES = frozenset({"operations", "audit"})
_MOST = 2**63 - 1
_Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1F\x7F]+$")]


async def checker(principal: Annotated[Principal, Depends(principal_of)]) -> Principal:
    """Who may take the log out: operators and auditors of all agencies and procedures, since an
    export names the exchanges of each."""
    if not principal.scopes & _SCOPES:
        raise Forbidden(
            "Cần quyền operations hoặc audit", "The scope operations or audit is needed"
        )
    if not (principal.may_act_for("*") and principal.may_handle("*")):
        raise Forbidden(
            "Chỉ dành cho token có quyền với mọi cơ quan và thủ tục",
            "Only for tokens with rights to every agency and procedure",
        )
    return principal


Checker = Annotated[Principal, Depends(checker)]


class Asked(BaseModel):
    """What is to be exported: days, or numbers, or single exchanges."""

    model_config = ConfigDict(extra="forbid")

    day: date | None = None
    last_day: date | None = None
    partition: Annotated[int, Field(ge=0, le=32767)] | None = None
    first: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    last: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    dossier: DossierCode | None = None
    submission: UUID | None = None
    client: Annotated[str, Field(pattern=CLIENT_ID_PATTERN)] | None = None
    subject: _Text | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    def selection(self) -> Selection:
        """As the use case takes it.

        Raises:
            Invalid: nothing, or several things that exclude each other.
        """
        given = self.model_fields_set
        if given in ({"day"}, {"day", "last_day"}) and self.day:
            last = self.last_day or self.day
            if date.min < self.day <= last < date.max:
                return Days(self.day, last)
        if given == {"partition", "first", "last"}:
            numbers = Numbers(self.partition or 0, self.first or 1, self.last or 0)
            if numbers.first <= numbers.last:
                return numbers
        named = given & {"dossier", "submission", "client", "subject"}
        if named and given <= named | {"since", "until"}:
            return Choice(
                subject=self.subject,
                submission=self.submission,
                dossier=self.dossier,
                client_id=self.client,
                since=self.since,
                until=self.until,
            )
        raise Invalid(
            "Cần: day và last_day; hoặc partition, first, last; hoặc dossier, submission, client,"
            " subject cùng since, until",
            "Wanted are: day and last_day; or partition, first, last; or dossier, submission,"
            " client, subject with since, until",
        )


@router.get("/export")
async def export_log(
    request: Request, gateway: GatewayOf, principal: Checker, asked: Annotated[Asked, Query()]
) -> Response:
    """A zip that ``python -m backbone log verify`` checks offline."""
    selection = asked.selection()
    parts = gateway.log_export.of(selection)
    try:
        first = await anext(parts)  # before the answer begins: what fails here is a problem
    except NotInTheLog as error:
        raise NotInTheMessageLog(
            "Không có bản ghi đã niêm phong nào phù hợp, hoặc đã chuyển vào lưu trữ",
            f"No sealed record fits, or it is archived: {error}",
        ) from None
    except TooManyChosen:
        raise TooManyExchanges(
            "Hãy thu hẹp thời gian bằng since và until", "Narrow it by since and until"
        ) from None
    log.info("message log exported", by=principal.client_id, selection=selection.told())
    return _Export(
        gateway.log_export,
        _and_then(first, parts),
        media_type=log_export.MEDIA_TYPE,
        headers=_attachment("message-log.zip"),
    )


@router.get("/exchanges/{exchange_id}/evidence")
async def read_evidence(gateway: GatewayOf, principal: Checker, exchange_id: UUID) -> Response:
    """One exchange as a container that an expert opens with unzip and openssl."""
    try:
        content = await gateway.evidence.of(exchange_id)
    except NotInTheLog as error:
        raise NotInTheMessageLog(
            "Không có giao dịch đã niêm phong với mã này", str(error)
        ) from None
    except NotAnchored:
        raise NotAnchoredYet(headers={"Retry-After": "10"}) from None
    except NotStamped:
        raise NoTimestamp(headers={"Retry-After": "30"}) from None
    except NothingToSealWith:
        raise NoTimestamp(
            "Chưa cấu hình chứng thư hoặc tổ chức cấp dấu thời gian",
            "Neither a certificate nor a time-stamping authority is configured",
        ) from None
    log.info("evidence made", by=principal.client_id, exchange=str(exchange_id))
    return Response(
        content,
        media_type=evidence.MEDIA_TYPE,
        headers=_attachment(f"{exchange_id}.asice"),
    )


class _Export(StreamingResponse):
    """An export, one of a limited number and within a limited time."""

    def __init__(
        self,
        exports: LogExport,
        parts: AsyncIterator[bytes],
        *,
        media_type: str,
        headers: dict[str, str],
    ) -> None:
        super().__init__(parts, media_type=media_type, headers=headers)
        self._exports = exports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._exports.slot():
            async with asyncio.timeout(EXPORT_SECONDS):
                await super().__call__(scope, receive, send)


def _attachment(name: str) -> dict[str, str]:
    return {
        "content-disposition": f'attachment; filename="{name}"',
        "cache-control": "private, no-store",
    }


async def _and_then(first: bytes, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in parts:
        yield part
