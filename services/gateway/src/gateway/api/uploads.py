"""``/v1/uploads``: large files in parts that can be sent again.

The names are those of the IETF's draft on resumable uploads (draft-ietf-httpbis-resumable-upload).
Other than there the size and the SHA-256 of the whole file are declared at the beginning, so a file
is complete when its last byte is here, and no part says so.
"""

import base64
import binascii
import re
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Request, Response
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from common.auth import Principal, requires
from common.blobs import Stored
from gateway.api.disclosures import noted_upload
from gateway.api.document import problems
from gateway.api.fields import STRICT, Digest
from gateway.api.parts import GatewayOf
from gateway.api.reading import body_of
from gateway.errors import UnsupportedMedia, UploadHeaderMalformed
from gateway.store.uploads import Upload
from gateway.use_cases.file_kinds import BY_MEDIA, KINDS
from gateway.use_cases.partial_uploads import LEAST_PART, Part, Rules
from gateway.use_cases.uploads import LARGEST_FILE

router = APIRouter(tags=["Tệp · Files"])

Writer = Annotated[Principal, requires("dossiers:write")]

PART = "application/partial-upload"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_TAKEN = ", ".join(kind.media for kind in KINDS)
_OFFSET = re.compile(r"[0-9]{1,15}")
_DIGESTS = re.compile(r"(?:^|,)\s*(sha-256|sha-512)\s*=\s*:([A-Za-z0-9+/]+={0,2}):\s*(?=,|$)")
_HASHES = {"sha-256": ("sha256", 32), "sha-512": ("sha512", 64)}


class NewUpload(BaseModel):
    """A file that is going to be uploaded."""

    model_config = STRICT

    size: int = Field(ge=1, le=2**53)
    """Bytes."""
    sha256: Digest
    media_type: Annotated[str, Field(max_length=100)]
    """One of those that `POST /v1/files` takes."""


_NEW = TypeAdapter(NewUpload)


class UploadAnswer(BaseModel):
    """How far an upload is."""

    upload_id: UUID
    sha256: str
    """The name of the file, once it is complete."""
    size: int
    media_type: str
    offset: int
    """Bytes that are here; the next part begins there."""
    complete: bool
    """Whether the file is whole, checked and kept: then dossiers can name it."""
    expires_at: AwareDatetime
    """When it is given up unless something arrives."""


_HEADERS: dict[str, Any] = {
    "Upload-Offset": {"description": "Bytes that are here", "schema": {"type": "string"}},
    "Upload-Length": {"description": "Bytes of the file", "schema": {"type": "string"}},
    "Upload-Complete": {"description": "`?1` once it is complete", "schema": {"type": "string"}},
    "Upload-Limit": {
        "description": "Largest file, largest and least part (bytes), seconds it lives",
        "schema": {"type": "string"},
    },
}
_ANSWER: dict[str, Any] = {"model": UploadAnswer, "headers": _HEADERS}


@router.post(
    "/v1/uploads",
    summary="Bắt đầu tải tệp lớn theo từng phần · Begin an upload in parts",
    status_code=201,
    responses={
        200: {**_ANSWER, "description": "It was begun before; go on at its `offset`"},
        201: _ANSWER,
        **problems(400, 401, 403, 413, 415, 422, 429, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": NewUpload.model_json_schema()}},
        }
    },
)
async def create_upload(request: Request, gateway: GatewayOf, principal: Writer) -> Response:
    """Declares a file. The same file again is the same upload, so that nothing need be remembered
    to go on with it."""
    wanted = await body_of(request, _NEW)
    kind = BY_MEDIA.get(wanted.media_type)
    if kind is None:
        raise UnsupportedMedia(f"Các kiểu được nhận: {_TAKEN}", f"Taken are: {_TAKEN}")
    uploads = gateway.partial_uploads
    upload, new = await uploads.begin(principal.client_id, kind, wanted.size, wanted.sha256)
    location = {"location": f"/v1/uploads/{upload.id}"}
    return _answer(upload, uploads.rules, 201 if new else 200, location)


@router.get(
    "/v1/uploads/{upload_id}",
    summary="Xem tiến độ tải lên · How far an upload is",
    responses={200: _ANSWER, **problems(401, 403, 404, 422, 503)},
)
async def read_upload(gateway: GatewayOf, principal: Writer, upload_id: UUID) -> Response:
    """One of the client's own."""
    upload = await gateway.partial_uploads.find(principal.client_id, upload_id)
    return _answer(upload, gateway.partial_uploads.rules)


@router.head(
    "/v1/uploads/{upload_id}",
    summary="Vị trí tiếp theo của lượt tải lên · Where an upload goes on",
    status_code=204,
    responses={
        204: {"headers": _HEADERS, "description": "In the headers"},
        **problems(401, 403, 404, 422, 503),
    },
    response_class=Response,
)
async def head_upload(gateway: GatewayOf, principal: Writer, upload_id: UUID) -> Response:
    """`Upload-Offset` says where the next part begins."""
    upload = await gateway.partial_uploads.find(principal.client_id, upload_id)
    return Response(status_code=204, headers=_told(upload, gateway.partial_uploads.rules))


@router.patch(
    "/v1/uploads/{upload_id}",
    summary="Gửi một phần của tệp · Append a part",
    responses={200: _ANSWER, **problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "A part of at most 10 MiB and, but for the last, at least 64 KiB",
            "content": {PART: _BINARY},
        }
    },
)
async def append_upload(
    request: Request,
    gateway: GatewayOf,
    principal: Writer,
    upload_id: UUID,
    upload_offset: Annotated[
        str, Header(max_length=20, description="Where the part begins, in bytes")
    ],
    content_digest: Annotated[
        str | None,
        Header(
            max_length=500,
            description="`sha-256=:…:` or `sha-512=:…:` of the part (RFC 9530); with it a part "
            "counts as a whole or not at all",
        ),
    ] = None,
) -> Response:
    """Appends at the end. With the last byte the file is checked and kept. What breaks off counts
    as far as it came: ask with HEAD, and go on there."""
    named = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if named != PART or request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMedia(f"Cần {PART}, không nén", f"The body must be {PART}, uncompressed")
    if not _OFFSET.fullmatch(upload_offset):
        raise UploadHeaderMalformed(
            "Upload-Offset là số byte đã nhận", "Upload-Offset is a number of bytes"
        )
    uploads = gateway.partial_uploads
    found = await uploads.find(principal.client_id, upload_id)
    part = Part(int(upload_offset), request.stream(), _digests(content_digest))
    kind = BY_MEDIA[found.media_type]
    upload = await uploads.append(principal.client_id, upload_id, kind, part)
    answer = _answer(upload, uploads.rules)
    if not upload.complete:
        return answer
    file = Stored(upload.sha256, upload.size)
    return await noted_upload(gateway, principal, "PATCH /v1/uploads/{upload_id}", file, answer)


@router.delete(
    "/v1/uploads/{upload_id}",
    summary="Hủy lượt tải lên · Cancel an upload",
    status_code=204,
    responses={
        204: {"description": "Cancelled; a file that is complete stays"},
        **problems(401, 403, 404, 409, 422, 503),
    },
    response_class=Response,
)
async def cancel_upload(gateway: GatewayOf, principal: Writer, upload_id: UUID) -> Response:
    """Its parts are removed, and it counts no longer among the open ones."""
    await gateway.partial_uploads.cancel(principal.client_id, upload_id)
    return Response(status_code=204)


def _digests(header: str | None) -> tuple[tuple[str, bytes], ...]:
    """What a part must hash to, by algorithm (RFC 9530); others than these two are passed over.

    Raises:
        UploadHeaderMalformed: there is neither of them, or one is none.
    """
    if header is None:
        return ()
    found = []
    for name, encoded in _DIGESTS.findall(header):
        algorithm, size = _HASHES[name]
        try:
            digest = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            digest = b""
        if len(digest) == size:
            found.append((algorithm, digest))
    if not found:
        raise UploadHeaderMalformed(
            "Content-Digest cần sha-256 hoặc sha-512 (RFC 9530)",
            "Content-Digest needs sha-256 or sha-512 (RFC 9530)",
        )
    return tuple(found)


def _told(upload: Upload, rules: Rules) -> dict[str, str]:
    return {
        "upload-offset": str(upload.arrived),
        "upload-length": str(upload.size),
        "upload-complete": f"?{int(upload.complete)}",
        "upload-limit": f"max-size={rules.largest}, max-append-size={LARGEST_FILE}, "
        f"min-append-size={LEAST_PART}, max-age={int(rules.seconds)}",
    }


def _answer(
    upload: Upload, rules: Rules, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    body = {
        "upload_id": str(upload.id),
        "sha256": upload.sha256,
        "size": upload.size,
        "media_type": upload.media_type,
        "offset": upload.arrived,
        "complete": upload.complete,
        "expires_at": upload.expires_at,
    }
    return Response(
        orjson.dumps(body),
        status,
        headers={**_told(upload, rules), **(headers or {})},
        media_type="application/json",
    )
