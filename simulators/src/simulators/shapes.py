"""Strict reading of what a caller sent, and the sentence that refuses it.

A shape is a table of field checks. A check returns None, or what is wrong, in Vietnamese as the
outside systems answer. Being as strict as the known field tables is the simulators' own choice:
a real system may let more through, and a caller that passes here passes there.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Check = Callable[[Any], str | None]

_MOMENT = re.compile(
    r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])[0-5]\d[0-5]\d"
).fullmatch

NOT_TEXT = "phải là chuỗi ký tự"
EMPTY = "không được để trống"
NOT_LISTED = "giá trị không có trong danh mục"
NOT_MOMENT = "phải theo định dạng yyyyMMddHHmmss"


def text(value: Any) -> str | None:
    return None if value.__class__ is str else NOT_TEXT


def some_text(value: Any) -> str | None:
    if value.__class__ is not str:
        return NOT_TEXT
    return None if value.strip() else EMPTY


def moment(value: Any) -> str | None:
    if value.__class__ is not str:
        return NOT_TEXT
    return None if _MOMENT(value) else NOT_MOMENT


def moment_or_empty(value: Any) -> str | None:
    return None if value == "" else moment(value)


def integer(value: Any) -> str | None:
    return None if value.__class__ is int else "phải là số nguyên"


def boolean(value: Any) -> str | None:
    return None if value.__class__ is bool else "phải là giá trị đúng/sai"


def one_of(*codes: str) -> Check:
    known = frozenset(codes)

    def check(value: Any) -> str | None:
        if value.__class__ is not str:
            return NOT_TEXT
        return None if value in known else NOT_LISTED

    return check


def at_most(length: int, check: Check = text) -> Check:
    def checked(value: Any) -> str | None:
        if (wrong := check(value)) is not None:
            return wrong
        return None if len(value) <= length else f"dài quá {length} ký tự"

    return checked


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of an object; those in `mandatory` must be present, unknown ones pass."""

    fields: Mapping[str, Check]
    mandatory: tuple[str, ...] = ()

    def complaint(self, value: Any) -> str | None:
        """What is wrong with the object, naming the field, or None."""
        if value.__class__ is not dict:
            return "phải là một đối tượng"
        for name in self.mandatory:
            if name not in value:
                return f"{name}: thiếu trường bắt buộc"
        for name, part in value.items():
            check = self.fields.get(name)
            if check is not None and (wrong := check(part)) is not None:
                return f"{name}: {wrong}"
        return None


def list_of(shape: Shape) -> Check:
    def check(value: Any) -> str | None:
        if value.__class__ is not list:
            return "phải là danh sách"
        for i, part in enumerate(value):
            if (wrong := shape.complaint(part)) is not None:
                return f"[{i}]: {wrong}"
        return None

    return check
