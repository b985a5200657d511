"""The workers' pool: takes up requests and brings each as far as it goes.

There are two pools. With a provider that holds the call until the person decided, most requests in
hand wait for minutes; that costs a task and a connection, but none to the database. With the
others nobody in hand waits for a person. Every worker shows signs of life; what a dead one had in
hand is freed by the others, or handed to an operator where a person was being asked.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from common.errors import describe
from common.telemetry import Telemetry
from signature_connector.domain.provider import Order
from signature_connector.domain.requests import (
    UNSUBMITTED,
    Request,
    State,
    Step,
    outgoing_id,
)
from signature_connector.use_cases.book import Book
from signature_connector.use_cases.outcomes import Next
from signature_connector.use_cases.presence import Presence
from signature_connector.use_cases.steps import Steps

_IDLE_LEAST, _IDLE_MOST = 0.05, 3.0
_TROUBLE_SECONDS = 1.0
_LEAVE_SECONDS = 5.0
_TOGETHER_SECONDS = 1.0
"""After how long a batch is looked at again of which one part is not ready."""

log = structlog.get_logger()


class Signers:
    """One process's share of a pool. Any number may run, in any number of processes.

    Args:
        parallel: requests in hand at the same time.
        presence: of this process's workers.
        lease: seconds after which what was claimed unknown to us is somebody else's.
        drain: seconds that requests in hand get to finish when the service is stopped.
        waits: for providers that hold the call until the person decided, or for the others.
    """

    def __init__(
        self,
        book: Book,
        steps: Steps,
        telemetry: Telemetry,
        presence: Presence,
        *,
        parallel: int,
        lease: float,
        drain: float,
        waits: bool = True,
    ) -> None:
        self._book = book
        self._steps = steps
        self._telemetry = telemetry
        self._parallel = parallel
        self._presence = presence
        self._lease = lease
        self._drain = drain
        self._waits = waits
        self._queued = asyncio.Event()
        self._in_hand: dict[asyncio.Task[None], Sequence[UUID]] = {}
        self._writing: set[asyncio.Task[Request | None]] = set()

    def wake(self) -> None:
        """Something was taken in by this process."""
        self._queued.set()

    async def run(self) -> None:
        """Work without end; when stopped, finish what can be finished and let go of the rest."""
        async with self._presence.worker(self.wake) as worker:
            try:
                await self._take_up(worker)
            finally:
                await self._leave(worker)

    def _held(self) -> list[UUID]:
        return [one for many in self._in_hand.values() for one in many]

    async def _take_up(self, worker: UUID) -> None:
        idle = _IDLE_LEAST
        astray_until = 0.0
        while True:
            free = self._parallel - len(self._held())
            if free <= 0:
                await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)
                continue
            wait = self._steps.gates.all_closed(self._steps.choice.names)
            if wait > 0:
                await asyncio.sleep(min(wait, _TROUBLE_SECONDS))
                continue
            self._queued.clear()
            try:
                if time.monotonic() < astray_until:
                    await self._book.let_go(worker, self._held())
                most = 1 if self._steps.gates.all_trying(self._steps.choice.names) else free
                requests = await self._book.claim(worker, most, waits=self._waits)
            except Exception as error:
                # It may have been committed, or be yet: requests would be ours unknown to us.
                astray_until = time.monotonic() + self._lease
                log.warning("nothing taken up", error=describe(error))
                await asyncio.sleep(_TROUBLE_SECONDS)
                continue
            for group in _groups(requests):
                task = asyncio.create_task(self._bring_on(worker, group))
                self._in_hand[task] = [one.request_id for one in group]
                task.add_done_callback(self._in_hand.pop)
            if requests:
                idle = _IDLE_LEAST
                continue
            try:
                async with asyncio.timeout(idle):
                    await self._queued.wait()
            except TimeoutError:
                idle = min(idle * 2, _IDLE_MOST)

    async def _bring_on(self, worker: UUID, group: list[Request]) -> None:
        """As far as it goes: until it rests or has to wait."""
        ids = [one.request_id for one in group]
        try:
            with self._telemetry.call("sign", [one.traceparent for one in group]):
                batch = _together(group[0])
                if batch is None:
                    await self._one(worker, group[0])
                else:
                    await self._batch(worker, batch, ids)
        except Exception as error:
            log.error("request dropped", request=str(ids[0]), error=describe(error))
            for one in ids:
                await self._book.disown(worker, one)

    async def _one(self, worker: UUID, request: Request | None) -> None:
        """Step by step, each written before the next."""
        order: Order | None = None
        while request is not None:
            taken = await self._steps.take(request, order)
            order = taken.order
            after: Request | None = None
            try:
                after = await self._after(worker, request, taken)
            finally:
                if after is None and order is not None:
                    self._steps.abandoned(request)
            request = after

    async def _after(self, worker: UUID, request: Request, taken: Next) -> Request | None:
        """Write what followed; the request where it goes on at once."""
        if taken.step is None:
            await self._book.put_off(worker, [request.request_id], taken.put_off)
            return None
        self._note(request, taken.step)
        return await self._write(worker, request, taken.step)

    async def _batch(self, worker: UUID, batch: UUID, ids: list[UUID]) -> None:
        """Bring all of a batch to where the person can be asked, then ask once for many."""
        members = await self._book.claim_batch(worker, batch)
        if members is None:  # another worker has some of it in hand
            await self._book.put_off(worker, ids, _TOGETHER_SECONDS)
            return
        ids[:] = [one.request_id for one in members]
        ready: list[Request] = []
        complete = True
        for member in members:
            going: Request | None = member
            while going is not None and going.state is State.RECEIVED:
                taken = await self._steps.take(going, None)
                going = await self._after(worker, going, taken)
                complete = complete and (going is not None or _ended(taken))
            if going is not None:
                ready.append(going)
        if not complete:
            late = [one.request_id for one in ready]
            await self._book.put_off(worker, late, _TOGETHER_SECONDS)
            return
        orders = [self._ask_for(worker, chunk) for chunk in self._chunks(ready)]
        await asyncio.gather(*orders)

    def _chunks(self, ready: list[Request]) -> list[list[Request]]:
        """What one confirmation can be for: one provider, one certificate, so many papers."""
        alike: dict[tuple[str | None, str | None], list[Request]] = {}
        for one in sorted(ready, key=lambda one: one.place):
            alike.setdefault((one.provider, one.serial_number), []).append(one)
        chunks = []
        for (name, _), many in alike.items():
            provider = self._steps.choice.provider(name or "", many[0].agency)
            most = provider.abilities.most if provider is not None else 1
            chunks += [many[i : i + most] for i in range(0, len(many), most)]
        return chunks

    async def _ask_for(self, worker: UUID, chunk: list[Request]) -> None:
        """Put several documents to the person in one order; each has its own outcome."""
        if len(chunk) == 1:
            await self._one(worker, chunk[0])
            return
        asked: list[Request] = []
        orders: list[Order] = []
        try:
            async for request, order in self._laid_ready(worker, chunk):
                asked.append(request)
                orders.append(order)
        except BaseException:
            self._steps.abandoned(chunk[0])
            raise
        if not orders:
            self._steps.abandoned(chunk[0])
            return
        papers = tuple(paper for order in orders for paper in order.papers)
        steps = await self._steps.submit(tuple(asked), replace(orders[0], papers=papers))
        await asyncio.gather(
            *(self._go_on(worker, one, step) for one, step in zip(asked, steps, strict=True))
        )

    async def _laid_ready(
        self, worker: UUID, chunk: list[Request]
    ) -> AsyncIterator[tuple[Request, Order]]:
        """Those that can be put to the person now, each written as being submitted."""
        order_id = outgoing_id(chunk[0].request_id, chunk[0].submissions + 1)
        for request in chunk:
            laid = await self._steps.order(request, order_id)
            after = await self._after(worker, request, laid)
            if after is not None and laid.order is not None:
                yield after, laid.order
            elif after is not None:
                await self._book.put_off(worker, [after.request_id], 0.0)

    async def _go_on(self, worker: UUID, request: Request, step: Step) -> None:
        await self._one(worker, await self._after(worker, request, Next(step)))

    def _note(self, request: Request, step: Step) -> None:
        if request.state is State.SUBMITTING:
            self._telemetry.called(request.provider or "", step.to, 1)

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


def _groups(requests: Sequence[Request]) -> list[list[Request]]:
    """Requests on their own, and those of a batch together."""
    groups: dict[UUID, list[Request]] = {}
    for one in requests:
        groups.setdefault(_together(one) or one.request_id, []).append(one)
    return list(groups.values())


def _together(request: Request) -> UUID | None:
    """The batch whose turn comes as a whole: until the person is asked; each on its own after."""
    return request.batch if request.state in UNSUBMITTED else None


def _ended(taken: Next) -> bool:
    return taken.step is not None and taken.step.to is State.FAILED
