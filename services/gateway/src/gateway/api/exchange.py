"""The door for systems that submit through a provincial exchange (``NopHoSo``).

The order of calls, the ways dates and kinds of applicants are written, and the envelope ``{code,
message, data}`` were seen in code; the fields of ``NopHoSo`` and the paths were not found (see
``lower_level``). What comes in here is taken in like any other submission. ``code`` is "0" for
success and otherwise the last part of our problem's type, which is stable; what stands for what
there was not found either.
"""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter

from common.auth import Principal, requires
from common.contracts.codes import DossierCode
from common.errors import Invalid, Problem, Unauthorised, Upstream
from common.problems import BodyRefused, fields
from gateway.api.disclosures import noted_upload
from gateway.api.document import json_body
from gateway.api.intake import taken
from gateway.api.lower_level import ClientCredentials, LowerLevel, NextValue, progress_of
from gateway.api.parts import GatewayOf
from gateway.api.passing import passed_headers, path_part
from gateway.api.protection import token_asked, token_given
from gateway.api.reading import body_of
from gateway.api.wishes import Asker
from gateway.domain.codes import day_of_issue
from gateway.domain.submissions import Submission
from gateway.errors import UnsupportedMedia, may_not_act_for
from gateway.use_cases.file_kinds import BY_MEDIA
from gateway.use_cases.message_log import Exchange

DONE = "0"
_MOST_STEPS = 500
_NOT_CACHED = {"cache-control": "no-store"}

Writer = Annotated[Principal, requires("dossiers:write")]
Reader = Annotated[Principal, requires("dossiers:read")]


class Envelope(BaseModel):
    """Every answer."""

    code: str
    """``0``, or what is wrong."""
    message: str
    data: Any = None


class RefusedBehind(Exception):
    """A service behind the gateway refused; ``answer`` says so in this door's form."""

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        super().__init__(status)
        told = {
            "code": _slug(problem),
            "message": str(problem.get("detail") or problem.get("title") or "Từ chối"),
            "data": None,
        }
        self.answer = _json(told, status)


class InEnvelope(APIRoute):
    """A route whose refusals have the form of its answers."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                return _refused(problem)
            except RefusedBehind as refused:
                return refused.answer
            except BodyRefused as error:
                return _refused(error.problem)
            except RequestValidationError as error:
                return _refused(
                    Invalid(
                        "Yêu cầu có trường không hợp lệ",
                        "The request has invalid fields",
                        errors=fields(error.errors(), skip=1),
                    )
                )

        return handled


router = APIRouter(
    prefix="/exchange/v1",
    tags=["Trục liên thông · Exchange"],
    route_class=InEnvelope,
    responses={
        status: {"model": Envelope, "description": "Refused"}
        for status in (400, 401, 403, 404, 408, 409, 413, 415, 422, 502, 503)
    },
)


_CREDENTIALS: TypeAdapter[ClientCredentials] = TypeAdapter(ClientCredentials)
_NEXT_VALUE: TypeAdapter[NextValue] = TypeAdapter(NextValue)
_SUBMISSION: TypeAdapter[LowerLevel] = TypeAdapter(LowerLevel)


@router.post(
    "/token",
    summary="Lấy token · Get a token",
    response_model=Envelope,
    openapi_extra={"requestBody": json_body("ClientCredentials"), "security": []},
)
async def exchange_token(request: Request, gateway: GatewayOf) -> Response:
    """An access token for a client id and its secret."""
    body = await body_of(request, _CREDENTIALS)
    await token_asked(request, gateway, body.client_id)
    client = await gateway.credentials.client(body.client_id, body.client_secret.get_secret_value())
    if client is None:
        raise Unauthorised(
            "Không có hệ thống này hoặc sai khóa bí mật", "Unknown client or wrong secret"
        )
    token_given(request, gateway, client.client_id)
    data = {
        "access_token": gateway.tokens.issue(client, client.scopes),
        "token_type": "Bearer",
        "expires_in": gateway.tokens.seconds,
    }
    return _answer(data, _NOT_CACHED)


@router.post(
    "/GetNextValue",
    summary="Lấy mã hồ sơ · Next dossier code",
    response_model=Envelope,
    openapi_extra={"requestBody": json_body("NextValue")},
)
async def exchange_next_value(request: Request, gateway: GatewayOf, principal: Writer) -> Response:
    """A dossier code that nobody else gets."""
    agency = (await body_of(request, _NEXT_VALUE)).code
    if not principal.may_act_for(agency):
        raise may_not_act_for(agency)
    await gateway.reference.agency(agency, "/code")
    (code,) = await gateway.codes.next(agency, day_of_issue(datetime.now(UTC)))
    return _answer({"MaHoSo": code})


@router.post(
    "/upload",
    summary="Tải tệp lên · Upload a file",
    response_model=Envelope,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                media: {"schema": {"type": "string", "format": "binary"}} for media in BY_MEDIA
            },
        }
    },
)
async def exchange_upload(request: Request, gateway: GatewayOf, principal: Writer) -> Response:
    """A file's content as the body. Its id and its hash are both its SHA-256."""
    named = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    kind = BY_MEDIA.get(named)
    if kind is None:
        taken_kinds = ", ".join(BY_MEDIA)
        raise UnsupportedMedia(f"Các kiểu được nhận: {taken_kinds}", f"Taken are: {taken_kinds}")
    stored = await gateway.uploads.keep(principal.client_id, kind, request.stream())
    answer = _answer({"IdTepTin": stored.digest, "HashTepTin": stored.digest})
    return await noted_upload(gateway, principal, "POST /exchange/v1/upload", stored, answer)


@router.post(
    "/NopHoSo",
    summary="Nộp hồ sơ · Submit a dossier",
    response_model=Envelope,
    openapi_extra={"requestBody": json_body("LowerLevel")},
)
async def exchange_submit(request: Request, gateway: GatewayOf, principal: Writer) -> Response:
    """Taken in once for each MaHoSo, or where there is none for each IdYeuCau."""
    body = await body_of(request, _SUBMISSION)
    exchange = Exchange("POST /exchange/v1/NopHoSo", await request.body(), 200, _taken)
    asker = Asker(principal, body.IdYeuCau, exchange=exchange)
    submission = await taken(gateway, asker, body.submission())
    if submission.state == "refused":
        return _refusal(submission)
    return Response(exchange.content or _taken(submission), media_type="application/json")


def _taken(submission: Submission) -> bytes:
    """What answers a dossier that was taken in."""
    return _content({"MaHoSo": submission.dossier_code, "MaTiepNhan": str(submission.id)})


@router.get(
    "/TienDo/{code}", summary="Tiến độ hồ sơ · Progress of a dossier", response_model=Envelope
)
async def exchange_progress(
    request: Request, gateway: GatewayOf, principal: Reader, code: DossierCode
) -> Response:
    """The dossier's status and steps, with ISO times."""
    headers = passed_headers(request, token=True)
    path = f"/v1/dossiers/{path_part(code)}"
    found = await gateway.dossiers.read(principal, code, path, headers)
    if isinstance(found, Submission):
        return _answer({"MaHoSo": code, "TrangThaiHoSo": None, "TienDo": []})
    dossier = _read(found.status, found.content)
    steps: list[dict[str, Any]] = []
    after = 0
    while True:
        asked = {"after": after, "limit": 100}
        page = await gateway.dossiers.service.get(f"{path}/steps", asked, headers)
        told = _read(page.status, page.content)
        steps += told.get("items", [])
        if told.get("next") is None or len(steps) >= _MOST_STEPS:
            break
        after = int(told["next"])
    data = {
        "MaHoSo": code,
        "TrangThaiHoSo": dossier.get("status"),
        "TienDo": progress_of(steps),
    }
    return _answer(data)


def _read(status: int, content: bytes) -> dict[str, Any]:
    """A service's answer, or its refusal in this door's form."""
    told = orjson.loads(content) if content else {}
    if status == 200 and isinstance(told, dict):
        return told
    if 400 <= status < 500:
        raise RefusedBehind(told if isinstance(told, dict) else {}, status)
    raise Upstream


def _slug(body: dict[str, Any]) -> str:
    return str(body.get("type") or "refused").rpartition(":")[2]


def _refusal(submission: Submission) -> Response:
    """Why a submission of before was refused."""
    problem = submission.problem or {}
    return _json(
        {
            "code": _slug(problem),
            "message": str(problem.get("detail") or problem.get("title") or "Từ chối"),
            "data": {"MaHoSo": submission.dossier_code, "MaTiepNhan": str(submission.id)},
        },
        409,
    )


def _refused(problem: Problem) -> Response:
    faults = [
        {"field": fault["pointer"].lstrip("/"), "message": fault["detail"]}
        for fault in problem.errors
    ]
    body = {
        "code": problem.slug,
        "message": problem.detail or problem.title,
        "data": {"errors": faults} if faults else None,
    }
    return _json(body, problem.status, problem.headers)


def _answer(data: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(_content(data), 200, headers=headers, media_type="application/json")


def _content(data: Any) -> bytes:
    return orjson.dumps({"code": DONE, "message": "Thành công", "data": data})


def _json(body: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers=headers, media_type="application/json")
