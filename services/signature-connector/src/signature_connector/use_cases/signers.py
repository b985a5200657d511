"""The workers' pool: takes up requests and brings each as far as it goes.

Most requests in hand wait for a person, for minutes; that costs a task and a connection to the
provider, but none to the database. Every worker shows signs of life; what a dead one had in hand
is freed by the others, or handed to an operator where a person was being asked.
"""

import asyncio
import time
from uuid import UUID

import structlog

from common.delivery import Breaker
from common.errors import describe
from common.exchanges import Exchanges
from common.identifiers import new_id
from common.telemetry import Telemetry
from signature_connector.domain.provider import Order
from signature_connector.domain.requests import Request, State, Step
from signature_connector.use_cases.book import Book
from signature_connector.use_cases.steps import Next, Steps

_BEATS_PER_LEASE = 6
_IDLE_LEAST, _IDLE_MOST = 0.05, 1.0
_TROUBLE_SECONDS = 1.0
_LEAVE_SECONDS = 5.0

log = structlog.get_logger()


class Signers:
    """One process's share of the pool. Any number may run, in any number of processes.

    Args:
        parallel: requests in hand at the same time.
        lease: seconds without a sign of life after which a worker counts as dead.
        drain: seconds that requests in hand get to finish when the service is stopped.
        exchanges: counts the calls of each agency.
    """

    def __init__(
        self,
        book: Book,
        steps: Steps,
        telemetry: Telemetry,
        *,
        parallel: int,
        lease: float,
        drain: float,
        exchanges: Exchanges | None = None,
    ) -> None:
        self._book = book
        self._steps = steps
        self._telemetry = telemetry
        # Two, since a gateway may list certificates well and yet lose every signing call.
        self._listing, self._signing = Breaker(), Breaker()
        self._parallel = parallel
        self._lease = lease
        self._drain = drain
        self._exchanges = exchanges
        self._queued = asyncio.Event()
        self._in_hand: dict[asyncio.Task[None], UUID] = {}
        self._writing: set[asyncio.Task[Request | None]] = set()

    def wake(self) -> None:
        """Something was taken in by this process."""
        self._queued.set()

    async def run(self) -> None:
        """Work without end; when stopped, finish what can be finished and let go of the rest."""
        worker = new_id()
        await self._book.seen(worker)
        alive = asyncio.create_task(self._stay_alive(worker))
        try:
            await self._take_up(worker)
        finally:
            await self._leave(worker)
            alive.cancel()
            await asyncio.wait([alive])

    async def _stay_alive(self, worker: UUID) -> None:
        """Show signs of life, and free what the dead had in hand.

        Only a worker that itself showed them without a gap for a whole lease may say of others
        that they are dead: after the database was away everybody looks dead for a moment.
        """
        beat = self._lease / _BEATS_PER_LEASE
        last = steady_since = time.monotonic()
        while True:
            await asyncio.sleep(beat)
            try:
                await self._book.seen(worker)
                now = time.monotonic()
                if now - last > self._lease / 2:
                    steady_since = now
                last = now
                if now - steady_since < self._lease:
                    continue
                if freed := await self._book.take_from_dead(self._lease):
                    log.warning("requests of a lost worker", requests=freed)
                    self.wake()
            except Exception as error:
                log.warning("no sign of life written", error=describe(error))

    async def _take_up(self, worker: UUID) -> None:
        idle = _IDLE_LEAST
        trial: asyncio.Task[None] | None = None
        astray_until = 0.0
        while True:
            free = self._parallel - len(self._in_hand)
            if free <= 0:
                await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)
                continue
            wait = max(self._listing.wait(), self._signing.wait())
            if wait > 0:
                await asyncio.sleep(min(wait, _TROUBLE_SECONDS))
                continue
            trying = self._listing.open or self._signing.open
            if trying and trial is not None and not trial.done():
                await asyncio.wait([trial], timeout=_TROUBLE_SECONDS)
                continue
            self._queued.clear()
            try:
                if time.monotonic() < astray_until:
                    await self._book.let_go(worker, self._in_hand.values())
                requests = await self._book.claim(worker, 1 if trying else free)
            except Exception as error:
                # It may have been committed, or be yet: requests would be ours unknown to us.
                astray_until = time.monotonic() + self._lease
                log.warning("nothing taken up", error=describe(error))
                await asyncio.sleep(_TROUBLE_SECONDS)
                continue
            for request in requests:
                task = asyncio.create_task(self._bring_on(worker, request))
                self._in_hand[task] = request.request_id
                task.add_done_callback(self._in_hand.pop)
                trial = task if trying else None
            if requests:
                idle = _IDLE_LEAST
                continue
            try:
                async with asyncio.timeout(idle):
                    await self._queued.wait()
            except TimeoutError:
                idle = min(idle * 2, _IDLE_MOST)

    async def _bring_on(self, worker: UUID, request: Request) -> None:
        """Step by step, each written before the next, until it rests or has to wait."""
        order: Order | None = None
        going: Request | None = request
        try:
            with self._telemetry.call("sign", [request.traceparent]):
                while going is not None:
                    taken = await self._steps.take(going, order)
                    order = taken.order
                    self._note(going, taken)
                    going = await self._write(worker, going, taken.step)
        except Exception as error:
            log.error("request dropped", request=str(request.request_id), error=describe(error))
            await self._book.disown(worker, request.request_id)

    def _note(self, request: Request, taken: Next) -> None:
        state = request.state
        breaker = self._signing if state is State.SUBMITTING else self._listing
        if taken.provider_failed is not None:
            breaker.record(failed=taken.provider_failed)
            if self._exchanges is not None:
                count = (
                    self._exchanges.failed if taken.provider_failed else self._exchanges.succeeded
                )
                count(request.agency)
        if taken.pause is not None:
            breaker.hold(taken.pause)
        if state is State.SUBMITTING:
            self._telemetry.called(self._steps.provider_name, taken.step.to, 1)

    async def _write(self, worker: UUID, request: Request, step: Step) -> Request | None:
        """A step that has been begun to be written is written, also while being stopped."""
        writing = asyncio.create_task(self._book.move(worker, request, step))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        return await asyncio.shield(writing)

    async def _leave(self, worker: UUID) -> None:
        """Wait a while for those in hand, end the others, and free their rows at once."""
        waiting = set(self._in_hand)
        if waiting:
            _, waiting = await asyncio.wait(waiting, timeout=self._drain)
        for task in waiting:
            task.cancel()
        if ending := waiting | self._writing:
            await asyncio.wait(ending, timeout=_LEAVE_SECONDS)
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._book.leave(worker)
        except Exception as error:
            log.warning("left to the others", error=describe(error))
