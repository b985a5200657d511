"""What keeps the message log, put together: its key, who writes, seals, stamps and measures."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from common.database import Database
from gateway.use_cases.log_key import LogKey
from gateway.use_cases.log_state import LogState
from gateway.use_cases.message_log import MessageLog
from gateway.use_cases.sealing import Sealer
from gateway.use_cases.stamping import Stamper
from gateway.use_cases.timestamps import Authorities

_BETWEEN_ASKING_AND_WRITING = 30.0


@dataclass(frozen=True, slots=True)
class LogWorks:
    """The message log at work.

    Attributes:
        key: signs blocks and receipts.
        authorities: who stamps; None where nobody is to.
        stamper: likewise.
    """

    key: LogKey
    log: MessageLog
    authorities: Authorities | None
    sealer: Sealer
    stamper: Stamper | None
    state: LogState

    def workers(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """What runs without end."""
        stamping = [self.stamper.run] if self.stamper else []
        return [self.sealer.run, *stamping, self.state.run]


def log_works(
    database: Database,
    registry: CollectorRegistry,
    key: LogKey,
    authorities: Authorities | None,
    *,
    issuer: str,
    partitions: int,
    seconds: float,
    tsa_seconds: float,
) -> LogWorks:
    """The message log at work.

    Args:
        issuer: who gives receipts.
        partitions: how many chains.
        seconds: how often a block is sealed.
        tsa_seconds: how long one authority may take.
    """
    stamper = None
    if authorities is not None:
        lease = tsa_seconds * len(authorities.all) + _BETWEEN_ASKING_AND_WRITING
        stamper = Stamper(database, authorities, seconds, lease)
    return LogWorks(
        key=key,
        log=MessageLog(database, key, issuer, partitions),
        authorities=authorities,
        sealer=Sealer(database, key, partitions, seconds),
        stamper=stamper,
        state=LogState(database, authorities, registry),
    )
