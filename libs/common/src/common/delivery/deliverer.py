"""The worker: claims items, calls the partner, settles what became of them."""

import asyncio
import random
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

import structlog

from common.database import Database, database_is_away
from common.delivery import rows
from common.delivery.breaker import LONGEST_PAUSE_SECONDS, Breaker
from common.delivery.partner import Ability, Claimed, Outcome, Partner, Prepare, Result
from common.errors import describe
from common.identifiers import new_id
from common.telemetry import Telemetry

log = structlog.get_logger()

HEARTBEAT_SECONDS, LEASE_SECONDS = 2.0, 10.0
GRACE_SECONDS = 10.0
"""How long calls under way may still take when the worker is told to end."""
_FIRST_WAIT_SECONDS = 1.0
_AGENCIES_AT_ONCE = 20
_CLAIMS_A_SWEEP = 16
"""Every so many claims what cannot go is put off also where enough else can."""
_IDLE_LEAST, _IDLE_MOST = 0.05, 1.0


class Deliverer:
    """Delivers the items of one partner. Any number may run, in any number of processes.

    Args:
        prepare: called with every claim before its items are grouped.
    """

    def __init__(
        self,
        database: Database,
        partner: Partner,
        telemetry: Telemetry,
        breaker: Breaker,
        *,
        prepare: Prepare | None = None,
    ) -> None:
        self._database = database
        self._partner = partner
        self._telemetry = telemetry
        self._breaker = breaker
        self._prepare = prepare
        self._worker = new_id()
        self._slots = asyncio.Semaphore(partner.parallel)
        self._queued = asyncio.Event()
        self._served: rows.Turn = ("", "")
        self._claims = 0
        self._digging = False

    def wake(self) -> None:
        """Something was queued by this process."""
        self._queued.set()

    async def run(self) -> None:
        """Work without end; when cancelled, calls under way get some time to end."""
        self._worker = new_id()  # what an earlier run left is not this one's
        while True:
            if await self._sign_of_life():
                break
            await asyncio.sleep(HEARTBEAT_SECONDS)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._stay_alive())
                tasks.create_task(self._deliver())
        finally:
            await self._leave()

    async def once(self) -> int:
        """Claim, call and settle once; how many calls there were."""
        await self._sign_of_life()
        calls = self._calls(await self._claim(self._partner.parallel))
        await asyncio.gather(*(self._call(items, ask=ask) for ask, items in calls))
        return len(calls)

    async def _stay_alive(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._sign_of_life()

    async def _sign_of_life(self) -> bool:
        try:
            async with self._database.transaction() as connection:
                await rows.seen(connection, self._worker)
                lost = await rows.orphans(connection, LEASE_SECONDS)
        except Exception as error:
            log.warning("no sign of life written", error=describe(error))
            return False
        if lost:
            log.warning("calls of a lost worker", partner=self._partner.name, items=lost)
            self.wake()
        return True

    async def _leave(self) -> None:
        try:
            async with self._database.transaction() as connection:
                await rows.leave(connection, self._worker)
        except Exception as error:
            log.warning("no leave taken", error=describe(error))

    async def _deliver(self) -> None:
        idle = _IDLE_LEAST
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                if (wait := self._breaker.wait()) > 0:
                    await asyncio.sleep(min(wait, 1.0))
                    continue
                for task in [task for task in running if task.done()]:
                    task.result()  # a fault ends this worker, so that its rows are taken over
                    running.remove(task)
                free = (1 if self._breaker.open else self._partner.parallel) - len(running)
                if free <= 0:
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    continue
                self._queued.clear()
                for ask, items in self._calls(await self._claimed(free)):
                    task = asyncio.create_task(self._call(items, ask=ask))
                    task.add_done_callback(lambda _: self.wake())
                    running.add(task)
                    free -= 1
                    idle = _IDLE_LEAST
                if free > 0 and not self._digging:
                    idle = await self._rest(idle)
        finally:
            if running:
                await asyncio.wait(running, timeout=GRACE_SECONDS)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _rest(self, idle: float) -> float:
        """Wait for something to do; how long to wait the next time."""
        try:
            async with asyncio.timeout(idle):
                await self._queued.wait()
        except TimeoutError:
            return min(idle * 2, _IDLE_MOST)
        return _IDLE_LEAST

    async def _claimed(self, calls: int) -> list[Claimed]:
        try:
            return await self._claim(calls)
        except Exception as error:
            log.warning("delivery interrupted", partner=self._partner.name, error=describe(error))
            await asyncio.sleep(_IDLE_MOST)
            return []

    async def _claim(self, calls: int) -> list[Claimed]:
        most = 1 if self._breaker.open else self._partner.batch * calls
        name = self._partner.name
        self._digging = False
        async with self._database.transaction() as connection:
            turns = await rows.turns(connection, name, self._served, min(most, _AGENCIES_AT_ONCE))
            if not turns:
                return []
            self._served = turns[-1]
            share = max(1, most // len(turns))
            found = await rows.claim(connection, name, self._worker, turns, share)
            given = Counter(one.turn for one in found)
            left = most - len(found)
            more = [turn for turn in turns if given[turn] >= share][:left]
            if more and left >= most // 2:
                found += await rows.claim(connection, name, self._worker, more, left // len(more))
            self._claims += 1
            now_and_then = self._claims % _CLAIMS_A_SWEEP == 0
            dry = [turn for turn in turns if now_and_then or not given[turn]]
            put_off = await rows.defer(connection, name, dry) if dry else 0
            self._digging = not found and put_off > 0
            claimed, torn = self._in_order(found)
            if torn:
                await rows.release(connection, torn)
            if claimed and self._prepare is not None:
                await self._prepare(connection, claimed)
        return claimed

    def _in_order(self, found: Iterable[rows.Found]) -> tuple[list[Claimed], list[Claimed]]:
        """The claimed items in their order, and those that came without their forerunner."""
        items: dict[int, Claimed] = {}
        torn: list[Claimed] = []
        for one in sorted(found, key=lambda one: one.item.id):
            item = one.item
            if one.forerunner is not None and one.forerunner not in items:
                torn.append(item)
                continue
            if item.asking and self._partner.ability(item.kind) is Ability.NONE:
                item = replace(item, maybe_doubled=True)
            items[item.id] = item
        return list(items.values()), torn

    def _calls(self, items: Sequence[Claimed]) -> list[tuple[bool, list[Claimed]]]:
        """What goes out together, and whether it is asked about; a subject is never torn apart."""
        groups: dict[tuple[bool, Hashable], dict[str, list[Claimed]]] = {}
        for item in items:
            ask = item.asking and self._partner.ability(item.kind) is Ability.LOOK_UP
            subjects = groups.setdefault((ask, self._partner.group(item)), {})
            subjects.setdefault(item.subject, []).append(item)
        calls: list[tuple[bool, list[Claimed]]] = []
        for (ask, _), subjects in groups.items():
            call: list[Claimed] = []
            for of_subject in subjects.values():
                if call and len(call) + len(of_subject) > self._partner.batch:
                    calls.append((ask, call))
                    call = []
                call.extend(of_subject)
            calls.append((ask, call))
        return calls

    async def _call(self, items: Sequence[Claimed], *, ask: bool) -> None:
        """Call with what goes out together; a subject with more than a call takes needs several."""
        async with self._slots:
            stopped: set[str] = set()
            for start in range(0, len(items), self._partner.batch):
                await self._part(items[start : start + self._partner.batch], ask, stopped)

    async def _part(self, items: Sequence[Claimed], ask: bool, stopped: set[str]) -> None:
        """One call; where it is refused as a whole, its halves one after the other.

        Args:
            stopped: subjects of which an item did not get there: what follows goes back.
        """
        if self._breaker.wait() > 0:
            stopped.update(item.subject for item in items)
        if behind := [item for item in items if item.subject in stopped]:
            back = Outcome(Result.UNKNOWN if ask else Result.RETRY, pause=0.0)
            await self._settle([(item, back) for item in behind], ask)
            items = [item for item in items if item.subject not in stopped]
        if not items:
            return
        outcomes = [*zip(items, await self._outcomes(items, ask), strict=True)]
        whole = [item for item, outcome in outcomes if outcome.result is Result.WHOLE]
        if len(whole) > 1:
            outcomes = [pair for pair in outcomes if pair[1].result is not Result.WHOLE]
        stopped.update(
            item.subject for item, outcome in outcomes if outcome.result is not Result.DONE
        )
        await self._settle(outcomes, ask)
        if len(whole) > 1:
            half = len(whole) // 2
            await self._part(whole[:half], ask, stopped)
            await self._part(whole[half:], ask, stopped)

    async def _outcomes(self, items: Sequence[Claimed], ask: bool) -> Sequence[Outcome]:
        partner = self._partner
        try:
            with self._telemetry.call(
                f"{partner.name} {'ask' if ask else 'send'}",
                [item.traceparent for item in items],
            ):
                outcomes = await (partner.ask if ask else partner.send)(items)
            if len(outcomes) != len(items):
                raise ValueError("an outcome for each item")
        except Exception as error:
            log.error("adapter failed", partner=partner.name, error=describe(error))
            outcomes = [Outcome(Result.UNKNOWN, describe(error))] * len(items)
        self._breaker.record(failed=any(outcome.partner_down for outcome in outcomes))
        if pause := max((outcome.pause or 0 for outcome in outcomes), default=0):
            self._breaker.hold(pause)
        return outcomes

    async def _settle(self, outcomes: Sequence[tuple[Claimed, Outcome]], ask: bool) -> None:
        """Write what became of a call; kept in hand until the database takes it."""
        if not outcomes:
            return
        # The order in which every transaction locks rows.
        outcomes = sorted(outcomes, key=lambda pair: (pair[0].subject, pair[0].id))
        settled = [_settlement(item, outcome, self._partner, ask) for item, outcome in outcomes]
        while True:
            try:
                async with self._database.transaction() as connection:
                    await rows.settle(connection, self._partner.name, self._worker, settled)
                    await self._partner.settled(connection, outcomes)
                break
            except Exception as error:
                told = log.warning if database_is_away(error) else log.error
                told("settlement not written", partner=self._partner.name, error=describe(error))
                await asyncio.sleep(_IDLE_MOST)
        for result, count in Counter(outcome.result for _, outcome in outcomes).items():
            self._telemetry.called(self._partner.name, result.value, count)


def _settlement(
    item: Claimed, outcome: Outcome, partner: Partner, ask: bool
) -> tuple[int, int, str, float, int, bool, str | None]:
    """Id, claimed version, next state, seconds to wait, attempts, maybe doubled, error."""
    free = outcome.pause is not None or outcome.partner_down
    attempts = item.attempts - 1 if free else item.attempts
    state, wait, doubled, reason = "due", 0.0, item.maybe_doubled, outcome.reason
    match outcome.result:
        case Result.DONE:
            older = ask and item.asked_version not in (None, item.version)  # it has that one
            state, attempts, doubled = "due" if older else "done", 0, False
        case Result.NOT_THERE | Result.AGAIN:
            pass
        case Result.RETRY:
            wait = _wait(item, outcome)
        case Result.UNKNOWN:
            state, wait = "unknown", _wait(item, outcome)
            doubled = doubled or partner.ability(item.kind) is Ability.NONE
        case Result.REFUSED | Result.WHOLE:
            state, reason = "held", reason or "refused"
    return item.id, item.version, state, wait, attempts, doubled, reason


def _wait(item: Claimed, outcome: Outcome) -> float:
    return outcome.pause if outcome.pause is not None else backoff_seconds(item.attempts)


def backoff_seconds(attempts: int) -> float:
    """Full jitter: quick tries first, an hour at the most."""
    longest = min(_FIRST_WAIT_SECONDS * 2 ** min(attempts, 12), LONGEST_PAUSE_SECONDS)
    return random.uniform(0.5, longest)
