"""What services tell of their exchanges with outside systems."""

from datetime import datetime
from typing import ClassVar, Literal

from common.contracts.base import Event

OutsideSystem = Literal["national-portal", "monitoring", "signing-gateway"]
"""The systems that NĐ 42/2022 Điều 13.2.b-d wants a portal connected with."""


class ExchangeObserved(Event):
    """How exchanges for one agency with one outside system went in an interval.

    Told at most once an interval, and only where there was an exchange.
    """

    TYPE: ClassVar[str] = "exchange.observed.v1"
    PRODUCER: ClassVar[str] = "*"
    ORDERED: ClassVar[bool] = False

    system: OutsideSystem
    agency: str
    succeeded: int
    failed: int
    last_success_at: datetime | None = None
    started_at: datetime
    ended_at: datetime
