"""Commands on dossiers, in few words, and the events that carry them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from common.contracts.base import Event
from common.contracts.commands import Command
from common.contracts.gateway import SubmissionReceived
from common.envelope import Draft, encode
from common.identifiers import new_id

AGENCY = "H10.15"
START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
FILE, SIGNED = "a" * 64, "b" * 64

_COMMAND: TypeAdapter[Command] = TypeAdapter(Command)
_LEAST: dict[str, dict[str, Any]] = {
    "submit": {
        "procedure": {
            "code": "1.000016",
            "name": "Đăng ký thành lập doanh nghiệp",
            "field": {"code": "G05-KH01", "name": "Thành lập và hoạt động của doanh nghiệp"},
        },
        "channel": "2",
        "applicant_kind": "1",
        "sealed": "v1.k1.c2VhbGVk",
        "summary": "Đăng ký thành lập công ty",
    },
    "refuse": {"reason": "Không thuộc phạm vi giải quyết"},
    "request-supplement": {"content": "Bổ sung bản sao có chứng thực"},
    "request-fee": {"fees": [{"code": "LP01", "name": "Lệ phí đăng ký", "amount": 50000}]},
    "record-fee": {"online": True},
    "pause": {"reason": "Quá hạn bổ sung"},
    "withdraw": {"reason": "Không còn nhu cầu"},
    "extend": {"due_at": START + timedelta(days=30), "reason": "Cần lấy ý kiến cơ quan khác"},
    "transfer": {"agency": "H11.15", "reason": "Sáp nhập tỉnh"},
    "rate": {"satisfaction": "satisfied", "source": "khảo sát tại Một cửa"},
}


def command(kind: str, minutes: int = 0, **fields: Any) -> Command:
    """A command with what it must have; ``minutes`` after the start of the tests' time."""
    at = START + timedelta(minutes=minutes)
    return _COMMAND.validate_python({"kind": kind, "at": at, **_LEAST.get(kind, {}), **fields})


def result(id_: str = "kq1", *, signed: bool = False, file: str | None = FILE) -> dict[str, Any]:
    """A result paper as a command names it, perhaps one to be signed."""
    signing = {"sealed_user": "v1.k1.dXNlcg", "ca_name": "VNPT-CA", "reason": None}
    return {
        "id": id_,
        "name": f"Giấy chứng nhận {id_}",
        "file": file,
        "signing": signing if signed else None,
    }


def code(number: int, agency: str = AGENCY) -> str:
    """A dossier code."""
    return f"{agency}-261102-{number:04d}"


def submission(dossier: str, what: Command, *, agency: str = AGENCY) -> SubmissionReceived:
    """The gateway's event of a command."""
    return SubmissionReceived(
        submission_id=new_id(),
        client_id="one-stop",
        agency=agency,
        dossier_code=dossier,
        received_at=START,
        command=what,
    )


def envelope(
    event: Event,
    sequence: int,
    *,
    aggregate: str,
    producer: str = "gateway",
    epoch: int = 1,
    id_: UUID | None = None,
) -> bytes:
    """An event as it comes from the transport."""
    identifier = id_ or new_id()
    draft = Draft(
        id=identifier,
        event=event,
        aggregate=aggregate,
        agency=AGENCY,
        subject=aggregate,
        traceparent=None,
        correlation=str(identifier),
        causation=None,
    )
    return encode(draft, producer=producer, epoch=epoch, sequence=sequence)
