"""Token endpoint (RFC 6749, client credentials) and the keys that tokens are checked with.

Its errors are those of RFC 6749 §5.2, since that is what OAuth 2 clients understand.
"""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from gateway.api.client_authentication import (
    CREDENTIALS,
    FORM_TYPE,
    NOT_CACHED,
    Fault,
    TokenFault,
    authenticated,
    form_of,
    json_answer,
    malformed,
)
from gateway.api.document import problems
from gateway.api.parts import GatewayOf

router = APIRouter(tags=["Xác thực · Authentication"])

_FORM = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "enum": ["client_credentials"]},
        "scope": {"type": "string", "description": "Fewer scopes than the client has"},
        **CREDENTIALS,
    },
}
_REVOCATION_FORM = {
    "type": "object",
    "required": ["token"],
    "properties": {
        "token": {"type": "string"},
        "token_type_hint": {"type": "string", "description": "Not needed"},
        **CREDENTIALS,
    },
}
_AUTHENTICATED: list[dict[str, list[str]]] = [{}, {"ClientBasic": []}]
_REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": TokenFault, "description": "The request is not one for a token"},
    401: {"model": TokenFault, "description": "Unknown client or wrong secret"},
    **problems(413, 503),
}


class TokenAnswer(BaseModel):
    """An access token."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class RevokedAnswer(BaseModel):
    """Tokens that are void before their end."""

    clients: dict[str, float]
    """Mark of a client → seconds of the epoch; its tokens issued up to then are void."""
    tokens: list[str]
    """Marks of single tokens."""


@router.post(
    "/oauth/token",
    summary="Lấy token · Get a token",
    responses={200: {"model": TokenAnswer}, **_REFUSED},
    openapi_extra={
        "requestBody": {"required": True, "content": {FORM_TYPE: {"schema": _FORM}}},
        "security": _AUTHENTICATED,
    },
)
async def token(request: Request, gateway: GatewayOf) -> Response:
    """Client credentials: a secret by HTTP Basic or in the form, a signed assertion, or the
    certificate of the connection. A token for a client that came with its certificate is good
    only together with that (RFC 8705)."""
    try:
        form = await form_of(request)
        _granted(form.get("grant_type"))
        caller = await authenticated(request, gateway, form)
        scopes = _scopes(form.get("scope"), caller.client.scopes)
    except Fault as fault:
        return fault.answer()
    issued = {
        "access_token": gateway.tokens.issue(caller.client, scopes, certificate=caller.certificate),
        "token_type": "Bearer",
        "expires_in": gateway.tokens.seconds,
        "scope": " ".join(scopes),
    }
    return json_answer(issued, 200, NOT_CACHED)


@router.post(
    "/oauth/revoke",
    summary="Thu hồi token · Revoke a token",
    response_class=Response,
    responses={200: {"description": "The token is void, or was none that is good"}, **_REFUSED},
    openapi_extra={
        "requestBody": {"required": True, "content": {FORM_TYPE: {"schema": _REVOCATION_FORM}}},
        "security": _AUTHENTICATED,
    },
)
async def revoke_token(request: Request, gateway: GatewayOf) -> Response:
    """A client gives a token back (RFC 7009). Nobody takes it any more, 30 seconds later at the
    latest."""
    try:
        form = await form_of(request)
        if not form.get("token"):
            raise malformed("token is missing", "Thiếu token")
        caller = await authenticated(request, gateway, form)
        if not await gateway.revocation.of_token(caller.client.client_id, form["token"]):
            raise Fault(
                "invalid_grant",
                "The token is another client's",
                "Token của hệ thống khác",
            )
    except Fault as fault:
        return fault.answer()
    return Response(status_code=200, headers=NOT_CACHED)


@router.get(
    "/oauth/revoked",
    summary="Token đã thu hồi · Revoked tokens",
    responses={
        200: {"model": RevokedAnswer},
        304: {"description": "Unchanged since `If-None-Match`"},
        **problems(503),
    },
)
async def revoked_tokens(request: Request, gateway: GatewayOf) -> Response:
    """For services that check tokens themselves. Marks are digests: they name nobody."""
    body, tag = await gateway.revocation.document()
    headers = {"etag": tag, "cache-control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


@router.get(
    "/.well-known/jwks.json",
    summary="Khóa kiểm tra token · Keys of the tokens",
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def jwks(gateway: GatewayOf) -> Response:
    """JWKS (RFC 7517)."""
    published = gateway.tokens.key.published()
    return json_answer(published, 200, {"cache-control": "public, max-age=300"})


def _granted(grant: str | None) -> None:
    """Refuse any other grant than client credentials."""
    if grant is None:
        raise malformed("grant_type is missing", "Thiếu grant_type")
    if grant != "client_credentials":
        raise Fault(
            "unsupported_grant_type",
            "Only client_credentials is supported",
            "Chỉ hỗ trợ client_credentials",
        )


def _scopes(asked: str | None, held: tuple[str, ...]) -> list[str]:
    """The scopes of the token: those asked for, or all that the client has.

    Raises:
        Fault: one that the client does not have.
    """
    if not asked:
        return list(held)
    scopes = list(dict.fromkeys(asked.split(" ")))
    if not set(scopes) <= set(held):
        raise Fault(
            "invalid_scope",
            "The client does not have every scope it asks for",
            "Hệ thống không có đủ các quyền đã yêu cầu",
        )
    return scopes
