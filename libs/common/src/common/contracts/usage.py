"""What every service tells about its own use (NĐ 42/2022 Điều 13.2.c)."""

from datetime import datetime
from typing import ClassVar

from common.contracts.base import Data, Event


class Count(Data):
    """How often something happened within the interval."""

    name: str
    value: int


class UsageMeasured(Event):
    """Counts of one interval of one process.

    Told at most once per (service, instance, boot, interval); a gap in the intervals of a boot
    shows that its process was lost with what it had counted since.
    """

    TYPE: ClassVar[str] = "usage.measured.v1"
    PRODUCER: ClassVar[str] = "*"
    ORDERED: ClassVar[bool] = False

    service: str
    instance: str
    boot: str
    interval: int
    started_at: datetime
    ended_at: datetime
    counts: tuple[Count, ...]
