"""What is done in each state, and the step that follows from how it went.

Nothing here writes: a step is returned, and the caller writes it before the next one is taken.
"""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import structlog

from common.errors import describe
from common.sealing import KeyRing
from signature_connector.domain.assembly import Assembler
from signature_connector.domain.provider import Order
from signature_connector.domain.requests import Request, State, Step
from signature_connector.domain.waiting import Patience
from signature_connector.use_cases.asking import Asking
from signature_connector.use_cases.finishing import (
    Finishing,
    Judging,
    Revocations,
    Timestamps,
)
from signature_connector.use_cases.outcomes import Next, again
from signature_connector.use_cases.preparing import (
    FRESH_SECONDS,
    Examination,
    Files,
    Preparing,
    Revocation,
)
from signature_connector.use_cases.providers import Choice, Gates

__all__ = ["FRESH_SECONDS", "Examination", "Files", "Next", "Steps"]

log = structlog.get_logger()


class Steps:
    """The work itself.

    Args:
        providers: the adapters, and who of them serves whom.
        file_limit: largest document, in bytes.
        patience: for how long a request is tried again that could not be submitted.
        waiting: how long the person, and news of an order, are waited for.
        assembler: puts raw signatures into documents; None where all providers sign whole files.
        timestamps, revocations: what levels above B-B need.
        revocation: whether the person's certificate was revoked is asked before the person is.
        augment_after: when a level that could not be reached is tried for again.
        observe: is told of each call for an agency whether it failed.
    """

    def __init__(
        self,
        providers: Choice,
        files: Files,
        examiner: Judging,
        keys: KeyRing,
        *,
        file_limit: int,
        patience: timedelta,
        waiting: Patience = Patience(),  # noqa: B008 - frozen
        assembler: Assembler | None = None,
        timestamps: Timestamps | None = None,
        revocations: Revocations | None = None,
        revocation: Revocation | None = None,
        augment_after: timedelta = timedelta(minutes=1),
        observe: Callable[[str, bool], None] | None = None,
    ) -> None:
        self.choice = providers
        self.gates = Gates(observe)
        self._patience, self._waiting = patience, waiting
        self.preparing = Preparing(
            self.choice,
            self.gates,
            files,
            examiner,
            keys,
            assembler,
            file_limit=file_limit,
            patience=patience,
            person=waiting.person,
            news=waiting.news,
            timestamps=timestamps is not None,
            revocation=revocation,
        )
        self.asking = Asking(self.choice, self.gates, files, waiting)
        self.finishing = Finishing(
            files, examiner, self.preparing, assembler, timestamps, revocations, augment_after
        )

    async def take(self, request: Request, order: Order | None) -> Next:
        """Do what the request's state asks for. Never raises but for a cancellation.

        Args:
            order: what the person is to be asked, in state ``submitting`` alone.
        """
        try:
            match request.state:
                case State.RECEIVED:
                    return await self.preparing.prepare(request)
                case State.PREPARED:
                    return await self.preparing.order(request)
                case State.SUBMITTING if order is not None:
                    (step,) = await self.asking.submit((request,), order)
                    return Next(step)
                case State.SIGNED_RAW:
                    return Next(await self.finishing.raw(request))
                case State.ASSEMBLED:
                    return Next(await self.finishing.assembled(request))
                case State.AUGMENTED:
                    return Next(await self.finishing.judge(request))
                case State.VALIDATED:
                    return Next(self.finishing.completed(request))
                case state:
                    raise ValueError(f"nothing to be done in {state}")
        except Exception as error:
            log.error("step failed", state=request.state, error=describe(error))
            return Next(self.again(request, error))

    async def order(self, request: Request, order_id: UUID) -> Next:
        """Lay a request ready for an order that it shares with others."""
        try:
            return await self.preparing.order(request, order_id)
        except Exception as error:
            log.error("step failed", state=request.state, error=describe(error))
            return Next(self.again(request, error))

    async def submit(self, requests: tuple[Request, ...], order: Order) -> list[Step]:
        """Give an order for several requests; each has its own outcome."""
        try:
            return await self.asking.submit(requests, order)
        except Exception as error:
            log.error("order failed", error=describe(error))
            return [self.again(one, error) for one in requests]

    def again(self, request: Request, error: Exception) -> Step:
        """The step where something failed that nobody foresaw."""
        return again(request, describe(error), self._patience, self._waiting.news)

    def abandoned(self, request: Request) -> None:
        """An order that was laid ready is not given after all."""
        self.gates.of(request.provider or "").record("submit", None)
