"""``/v1/files``: papers of dossiers, in and out."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from common.auth import Principal, principal_of, requires
from gateway.api.disclosures import note_download, noted_upload
from gateway.api.document import problems
from gateway.api.parts import Gateway, GatewayOf, gateway_of
from gateway.errors import UnsupportedMedia
from gateway.use_cases.downloads import OTHER_MEDIA, Download, Downloads
from gateway.use_cases.file_kinds import BY_MEDIA, KINDS

router = APIRouter(tags=["Tệp · Files"])

_TAKEN = ", ".join(kind.media for kind in KINDS)
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_LINK = ("n", "e", "k", "s")
_DOWNLOAD_SECONDS = 600.0

_token = HTTPBearer(auto_error=False, description="Not needed with a signed link")
_reader = requires("dossiers:read").dependency


class FileAnswer(BaseModel):
    """A stored file."""

    sha256: str
    size: int


@router.post(
    "/v1/files",
    summary="Tải tệp lên · Upload a file",
    status_code=201,
    responses={
        201: {"model": FileAnswer},
        **problems(401, 403, 408, 413, 415, 422, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "A file of at most 10 MiB whose content is of the type named",
            "content": {kind.media: _BINARY for kind in KINDS},
        }
    },
)
async def upload_file(
    request: Request,
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("dossiers:write")],
) -> Response:
    """Stored by content: the same file again gives the same answer."""
    named = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    kind = BY_MEDIA.get(named)
    if kind is None:
        raise UnsupportedMedia(f"Các kiểu được nhận: {_TAKEN}", f"Taken are: {_TAKEN}")
    stored = await gateway.uploads.keep(principal.client_id, kind, request.stream())
    body = orjson.dumps({"sha256": stored.digest, "size": stored.size})
    answer = Response(body, 201, media_type="application/json")
    return await noted_upload(gateway, principal, "POST /v1/files", stored, answer)


async def wanted(
    request: Request,
    gateway: Annotated[Gateway, Depends(gateway_of)],
    sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_token)],
) -> Download:
    """The file that is asked for, by whoever may have it: a link goes before a token."""
    if any(part in request.query_params for part in _LINK):
        return await gateway.downloads.by_link(sha256, request.query_params)
    principal = await _reader(await principal_of(request, credentials))
    return await gateway.downloads.by_client(sha256, principal.client_id)


Wanted = Annotated[Download, Depends(wanted)]

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, as an attachment",
        "content": dict.fromkeys((*(kind.media for kind in KINDS), OTHER_MEDIA), _BINARY),
    },
    **problems(401, 403, 404, 410, 422, 503),
}


@router.get(
    "/v1/files/{sha256}",
    summary="Tải tệp về · Download a file",
    responses=_ANSWERS,
    response_class=Response,
)
async def download_file(gateway: GatewayOf, file: Wanted) -> Response:
    """By a signed link, or with a token by the client that uploaded it.

    A file that was damaged where it is kept never comes to its end: the connection is broken off.
    """
    parts = gateway.downloads.parts(file.digest)
    first = await anext(parts, b"")  # before the answer begins: what fails here is a problem
    await note_download(gateway, file)
    return _Stream(gateway.downloads, _and_then(first, parts), headers=_headers(file))


@router.head(
    "/v1/files/{sha256}",
    summary="Thông tin tệp · Headers of a file",
    responses=_ANSWERS,
    response_class=Response,
)
async def head_file(file: Wanted) -> Response:
    """What a download would answer, without the content; the stored content is not checked."""
    return Response(headers=_headers(file))


class _Stream(StreamingResponse):
    """A download, one of a limited number and within a limited time."""

    def __init__(
        self, downloads: Downloads, parts: AsyncIterator[bytes], headers: dict[str, str]
    ) -> None:
        super().__init__(parts, headers=headers)
        self._downloads = downloads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._downloads.slot():
            async with asyncio.timeout(_DOWNLOAD_SECONDS):
                await super().__call__(scope, receive, send)


def _headers(file: Download) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(file.digest)).decode()
    return {
        "content-type": file.media_type,
        "content-length": str(file.size),
        "content-disposition": _attachment(file.name),
        "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "repr-digest": f"sha-256=:{digest}:",  # RFC 9530
        "cache-control": "private, no-store",
    }


def _attachment(name: str) -> str:
    """RFC 6266: the name in ASCII for old readers, and as it is (RFC 8187)."""
    plain = "".join(
        character if character.isascii() and character.isprintable() else "_"
        for character in name.replace('"', "_").replace("\\", "_")
    )
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _and_then(first: bytes, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in parts:
        yield part
