"""Exports of the message log, written while they are read: memory is bounded at any size."""

import asyncio
import base64
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol
from uuid import UUID

from common.errors import Busy
from gateway.domain.log_choice import Chain, Choice, Days, NotInTheLog, Selection
from gateway.domain.log_export import (
    FORMAT,
    KEYS,
    MANIFEST,
    SIGNATURE,
    Block,
    Chained,
    Kind,
    Manifest,
    Part,
    Proven,
    blocks_name,
    described,
    lines_name,
    paths,
)
from gateway.domain.proof import GENESIS, canonical, moment
from gateway.use_cases.zip_stream import ZipStream

_PAGE_BLOCKS = 100
_PAGE_RECORDS = 1000
_AT_ONCE = 2


class LogKey(Protocol):
    """A key of the message log."""

    @property
    def id(self) -> str:
        """What headers name it by."""

    @property
    def public(self) -> dict[str, str]:
        """The JSON Web Key."""

    def sign(self, data: bytes) -> bytes:
        """ES256, r and s in 64 bytes."""


class Source(Protocol):
    """The sealed part of a message log."""

    async def blocks(self, partition: int, first: int, last: int) -> Sequence[Block]:
        """The blocks with these numbers, in order.

        Raises:
            NotInTheLog: records of theirs are not here any more.
        """

    async def link(self, partition: int, number: int) -> bytes:
        """The link of a block's last record, also where its records are not here any more.

        Raises:
            NotInTheLog: there is no such block.
        """

    async def records(self, partition: int, first: int, last: int) -> Sequence[Chained]:
        """The records with these numbers, in order, as they are in the table."""

    async def chosen(self, choice: Choice) -> Sequence[tuple[int, int]]:
        """Partition and number of the chosen records, in order."""

    async def holding(self, partition: int, numbers: Sequence[int]) -> Sequence[Block]:
        """The blocks that hold these records, each once, in order."""

    async def some(self, partition: int, numbers: Sequence[int]) -> Sequence[Chained]:
        """These records, in order."""

    async def hashes(self, partition: int, first: int, last: int) -> Sequence[bytes]:
        """The records' hashes, in order, as they are in the table."""

    async def keys(self, ids: Sequence[str]) -> Sequence[dict[str, Any]]:
        """The public keys (JWK) with these ids."""

    async def place(self, identifier: UUID) -> tuple[int, int]:
        """Partition and number of the record with this id.

        Raises:
            NotInTheLog: there is none, or it is not sealed yet.
        """

    async def between(self, since: datetime, until: datetime) -> Sequence[Chain]:
        """The blocks of every partition that were sealed in this time; the end is not part."""

    async def around(self, partition: int, first: int, last: int) -> Chain:
        """The blocks that these records are in.

        Raises:
            NotInTheLog: there are none.
        """


class LogExport:
    """Writes exports.

    Args:
        source: the log.
        key: signs manifests.
        system: whose log it is.
    """

    def __init__(self, source: Source, key: LogKey, system: str) -> None:
        self._source = source
        self._key = key
        self._system = system
        self._running = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Room for one more export.

        Raises:
            Busy: as many run as may at the same time.
        """
        if self._running >= _AT_ONCE:
            raise Busy(headers={"Retry-After": "30"})
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def of(self, selection: Selection) -> AsyncIterator[bytes]:
        """The export of what is selected, in parts as they come.

        Raises:
            NotInTheLog: there is nothing of it, or it is not here any more.
            TooManyChosen: more single exchanges than one export proves.
        """
        parts: AsyncIterator[bytes]
        match selection:
            case Choice():
                parts = self.exchanges(selection)
            case Days():
                chains = await self._source.between(*selection.span())
                parts = self.chains(chains, selection.told())
            case _:
                chain = await self._source.around(
                    selection.partition, selection.first, selection.last
                )
                parts = self.chains([chain], selection.told())
        async for part in parts:
            yield part

    def blocks(self, partition: int, first_block: int, last_block: int) -> AsyncIterator[bytes]:
        """The export of a run of blocks, as ``chains``."""
        return self.chains([Chain(partition, first_block, last_block)])

    async def chains(
        self, chains: Sequence[Chain], selection: dict[str, str] | None = None
    ) -> AsyncIterator[bytes]:
        """The export of whole chains, in parts as they come.

        Args:
            selection: what was asked for, for the manifest.

        Raises:
            NotInTheLog: blocks or records are not here (any more).
        """
        if not chains:
            raise NotInTheLog("nothing was sealed then")
        written = _Written()
        with ZipStream() as archive:
            for chain in chains:
                async for got in self._chain(archive, chain, written):
                    yield got
            async for got in self._closed(archive, "chains", selection or {}, written):
                yield got

    async def exchanges(self, choice: Choice) -> AsyncIterator[bytes]:
        """The export of single exchanges with their inclusion proofs, in parts as they come.

        Raises:
            NotInTheLog: no sealed record fits, or it is not here any more.
        """
        chosen = await self._source.chosen(choice)
        if not chosen:
            raise NotInTheLog("no sealed record fits")
        written = _Written()
        with ZipStream() as archive:
            for partition, pairs in groupby(chosen, key=itemgetter(0)):
                numbers = [number for _, number in pairs]
                async for got in self._chosen(archive, partition, numbers, written):
                    yield got
            async for got in self._closed(archive, "exchanges", choice.told(), written):
                yield got

    async def proven(self, partition: int, number: int) -> tuple[Block, Proven]:
        """One record with its block and its inclusion proof.

        Raises:
            NotInTheLog: there is none, or the records of its block are not here any more.
        """
        for block in await self._source.holding(partition, [number]):
            for proven in await self._proofs(block, [number]):
                return block, proven
        raise NotInTheLog("no such record")

    async def _chain(
        self, archive: ZipStream, chain: Chain, written: "_Written"
    ) -> AsyncIterator[bytes]:
        first: Block | None = None
        last: Block | None = None
        archive.begin(blocks_name(chain.partition))
        for start in range(chain.first_block, chain.last_block + 1, _PAGE_BLOCKS):
            end = min(start + _PAGE_BLOCKS - 1, chain.last_block)
            page = await self._source.blocks(chain.partition, start, end)
            if len(page) != end - start + 1:
                raise NotInTheLog(f"blocks {start} to {end} of partition {chain.partition}")
            first, last = first or page[0], page[-1]
            yield await archive.write([block.line() for block in page])
            written.key_ids.update(block.header.key_id for block in page)
        blocks = archive.end()
        if first is None or last is None:
            raise NotInTheLog("no blocks")
        link = await self._link_before(first)
        archive.begin(lines_name("chains", chain.partition))
        for number in range(first.header.first, last.header.last + 1, _PAGE_RECORDS):
            end = min(number + _PAGE_RECORDS - 1, last.header.last)
            records = await self._source.records(chain.partition, number, end)
            yield await archive.write([record.line() for record in records])
        written.parts.append(
            Part(
                partition=chain.partition,
                first=first.header.first,
                last=last.header.last,
                first_block=first.header.number,
                last_block=last.header.number,
                previous=first.header.previous.hex(),
                link=link.hex(),
                head=last.header.hash().hex(),
                files=(blocks, archive.end()),
            )
        )

    async def _link_before(self, block: Block) -> bytes:
        header = block.header
        if header.number == 1:
            return GENESIS
        return await self._source.link(header.partition, header.number - 1)

    async def _chosen(
        self, archive: ZipStream, partition: int, numbers: Sequence[int], written: "_Written"
    ) -> AsyncIterator[bytes]:
        # Two walks over the same blocks, since a zip takes one file after the other.
        touched: list[int] = []
        archive.begin(blocks_name(partition))
        async for block, _ in self._holding(partition, numbers):
            touched = [*touched[:1], block.header.number]
            written.key_ids.add(block.header.key_id)
            yield await archive.write([block.line()])
        blocks = archive.end()
        archive.begin(lines_name("exchanges", partition))
        async for block, held in self._holding(partition, numbers):
            yield await archive.write([one.line() for one in await self._proofs(block, held)])
        written.parts.append(
            Part(
                partition=partition,
                first=numbers[0],
                last=numbers[-1],
                first_block=touched[0],
                last_block=touched[-1],
                previous="",
                link="",
                head="",
                files=(blocks, archive.end()),
            )
        )

    async def _holding(
        self, partition: int, numbers: Sequence[int]
    ) -> AsyncIterator[tuple[Block, list[int]]]:
        """Each block that holds some of the records, with the numbers of those."""
        place = 0
        while place < len(numbers):
            page = numbers[place : place + _PAGE_RECORDS]
            for block in await self._source.holding(partition, page):
                end = bisect_right(numbers, block.header.last, lo=place)
                if held := list(numbers[place:end]):  # a block of the page before comes again
                    yield block, held
                place = end

    async def _proofs(self, block: Block, numbers: Sequence[int]) -> list[Proven]:
        header = block.header
        hashes = await self._source.hashes(header.partition, header.first, header.last)
        records = await self._source.some(header.partition, numbers)
        if len(hashes) != header.last - header.first + 1 or len(records) != len(numbers):
            raise NotInTheLog(f"records of block {header.number} of partition {header.partition}")
        found = await asyncio.to_thread(paths, hashes, [one - header.first for one in numbers])
        return [
            Proven(one.number, header.number, nodes, one.record)
            for one, nodes in zip(records, found, strict=True)
        ]

    async def _closed(
        self, archive: ZipStream, kind: Kind, selection: dict[str, str], written: "_Written"
    ) -> AsyncIterator[bytes]:
        keys = {one["kid"]: one for one in await self._source.keys(sorted(written.key_ids))}
        keys[self._key.id] = self._key.public
        key_set = canonical({"keys": [keys[one] for one in sorted(keys)]})
        manifest = Manifest(
            format=FORMAT,
            kind=kind,
            system=self._system,
            made_at=moment(datetime.now(UTC)),
            selection=selection,
            keys=described(KEYS, key_set),
            parts=tuple(written.parts),
        ).content()
        signature = await asyncio.to_thread(self._key.sign, manifest)
        signed = canonical(
            {"key_id": self._key.id, "signature": base64.b64encode(signature).decode()}
        )
        for name, content in ((KEYS, key_set), (MANIFEST, manifest), (SIGNATURE, signed)):
            archive.whole(name, content)
        yield archive.close()


@dataclass
class _Written:
    """What the export has so far."""

    parts: list[Part] = field(default_factory=list)
    key_ids: set[str] = field(default_factory=set)
