"""Bulk requests."""

import json
from typing import Any

from gateway import errors
from gateway.api.examples.dossiers import PENDING, STEPS, SUBMIT
from gateway.api.examples.form import DOSSIER, SUBMISSION, Told

_BULK = "01a2013c-54b3-73a5-a774-441727699014"
_PROBLEM: dict[str, Any] = {
    "type": "urn:lienthong:problem:unknown-procedure",
    "title": "Không có thủ tục hành chính này",
    "title_en": "Unknown procedure",
    "status": 422,
}


def _ndjson(*lines: dict[str, Any]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


TOLD = {
    "submit_in_bulk": Told(
        "Mỗi dòng được tiếp nhận, nhận lại hoặc từ chối riêng, trên luồng riêng. Bị ngắt thì gửi "
        "lại nguyên vẹn với cùng `Idempotency-Key`, hoặc từ dòng nêu ở `from`: dòng đã nhận vẫn là "
        "yêu cầu cũ. Khi lô đang được tiếp nhận, lô cùng khóa nhận `409` kèm `Retry-After`.",
        request={
            "dossier-and-step": _ndjson(
                SUBMIT, {"code": DOSSIER, "step": STEPS["receive"], "if_match": '"1"'}
            )
        },
        answers={
            200: {
                "two-lines": _ndjson(
                    {"line": 1, "outcome": "taken-in", **PENDING},
                    {"line": 2, "outcome": "refused", "problem": _PROBLEM},
                    {
                        "bulk_id": _BULK,
                        "state": "ended",
                        "lines": 2,
                        "taken_in": 1,
                        "repeated": 0,
                        "refused": 1,
                    },
                )
            }
        },
        refusals=(
            errors.IdempotencyKeyMissing,
            errors.IdempotencyKeyMalformed,
            errors.BulkUnderWay,
            errors.BulkGap,
            errors.Busy,
            errors.BulkTooLong,
            errors.LineTooLong,
            errors.QuotaExceeded,
        ),
        parameters={"from": 1},
    ),
    "read_bulk": Told(
        "Lô đã đến đâu và những dòng nào bị từ chối; chỉ hệ thống đã gửi mới xem được.",
        answers={
            200: {
                "ended": {
                    "bulk_id": _BULK,
                    "state": "ended",
                    "begun_at": "2026-11-22T01:00:00.182248+00:00",
                    "ended_at": "2026-11-22T01:00:04.512000+00:00",
                    "lines": 2,
                    "taken_in": 1,
                    "refused": 1,
                    "refusals": [{"line": 2, "problem": _PROBLEM}],
                    "next": None,
                }
            }
        },
        refusals=(errors.NoSuchBulk,),
        parameters={"bulk_id": SUBMISSION, "after": 0},
    ),
}
