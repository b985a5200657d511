"""``LayThuTuc`` records and the portal's lists, as tolerant models.

Field names were seen in code that talks to the real portal (no specification); so keys are taken
in any case, unknown ones are ignored, numbers may be texts, a list may be one object or missing.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_DATES = ("%Y%m%d%H%M%S", "%Y%m%d", "%d/%m/%Y", "%d/%m/%Y %H:%M:%S", "%Y-%m-%d")


def _text(value: Any) -> str | None:
    """A text without NUL, which no database takes; None of nothing and of what is no text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).replace("\x00", "").strip() or None


def _code(value: Any) -> str | None:
    """A code, its spaces included: the national catalogue has one that begins with a space."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).replace("\x00", "") or None


def _rows(value: Any) -> list[Any]:
    """A list's objects; one object stands for a list of it."""
    rows = value if isinstance(value, list) else [value]
    return [row for row in rows if isinstance(row, dict)]


def _some_rows(value: Any) -> list[Any] | None:
    """None where nothing is said, which is not the same as an empty list."""
    return None if value is None or value == "" else _rows(value)


def _day(value: Any) -> date | None:
    text = _text(value)
    if text is None:
        return None
    for form in _DATES:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day without a time
        except ValueError:
            continue
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def number_of(value: Any) -> int | float | None:
    """A number, also of a text with a decimal comma; amounts may have dots between thousands."""
    text = _text(value)
    if text is None:
        return None
    text = text.replace(" ", "")
    if re.fullmatch(r"\d{1,3}([.,]\d{3})+", text):
        text = re.sub(r"[.,]", "", text)
    if not re.fullmatch(r"\d{1,15}([.,]\d{1,6})?", text):
        return None
    number = float(text.replace(",", "."))
    return int(number) if number.is_integer() else number


Text = Annotated[str | None, BeforeValidator(_text)]
Code = Annotated[str | None, BeforeValidator(_code)]
Day = Annotated[date | None, BeforeValidator(_day)]
Number = Annotated[int | float | None, BeforeValidator(number_of)]
ROWS = BeforeValidator(_rows)
SOME_ROWS = BeforeValidator(_some_rows)


class Row(BaseModel):
    """An object with keys in any case; unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {str(key).strip().upper(): one for key, one in value.items()}


class Unit(Row):
    """An agency."""

    code: Text = Field(None, alias="MADONVI")
    name: Text = Field(None, alias="TENDONVI")


class FieldRow(Row):
    """A field of administration."""

    code: Text = Field(None, alias="MALINHVUC")
    name: Text = Field(None, alias="TENLINHVUC")


class ChargeRow(Row):
    """A fee of a way in."""

    code: Text = Field(None, alias="MAPHILEPHI")
    amount: Text = Field(None, alias="SOTIEN")
    unit: Text = Field(None, alias="DONVI")
    note: Text = Field(None, alias="MOTA")


class TimeRow(Row):
    """A time for processing."""

    quantity: Number = Field(None, alias="THOIGIANGIAIQUYET")
    unit: Text = Field(None, alias="DONVITINH")
    note: Text = Field(None, alias="MOTA")
    charges: Annotated[list[ChargeRow], ROWS] = Field([], alias="PHILEPHI")


class WayRow(Row):
    """A way in."""

    channel: Text = Field(None, alias="KENH")
    times: Annotated[list[TimeRow], ROWS] = Field([], alias="THOIGIAN")


class _LevelRow(Row):
    code: Text = Field(None, alias="CAPTHUCHIEN")
    name: Text = Field(None, alias="TENCAP")


class _Audience(Row):
    code: Text = Field(None, alias="MADOITUONG")
    name: Text = Field(None, alias="TENDOITUONG")


class _Paper(Row):
    code: Text = Field(None, alias="MAGIAYTO")
    replaced_by: Text = Field(None, alias="MA_KQ_THAYTHE")
    originals: Number = Field(None, alias="SOBANCHINH")
    copies: Number = Field(None, alias="SOBANSAO")
    name: Text = Field(None, alias="TENGIAYTO")
    form: Text = Field(None, alias="TENMAUDON")
    url: Text = Field(None, alias="URL")


class _Papers(Row):
    case: Text = Field(None, alias="TRUONGHOP")
    papers: Annotated[list[_Paper], ROWS] = Field([], alias="GIAYTO")


class _Step(Row):
    name: Text = Field(None, alias="TENTRINHTU")


class _Steps(Row):
    case: Text = Field(None, alias="TRUONGHOP")
    steps: Annotated[list[_Step], ROWS] = Field([], alias="TRINHTU")


class _Result(Row):
    code: Text = Field(None, alias="MAKETQUA")
    name: Text = Field(None, alias="TENKETQUA")


class _Law(Row):
    number: Text = Field(None, alias="SOVANBAN")
    name: Text = Field(None, alias="TENVANBAN")
    issuer: Text = Field(None, alias="COQUANBANHANH")
    issued: Day = Field(None, alias="NGAYBANHANH")
    effective: Day = Field(None, alias="NGAYHIEULUC")


class ProcedureRow(Row):
    """A row of ``LayDanhSachTTHC``."""

    code: Code = Field(None, alias="MATTHC")
    name: Text = Field(None, alias="TENTTHC")


class Record(ProcedureRow):
    """A ``LayThuTuc`` record."""

    promulgator: Text = Field(None, alias="MACOQUANCONGBO")
    kind: Text = Field(None, alias="LOAITTHC")
    audience_note: Text = Field(None, alias="MOTADOITUONGTHUCHIEN")
    address: Text = Field(None, alias="DIACHITIEPNHAN")
    decision: Text = Field(None, alias="QUYETDINH")
    requirements: Text = Field(None, alias="YEUCAU")
    keywords: Text = Field(None, alias="TUKHOA")
    state: Text = Field(None, alias="TRANGTHAI")
    steps: Annotated[list[_Steps] | None, SOME_ROWS] = Field(None, alias="TRINHTUTHUCHIEN")
    levels: Annotated[list[_LevelRow], ROWS] = Field([], alias="CAPTHUCHIEN")
    fields: Annotated[list[FieldRow], ROWS] = Field([], alias="LINHVUCTHUCHIEN")
    ways: Annotated[list[WayRow] | None, SOME_ROWS] = Field(None, alias="CACHTHUCTHUCHIEN")
    audiences: Annotated[list[_Audience] | None, SOME_ROWS] = Field(None, alias="DOITUONGTHUCHIEN")
    papers: Annotated[list[_Papers] | None, SOME_ROWS] = Field(None, alias="THANHPHANHOSO")
    results: Annotated[list[_Result] | None, SOME_ROWS] = Field(None, alias="KETQUATHUCHIEN")
    laws: Annotated[list[_Law] | None, SOME_ROWS] = Field(None, alias="CANCUPHAPLY")
    executing: Annotated[list[Unit], ROWS] = Field([], alias="COQUANTHUCHIEN")
    competent: Annotated[list[Unit], ROWS] = Field([], alias="COQUANCOTHAMQUYEN")
    coordinating: Annotated[list[Unit], ROWS] = Field([], alias="COQUANPHOIHOP")
