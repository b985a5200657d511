"""What operators see of the measurements."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel

from common.auth import Principal, requires
from common.service import CoreOf
from metrics_exporter import store
from metrics_exporter.clients import Emc, Tracker

_PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {}}}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"description": "No valid token", **_PROBLEM},
    403: {"description": "The token does not carry the scope", **_PROBLEM},
}

router = APIRouter()


class Records(BaseModel):
    """Records of dossier events for the monitoring system."""

    sent: int
    waiting: int
    held: int
    """Refused by the monitoring system: an operator decides."""
    maybe_doubled: int
    """Sent, or still to be sent, again after a call without an answer."""
    oldest_waiting_since: datetime | None


class Usage(BaseModel):
    """Usage measurements for the tracker."""

    sent: int
    empty: int
    """Nothing was counted in the interval."""
    waiting: int
    held: int
    gaps: int
    """May or may not have arrived; not sent again."""
    missing_intervals: int
    """Never heard of, between the first and the last interval of a process."""


class Summary(BaseModel):
    """What was sent, what waits and what is in doubt."""

    records: Records
    usage: Usage


@router.get("/v1/measurements/summary", responses=_REFUSALS)
async def summary(core: CoreOf, _: Annotated[Principal, requires("operations")]) -> Summary:
    """What became of the records and measurements."""
    counts = await store.counts(core.database)
    emc = counts.waiting.get(Emc.name, store.Waiting())
    tracker = counts.waiting.get(Tracker.name, store.Waiting())
    return Summary(
        records=Records(
            sent=counts.records.get("sent", 0),
            waiting=emc.waiting,
            held=emc.held,
            maybe_doubled=counts.records.get("maybe-doubled", 0) + emc.maybe_doubled,
            oldest_waiting_since=emc.oldest,
        ),
        usage=Usage(
            sent=counts.measurements.get("sent", 0),
            empty=counts.measurements.get("empty", 0),
            waiting=tracker.waiting,
            held=tracker.held,
            gaps=counts.measurements.get("gap", 0),
            missing_intervals=counts.missing_intervals,
        ),
    )
