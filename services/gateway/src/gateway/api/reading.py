"""Reading a request: its JSON body in one pass, and the headers of durable intake."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import TypeAdapter, ValidationError

from common.errors import Invalid
from common.problems import fields
from gateway.api.steps import KINDS
from gateway.api.strict_json import checked
from gateway.errors import (
    IdempotencyKeyMalformed,
    IdempotencyKeyMissing,
    UnsupportedMedia,
)

T = TypeVar("T")

_JSON_TYPE = re.compile(r'application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)
_KEY = re.compile(r"[\x21-\x7E]{1,128}")
_MOST_FAULTS = 20
_LONGEST_POINTER = 200
_OWN_WORDS = {
    "identity_number": "không đúng dạng của loại giấy tờ này",
    "moment_range": "thời điểm nằm ngoài khoảng cho phép",
    "file_missing": "kết quả cần ký phải có tệp",
}


async def body_of(request: Request, adapter: TypeAdapter[T]) -> T:
    """The body, checked against its schema.

    Raises:
        UnsupportedMedia: not JSON, or compressed.
        MalformedJson, Invalid: see ``parsed``.
    """
    return parsed(await _json_text(request), adapter)


async def passed_body(request: Request) -> bytes:
    """A JSON body that another service reads: whoever reads it, it says one thing.

    Raises:
        UnsupportedMedia: not JSON, or compressed.
        MalformedJson: see ``strict_json.checked``.
    """
    raw = await _json_text(request)
    checked(raw)
    return raw


async def _json_text(request: Request) -> bytes:
    headers = request.headers
    if not _JSON_TYPE.fullmatch(headers.get("content-type", "")):
        raise UnsupportedMedia("Cần application/json", "The body must be application/json")
    if headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMedia("Không nhận nội dung nén", "Compressed bodies are not taken")
    return await request.body()


def parsed(raw: bytes, adapter: TypeAdapter[T]) -> T:
    """A JSON text, checked against a schema.

    Raises:
        MalformedJson: see ``strict_json.checked``.
        Invalid: it breaks the schema; names every field (twenty at most), never its value.
    """
    checked(raw)
    try:
        return adapter.validate_json(raw)
    except ValidationError as error:
        raise _problem(error) from None


def _problem(error: ValidationError) -> Invalid:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return Invalid(
        "Yêu cầu có trường không hợp lệ",
        "The request has invalid fields",
        errors=_told([dict(fault) for fault in faults[:_MOST_FAULTS]]),
    )


def _told(faults: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    told = []
    for fault in faults:
        if fault["type"].startswith("union_tag"):
            # Its own sentence repeats what was sent.
            fault["loc"] = (*fault["loc"], "kind")
            fault["msg"] = "Input should be one of the known kinds"
        elif fault["loc"] and fault["loc"][0] in KINDS:
            fault["loc"] = fault["loc"][1:]  # the chosen kind is no part of the document's path
        elif fault["loc"][:1] == ("step",) and fault["loc"][1:2] and fault["loc"][1] in KINDS:
            fault["loc"] = ("step", *fault["loc"][2:])
        (line,) = fields([fault])
        line["pointer"] = line["pointer"][:_LONGEST_POINTER]
        line["detail"] = _OWN_WORDS.get(fault["type"], line["detail"])
        told.append(line)
    return told


def idempotency_key(headers: Mapping[str, str], *, required: bool) -> str | None:
    """The ``Idempotency-Key``.

    Raises:
        IdempotencyKeyMissing: required, and not there.
        IdempotencyKeyMalformed: empty, above 128 characters, or not printable ASCII.
    """
    key = headers.get("idempotency-key")
    if key is None:
        if required:
            raise IdempotencyKeyMissing(
                "Mỗi bước cần tiêu đề Idempotency-Key để gửi lại được an toàn",
                "A step needs the header Idempotency-Key, which makes sending it again safe",
            )
        return None
    if not _KEY.fullmatch(key):
        raise IdempotencyKeyMalformed(
            "Khóa gồm 1 đến 128 ký tự ASCII in được, không có dấu cách",
            "A key has 1 to 128 printable ASCII characters without spaces",
        )
    return key
