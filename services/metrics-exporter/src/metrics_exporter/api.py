"""What operators see of the measurements."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from common.auth import Principal, requires
from common.errors import Forbidden
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


class Doubtful(BaseModel):
    """A record that the monitoring system may hold twice."""

    record: str
    """Its natural key: what stands in ``Data``."""
    sent_at: datetime


class DoubtfulPage(BaseModel):
    """Doubtful records by key, and behind which key to go on."""

    items: list[Doubtful]
    next: str | None


@router.get("/v1/measurements/maybe-doubled", responses=_REFUSALS)
async def maybe_doubled(
    core: CoreOf,
    operator: Annotated[Principal, requires("operations", procedures="all")],
    after: Annotated[str, Query(max_length=100, pattern=r"^[^\x00]*$")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
) -> DoubtfulPage:
    """Records that were sent again after a call without an answer, of every agency."""
    if not operator.may_act_for("*"):
        raise Forbidden(
            "Chỉ dành cho token có quyền với mọi cơ quan",
            "Only for tokens that act for every agency",
        )
    found = await store.doubled_after(core.database, after, limit)
    return DoubtfulPage(
        items=[Doubtful(record=record, sent_at=at) for record, at in found],
        next=found[-1][0] if len(found) == limit else None,
    )
