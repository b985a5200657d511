"""What a verification says, in Vietnamese and English."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

MOST_TOLD = 50
"""Findings that are told in full; the others are only counted."""

FINDINGS: dict[str, tuple[str, str]] = {
    "manifest": ("bản kê (manifest) không đúng dạng", "the manifest is not as exports have it"),
    "manifest-signature": (
        "chữ ký của bản kê không đúng",
        "the signature of the manifest does not match",
    ),
    "files": ("các tệp không khớp với bản kê", "the files are not those that the manifest names"),
    "file": ("tệp khác với bản kê", "the file differs from what the manifest says"),
    "keys": ("danh sách khóa không đúng dạng", "the set of keys is not as exports have it"),
    "unknown-key": ("khóa ký không có trong bản trích", "the signing key is not in the export"),
    "untrusted-key": (
        "khóa ký không thuộc danh sách tin cậy",
        "nothing trusted vouches for the signing key",
    ),
    "key-period": (
        "chứng thư của khóa không có hiệu lực vào lúc niêm phong",
        "the certificate of the key was not valid when the block was sealed",
    ),
    "block-line": ("dòng của khối không đúng dạng", "the line of a block is not as it was written"),
    "block-order": (
        "khối thiếu, thừa hoặc sai thứ tự",
        "a block is missing, added or out of order",
    ),
    "block-previous": (
        "khối không nối với khối trước",
        "the header does not name the header before it",
    ),
    "block-signature": ("chữ ký của khối không đúng", "the signature of the block does not match"),
    "block-token": (
        "dấu thời gian không đúng hoặc không từ tổ chức tin cậy",
        "the timestamp is wrong, or of nobody trusted",
    ),
    "record-line": (
        "dòng bản ghi không đúng dạng",
        "the line of a record is not as it was written",
    ),
    "record-order": (
        "bản ghi thiếu, thừa hoặc sai thứ tự",
        "a record is missing, added or out of order",
    ),
    "record-link": ("bản ghi đã bị sửa", "the record was changed: its link does not match"),
    "block-records": (
        "các bản ghi không khớp với khối đã niêm phong",
        "the records are not those that the block was sealed over",
    ),
    "proof": (
        "đường chứng minh không dẫn đến gốc của khối",
        "the inclusion proof does not lead to the root of its block",
    ),
    "range": (
        "phạm vi khác với bản kê",
        "the range is another one than the manifest says",
    ),
    "not-joined": (
        "không nối liền với bản trích trước",
        "it does not join the export before it",
    ),
    "receipt-signature": (
        "biên nhận không do khóa tin cậy ký",
        "no trusted key signed the receipt",
    ),
    "receipt-record": (
        "thiếu bản ghi mà biên nhận cam kết",
        "the record that the receipt promises is missing",
    ),
    "expected": ("thiếu bản ghi của phạm vi yêu cầu", "records of the expected range are missing"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: a code of ``FINDINGS``, and where."""

    code: str
    where: str


@dataclass(slots=True)
class Run:
    """Records next to each other that are intact, with the same standing.

    Attributes:
        since, until: earliest and latest time that authorities certify for its blocks; none
            where it is not anchored yet.
    """

    partition: int
    first: int
    last: int
    since: datetime | None = None
    until: datetime | None = None
    authorities: set[str] = field(default_factory=set)

    @property
    def anchored(self) -> bool:
        """Whether a trusted authority certifies when it was there."""
        return self.since is not None


@dataclass(slots=True)
class Exchange:
    """A single record that is intact."""

    partition: int
    number: int
    at: datetime
    form: str
    subject: str
    anchored: datetime | None
    authority: str = ""


@dataclass
class Report:
    """What was found."""

    findings: list[Finding] = field(default_factory=list)
    found: int = 0
    runs: list[Run] = field(default_factory=list)
    exchanges: int = 0
    exchanges_waiting: int = 0
    shown: list[Exchange] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    awaited: set[tuple[int, bytes]] = field(default_factory=set)
    """Partition and hash of records that receipts promise, until they are met."""
    kept: list[str] = field(default_factory=list)
    """Names of receipts whose records are there."""

    def find(self, code: str, where: str) -> None:
        """Something is wrong."""
        self.found += 1
        if len(self.findings) < MOST_TOLD:
            self.findings.append(Finding(code, where))

    def intact(self, run: Run) -> None:
        """A run of records is intact; it is joined to the one before where it continues it."""
        last = self.runs[-1] if self.runs else None
        if (
            last is not None
            and last.partition == run.partition
            and last.last + 1 == run.first
            and last.anchored == run.anchored
        ):
            last.last = run.last
            if last.since and last.until and run.since and run.until:
                last.since = min(last.since, run.since)
                last.until = max(last.until, run.until)
            last.authorities |= run.authorities
        else:
            self.runs.append(run)

    def proven(self, exchange: Exchange) -> None:
        """A single record is intact."""
        self.exchanges += 1
        self.exchanges_waiting += exchange.anchored is None
        if len(self.shown) < MOST_TOLD:
            self.shown.append(exchange)

    def meet(self, partition: int, record_hash: bytes) -> None:
        """This record is there."""
        self.awaited.discard((partition, record_hash))

    @property
    def waiting(self) -> bool:
        """Whether something is intact that nobody outside has certified yet."""
        return self.exchanges_waiting > 0 or any(not run.anchored for run in self.runs)

    @property
    def exit_code(self) -> int:
        """0 all intact and anchored, 1 something is wrong, 3 intact but not all anchored yet."""
        if self.found or not (self.runs or self.exchanges):
            return 1
        return 3 if self.waiting else 0

    def lines(self) -> Iterator[str]:
        """What the auditor reads; what an export says cannot steer the terminal."""
        for line in self._lines():
            yield "".join(one if one.isprintable() else "\ufffd" for one in line)

    def _lines(self) -> Iterator[str]:
        for told in self.read:
            yield f"·  {told}"
        for run in self.runs:
            yield from _told(run)
        for one in self.shown:
            yield _exchange(one)
        if self.exchanges > len(self.shown):
            more = self.exchanges - len(self.shown)
            yield f"   … và {more} giao dịch nguyên vẹn khác | and {more} other intact exchanges"
        for name in self.kept:
            yield f"✓  {name}: bản ghi của biên nhận có mặt | the promised record is there"
        for finding in self.findings:
            vi, en = FINDINGS[finding.code]
            yield f"✗  {finding.where}: {vi} | {en} [{finding.code}]"
        if self.found > len(self.findings):
            more = self.found - len(self.findings)
            yield f"   … và {more} sai lệch khác | and {more} further findings"
        yield _verdict(self)


def _told(run: Run) -> Iterator[str]:
    where_vi = f"phân vùng {run.partition}, bản ghi {run.first}–{run.last}"
    where_en = f"partition {run.partition}, records {run.first}–{run.last}"
    if run.since is None or run.until is None:
        yield (
            f"!  {where_vi}: nguyên vẹn theo chữ ký, CHƯA có dấu thời gian"
            f" | {where_en}: intact by our signature, NOT anchored yet"
        )
        return
    yield f"✓  {where_vi}: nguyên vẹn, đã neo | {where_en}: intact and anchored"
    yield (
        f"   dấu thời gian | timestamps: {_moment(run.since)} – {_moment(run.until)},"
        f" {'; '.join(sorted(run.authorities))}"
    )


def _exchange(one: Exchange) -> str:
    text = (
        f"phân vùng | partition {one.partition}, bản ghi | record {one.number}: {one.form}"
        f" {one.subject}, {_moment(one.at)}: nguyên vẹn | intact"
    )
    if one.anchored is None:
        return f"!  {text}, CHƯA có dấu thời gian | NOT anchored yet"
    return f"✓  {text}, dấu thời gian | timestamp {_moment(one.anchored)}, {one.authority}"


def _verdict(report: Report) -> str:
    if report.exit_code == 1:
        return (
            f"KẾT LUẬN: KHÔNG nguyên vẹn, {report.found} sai lệch"
            f" | VERDICT: NOT intact, {report.found} findings"
        )
    if report.exit_code == 3:
        return (
            "KẾT LUẬN: nguyên vẹn, một phần chưa neo thời gian"
            " | VERDICT: intact, part of it not anchored yet"
        )
    return "KẾT LUẬN: nguyên vẹn và đã neo thời gian | VERDICT: intact and anchored"


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
