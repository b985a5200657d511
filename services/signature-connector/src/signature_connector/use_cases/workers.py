"""All workers of one process."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from common.telemetry import Telemetry
from signature_connector.use_cases.book import Book
from signature_connector.use_cases.presence import Presence
from signature_connector.use_cases.signers import Signers
from signature_connector.use_cases.steps import Steps
from signature_connector.use_cases.waiting import Budget, Waiting


@dataclass(frozen=True)
class Pools:
    """How much is done at the same time.

    Attributes:
        parallel: requests whose provider holds the call until the person decided.
        others: requests of all other providers.
        lease: seconds without a sign of life after which a worker counts as dead.
        drain: seconds that requests in hand get to finish when the service is stopped.
    """

    parallel: int
    others: int
    lease: float
    drain: float
    budget: Budget = field(default_factory=Budget)


class Workers:
    """Both pools, and who asks providers about what waits."""

    def __init__(self, book: Book, steps: Steps, telemetry: Telemetry, pools: Pools) -> None:
        presence = Presence(book, pools.lease)
        self._signers = tuple(
            Signers(
                book,
                steps,
                telemetry,
                presence,
                parallel=parallel,
                lease=pools.lease,
                drain=pools.drain,
                waits=waits,
            )
            for parallel, waits in ((pools.parallel, True), (pools.others, False))
        )
        self._waiting = Waiting(
            book,
            steps,
            telemetry,
            presence,
            budget=pools.budget,
            lease=pools.lease,
            came=self.wake,
        )
        self.runs: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = (
            *(one.run for one in self._signers),
            self._waiting.run,
        )

    def wake(self) -> None:
        """Something was taken in, or came back."""
        for one in self._signers:
            one.wake()

    def called(self) -> None:
        """A provider called about an order."""
        self._waiting.wake()
