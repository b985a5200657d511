"""Whole lives of dossiers: what a province's gateway would send, made up from a seed.

Agencies and procedures are real, people are not: names are drawn from common parts and identity
numbers carry a province code that no province has.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

_VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
_FAMILY = ("Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Phan", "Vũ", "Đặng", "Bùi", "Đỗ")
_MIDDLE = ("Văn", "Thị", "Hữu", "Ngọc", "Minh", "Thanh", "Quang", "Thu")
_GIVEN = ("An", "Bình", "Chi", "Dũng", "Giang", "Hà", "Khánh", "Lan", "Nam", "Phúc", "Thảo", "Yến")
_OFFICIALS = (
    ("Lý Thị Ánh", "Chuyên viên", "Bộ phận Một cửa"),
    ("Mai Đình Khoa", "Chuyên viên chính", "Phòng Tư pháp"),
    ("Tô Văn Thắng", "Phó trưởng phòng", "Phòng Kinh tế"),
)
_CA_NAMES = ("VNPT-CA", "Viettel-CA", "BkavCA", "FPT-CA")

KINDS = {
    "straight": 6,
    "refused": 2,
    "supplement": 4,
    "fee": 4,
    "signed": 4,
    "not-signed": 1,
    "withdrawn": 2,
    "paused": 1,
    "rated": 2,
    "extended": 2,
    "transferred": 2,
    "across-channels": 2,
}
"""Ways a life can go, with their weights."""

REFUSING_SIGNER = "099000000000"
"""The person who says no (the signing simulator is told to)."""


@dataclass(frozen=True)
class Life:
    """What will be sent for one dossier, in order.

    Attributes:
        submission: body of ``POST /v1/dossiers``.
        steps: bodies of ``POST /v1/dossiers/{code}/steps``; ``file`` of a result is filled in
            once the file was uploaded.
        status: the dossier's status (TrangThaiHoSo) in the end.
        wait_for_signature: number of the step before which the signature is waited for.
    """

    code: str
    kind: str
    submission: dict[str, Any]
    steps: tuple[dict[str, Any], ...]
    status: str
    wait_for_signature: int | None = None


@dataclass(frozen=True)
class Procedure:
    """As much of a procedure as a client needs to know."""

    code: str
    name: str


def lives(
    count: int,
    agencies: Sequence[str],
    procedures: Sequence[Procedure],
    seed: int,
    first: int = 1,
) -> list[Life]:
    """So many lives, spread over the agencies; the same for the same arguments and day.

    Args:
        first: number of the first dossier of the day.
    """
    chance = random.Random(seed)
    today = morning(datetime.now(UTC))
    kinds = list(KINDS)
    # Every way a life can go occurs, however few there are.
    drawn = kinds + chance.choices(kinds, [KINDS[kind] for kind in kinds], k=count)
    return [
        _life(first + number, drawn[number], chance, agencies, procedures, today)
        for number in range(count)
    ]


def morning(now: datetime) -> datetime:
    """Eight o'clock of the day that it is in Vietnam: what is handed in belongs to no day before,
    which a reconciliation of the night would look at."""
    there = now.astimezone(_VIETNAM)
    return there.replace(hour=8, minute=0, second=0, microsecond=0).astimezone(UTC)


def _life(
    number: int,
    kind: str,
    chance: random.Random,
    agencies: Sequence[str],
    procedures: Sequence[Procedure],
    today: datetime,
) -> Life:
    agency = chance.choice(agencies)
    code = f"000.00.00.{agency}-{today:%y%m%d}-{number:04d}"
    procedure = chance.choice(procedures)
    successor = chance.choice([other for other in agencies if other != agency])
    start = today + timedelta(minutes=chance.randrange(300))
    submission = {
        "code": code,
        "procedure": procedure.code,
        "channel": "2" if chance.random() < 0.8 else "1",
        "applicant": _applicant(chance, number),
        "summary": f"Đề nghị giải quyết: {procedure.name}"[:300],
        "submitted_at": start.isoformat(),
        "processing_unit": "Trung tâm Phục vụ hành chính công",
        "documents": [
            {"id": f"{code}/don", "name": "Đơn đề nghị", "digitised": True},
            {"id": f"{code}/giay-to", "name": "Bản sao giấy tờ kèm theo"},
        ],
    }
    steps = []
    for minutes, step in enumerate(_steps(kind, code, successor, chance, start), start=1):
        at = start + timedelta(minutes=30 * minutes)
        steps.append({**step, "at": at.isoformat()})
    waits = len(steps) - 1 if kind == "signed" else None
    return Life(code, kind, submission, tuple(steps), _LAST_STATUS[kind], waits)


_LAST_STATUS = {
    "straight": "10",
    "refused": "3",
    "supplement": "10",
    "fee": "10",
    "signed": "10",
    "not-signed": "9",
    "withdrawn": "7",
    "paused": "8",
    "rated": "10",
    "extended": "10",
    "transferred": "10",
    "across-channels": "10",
}


def _steps(
    kind: str, code: str, successor: str, chance: random.Random, start: datetime
) -> list[dict[str, Any]]:
    def official() -> dict[str, str]:
        name, title, department = chance.choice(_OFFICIALS)
        return {"name": name, "title": title, "department": department}

    days = chance.randrange(3, 20)
    receive = {
        "kind": "receive",
        "official": official(),
        "note": "Tiếp nhận hồ sơ",
        "due_at": (start + timedelta(days=days)).isoformat(),
        "receipt_number": f"BN-{code[-4:]}",
    }
    progress = {"kind": "progress", "official": official(), "note": "Thẩm định hồ sơ"}
    complete = {"kind": "complete", "official": official(), "note": "Đã xử lý xong"}
    hand_over = {"kind": "return", "official": official(), "note": "Trả kết quả"}
    refuse = {
        "kind": "refuse",
        "official": official(),
        "reason": "Hồ sơ không thuộc thẩm quyền giải quyết",
    }
    ask = {
        "kind": "request-supplement",
        "official": official(),
        "content": "Bổ sung bản sao có chứng thực",
    }
    give = {
        "kind": "give-supplement",
        "documents": [{"id": f"{code}/bo-sung", "name": "Bản sao có chứng thực"}],
    }
    fee = {"code": "LP01", "name": "Lệ phí", "amount": chance.randrange(1, 50) * 10_000}
    ask_fee = {"kind": "request-fee", "official": official(), "fees": [fee]}
    pay = {"kind": "record-fee", "online": chance.random() < 0.7}
    signer = REFUSING_SIGNER if kind == "not-signed" else f"099{chance.randrange(1, 10**9):09d}"
    result = {
        "id": f"{code}/ket-qua",
        "name": "Kết quả giải quyết thủ tục hành chính",
        "signing": {"user": signer, "ca_name": chance.choice(_CA_NAMES)},
    }
    to_sign = {**complete, "results": [result]}
    extend = {
        "kind": "extend",
        "official": official(),
        "due_at": (start + timedelta(days=days + 5)).isoformat(),
        "reason": "Cần xác minh thêm",
    }
    transfer = {
        "kind": "transfer",
        "official": official(),
        "agency": successor,
        "reason": "Chuyển đúng cơ quan có thẩm quyền",
    }
    rate = {"kind": "rate", "satisfaction": "satisfied", "source": "khảo sát tại Một cửa"}
    straight = [receive, progress, complete, hand_over]
    ways: dict[str, list[dict[str, Any]]] = {
        "straight": [receive, progress, {**progress, "note": "Trình ký"}, complete, hand_over],
        "refused": [refuse],
        "supplement": [receive, ask, give, progress, complete, hand_over],
        "fee": [receive, progress, ask_fee, pay, complete, hand_over],
        "signed": [receive, progress, to_sign, hand_over],
        "not-signed": [receive, progress, to_sign],
        "withdrawn": [receive, {"kind": "withdraw", "reason": "Người dân rút hồ sơ"}],
        "paused": [
            receive,
            progress,
            {"kind": "pause", "official": official(), "reason": "Có tranh chấp"},
        ],
        "rated": [*straight, rate],
        "extended": [receive, extend, progress, complete, hand_over],
        "transferred": [receive, transfer, progress, complete, hand_over],
        # Begun online, continued at the counter, the result by post.
        "across-channels": [
            {**receive, "channel": "1"},
            {**ask, "channel": "1"},
            {**give, "channel": "1"},
            {**progress, "channel": "1"},
            {**complete, "channel": "1"},
            {**hand_over, "channel": "3"},
        ],
    }
    return ways[kind]


def _applicant(chance: random.Random, number: int) -> dict[str, Any]:
    name = f"{chance.choice(_FAMILY)} {chance.choice(_MIDDLE)} {chance.choice(_GIVEN)}"
    return {
        "kind": "1",
        "name": name,
        "identity": {"type": "citizen-id", "number": f"099{chance.randrange(10**9):09d}"},
        "phone": f"0900{number % 10**6:06d}",
        "email": f"nguoi-dan-{number}@example.vn",
        "address": "Thôn Ví Dụ, xã Thử Nghiệm",
    }
