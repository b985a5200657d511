"""REST: have the signatures of a document verified. Nothing of it is kept.

The caller brings the document, so what the report says of its signers is nothing that the caller
did not have. It is masked all the same unless the token may see personal data: reports are passed
on and filed more readily than documents.
"""

from datetime import UTC, datetime
from email.message import Message
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, Field

from common.auth import Principal, requires
from signature_connector.api.document import problems
from signature_connector.domain.findings import Level
from signature_connector.domain.verification import MEDIA, Indication, Kind, Material
from signature_connector.errors import PartsMalformed, UnsupportedMedia
from signature_connector.use_cases.verifications import Verifications

PATH = "/v1/signature-verifications"
REPORT = "application/vnd.etsi.validation-report+xml"
_XML = ("application/xml", "text/xml", REPORT)
_PERSONAL = "dossiers:personal"

router = APIRouter(prefix=PATH, tags=["verification"])


def _verifications(request: Request) -> Verifications:
    verifications: Verifications = request.app.state.verifications
    return verifications


Verifier = Annotated[Principal, requires("signatures:verify")]


class FindingView(BaseModel):
    """One thing found, in both languages."""

    code: str
    level: Level
    vi: str
    en: str
    detail: str | None = None


class SignerView(BaseModel):
    """The holder of the certificate; initials and the last three digits unless the token has the
    scope `dossiers:personal`."""

    name: str | None
    identifier: str | None
    organisation: str | None


class CertificateView(BaseModel):
    """The signer's certificate."""

    serial_number: str
    sha256: str
    issuer: str
    not_before: AwareDatetime
    not_after: AwareDatetime
    key: str


class AuthorityView(BaseModel):
    """A certificate above it."""

    subject: str
    sha256: str


class TimestampView(BaseModel):
    """A timestamp."""

    kind: Literal["signature", "archive"]
    time: AwareDatetime | None
    issuer: str | None
    accepted: bool


class SignatureView(BaseModel):
    """What is said of one signature."""

    name: str = Field(description="Name of the field, or its place in the document")
    format: str
    level: Literal["B-B", "B-T", "B-LT", "B-LTA"] | None = Field(
        description="As far as it was proven; none for a signature that is not AdES"
    )
    indication: Indication
    sub_indication: str | None
    signer: SignerView | None
    issuer: str | None
    certificate: CertificateView | None
    chain: list[AuthorityView]
    claimed_at: AwareDatetime | None = Field(description="When the signer says to have signed")
    proven_at: AwareDatetime | None = Field(description="By a valid timestamp")
    judged_at: AwareDatetime = Field(description="As of when the certificate was judged")
    mechanism: str | None
    intact: bool
    revocation: Literal["good", "revoked", "revoked-later", "unknown"]
    modifications: Literal["none", "validation-data", "signatures", "forms"] | None = Field(
        description="What was done to a PDF afterwards"
    )
    covers: list[str] | None = Field(description="What is signed; of XML, paths of elements")
    timestamps: list[TimestampView]
    findings: list[FindingView]


class PolicyView(BaseModel):
    """The version of the trust policy."""

    name: str
    version: str
    date: str
    source: str
    confidence: str


class AlgorithmPolicyView(BaseModel):
    """The version of the allow-list of algorithms."""

    version: str
    source: str
    confidence: str


class VerificationView(BaseModel):
    """The report."""

    indication: Indication = Field(description="The worst of all signatures (EN 319 102-1)")
    sub_indication: str | None
    at: AwareDatetime = Field(description="As of when")
    policy: PolicyView | None
    algorithm_policy: AlgorithmPolicyView | None
    signatures: list[SignatureView]
    findings: list[FindingView] = Field(description="About the document as such")


_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_PARTS: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["signature", "content"],
        "properties": {
            "signature": {"type": "string", "format": "binary"},
            "content": {"type": "string", "format": "binary"},
        },
    },
    "encoding": {"signature": {"contentType": ", ".join(MEDIA)}},
}


@router.post(
    "",
    response_model=VerificationView,
    responses={
        200: {
            "description": "The report, by `Accept` in JSON or by ETSI TS 119 102-2",
            "content": {"application/xml": {"schema": {"type": "string"}}},
        },
        **problems(400, 401, 403, 413, 415, 422, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The signed document; of a detached signature a form with the parts "
            "`signature` and `content`",
            "content": {**dict.fromkeys(MEDIA, _BINARY), "multipart/form-data": _PARTS},
        }
    },
)
async def verify_signatures(
    request: Request,
    principal: Verifier,
    verifications: Annotated[Verifications, Depends(_verifications)],
    at: Annotated[
        AwareDatetime | None,
        Query(description="As of when; else the best proven time of each signature, else now"),
    ] = None,
    policy: Annotated[
        str | None, Query(min_length=1, max_length=100, description="Name of the trust policy")
    ] = None,
) -> Response:
    """Verify every signature of a document (PDF, CMS, XML, JWS). Nothing of it is kept."""
    xml = _wants_xml(request.headers.get("accept", ""))
    kind, content, detached = _read(request.headers.get("content-type", ""), await request.body())
    report = await verifications.verify(
        Material(
            kind=kind,
            content=content,
            moment=datetime.now(UTC),
            detached=detached,
            at=at,
            policy=policy,
            names=_PERSONAL in principal.scopes,
            xml=xml,
        )
    )
    if xml and (written := report.facts.get("xml")):
        return Response(written, media_type="application/xml")
    return Response(view(report.facts, report.body()).model_dump_json(), media_type=_JSON)


_JSON = "application/json"


def view(facts: Any, body: Any) -> VerificationView:
    """A report as it is answered; one that was not examinable has no facts."""
    given = {
        "indication": Indication.INDETERMINATE,
        "sub_indication": "GENERIC",
        "at": datetime.now(UTC),
        "policy": None,
        "algorithm_policy": None,
        "signatures": [],
        **facts,
        "findings": body["findings"],
    }
    names = VerificationView.model_fields
    return VerificationView.model_validate({name: given[name] for name in names})


def _wants_xml(accept: str) -> bool:
    """Whether XML is preferred: it stands before JSON in what is accepted."""
    named = [one.partition(";")[0].strip().lower() for one in accept.split(",")]
    first = next((one for one in named if one in (*_XML, _JSON, "*/*", "application/*")), "")
    return first in _XML


def _read(content_type: str, body: bytes) -> tuple[Kind, bytes, bytes | None]:
    """Format, signed document or signature, and detached content.

    Raises:
        UnsupportedMedia: of a media type that is not taken.
        PartsMalformed: a form without the two parts.
    """
    media, boundary = _media(content_type)
    if media != "multipart/form-data":
        return _kind(media), body, None
    parts = _parts(body, boundary)
    if parts.keys() != {"signature", "content"}:
        raise PartsMalformed(
            "Cần đúng hai phần signature và content",
            "Exactly the parts signature and content are needed",
        )
    named, signature = parts["signature"]
    return _kind(named), signature, parts["content"][1]


def _kind(media: str) -> Kind:
    kind = MEDIA.get(media)
    if kind is None:
        taken = ", ".join(MEDIA)
        raise UnsupportedMedia(f"Các kiểu được nhận: {taken}", f"Taken are: {taken}")
    return kind


def _media(content_type: str) -> tuple[str, str]:
    """The media type, and of a form its boundary."""
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary", "")
    named = content_type.partition(";")[0].strip().lower()
    return named, boundary if isinstance(boundary, str) else ""


def _parts(body: bytes, boundary: str) -> dict[str, tuple[str, bytes]]:
    """The parts of a form (RFC 7578) by name, with their media types."""
    found: dict[str, tuple[str, bytes]] = {}
    line = b"--" + boundary.encode("latin-1")
    pieces = (b"\r\n" + body).split(b"\r\n" + line) if 0 < len(boundary) <= 70 else []
    if len(pieces) < 2 or not pieces[-1].startswith(b"--") or len(pieces) > 10:
        raise PartsMalformed("Biểu mẫu không đọc được", "The form cannot be read")
    for piece in pieces[1:-1]:
        head, blank, content = piece.partition(b"\r\n\r\n")
        message = Message()
        for header in head.strip().split(b"\r\n"):
            name, _, value = header.decode("utf-8", "replace").partition(":")
            message[name.strip()] = value.strip()
        part = message.get_param("name", header="content-disposition")
        if not blank or not isinstance(part, str) or part in found:
            raise PartsMalformed("Biểu mẫu không đọc được", "The form cannot be read")
        found[part] = (_media(message.get("content-type", ""))[0], content)
    return found
