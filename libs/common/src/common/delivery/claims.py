"""What is claimed: lane by lane, agency by agency, line by line."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from common.delivery import rows
from common.delivery.line import Lines
from common.delivery.partner import LANES, Ability, Claimed, Partner, Prepare

BULK_COST = 8
"""Of so many claims bulk goes first in one, and its calls count as so many: its part of a busy
partner. What live leaves over is bulk's as well."""
_AGENCIES_AT_ONCE = 100
_CLAIMS_A_SWEEP = 16
"""Every so many claims what cannot go is put off also where enough else can."""


class Claims:
    """Whose turn it is, and how much of it.

    Args:
        line_of: over which line an agency's items go.
        prepare: called with every claim.

    Attributes:
        digging: nothing that can go was found, but there may be something behind what was.
        more: there may be more that can go than was claimed.
    """

    def __init__(self, partner: Partner, line_of: Lines, prepare: Prepare | None) -> None:
        self._partner = partner
        self._line = line_of
        self._prepare = prepare
        self._served = dict.fromkeys(LANES, "")
        self._barred: dict[str, None] = {}
        """Agencies with items whose line was not free, in the order in which they were met."""
        self._claims = 0
        self._in_hand: Collection[rows.Turn] = ()
        self.digging = self.more = False

    def soon(self) -> float | None:
        """Seconds until a line may be free that was not; None where there is none."""
        return min((self._line(agency).wait() for agency in self._barred), default=None)

    async def take(
        self,
        connection: AsyncConnection,
        worker: UUID,
        calls: int,
        in_hand: Collection[rows.Turn] = (),
    ) -> list[Claimed]:
        """Claim as much as some calls take.

        Args:
            in_hand: agencies of which calls wait to be started: they have had their turn.
        """
        self._in_hand = in_hand
        most = self._partner.batch * calls
        self._claims += 1
        self.digging, self.more = False, bool(in_hand)
        found: list[rows.Found] = []
        bulk_first = self._claims % BULK_COST == 0
        for lane in LANES[::-1] if bulk_first else LANES:
            left = most - len(found)
            if lane != LANES[0] and not bulk_first and calls == 1 < self._partner.parallel:
                continue  # the last free call is kept for what comes live
            if left > 0:
                found += await self._of_lane(connection, worker, lane, left)
        claimed, torn = self._in_order(found)
        if torn:
            await rows.release(connection, torn)
        if claimed and self._prepare is not None:
            await self._prepare(connection, claimed)
        return claimed

    async def _of_lane(
        self, connection: AsyncConnection, worker: UUID, lane: str, most: int
    ) -> list[rows.Found]:
        """Up to so many items of a lane, shared evenly between the agencies that are next."""
        name, batch = self._partner.name, self._partner.batch
        at_once = min(most, _AGENCIES_AT_ONCE)
        turns = await self._turns(connection, lane, at_once)
        if not turns:
            return []
        # A line that is tried out after failures gets a single item.
        lines = {turn: self._line(turn[1]) for turn in turns}
        shared = Counter(lines.values())
        even = max(1, most // len(turns))
        shares = [
            1 if line.breaker.open else max(1, min(even, batch * line.free // shared[line]))
            for line in lines.values()
        ]
        found = await rows.claim(connection, name, worker, turns, shares)
        given = Counter(one.turn for one in found)
        self.more |= len(turns) == at_once
        self.more |= any(given[turn] >= share for turn, share in zip(turns, shares, strict=True))
        left = most - len(found)
        more = [turn for turn in turns if given[turn] >= even][:left]
        if more and left >= most // 2:
            room = {line: batch * line.free for line in shared}
            for turn in turns:
                room[lines[turn]] -= given[turn]
            shared = Counter(lines[turn] for turn in more)
            each = left // len(more)
            further = [max(0, min(each, room[lines[t]] // shared[lines[t]])) for t in more]
            found += await rows.claim(connection, name, worker, more, further)
        now_and_then = self._claims % _CLAIMS_A_SWEEP == 0
        dry = [turn for turn in turns if now_and_then or not given[turn]]
        put_off = await rows.defer(connection, name, dry) if dry else 0
        self.digging |= not found and put_off > 0
        return found

    async def _turns(self, connection: AsyncConnection, lane: str, most: int) -> list[rows.Turn]:
        """Agencies with something to do, whose line is free and of which no call is in hand."""
        self._barred = {name: None for name in self._barred if self._line(name).free <= 0}
        after = (lane, self._served[lane])
        shut = [*self._barred, *(agency for held, agency in self._in_hand if held == lane)]
        ring = await rows.turns(connection, self._partner.name, after, most, shut)
        if not ring:
            return []
        self._served[lane] = ring[-1][1]
        turns, tried = [], set()
        for turn in ring:
            line = self._line(turn[1])
            if line.free <= 0:
                self._barred[turn[1]] = None
            elif not line.breaker.open:
                turns.append(turn)
            elif line not in tried:
                tried.add(line)
                turns.append(turn)
        # Behind those there may be others that can go.
        self.digging |= not turns
        return turns

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
