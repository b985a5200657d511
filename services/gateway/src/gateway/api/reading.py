"""Reading a request: its JSON body in one pass, and the headers of durable intake."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import TypeAdapter, ValidationError

from common.errors import Invalid
from common.problems import fields
from gateway.api.steps import KINDS
from gateway.errors import (
    IdempotencyKeyMalformed,
    IdempotencyKeyMissing,
    MalformedJson,
    UnsupportedMedia,
)

T = TypeVar("T")

LONGEST_WAIT = 30
"""Seconds that ``Prefer: wait`` can ask for."""

_JSON_TYPE = re.compile(r'application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)
_KEY = re.compile(r"[\x21-\x7E]{1,128}")
_WAIT = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?([0-9]{1,6})"?\s*(?:$|[,;])', re.IGNORECASE)
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
        MalformedJson: no JSON text (RFC 8259) in UTF-8, nested too deep, or a name twice in one
            object.
        Invalid: it breaks the schema; names every field (twenty at most), never its value.
    """
    headers = request.headers
    if not _JSON_TYPE.fullmatch(headers.get("content-type", "")):
        raise UnsupportedMedia("Cần application/json", "The body must be application/json")
    if headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMedia("Không nhận nội dung nén", "Compressed bodies are not taken")
    raw = await request.body()
    try:
        body = adapter.validate_json(raw)
    except ValidationError as error:
        raise _problem(error) from None
    # The validator takes the last of equal names; another reader might take the first.
    try:
        json.loads(raw, object_pairs_hook=_once)
    except _TwiceError:
        raise MalformedJson(
            "Một đối tượng JSON có tên trường lặp lại",
            "A JSON object names one of its members twice",
        ) from None
    return body


class _TwiceError(Exception):
    """A name stands twice in one object."""


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise _TwiceError


def _problem(error: ValidationError) -> Invalid | MalformedJson:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    if faults[0]["type"] == "json_invalid":
        return MalformedJson("Nội dung không phải JSON hợp lệ", faults[0]["msg"])
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
            fault["loc"], fault["msg"] = ("kind",), "Input should be one of the known kinds"
        elif fault["loc"] and fault["loc"][0] in KINDS:
            fault["loc"] = fault["loc"][1:]  # the chosen kind is no part of the document's path
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


def wait_of(headers: Mapping[str, str]) -> int:
    """Seconds that ``Prefer: wait=N`` asks for (RFC 7240), at most ``LONGEST_WAIT``; 0 without."""
    found = _WAIT.search(headers.get("prefer", ""))
    return min(int(found[1]), LONGEST_WAIT) if found else 0
