"""Where providers call."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from common.errors import NotFound, TooLarge, TooManyRequests
from signature_connector.api.document import problems
from signature_connector.api.parts import CallbacksOf
from signature_connector.domain.provider import Unreadable
from signature_connector.use_cases.callbacks import LARGEST_BYTES, TooMany

PATH = "/v1/signing-callbacks"
router = APIRouter(prefix=PATH, tags=["signing"])


@router.post(
    "/{provider}",
    status_code=202,
    responses=problems(404, 413, 422, 429, 503),
    openapi_extra={
        "requestBody": {
            "description": "In the provider's own form",
            "content": {"application/json": {"schema": {}}},
        }
    },
)
async def signing_callback(
    request: Request,
    callbacks: CallbacksOf,
    provider: Annotated[str, Path(max_length=50)],
) -> None:
    """A provider says that something happened. It is asked about it; nothing is believed."""
    body = await request.body()
    if len(body) > LARGEST_BYTES:
        raise TooLarge
    try:
        await callbacks.take(provider, body)
    except TooMany as error:
        raise TooManyRequests(headers={"Retry-After": "1"}) from error
    except Unreadable as error:
        raise NotFound(
            "Không có nhà cung cấp này, hoặc nội dung không đúng dạng",
            "No such provider, or not the form of its callbacks",
        ) from error
