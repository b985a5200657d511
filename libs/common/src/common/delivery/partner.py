"""What is delivered, to whom, and what can become of it."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

LANES = ("live", "bulk")
"""Live goes first; bulk has a part of its own all the same."""


class Ability(StrEnum):
    """What a partner can confirm about an item afterwards."""

    LOOK_UP = "look-up"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Item:
    """Something to deliver.

    Attributes:
        agency: whose item it is, for fairness.
        subject: items of one subject keep their order.
        kind: what it is, in the adapter's words.
        key: its natural key at the partner; queued again under the same kind and key, a newer
            version takes the place of the older one.
        waits: whether it goes out after everything queued before it for its subject. A snapshot
            need not: it would only grow old behind an item that is held.
        lane: ``live``, or ``bulk``, which goes behind.
    """

    agency: str
    subject: str
    kind: str
    key: str
    body: bytes
    version: int = 1
    traceparent: str | None = None
    lane: str = "live"
    waits: bool = True


@dataclass(frozen=True, slots=True)
class Claimed:
    """An item that this worker is delivering."""

    id: int
    agency: str
    subject: str
    kind: str
    key: str
    version: int
    body: bytes
    traceparent: str | None
    attempts: int
    asking: bool
    """Its last call had an unknown outcome."""
    asked_version: int | None
    """The version that was sent then."""
    maybe_doubled: bool
    """It was sent before, with an outcome that nobody can tell."""
    lane: str = "live"


class Result(StrEnum):
    """What became of an item."""

    DONE = "done"
    RETRY = "retry"
    """Certainly not done."""
    UNKNOWN = "unknown"
    """Perhaps done: the call was sent and not (understandably) answered."""
    NOT_THERE = "not-there"
    """Asked about, and the partner does not have it: send it."""
    REFUSED = "refused"
    """The partner will never take it like this: held for an operator."""
    WHOLE = "whole"
    """The call was refused as a whole, perhaps because of another item: send in halves."""
    AGAIN = "again"
    """Not done and to be sent again at once in another form (the adapter has noted which)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one item.

    Attributes:
        reason: for operators; no personal data.
        pause: seconds for which the partner asked not to be called (``Retry-After``).
        partner_down: counts for the breaker: the partner as such, not this item, failed.
    """

    result: Result
    reason: str | None = None
    pause: float | None = None
    partner_down: bool = False


class Partner(Protocol):
    """An adapter: how one partner is called. It never raises; every item gets an outcome."""

    name: str
    batch: int
    """How many items one call takes."""
    parallel: int
    """How many calls may run at the same time."""

    def ability(self, kind: str) -> Ability:
        """What the partner can confirm for this kind of item."""

    def group(self, item: Claimed) -> Hashable:
        """Items with equal groups may share a call."""

    async def send(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        """One call with items of one group."""

    async def ask(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        """Ask what became of items (DONE, NOT_THERE, AGAIN, or UNKNOWN still)."""

    async def settled(
        self, connection: AsyncConnection, outcomes: Sequence[tuple[Claimed, Outcome]]
    ) -> None:
        """Note outcomes in the service's own tables, in the transaction that settles them."""


Prepare = Callable[[AsyncConnection, Sequence[Claimed]], Awaitable[None]]
"""Reads, in the transaction that claims items, what an adapter must know to group and send them."""
