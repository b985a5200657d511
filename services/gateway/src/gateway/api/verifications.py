"""Verification of signatures for other systems; the signature connector does it, and keeps nothing.

The body goes on as it came: what is in it, isolated processes there find out.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from common.auth import Principal, requires
from common.errors import Forbidden, Invalid, TooLarge
from common.identifiers import new_id
from gateway.api.document import problems
from gateway.api.fields import Moment
from gateway.api.parts import Gateway, GatewayOf
from gateway.api.passing import given, passed_headers, passed_on
from gateway.api.representations import STRICT_PARAMETERS
from gateway.errors import UnsupportedMedia

PATH = "/v1/signature-verifications"
LARGEST = 20 * 1024 * 1024 + 16 * 1024
"""Bytes: a document, and the form around it."""
SECONDS = 90.0

router = APIRouter(dependencies=[STRICT_PARAMETERS])

FORM = "multipart/form-data"
TAKEN = (
    "application/pdf",
    "application/cms",
    "application/pkcs7-mime",
    "application/pkcs7-signature",
    "application/xml",
    "text/xml",
    "application/jose",
    "application/jose+json",
)
_READING = "dossiers:read"
_XML = ("application/xml", "text/xml", "application/vnd.etsi.validation-report+xml")
_JSON = ("application/json", "application/*", "*/*")
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PART = {"type": "string", "format": "binary"}
_REPORT = "<vr:ValidationReport>…</vr:ValidationReport>"
_BODY: dict[str, Any] = {
    "required": True,
    "description": "The signed document, at most 20 MiB; of a detached signature a form with the "
    "parts `signature` (with its media type) and `content`, or the signature alone where the "
    "parameter `content` names what it is over",
    "content": {
        **{media: dict(_BINARY) for media in TAKEN},
        FORM: {
            "schema": {
                "type": "object",
                "required": ["signature", "content"],
                "properties": {"signature": _PART, "content": _PART},
            },
            "encoding": {"signature": {"contentType": ", ".join(TAKEN)}},
            "example": {"signature": "…", "content": "Nội dung đã ký"},
        },
    },
}


@router.post(
    PATH,
    tags=["Ký số · Signing"],
    summary="Kiểm tra chữ ký số · Verify signatures",
    responses={
        200: {
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "application/xml": {"schema": {"type": "string"}, "example": _REPORT},
            }
        },
        **problems(400, 401, 403, 404, 413, 415, 422, 502, 503),
    },
    openapi_extra={"requestBody": _BODY},
)
async def verify_signatures(
    request: Request,
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("signatures:verify")],
    at: Moment | None = None,
    policy: Annotated[
        str | None, Query(min_length=1, max_length=100, pattern=r"^[^\x00-\x1F\x7F]+$")
    ] = None,
    content: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,
) -> Response:
    """Every signature of a PDF, CMS, XML or JWS document: who issued the certificate, when it was
    signed, whether it is intact and valid, its level, what was changed since, and by which trust
    policy that was judged. With `Accept: application/xml` the report comes by ETSI TS 119 102-2.
    Nothing of the document is kept.

    What a detached signature is over can be uploaded with it, or named by its SHA-256 (`content`)
    where the client has uploaded it before: a file that it may download, which takes the scope
    `dossiers:read`.

    Signers are named by initials and the last three digits unless the token has the scope
    `dossiers:personal`.
    """
    named = request.headers.get("content-type", "")
    if (
        named.partition(";")[0].strip().lower() not in (*TAKEN, FORM)
        or request.headers.get("content-encoding", "identity") != "identity"
    ):
        taken = ", ".join((*TAKEN, FORM))
        raise UnsupportedMedia(f"Các kiểu được nhận: {taken}", f"Taken are: {taken}")
    body = await request.body()
    if content is not None:
        named, body = await _with_content(gateway, principal, named, body, content)
    answer = await gateway.verifications.ask(
        "POST",
        PATH,
        given(at=at.isoformat() if at else None, policy=policy),
        passed_headers(request, token=True),
        body,
        accept=_accepted(request.headers.get("accept", "")),
        media_type=named,
    )
    return passed_on(answer)


async def _with_content(
    gateway: Gateway, principal: Principal, named: str, signature: bytes, digest: str
) -> tuple[str, bytes]:
    """Media type and body of the form that a detached signature and its content go on in.

    Who may have a file is known here alone, so the content goes on and not its digest.

    Args:
        named: media type of the signature.
        digest: SHA-256 of the content, in hex.

    Raises:
        Forbidden: the token reads no files.
        NoSuchFile: there is none of this digest, or it is not the client's.
        Invalid: the content is in the form already.
        TooLarge: it is larger than what is verified.
    """
    if _READING not in principal.scopes:
        raise Forbidden(
            f"Token không có quyền {_READING}", f"The token does not carry the scope {_READING}"
        )
    file = await gateway.downloads.by_client(digest, principal.client_id)
    media = named.partition(";")[0].strip().lower()
    if media == FORM:
        twice = {
            "pointer": "/content",
            "detail": "nội dung đã nằm trong biểu mẫu",
            "detail_en": "the content is in the form already",
        }
        raise Invalid("Nội dung được nêu hai lần", "The content is given twice", errors=[twice])
    if file.size + len(signature) > LARGEST:
        raise TooLarge(
            f"Nội dung vượt giới hạn {LARGEST} byte",
            f"The content is above the limit of {LARGEST} bytes",
        )
    boundary = new_id().hex
    with gateway.downloads.slot():
        return f"{FORM}; boundary={boundary}", b"".join(
            [
                _head(boundary, "signature", media),
                signature,
                _head(boundary, "content", file.media_type),
                *[part async for part in gateway.downloads.parts(digest)],
                f"\r\n--{boundary}--\r\n".encode(),
            ]
        )


def _head(boundary: str, name: str, media: str) -> bytes:
    """What stands before a part of a form (RFC 7578)."""
    return (
        f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"'
        f"\r\nContent-Type: {media}\r\n\r\n"
    ).encode()


def _accepted(accept: str) -> str:
    """XML where it stands before JSON in what is accepted."""
    named = (one.partition(";")[0].strip().lower() for one in accept.split(","))
    first = next((one for one in named if one in (*_XML, *_JSON)), "")
    return "application/xml" if first in _XML else "application/json"
