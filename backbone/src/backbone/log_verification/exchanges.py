"""Single exchanges: each is led by its proof to the root of a block that is signed and stamped."""

from collections.abc import Iterable, Iterator

from backbone.log_verification.opening import Opened, check_signature, compare
from backbone.log_verification.report import Exchange, Report
from backbone.log_verification.trust import Stamp, Trust
from gateway.domain.log_export import Block, Malformed, Part, block_of, proven_of
from gateway.domain.proof import led_to, stamped


def judge_exchanges(part: Part, opened: Opened, trust: Trust, report: Report) -> None:
    """Judge the single exchanges of a partition; their blocks come in the same order."""
    name = opened.archive.path.name
    partition = f"{name}, phân vùng | partition {part.partition}"
    block_lines, lines = (opened.archive.lines(file.name) for file in part.files)
    blocks = _stamped_blocks(block_lines, part, opened, trust, report)
    number, at_block, first, last = 0, 0, 0, 0
    block: Block | None = None
    stamp: Stamp | None = None
    for line in lines:
        where = f"{partition}, sau bản ghi | after record {number}"
        try:
            one = proven_of(line)
        except Malformed:
            report.find("record-line", where)
            continue
        where = f"{partition}, bản ghi | record {one.number}"
        if one.number <= number:
            report.find("record-order", where)
        first, last, number = first or one.number, one.number, one.number
        while at_block < one.block and (found := next(blocks, None)) is not None:
            block, stamp = found
            at_block = block.header.number
        if block is None or at_block != one.block:
            report.find("block-order", where)
            continue
        header = block.header
        if not header.first <= one.number <= header.last:
            report.find("proof", where)
            continue
        count, place = header.last - header.first + 1, one.number - header.first
        if led_to(one.record.hash(), place, count, one.path) != header.root:
            report.find("proof", where)
            continue
        record = one.record
        report.meet(part.partition, record.hash())
        report.proven(
            Exchange(
                part.partition,
                one.number,
                record.at,
                record.form,
                record.subject,
                stamp.at if stamp else None,
                stamp.authority if stamp else "",
            )
        )
    for unused, _ in blocks:
        report.find("block-order", f"{partition}, khối | block {unused.header.number}")
    if (first, last) != (part.first, part.last) or at_block != part.last_block:
        report.find("range", partition)
    compare((block_lines.file(), lines.file()), part.files, name, report)


def _stamped_blocks(
    lines: Iterable[bytes], part: Part, opened: Opened, trust: Trust, report: Report
) -> Iterator[tuple[Block, Stamp | None]]:
    before = 0
    for line in lines:
        where = f"{opened.archive.path.name}, phân vùng | partition {part.partition}"
        try:
            block = block_of(line)
        except Malformed:
            report.find("block-line", f"{where}, sau khối | after block {before}")
            continue
        header = block.header
        where += f", khối | block {header.number}"
        if header.partition != part.partition or header.number <= before:
            report.find("block-order", where)
        if before == 0 and header.number != part.first_block:
            report.find("range", where)
        before = header.number
        check_signature(block, opened.keys, report, where)
        stamp = None
        if block.token is not None:
            stamp = trust.stamp(block.token, stamped(header, block.signature))
            if stamp is None:
                report.find("block-token", where)
        yield block, stamp
