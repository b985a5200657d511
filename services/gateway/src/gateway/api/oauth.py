"""Token endpoint (RFC 6749, client credentials) and the keys that tokens are checked with.

Its errors are those of RFC 6749 §5.2, since that is what OAuth 2 clients understand.
"""

import base64
import binascii
import re
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from gateway.api.document import problems
from gateway.api.parts import GatewayOf
from gateway.domain.clients import CLIENT_ID_PATTERN

router = APIRouter(tags=["Xác thực · Authentication"])

_FORM_TYPE = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20
_CLIENT_ID = re.compile(CLIENT_ID_PATTERN)
_LONGEST_SECRET = 256
_NOT_CACHED = {"cache-control": "no-store", "pragma": "no-cache"}

_FORM = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "enum": ["client_credentials"]},
        "scope": {"type": "string", "description": "Fewer scopes than the client has"},
        "client_id": {"type": "string"},
        "client_secret": {"type": "string", "format": "password"},
    },
}


class TokenAnswer(BaseModel):
    """An access token."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class TokenFault(BaseModel):
    """RFC 6749 §5.2; ``error_description_vi`` says it in Vietnamese."""

    error: str
    error_description: str
    error_description_vi: str


class _Fault(Exception):
    def __init__(self, error: str, english: str, vietnamese: str) -> None:
        super().__init__(error)
        self.body = {
            "error": error,
            "error_description": english,
            "error_description_vi": vietnamese,
        }
        self.status = 401 if error == "invalid_client" else 400


@router.post(
    "/oauth/token",
    summary="Lấy token · Get a token",
    responses={
        200: {"model": TokenAnswer},
        400: {"model": TokenFault, "description": "The request is not one for a token"},
        401: {"model": TokenFault, "description": "Unknown client or wrong secret"},
        **problems(413, 503),
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {_FORM_TYPE: {"schema": _FORM}}},
        "security": [{}, {"ClientBasic": []}],
    },
)
async def token(request: Request, gateway: GatewayOf) -> Response:
    """Client credentials, by HTTP Basic or in the form."""
    try:
        form = _form(request, await request.body())
        client_id, secret = _credentials(request, form)
        client = await gateway.credentials.client(client_id, secret)
        if client is None:
            raise _no_client()
        scopes = _scopes(form.get("scope"), client.scopes)
    except _Fault as fault:
        headers = dict(_NOT_CACHED)
        if fault.status == 401:
            headers["www-authenticate"] = 'Basic realm="lienthong", charset="UTF-8"'
        return _json(fault.body, fault.status, headers)
    issued = {
        "access_token": gateway.tokens.issue(client, scopes),
        "token_type": "Bearer",
        "expires_in": gateway.tokens.seconds,
        "scope": " ".join(scopes),
    }
    return _json(issued, 200, _NOT_CACHED)


@router.get(
    "/.well-known/jwks.json",
    summary="Khóa kiểm tra token · Keys of the tokens",
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def jwks(gateway: GatewayOf) -> Response:
    """JWKS (RFC 7517)."""
    published = gateway.tokens.key.published()
    return _json(published, 200, {"cache-control": "public, max-age=300"})


def _form(request: Request, raw: bytes) -> dict[str, str]:
    """The form's fields.

    Raises:
        _Fault: no form, a field twice, or another grant.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM_TYPE:
        raise _malformed(f"The body must be {_FORM_TYPE}", f"Nội dung phải là {_FORM_TYPE}")
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError as error:
        raise _malformed("The form cannot be read", "Không đọc được biểu mẫu") from error
    form = dict(pairs)
    if len(form) < len(pairs):
        raise _malformed("A parameter is repeated", "Có tham số lặp lại")
    match form.get("grant_type"):
        case "client_credentials":
            return form
        case None:
            raise _malformed("grant_type is missing", "Thiếu grant_type")
        case _:
            raise _Fault(
                "unsupported_grant_type",
                "Only client_credentials is supported",
                "Chỉ hỗ trợ client_credentials",
            )


def _credentials(request: Request, form: dict[str, str]) -> tuple[str, str]:
    """Client id and secret, from the one place where they are.

    Raises:
        _Fault: in two places, in none, or not to be read.
    """
    header = request.headers.get("authorization")
    if header is None:
        pair = form.get("client_id", ""), form.get("client_secret", "")
    elif "client_secret" in form:
        raise _malformed("Two ways of authentication", "Hai cách xác thực cùng lúc")
    else:
        pair = _basic(header)
        if form.get("client_id", pair[0]) != pair[0]:
            raise _malformed("Two client ids", "Hai mã hệ thống khác nhau")
    client_id, secret = pair
    if not (_CLIENT_ID.fullmatch(client_id) and 0 < len(secret) <= _LONGEST_SECRET):
        raise _no_client()
    return pair


def _basic(header: str) -> tuple[str, str]:
    """RFC 6749 §2.3.1: both halves are form-encoded before they are joined."""
    scheme, _, encoded = header.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError(scheme)
        pair = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        client_id, colon, secret = pair.partition(":")
        if not colon:
            raise ValueError(colon)
        return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (ValueError, binascii.Error) as error:
        raise _Fault(
            "invalid_client",
            "The Authorization header is not HTTP Basic",
            "Tiêu đề Authorization không phải HTTP Basic",
        ) from error


def _scopes(asked: str | None, held: tuple[str, ...]) -> list[str]:
    """The scopes of the token: those asked for, or all that the client has.

    Raises:
        _Fault: one that the client does not have.
    """
    if not asked:
        return list(held)
    scopes = list(dict.fromkeys(asked.split(" ")))
    if not set(scopes) <= set(held):
        raise _Fault(
            "invalid_scope",
            "The client does not have every scope it asks for",
            "Hệ thống không có đủ các quyền đã yêu cầu",
        )
    return scopes


def _no_client() -> _Fault:
    return _Fault(
        "invalid_client",
        "Unknown client or wrong secret",
        "Không có hệ thống này hoặc sai khóa bí mật",
    )


def _malformed(english: str, vietnamese: str) -> _Fault:
    return _Fault("invalid_request", english, vietnamese)


def _json(body: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(body), status, headers=headers, media_type="application/json")
