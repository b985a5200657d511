"""How a client shows who it is at the token endpoint, and what it is told when it does not.

Four ways (RFC 6749 §2.3, RFC 7523 §2.2, RFC 8705 §2), one at a time: HTTP Basic, the secret in
the form, a signed assertion, or the certificate of the connection. Whatever is wrong with any of
them, the answer is the same.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import orjson
from fastapi import Request, Response
from pydantic import BaseModel

from gateway.api.parts import Gateway
from gateway.api.protection import token_asked, token_given
from gateway.domain.clients import CLIENT_ID_PATTERN, Client
from gateway.use_cases import assertions
from gateway.use_cases.certificates import BadCertificate

FORM_TYPE = "application/x-www-form-urlencoded"
NOT_CACHED = {"cache-control": "no-store", "pragma": "no-cache"}
CREDENTIALS: dict[str, Any] = {
    "client_id": {"type": "string", "description": "Alone, with a client certificate"},
    "client_secret": {"type": "string", "format": "password"},
    "client_assertion_type": {"type": "string", "enum": [assertions.TYPE]},
    "client_assertion": {
        "type": "string",
        "description": "JWT signed with the client's key: `iss` and `sub` are the client id, `aud` "
        "is the issuer, `exp` is at most five minutes ahead, `jti` is used once (RFC 7523)",
    },
}
"""Fields of the form."""
_MOST_FIELDS = 20
_CLIENT_ID = re.compile(CLIENT_ID_PATTERN)
_LONGEST_SECRET = 256


class TokenFault(BaseModel):
    """RFC 6749 §5.2; ``error_description_vi`` says it in Vietnamese."""

    error: str
    error_description: str
    error_description_vi: str


class Fault(Exception):
    """A refusal of RFC 6749 §5.2."""

    def __init__(self, error: str, english: str, vietnamese: str) -> None:
        super().__init__(error)
        self.body = TokenFault(
            error=error, error_description=english, error_description_vi=vietnamese
        )
        self.status = 401 if error == "invalid_client" else 400

    def answer(self) -> Response:
        """The refusal as it is told."""
        headers = dict(NOT_CACHED)
        if self.status == 401:
            headers["www-authenticate"] = 'Basic realm="lienthong", charset="UTF-8"'
        return json_answer(self.body.model_dump(), self.status, headers)


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A client that has shown who it is.

    Attributes:
        certificate: thumbprint of the one it came with, if that is one of its own; its token is
            bound to it.
    """

    client: Client
    certificate: str | None


async def form_of(request: Request) -> dict[str, str]:
    """The form's fields.

    Raises:
        Fault: no form, or a field twice.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise malformed(f"The body must be {FORM_TYPE}", f"Nội dung phải là {FORM_TYPE}")
    try:
        pairs = parse_qsl(
            (await request.body()).decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError as error:
        raise malformed("The form cannot be read", "Không đọc được biểu mẫu") from error
    form = dict(pairs)
    if len(form) < len(pairs):
        raise malformed("A parameter is repeated", "Có tham số lặp lại")
    return form


async def authenticated(request: Request, gateway: Gateway, form: dict[str, str]) -> Authenticated:
    """The client that sends this form.

    Raises:
        Fault: it has not shown who it is, or in two ways at once.
        Busy: too many secrets are being checked.
    """
    certificate = _certificate(request, gateway)
    headers = request.headers.getlist("authorization")
    ways = [*headers, *(form.keys() & {"client_secret", "client_assertion"})]
    if len(ways) > 1:
        raise malformed("Two ways of authentication", "Hai cách xác thực cùng lúc")
    if headers or "client_secret" in form:
        client_id, secret = _secret(headers, form)
        await token_asked(request, gateway, client_id)
        client = await gateway.credentials.client(client_id, secret)
    elif "client_assertion" in form:
        if (named := assertions.subject_of(form["client_assertion"])) is not None:
            await token_asked(request, gateway, named)
        client = await _by_assertion(gateway, form)
    else:
        client = await _by_certificate(gateway, form, certificate)
    if client is None:
        raise _no_client()
    token_given(request, gateway, client.client_id)
    if certificate is None or not client.certificates:
        return Authenticated(client, None)
    if certificate not in client.certificates:
        raise _no_client()
    return Authenticated(client, certificate)


def _certificate(request: Request, gateway: Gateway) -> str | None:
    peer = request.client.host if request.client else None
    try:
        return gateway.certificates.thumbprint(peer, request.headers.getlist("client-cert"))
    except BadCertificate as error:
        raise _no_client() from error


async def _by_assertion(gateway: Gateway, form: dict[str, str]) -> Client | None:
    if form.get("client_assertion_type") != assertions.TYPE:
        raise malformed(
            f"client_assertion_type must be {assertions.TYPE}",
            f"client_assertion_type phải là {assertions.TYPE}",
        )
    return await gateway.assertions.client(form["client_assertion"], form.get("client_id"))


async def _by_certificate(
    gateway: Gateway, form: dict[str, str], certificate: str | None
) -> Client | None:
    client_id = form.get("client_id", "")
    if certificate is None or not _CLIENT_ID.fullmatch(client_id):
        return None
    client = await gateway.credentials.find(client_id)
    return client if client is not None and certificate in client.certificates else None


def _secret(headers: list[str], form: dict[str, str]) -> tuple[str, str]:
    """Client id and secret, from the one place where they are.

    Raises:
        Fault: not to be read, or of two clients.
    """
    pair = _basic(headers[0]) if headers else (form.get("client_id", ""), form["client_secret"])
    if form.get("client_id", pair[0]) != pair[0]:
        raise malformed("Two client ids", "Hai mã hệ thống khác nhau")
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
        raise Fault(
            "invalid_client",
            "The Authorization header is not HTTP Basic",
            "Tiêu đề Authorization không phải HTTP Basic",
        ) from error


def malformed(english: str, vietnamese: str) -> Fault:
    """The refusal of a request that cannot be understood."""
    return Fault("invalid_request", english, vietnamese)


def json_answer(body: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    """An answer in JSON."""
    return Response(orjson.dumps(body), status, headers=headers, media_type="application/json")


def _no_client() -> Fault:
    return Fault(
        "invalid_client",
        "Unknown client or wrong secret",
        "Không có hệ thống này hoặc sai khóa bí mật",
    )
