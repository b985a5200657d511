"""Verification of signatures for other systems; the signature connector does it, and keeps nothing.

The body goes on as it came: what is in it, isolated processes there find out.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from common.auth import Principal, requires
from gateway.api.document import problems
from gateway.api.fields import Moment
from gateway.api.parts import GatewayOf
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
_XML = ("application/xml", "text/xml", "application/vnd.etsi.validation-report+xml")
_JSON = ("application/json", "application/*", "*/*")
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PART = {"type": "string", "format": "binary"}
_REPORT = "<vr:ValidationReport>…</vr:ValidationReport>"
_BODY: dict[str, Any] = {
    "required": True,
    "description": "The signed document, at most 20 MiB; of a detached signature a form with the "
    "parts `signature` (with its media type) and `content`",
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
        **problems(400, 401, 403, 413, 415, 422, 502, 503),
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
) -> Response:
    """Every signature of a PDF, CMS, XML or JWS document: who issued the certificate, when it was
    signed, whether it is intact and valid, its level, what was changed since, and by which trust
    policy that was judged. With `Accept: application/xml` the report comes by ETSI TS 119 102-2.
    Nothing of the document is kept.

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
    answer = await gateway.verifications.ask(
        "POST",
        PATH,
        given(at=at.isoformat() if at else None, policy=policy),
        passed_headers(request, token=True),
        await request.body(),
        accept=_accepted(request.headers.get("accept", "")),
        media_type=named,
    )
    return passed_on(answer)


def _accepted(accept: str) -> str:
    """XML where it stands before JSON in what is accepted."""
    named = (one.partition(";")[0].strip().lower() for one in accept.split(","))
    first = next((one for one in named if one in (*_XML, *_JSON)), "")
    return "application/xml" if first in _XML else "application/json"
