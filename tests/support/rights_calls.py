"""The request that each route is asked with in the test of rights, for things of ``MINE``."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.gateway import AGENCY, PROCEDURE, dossier_code, step, submission
from tests.support.rights import Rule
from tests.support.rights_world import ELSEWHERE, MINE, OF_ANOTHER, PERSON, World
from tests.support.signing import pdf

PURPOSE = {"x-purpose": "doi soat"}


@dataclass(frozen=True)
class Route:
    """A route, with the rule that it is held to."""

    service: str
    name: str
    method: str
    path: str
    rule: Rule


@dataclass
class Call:
    """A request for the thing that ``MINE`` names; ``shows``: what a list shows of it, and what of
    things of a foreign agency and procedure."""

    path: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    shows: tuple[str, str, str] = (MINE, ELSEWHERE, OF_ANOTHER)


def call_of(route: Route, world: World) -> Call:
    """The request of a route; one that is not named here needs its path filled in alone."""
    made = _CALLS.get((route.service, route.name)) or _CALLS.get(("*", route.name))
    call = made(world) if made else Call()
    code = AGENCY if "/agencies/" in route.path or "/conformance/" in route.path else MINE
    given = {
        "code": code,
        "channel": "vi",
        "part": "a.1",
        "list_id": "channel",
        "sha256": world.file,
        "submission_id": world.submission,
        "bulk_id": world.bulk,
        "upload_id": world.upload,
        "request_id": str(world.signing[MINE]),
        "question_id": f"HD-{MINE}",
        "name": "default",
        "year": "2026",
        "action": "retry",
        "id": "1",
    }
    call.path = {**given, **call.path}
    return call


NOTHING = ("\0", "\0")
"""Stands in no answer."""
LOWER_LEVEL = {
    "MaHoSo": dossier_code(71),
    "MaTTHC": PROCEDURE,
    "KenhThucHien": "2",
    "LoaiDoiTuong": "0",
    "ChuHoSo": "Nguyễn Thị Bưởi",
    "NgayNopHoSo": "2026-11-02 08:00:00",
    "TrichYeuHoSo": "Đăng ký thành lập công ty",
}
OLD = {
    "code": dossier_code(72),
    "procedure": {
        "code": PROCEDURE,
        "name": "Đăng ký thành lập doanh nghiệp",
        "field": {"code": "G05-KH01", "name": "Thành lập doanh nghiệp"},
    },
    "channel": "2",
    "applicant": {"kind": "1", "name": "Nguyễn Thị Bưởi"},
    "summary": "Đăng ký thành lập công ty",
    "status": "10",
    "submitted_at": "2020-11-02T08:00:00+07:00",
    "received_at": "2020-11-02T09:00:00+07:00",
    "finished_at": "2020-11-03T09:00:00+07:00",
    "returned_at": "2020-11-03T10:00:00+07:00",
}

_CALLS: dict[tuple[str, str], Callable[[World], Call]] = {
    ("gateway", "submit_dossier"): lambda _: Call(body=submission(dossier_code(70))),
    ("gateway", "take_step"): lambda _: Call(
        body=step("progress"), headers={"idempotency-key": secrets.token_hex(8)}
    ),
    ("gateway", "submit_in_bulk"): lambda _: Call(
        body=json.dumps(submission(dossier_code(73))).encode(),
        headers={
            "content-type": "application/x-ndjson",
            "idempotency-key": secrets.token_hex(8),
        },
    ),
    ("gateway", "exchange_next_value"): lambda _: Call(body={"code": AGENCY}),
    ("gateway", "exchange_submit"): lambda _: Call(body=LOWER_LEVEL),
    ("gateway", "upload_file"): lambda _: Call(
        body=b"%PDF-1.4\n%%EOF\n", headers={"content-type": "application/pdf"}
    ),
    ("gateway", "exchange_upload"): lambda _: Call(
        body=b"%PDF-1.4\n%%EOF\n", headers={"content-type": "application/pdf"}
    ),
    ("*", "verify_signatures"): lambda _: Call(
        body=pdf("Giấy tờ"), headers={"content-type": "application/pdf"}
    ),
    ("*", "search_dossiers"): lambda _: Call(body=PERSON, headers=PURPOSE),
    ("*", "answer_question"): lambda _: Call(
        path={"id": f"HD-{MINE}"}, body={"content": "Ngày 10/11"}
    ),
    ("*", "put_channel"): lambda _: Call(
        path={"id": "vi"}, body={"kind": "portal-vi", "host": "dichvucong.hagiang.gov.vn"}
    ),
    ("*", "delete_channel"): lambda _: Call(path={"id": "vi"}),
    ("*", "put_statement"): lambda _: Call(body={"text": "Có đường dây nóng"}),
    ("dossier", "import_dossiers"): lambda _: Call(
        body=json.dumps(OLD).encode() + b"\n", headers={"content-type": "application/x-ndjson"}
    ),
    ("dossier", "list_imports"): lambda world: Call(shows=(str(world.imported), *NOTHING)),
    ("dossier", "read_import"): lambda world: Call(path={"id": world.imported}),
    ("dossier", "list_import_faults"): lambda world: Call(path={"id": world.imported}),
    ("signature-connector", "request_signature"): lambda world: Call(
        body={
            "agency": AGENCY,
            "procedure": PROCEDURE,
            "document": {"id": "KQ9", "name": "Giấy phép", "file": world.file},
            "signer": {"user": "001099000001", "ca_name": "VNPT-CA"},
        },
        headers={"idempotency-key": secrets.token_hex(8)},
    ),
    ("signature-connector", "request_signatures"): lambda world: Call(
        body={
            "agency": AGENCY,
            "procedure": PROCEDURE,
            "document": {"id": "KQ9", "name": "Giấy phép", "file": world.file},
            "signers": [{"user": "001099000001", "ca_name": "VNPT-CA"}],
        },
        headers={"idempotency-key": secrets.token_hex(8)},
    ),
    ("signature-connector", "request_batch"): lambda world: Call(
        body={
            "agency": AGENCY,
            "procedure": PROCEDURE,
            "documents": [{"id": "KQ9", "name": "Giấy phép", "file": world.file}],
            "signer": {"user": "001099000001", "ca_name": "VNPT-CA"},
        },
        headers={"idempotency-key": secrets.token_hex(8)},
    ),
    # Not the signed document, so that it stays held for who asks next.
    ("signature-connector", "decide_held"): lambda world: Call(
        body={"decision": "confirm", "file": world.file, "reason": "có tệp đã ký"}
    ),
    ("signature-connector", "signing_callback"): lambda _: Call(path={"provider": "nobody"}),
    ("national-portal-sync", "begin"): lambda _: Call(body={"agency": AGENCY, "day": "2026-11-02"}),
    ("national-portal-sync", "runs"): lambda world: Call(shows=(str(world.run), *NOTHING)),
    ("national-portal-sync", "read"): lambda world: Call(path={"id": world.run}),
    ("national-portal-sync", "read_csv"): lambda world: Call(path={"id": world.run}),
    ("national-portal-sync", "healings"): lambda world: Call(path={"id": world.run}),
    ("national-portal-sync", "held"): lambda _: Call(shows=(MINE, *NOTHING)),
    ("national-portal-sync", "dismiss"): lambda _: Call(body={"reason": "nhập tay"}),
    ("national-portal-sync", "accounts"): lambda _: Call(shows=('"unit"', *NOTHING)),
    ("gateway", "list_refusals"): lambda _: Call(
        query={"limit": 1000},
        shows=('"client_id":"right"', '"foreign-agency"', '"foreign-procedure"'),
    ),
    ("gateway", "create_upload"): lambda _: Call(
        body={"size": 9, "sha256": "0" * 64, "media_type": "application/pdf"}
    ),
    ("gateway", "append_upload"): lambda _: Call(
        body=b"%PDF-",
        headers={"content-type": "application/partial-upload", "upload-offset": "3"},
    ),
    ("gateway", "list_submissions"): lambda world: Call(shows=(world.submission, *NOTHING)),
    ("catalog", "sync_now"): lambda _: Call(body={}),
}
