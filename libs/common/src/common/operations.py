"""What operators and other services ask of every service: health, counters, event history."""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from common.auth import Principal, requires
from common.errors import NotReady
from common.outbox import history, log_page

_CHECK_SECONDS = 2.0
_MOST, _MOST_EPOCH = 2**63 - 1, 2**31 - 1  # what the columns take

router = APIRouter()


@router.get("/healthz", include_in_schema=False)
async def healthz() -> dict[str, str]:
    """Alive: the event loop answers."""
    return {"status": "ok"}


@router.get("/readyz", include_in_schema=False)
async def readyz(request: Request) -> dict[str, str]:
    """Ready: started, and database, transport and the service's own conditions hold now."""
    if not request.app.state.ready:
        raise NotReady("Dịch vụ đang khởi động hoặc dừng", "The service is starting or stopping")
    for name, check in request.app.state.checks.items():
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                await check()
        except Exception as error:
            raise NotReady(
                f"Chưa sẵn sàng: {name}", f"Not ready: {name} ({type(error).__name__})"
            ) from error
    return {"status": "ready"}


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Counters in the Prometheus text format."""
    return Response(
        request.app.state.core.telemetry.metrics(),
        media_type="text/plain; version=0.0.4",
    )


@router.get("/internal/events", include_in_schema=False)
async def events(
    request: Request,
    _: Annotated[Principal, requires("events:history", procedures="unasked")],
    aggregate: Annotated[str, Query(max_length=200)],
    epoch: Annotated[int, Query(ge=1, le=_MOST_EPOCH)],
    first: Annotated[int, Query(ge=1, le=_MOST)],
    last: Annotated[int, Query(ge=1, le=_MOST)],
) -> Response:
    """Events of one stream for a consumer that missed them, one JSON document a line."""
    bodies = await history(request.app.state.core.database, aggregate, epoch, first, last)
    return Response(b"\n".join(bodies), media_type="application/x-ndjson")


@router.get("/internal/log", include_in_schema=False)
async def log(
    request: Request,
    _: Annotated[Principal, requires("events:history", procedures="unasked")],
    types: Annotated[list[str], Query(max_length=50)],
    after: UUID,
) -> Response:
    """A page of events for a consumer whose queue was not there yet, one JSON document a line."""
    bodies = await log_page(request.app.state.core.database, types, after)
    return Response(b"\n".join(bodies), media_type="application/x-ndjson")
