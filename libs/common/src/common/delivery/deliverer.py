"""The worker: claims items, calls the partner, settles what became of them."""

import asyncio
import random
import time
from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import structlog

from common.database import Database, database_is_away
from common.delivery import rows
from common.delivery.breaker import LONGEST_PAUSE_SECONDS, Breaker
from common.delivery.calls import Call, calls_of
from common.delivery.claims import BULK_COST, Claims
from common.delivery.line import Line, Lines, Rounds
from common.delivery.partner import LANES, Ability, Claimed, Outcome, Partner, Prepare, Result
from common.errors import describe
from common.identifiers import new_id
from common.telemetry import Telemetry

log = structlog.get_logger()

HEARTBEAT_SECONDS, LEASE_SECONDS = 3.0, 10.0
GRACE_SECONDS = 10.0
"""How long calls under way may still take when the worker is told to end."""
_FIRST_WAIT_SECONDS = 1.0
_IDLE_LEAST, _IDLE_MOST = 0.05, 1.0
_GATHER_SECONDS = 0.01
"""How long to wait before claims, so that what ends and comes at about the same time shares one."""
_EMPTY_SECONDS = 3.0
"""Where nothing at all waits: what this process queues wakes it, and others serve their own."""
_LOOK_SECONDS = 0.2
"""With calls in hand, how often to look for what others have queued."""


class Deliverer:
    """Delivers the items of one partner. Any number may run, in any number of processes.

    Args:
        breaker: of the only line, where there are no ``lines``.
        prepare: called with every claim before its items are grouped.
        settled: told of outcomes once they are written.
        lines: over which line an agency's items go; a call never goes over two.
        sizes: how many items of a kind a call takes, where fewer than the partner's ``batch``.
    """

    def __init__(
        self,
        database: Database,
        partner: Partner,
        telemetry: Telemetry,
        breaker: Breaker,
        *,
        prepare: Prepare | None = None,
        settled: Callable[[Sequence[tuple[Claimed, Outcome]]], None] | None = None,
        lines: Lines | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        self._database = database
        self._partner = partner
        self._telemetry = telemetry
        only = Line(partner.name, partner.parallel, breaker)
        self._line: Lines = lines or (lambda _: only)
        self._sizes = sizes or {}
        self._claims = Claims(partner, self._line, prepare)
        self._settled = settled
        self._worker = new_id()
        self._slots = asyncio.Semaphore(partner.parallel)
        self._queued = asyncio.Event()
        self._rounds = Rounds()
        self._ready: list[tuple[int, int, Call]] = []
        """Calls in hand by their round, and within a round as they came."""
        self._entered = 0
        self._in_hand: set[int] = set()
        """Ids of items that were claimed and are not settled yet."""
        self._astray_until = 0.0
        self._news = False
        self._look_at = 0.0

    def wake(self) -> None:
        """Something was queued by this process."""
        self._news = True
        self._queued.set()

    async def run(self) -> None:
        """Work without end; when cancelled, calls under way get some time to end."""
        self._worker = new_id()  # what an earlier run left is not this one's
        self._in_hand.clear()
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
        self._enter(await self._claim(self._partner.parallel))
        calls, self._ready = [call for *_, call in self._ready], []
        lines = {line: asyncio.Semaphore(line.most) for line in {call.line for call in calls}}

        async def call(one: Call) -> None:
            async with lines[one.line]:
                await self._call(one)

        await asyncio.gather(*map(call, calls))
        return len(calls)

    async def _stay_alive(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._sign_of_life()

    async def _sign_of_life(self) -> bool:
        try:
            async with self._database.reading() as connection:  # the statement stands on its own
                lost = await rows.alive(connection, self._worker, LEASE_SECONDS)
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
                for task in [task for task in running if task.done()]:
                    task.result()  # a fault ends this worker, so that its rows are taken over
                    running.remove(task)
                free = self._partner.parallel - len(running)
                if free <= 0:
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    continue
                self._queued.clear()
                if self._news or not self._ready or time.monotonic() >= self._look_at:
                    if not (self._ready or self._claims.more or self._claims.digging):
                        await asyncio.sleep(_GATHER_SECONDS)
                    woken, self._news = self._news, False
                    if not woken and self._at_rest(running) and not await self._waits():
                        idle = await self._rest(_EMPTY_SECONDS)
                        continue
                    self._enter(await self._claimed(1 if self._ready else free))
                    self._look_at = time.monotonic() + _LOOK_SECONDS
                before = len(running)
                await self._start(running)
                if len(running) > before:
                    idle = _IDLE_LEAST
                    if self._ready or self._claims.more:
                        continue
                if not self._claims.digging:
                    idle = await self._rest(idle)
        finally:
            if running:
                await asyncio.wait(running, timeout=GRACE_SECONDS)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await self._give_back()

    async def _start(self, running: set[asyncio.Task[None]]) -> None:
        """Start calls in hand, those of the earliest round first, as far as their lines allow."""
        for one in list(self._ready):
            if len(running) >= self._partner.parallel:
                return
            entered, _, call = one
            # What was meant for a line that is shut by now goes back at once.
            if call.line.free <= 0 and not call.line.shut:
                continue
            self._ready.remove(one)
            self._rounds.started(entered)
            task = asyncio.create_task(self._call(call))
            task.add_done_callback(lambda _: self._queued.set())
            running.add(task)
            await asyncio.sleep(0)  # it takes its place on the line

    async def _give_back(self) -> None:
        """What was claimed and never sent is nobody's."""
        calls, self._ready = [call for *_, call in self._ready], []
        for call in calls:
            back = Outcome(Result.UNKNOWN if call.ask else Result.RETRY, pause=0.0)
            try:
                async with asyncio.timeout(_IDLE_MOST):
                    await self._settle([(item, back) for item in call.items], call.ask)
            except TimeoutError:  # the next worker finds out
                return

    async def _rest(self, idle: float) -> float:
        """Wait for something to do; how long to wait the next time."""
        waits = [call.line.wait() or idle for *_, call in self._ready]
        waits += [idle, self._claims.soon() or idle]
        try:
            async with asyncio.timeout(max(min(waits), 0.001)):
                await self._queued.wait()
        except TimeoutError:
            return min(idle * 2, _IDLE_MOST)
        return _IDLE_LEAST

    def _at_rest(self, running: Collection[asyncio.Task[None]]) -> bool:
        """Nothing is known of that could be gone on with."""
        known = running or self._ready or self._claims.more or self._claims.digging
        return not known and time.monotonic() >= self._astray_until

    async def _waits(self) -> bool:
        """Whether there is anything to deliver; one statement, where a claim takes eight."""
        try:
            async with self._database.reading() as connection:
                return await rows.waits(connection, self._partner.name)
        except Exception:  # a claim will say what is the matter
            return True

    async def _claimed(self, calls: int) -> list[Call]:
        try:
            return await self._claim(calls)
        except Exception as error:
            log.warning("delivery interrupted", partner=self._partner.name, error=describe(error))
            await asyncio.sleep(_IDLE_MOST)
            return []

    async def _claim(self, calls: int) -> list[Call]:
        in_hand = {turn for *_, call in self._ready for turn in call.turns}
        try:
            async with self._database.transaction() as connection:
                if time.monotonic() < self._astray_until:
                    await rows.let_go(connection, self._worker, self._in_hand)
                claimed = await self._claims.take(connection, self._worker, calls, in_hand)
        except Exception:
            # It may have been committed, or be yet: items would be ours that we know nothing of.
            self._astray_until = time.monotonic() + LEASE_SECONDS
            raise
        self._in_hand.update(item.id for item in claimed)
        return calls_of(claimed, self._partner, self._line, self._sizes)

    def _enter(self, calls: Iterable[Call]) -> None:
        """Put calls where they belong among those in hand."""
        for call in calls:
            self._entered += 1
            bulk = any(lane != LANES[0] for lane, _ in call.turns)
            whose = (f"{lane} {agency}" for lane, agency in call.turns)
            entered = self._rounds.enter(whose, BULK_COST if bulk else 1)
            insort(self._ready, (entered, self._entered, call))

    async def _call(self, call: Call) -> None:
        """Call with what goes out together; a subject with more than a call takes needs several."""
        call.line.running += 1
        try:
            async with self._slots:
                stopped: set[str] = set()
                for start in range(0, len(call.items), call.size):
                    items = call.items[start : start + call.size]
                    await self._part(items, call.line, call.ask, stopped)
        finally:
            call.line.running -= 1

    async def _part(
        self, items: Sequence[Claimed], line: Line, ask: bool, stopped: set[str]
    ) -> None:
        """One call; where it is refused as a whole, its halves one after the other.

        Args:
            stopped: subjects of which an item did not get there: what follows goes back.
        """
        if line.shut:
            stopped.update(item.subject for item in items)
        if behind := [item for item in items if item.subject in stopped]:
            back = Outcome(Result.UNKNOWN if ask else Result.RETRY, pause=0.0)
            await self._settle([(item, back) for item in behind], ask)
            items = [item for item in items if item.subject not in stopped]
        if not items:
            return
        outcomes = [*zip(items, await self._outcomes(items, line, ask), strict=True)]
        whole = [item for item, outcome in outcomes if outcome.result is Result.WHOLE]
        if len(items) > 1:  # also where one is left: it was refused for another's sake
            outcomes = [pair for pair in outcomes if pair[1].result is not Result.WHOLE]
        stopped.update(
            item.subject for item, outcome in outcomes if outcome.result is not Result.DONE
        )
        await self._settle(outcomes, ask)
        if len(items) > 1:
            half = len(whole) // 2
            await self._part(whole[:half], line, ask, stopped)
            await self._part(whole[half:], line, ask, stopped)

    async def _outcomes(self, items: Sequence[Claimed], line: Line, ask: bool) -> Sequence[Outcome]:
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
        line.breaker.record(failed=any(outcome.partner_down for outcome in outcomes))
        if pause := max((outcome.pause or 0 for outcome in outcomes), default=0):
            line.breaker.hold(pause)
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
        self._in_hand.difference_update(item.id for item, _ in outcomes)
        for result, count in Counter(outcome.result for _, outcome in outcomes).items():
            self._telemetry.called(self._partner.name, result.value, count)
        if self._settled is not None:
            self._settled(outcomes)


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
            state, wait, reason = "unknown", _wait(item, outcome), reason or "not known"
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
