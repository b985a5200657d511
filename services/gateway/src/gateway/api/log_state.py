"""``/internal/message-log/state``: how the message log is, for operators.

Not part of readiness: a gateway whose log waits to be sealed or stamped takes in all the same.
"""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel

from common.auth import Principal, requires
from gateway.api.parts import GatewayOf
from gateway.use_cases.log_state import age

router = APIRouter(prefix="/internal/message-log", include_in_schema=False)


class PartitionAnswer(BaseModel):
    """One chain of records."""

    partition: int
    records: int
    """Sealed so far."""
    blocks: int
    last_sealed_at: datetime | None
    pending: int
    """Records in no block yet."""
    oldest_pending_seconds: float
    unstamped: int
    """Blocks that wait for a timestamp."""
    oldest_unstamped_seconds: float


class TsaAnswer(BaseModel):
    """A timestamp authority, as it has answered this process."""

    host: str
    left_alone: bool
    """It failed so often that it is asked only now and then."""
    timestamps: int
    failures: int
    error: str | None
    """Why the last call ended without a timestamp."""


class LogStateAnswer(BaseModel):
    """How the message log is."""

    key_id: str
    """Of the key that signs now (RFC 7638 thumbprint)."""
    partitions: list[PartitionAnswer]
    authorities: list[TsaAnswer]


@router.get("/state", response_model=LogStateAnswer)
async def read_message_log_state(
    gateway: GatewayOf, _: Annotated[Principal, requires("operations")]
) -> LogStateAnswer:
    """What waits to be sealed and to be timestamped, and how the authorities answer."""
    works = gateway.log_works
    return LogStateAnswer(
        key_id=works.key.id,
        partitions=[
            PartitionAnswer(
                partition=state.partition,
                records=state.records,
                blocks=state.blocks,
                last_sealed_at=state.sealed_at,
                pending=state.pending,
                oldest_pending_seconds=age(state.oldest_pending),
                unstamped=state.unstamped,
                oldest_unstamped_seconds=age(state.oldest_unstamped),
            )
            for state in await works.state.measure()
        ],
        authorities=[
            TsaAnswer(
                host=tsa.host,
                left_alone=tsa.left_alone,
                timestamps=tsa.timestamps,
                failures=tsa.failures,
                error=tsa.error,
            )
            for tsa in works.state.authorities()
        ],
    )
