"""The judgement of exports: chains record by record and block by block, single exchanges by proof.

A block is **intact** where its records lead to its link and root, its header names the one before,
and a trusted key signed it. It is **anchored** where besides a trusted authority stamped it, or a
later block that its hash reaches through the headers between: what stamped those stamped it too.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from backbone.log_verification.archive import Archive
from backbone.log_verification.exchanges import judge_exchanges
from backbone.log_verification.opening import Opened, check_signature, compare, opened
from backbone.log_verification.receipts import Receipt
from backbone.log_verification.report import Report, Run
from backbone.log_verification.trust import Stamp, Trust
from gateway.domain.log_export import Block, Malformed, Part, block_of, chained_of
from gateway.domain.proof import GENESIS, linked, root, stamped

LARGEST_BLOCK = 1_000_000
"""Records of a block: its hashes are held in memory."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Records that have to be there: a partition, and the first and last number."""

    partition: int
    first: int
    last: int


@dataclass
class _End:
    """Where a partition's chain has come to."""

    block: int
    last: int
    head: bytes
    link: bytes


@dataclass
class _Waiting:
    """Blocks that are intact, and wait for a stamp of a block behind them."""

    runs: list[Run] = field(default_factory=list)

    def flush(self, report: Report, stamp: Stamp | None = None) -> None:
        """They are anchored by this stamp, or by none that is to be had."""
        for run in self.runs:
            if stamp is not None:
                run.since = run.until = stamp.at
                run.authorities = {stamp.authority}
            report.intact(run)
        self.runs.clear()


def verify(
    exports: Sequence[Path],
    trust: Trust,
    expected: Sequence[Expected] = (),
    receipts: Sequence[Receipt] = (),
) -> Report:
    """Judge exports, which may continue each other in any order.

    Args:
        expected: what has to be there by its numbers.
        receipts: what has to be there because it was promised to clients.

    Raises:
        Refused: one of the files is no export.
    """
    report = Report()
    report.awaited = {(one.partition, one.record_hash) for one in receipts}
    with ExitStack() as stack:
        exports_read = [
            found
            for path in exports
            if (found := opened(stack.enter_context(Archive(path)), trust, report))
        ]
        chains = sorted(
            (
                (part, one)
                for one in exports_read
                if one.manifest.kind == "chains"
                for part in one.manifest.parts
            ),
            key=lambda chain: (chain[0].partition, chain[0].first_block),
        )
        ends: dict[int, _End] = {}
        waiting = _Waiting()
        for part, one in chains:
            if part.partition not in ends:
                waiting.flush(report)
            _Chain(part, one, trust, report, waiting).judge(ends)
        waiting.flush(report)
        for one in exports_read:
            if one.manifest.kind == "exchanges":
                for part in one.manifest.parts:
                    judge_exchanges(part, one, trust, report)
    for wanted in expected:
        _expect(wanted, report)
    for receipt in receipts:
        _promised(receipt, exports_read, report)
    return report


class _Chain:
    """One partition of an export, read once from its first record to its last."""

    def __init__(
        self, part: Part, export: Opened, trust: Trust, report: Report, waiting: _Waiting
    ) -> None:
        self._part = part
        self._name = export.archive.path.name
        self._keys = export.keys
        self._trust = trust
        self._report = report
        self._waiting = waiting
        self._blocks = export.archive.lines(part.files[0].name)
        self._lines = export.archive.lines(part.files[1].name)
        self._records = iter(self._lines)

    def judge(self, ends: dict[int, _End]) -> None:
        """Judge all blocks, and what the manifest says of them."""
        part = self._part
        end = _End(
            part.first_block - 1,
            part.first - 1,
            bytes.fromhex(part.previous),
            bytes.fromhex(part.link),
        )
        before = ends.get(part.partition)
        if before is not None and before != end:
            self._find("not-joined", f"khối | block {part.first_block}")
            self._waiting.flush(self._report)
        if part.first_block == 1 and (end.last, end.head, end.link) != (0, GENESIS, GENESIS):
            self._find("range", f"khối | block {part.first_block}")
        for line in self._blocks:
            end = self._block(line, end)
        for _ in self._records:
            self._find("record-order", f"sau bản ghi | after record {end.last}")
        if (end.block, end.last, end.head.hex()) != (part.last_block, part.last, part.head):
            self._find("range", f"{part.first}–{part.last}")
        compare((self._blocks.file(), self._lines.file()), part.files, self._name, self._report)
        ends[part.partition] = end

    def _block(self, line: bytes, end: _End) -> _End:
        try:
            block = block_of(line)
        except Malformed:
            self._find("block-line", f"sau khối | after block {end.block}")
            self._waiting.flush(self._report)
            return end
        header = block.header
        where = f"khối | block {header.number}"
        found = self._report.found
        if (header.partition, header.number, header.first) != (
            self._part.partition,
            end.block + 1,
            end.last + 1,
        ) or not header.first <= header.last < header.first + LARGEST_BLOCK:
            self._find("block-order", where)
            self._waiting.flush(self._report)
            # What would be read as its records says nothing; those of later blocks may.
            if not end.last < header.last < end.last + LARGEST_BLOCK:
                return _End(header.number, end.last, header.hash(), end.link)
        if header.previous != end.head:
            self._find("block-previous", where)
            self._waiting.flush(self._report)
        check_signature(block, self._keys, self._report, self._where(where))
        self._read(block, end)
        stamp = None
        if block.token is not None:
            stamp = self._trust.stamp(block.token, stamped(header, block.signature))
            if stamp is None:
                self._find("block-token", where)
        if self._report.found == found:
            self._waiting.runs.append(Run(header.partition, header.first, header.last))
        if stamp is not None:
            self._waiting.flush(self._report, stamp)
        return _End(header.number, header.last, header.hash(), header.link)

    def _read(self, block: Block, end: _End) -> None:
        """Hold the records against the header."""
        header = block.header
        link, hashes = end.link, []
        for number in range(end.last + 1, header.last + 1):
            line = next(self._records, None)
            where = f"bản ghi | record {number}"
            if line is None:
                self._find("record-order", where)
                return
            try:
                one = chained_of(line)
            except Malformed:
                self._find("record-line", where)
                continue
            if one.number != number:
                self._find("record-order", where)
            record_hash = one.record.hash()
            self._report.meet(header.partition, record_hash)
            hashes.append(record_hash)
            if one.link != linked(link, record_hash):
                self._find("record-link", where)
            link = one.link
        if link != header.link or not hashes or root(hashes) != header.root:
            self._find("block-records", f"khối | block {header.number}")

    def _find(self, code: str, where: str) -> None:
        self._report.find(code, self._where(where))

    def _where(self, where: str) -> str:
        return f"{self._name}, phân vùng | partition {self._part.partition}, {where}"


def _expect(wanted: Expected, report: Report) -> None:
    """Find what is missing of a range; intact runs of a partition come in order."""
    missing = wanted.first
    for run in report.runs:
        if run.partition == wanted.partition and run.first <= missing <= run.last:
            missing = run.last + 1
    if missing <= wanted.last:
        report.find("expected", f"{wanted.partition}:{missing}-{wanted.last}")


def _promised(receipt: Receipt, exports: Sequence[Opened], report: Report) -> None:
    """Find a receipt that no trusted key of the exports signed, or whose record is not there."""
    keys = [
        key for one in exports if (key := one.keys.get(receipt.key_id)) is not None and key.trusted
    ]
    if not any(key.signed(receipt.signature, receipt.content) for key in keys):
        report.find("receipt-signature", receipt.name)
    elif (receipt.partition, receipt.record_hash) in report.awaited:
        report.find("receipt-record", receipt.name)
    else:
        report.kept.append(receipt.name)
