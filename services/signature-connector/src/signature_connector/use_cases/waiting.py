"""Waiting for people: providers are asked how their orders went, when it is time to.

Nothing is kept of a waiting request but its row. What is due is taken up in batches, within a
budget that all replicas share; an answer that decides nothing puts the row off, without evidence.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog

from common.errors import describe
from common.telemetry import Telemetry
from signature_connector.domain.requests import AT_REST, Request, Step
from signature_connector.store.waiting import ALL
from signature_connector.use_cases.book import Book
from signature_connector.use_cases.presence import Presence
from signature_connector.use_cases.steps import Steps

_TICK_SECONDS = 0.2
_IDLE_MOST_SECONDS = 3.0
_TROUBLE_SECONDS = 1.0
_LEAVE_SECONDS = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Budget:
    """How often providers may be asked.

    Attributes:
        total: calls a second to all providers, of all replicas together.
        each: calls a second to one provider.
        at_once: calls to one provider that one replica has under way.
    """

    total: float = 180.0
    each: float = 180.0
    at_once: int = 50


class Waiting:
    """One process's share of the asking. Any number may run, in any number of processes.

    Args:
        presence: of this process's workers.
        lease: seconds after which what was claimed unknown to us is somebody else's.
        came: called when a result is there to be worked on.
    """

    def __init__(
        self,
        book: Book,
        steps: Steps,
        telemetry: Telemetry,
        presence: Presence,
        *,
        budget: Budget,
        lease: float,
        came: Callable[[], None],
    ) -> None:
        self._book = book
        self._steps = steps
        self._telemetry = telemetry
        self._budget = budget
        self._presence = presence
        self._lease = lease
        self._came = came
        self._called = asyncio.Event()
        self._asking: dict[asyncio.Task[None], tuple[Request, ...]] = {}
        self._pauses: dict[UUID, float] = {}
        self._astray_until = 0.0

    def wake(self) -> None:
        """Somebody called: an order is to be asked about at once."""
        self._called.set()

    async def run(self) -> None:
        """Ask without end."""
        async with self._presence.worker(self.wake) as worker:
            try:
                while True:
                    await self._turn(worker)
            finally:
                await self._leave(worker)

    async def _turn(self, worker: UUID) -> None:
        started = time.monotonic()
        try:
            await self._let_go(worker)
            if started < self._astray_until:
                under_way = [one.request_id for many in self._asking.values() for one in many]
                await self._book.let_go(worker, [*under_way, *self._pauses])
            pause = await self._take_up(worker)
        except Exception as error:
            # What was taken up may have been committed: requests would be ours unknown to us.
            self._astray_until = time.monotonic() + self._lease
            log.warning("nobody asked", error=describe(error))
            pause = _TROUBLE_SECONDS
        pause -= time.monotonic() - started
        if self._asking or self._pauses:
            pause = min(pause, _TICK_SECONDS)
        try:
            async with asyncio.timeout(max(pause, 0.01)):
                await self._called.wait()
                self._called.clear()
                # Many callbacks make one turn.
                await asyncio.sleep(_TICK_SECONDS)
        except TimeoutError:
            pass

    async def _take_up(self, worker: UUID) -> float:
        """Ask about what is due; seconds until the next turn."""
        limits = self._limits()
        if not limits:
            return _TICK_SECONDS
        first = await self._book.next_due(list(limits))
        if first is None or first > 0:
            return _IDLE_MOST_SECONDS if first is None else min(first, _IDLE_MOST_SECONDS)
        rates = dict.fromkeys(limits, self._budget.each) | {ALL: self._budget.total}
        orders: dict[UUID, list[Request]] = {}
        for request in await self._book.claim_waiting(worker, limits, rates):
            orders.setdefault(request.outgoing_id, []).append(request)
        for requests in orders.values():
            task = asyncio.create_task(self._ask(worker, tuple(requests)))
            self._asking[task] = tuple(requests)
            task.add_done_callback(self._asking.pop)
        return _TICK_SECONDS

    def _limits(self) -> Mapping[str, int]:
        """How many orders of each provider can be asked about now."""
        under_way = Counter(one[0].provider for one in self._asking.values())
        limits = {}
        for name in self._steps.choice.names:
            gate = self._steps.gates.of(name)
            free = self._budget.at_once - under_way[name]
            if free <= 0 or gate.closed("status") > 0:
                continue
            limits[name] = 1 if gate.breakers["status"].open else free
        return limits

    async def _ask(self, worker: UUID, requests: tuple[Request, ...]) -> None:
        """Ask about one order, and take the step that follows with each of its requests."""
        asking = self._steps.asking
        try:
            order = self._steps.preparing.asked(requests[0], requests)
            answer = await asking.status(requests, order)
            name = requests[0].provider or ""
            self._telemetry.called(name, f"status-{type(answer).__name__.lower()}", 1)
            for request in requests:
                after = await asking.after_status(request, answer)
                if isinstance(after, Step):
                    await self._move(worker, request, after)
                else:
                    self._pauses[request.request_id] = after
        except Exception as error:
            log.error("asking failed", order=str(requests[0].outgoing_id), error=describe(error))
            for request in requests:
                self._pauses.setdefault(request.request_id, 10.0)

    async def _move(self, worker: UUID, request: Request, step: Step) -> None:
        if request.state in AT_REST:
            await self._book.note(worker, request.request_id, step)
            return
        if step.wait is None:
            # The others go on with it: here nobody has time for documents.
            step = Step(step.to, step.facts, step.changes, 0.0, step.reason)
        writing = asyncio.ensure_future(self._book.move(worker, request, step))
        await asyncio.shield(writing)
        self._came()

    async def _let_go(self, worker: UUID) -> None:
        if self._pauses:
            pauses, self._pauses = self._pauses, {}
            try:
                await self._book.postpone(worker, pauses)
            except BaseException:
                self._pauses = {**pauses, **self._pauses}
                raise

    async def _leave(self, worker: UUID) -> None:
        """Break off what is under way: asking again costs nothing."""
        for task in self._asking:
            task.cancel()
        if self._asking:
            await asyncio.wait(self._asking, timeout=_LEAVE_SECONDS)
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._let_go(worker)
                await self._book.leave(worker)
        except Exception as error:
            log.warning("left to the others", error=describe(error))
