"""``POST /v1/files``: result papers."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from common.auth import Principal, requires
from gateway.api.document import problems
from gateway.api.parts import GatewayOf
from gateway.errors import UnsupportedMedia

router = APIRouter(tags=["Tệp · Files"])


class FileAnswer(BaseModel):
    """A stored file."""

    sha256: str
    size: int


@router.post(
    "/v1/files",
    summary="Tải tệp kết quả lên · Upload a result",
    status_code=201,
    responses={
        201: {"model": FileAnswer},
        **problems(401, 403, 408, 413, 415, 422, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "A PDF of at most 10 MiB",
            "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload_file(
    request: Request,
    gateway: GatewayOf,
    principal: Annotated[Principal, requires("dossiers:write")],
) -> Response:
    """Stored by content: the same file again gives the same answer."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/pdf":
        raise UnsupportedMedia("Cần application/pdf", "The body must be application/pdf")
    digest, size = await gateway.uploads.keep(principal.client_id, request.stream())
    body = orjson.dumps({"sha256": digest, "size": size})
    return Response(body, 201, media_type="application/json")
