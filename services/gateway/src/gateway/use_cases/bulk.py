"""Bulk requests: one at a time takes each in, and what broke off is gone on with.

A line has a key of its own, made of the bulk request and its number: sent again it is the same
submission, whoever takes it in and however often. What is kept of the request as a whole only says
who is at it, how far it is, and which lines were refused.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from common.database import Database
from common.identifiers import new_id
from gateway.errors import BulkGap, BulkUnderWay, Busy, NoSuchBulk
from gateway.store import bulk as store
from gateway.store.bulk import Bulk, BulkState

_AT_ONCE = 4


@dataclass(slots=True)
class Held:
    """A bulk request that is being taken in here.

    Attributes:
        known: as far as it had come before.
    """

    known: Bulk
    holder: UUID = field(repr=False)

    def key(self, line: int) -> str:
        """What stands for the ``Idempotency-Key`` of a line; no client's own key has a space."""
        return f"bulk {self.known.id} {line}"


@dataclass(frozen=True, slots=True)
class Page:
    """A bulk request with some of the lines that were refused; ``next`` continues them."""

    bulk: Bulk
    refusals: list[tuple[int, dict[str, Any]]]
    next: int | None


class Bulks:
    """Bulk requests of this gateway, over all replicas."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._here: set[str] = set()

    @contextmanager
    def place(self, client_id: str) -> Iterator[None]:
        """One of the few bulk requests that this process takes in at the same time.

        Raises:
            Busy: there are as many as may be, or this client has one here already.
        """
        if client_id in self._here or len(self._here) >= _AT_ONCE:
            raise Busy(headers={"Retry-After": "10"})
        self._here.add(client_id)
        try:
            yield
        finally:
            self._here.discard(client_id)

    async def take_up(self, client_id: str, key: str, first: int) -> Held:
        """Begin with a bulk request, or go on with it.

        Args:
            key: the ``Idempotency-Key``.
            first: number of the first line that is sent now.

        Raises:
            BulkUnderWay: it is being taken in already.
            BulkGap: lines before the first one have never come.
        """
        holder = new_id()
        async with self._database.transaction() as connection:
            found = await store.take_up(connection, new_id(), client_id, key, holder)
            if found.held_for:
                raise BulkUnderWay(
                    "Lô này đang được tiếp nhận ở một kết nối khác",
                    "This bulk request is being taken in over another connection",
                    headers={"Retry-After": str(math.ceil(found.held_for))},
                )
            if first > found.lines + 1:
                raise BulkGap(
                    f"Mới nhận đến dòng {found.lines}",
                    f"Lines have come up to number {found.lines}",
                    errors=[{"pointer": "/from", "detail": "quá lớn", "detail_en": "too high"}],
                )
        return Held(found, holder)

    async def go_on(
        self,
        held: Held,
        *,
        lines: int,
        refused: Mapping[int, Mapping[str, Any]],
        accepted: Sequence[int],
    ) -> None:
        """Note what became of further lines.

        Args:
            lines: up to which line all have been dealt with.
            refused: the problem of each line that was refused.
            accepted: lines that were not.

        Raises:
            BulkUnderWay: it took so long that somebody else has taken the request up.
        """
        before = [line for line in accepted if line <= held.known.lines]
        async with self._database.transaction() as connection:
            if not await store.go_on(
                connection,
                held.known.id,
                held.holder,
                lines=lines,
                refused=refused,
                accepted=before,
            ):
                raise BulkUnderWay(
                    "Lô này đã được một kết nối khác tiếp nhận tiếp",
                    "Another connection has gone on with this bulk request",
                    headers={"Retry-After": str(store.LEASE_SECONDS)},
                )

    async def end(self, held: Held, state: BulkState) -> None:
        """It is not being taken in here any more."""
        async with self._database.transaction() as connection:
            await store.end(connection, held.known.id, held.holder, state)

    async def read(self, client_id: str, identifier: UUID, *, after: int, limit: int) -> Page:
        """How far a client's bulk request is, and lines of it that were refused.

        Raises:
            NoSuchBulk: this client has none of this id.
        """
        async with self._database.reading() as connection:
            found = await store.own(connection, identifier, client_id)
            if found is None:
                raise NoSuchBulk
            refused = await store.refusals(connection, identifier, after=after, limit=limit)
        following = refused[-1][0] if len(refused) == limit else None
        return Page(found, refused, following)
