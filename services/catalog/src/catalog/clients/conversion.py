"""The portal's records as entries of the catalogue. What we do not know how to read is left out,
never guessed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from catalog.clients.records import (
    ChargeRow,
    FieldRow,
    ProcedureRow,
    Record,
    TimeRow,
    Unit,
    WayRow,
    number_of,
)
from catalog.domain.catalogue import (
    Agency,
    CodeItem,
    CodeList,
    Duration,
    FieldOfWork,
    Level,
    Procedure,
    ProcedureFee,
    Promulgator,
    RequiredDocument,
    ResultDocument,
    Source,
    WayIn,
    fold,
    irregularity,
)
from catalog.domain.details import Charge, LegalBasis, ProcedureAgency, ProcessStep
from common.contracts.codes import AGENCY_PATTERN, canonical_agency
from common.contracts.commands import Channel

SILENT = frozenset(
    {
        "service_level",
        "service_level_from",
        "service_level_reason",
        "required_identification",
        "linked",
        "topics",
        "portal_flags",
    }
)
"""What a record has no place for: its silence takes back nothing that another source has said."""

_FROM_PORTAL = "LayThuTuc"
_READABLE = re.compile(r"^[\w. -]{1,60}$")
_CHANNELS: Mapping[str, Channel] = {
    "1": "1",
    "truc tiep": "1",
    "2": "2",
    "truc tuyen": "2",
    "3": "3",
    "buu chinh": "3",
    "dich vu buu chinh": "3",
    "buu chinh cong ich": "3",
}
_UNITS: Mapping[str, Literal["hour", "day", "working-day", "month"]] = {
    "gio": "hour",
    "ngay": "day",
    "ngay lam viec": "working-day",
    "thang": "month",
}
_DONG = frozenset({"", "d", "dong", "vnd", "viet nam dong"})
_DOLLARS = frozenset({"usd", "do la my", "dollar"})
_LEAST_DONG = 1000
"""Below it an amount is most likely given in thousands by mistake."""


class Unreadable(ValueError):
    """A record that cannot be converted; the message is the reason, for operators."""


def code_of(raw: Any) -> str | None:
    """The code that a record or a row of the list names, as it stands there."""
    try:
        return ProcedureRow.model_validate(raw).code
    except ValidationError:
        return None


def is_record(raw: Any) -> bool:
    """Whether an object is a record of the portal, and not an entry in our own form."""
    return isinstance(raw, dict) and any(str(key).strip().upper() == "MATTHC" for key in raw)


def procedure_of(raw: Any, names: Mapping[str, str] | None = None) -> Procedure:
    """A ``LayThuTuc`` record as a procedure.

    Args:
        names: names of agencies by code, since a record has only its promulgator's code.

    Raises:
        Unreadable: no code, name or field, or no object at all.
    """
    try:
        record = Record.model_validate(raw)
    except ValidationError:
        raise Unreadable("not an object of the known form") from None
    if record.code is None or not _READABLE.match(record.code):
        raise Unreadable("no usable MaTTHC")
    if record.name is None:
        raise Unreadable("no TENTTHC")
    irregular = irregularity(record.code)
    ways = _ways(record.ways)
    times = [row for way in record.ways or () for row in way.times]
    return Procedure(
        code=record.code,
        name=record.name,
        field=_field(record.fields),
        promulgator=_promulgator(record, names or {}),
        implementing=tuple(unit.name for unit in record.executing if unit.name),
        levels=_levels(level.name for level in record.levels),
        kind=_kind(record.kind),
        active=irregular is None and record.state in (None, "1"),
        applicants=None
        if record.audiences is None
        else tuple(dict.fromkeys(one.code for one in record.audiences if one.code)),
        ways_in=ways,
        time=_time(times),
        fee=_fee([charge for row in times for charge in row.charges]),
        documents=_documents(record),
        results=None
        if record.results is None
        else tuple(ResultDocument(code=one.code, name=one.name) for one in record.results),
        decision=record.decision,
        source=Source(catalogue=_FROM_PORTAL, details=_FROM_PORTAL),
        irregular=irregular,
        keywords=_keywords(record.keywords),
        legal_basis=_laws(record),
        agencies=tuple(_agencies(record)) or None,
        steps=_steps(record),
        requirements=record.requirements,
        reception_address=record.address,
        audience_note=record.audience_note,
        note=_remark(record.ways),
    )


def agency_of(raw: Any) -> Agency:
    """A row of ``LayDanhMucCoQuan`` as an agency.

    Raises:
        Unreadable: no name, or no code of a known form.
    """
    unit = Unit.model_validate(raw) if isinstance(raw, dict) else Unit()
    code = _canonical(unit.code)
    if code is None or unit.name is None:
        raise Unreadable("no usable MADONVI or TENDONVI")
    legacy = unit.code if unit.code != code else None
    return Agency(
        code=code,
        legacy_code=legacy,
        name=unit.name,
        sources=("LayDanhMucCoQuan",),
        confidence="high",
    )


def fields_of(rows: Iterable[Any], day: str) -> CodeList:
    """``LayDanhMucLinhVuc`` as the code list of fields.

    Args:
        day: when the portal was asked, the list's version.
    """
    items: dict[str, CodeItem] = {}
    for raw in rows:
        row = FieldRow.model_validate(raw) if isinstance(raw, dict) else FieldRow()
        if row.code and row.name:
            items[row.code] = CodeItem(code=row.code, name=row.name)
    return CodeList(
        id="field",
        title="Lĩnh vực",
        version=day,
        basis="national-portal",
        confidence="high",
        sources=("LayDanhMucLinhVuc",),
        items=tuple(items[code] for code in sorted(items)),
    )


def _field(rows: Sequence[FieldRow]) -> FieldOfWork:
    for row in rows:
        if row.name:
            return FieldOfWork(
                code=row.code, name=row.name, code_from="portal" if row.code else None
            )
    raise Unreadable("no LINHVUCTHUCHIEN")


def _promulgator(record: Record, names: Mapping[str, str]) -> Promulgator:
    code = _canonical(record.promulgator)
    units = [*record.competent, *record.executing, *record.coordinating]
    own = {_canonical(unit.code) or "": unit.name for unit in units if unit.name}
    if code is None:
        return Promulgator(name=record.promulgator or "")
    return Promulgator(code=code, name=own.get(code) or names.get(code) or code)


def _canonical(code: str | None) -> str | None:
    if code is None or len(code) > 35 or not re.fullmatch(AGENCY_PATTERN.strip("^$"), code):
        return None
    try:
        return canonical_agency(code)
    except ValueError:
        return None


def _levels(names: Iterable[str | None]) -> tuple[Level, ...] | None:
    known: dict[Level, None] = {}
    for name in names:
        words = fold(name or "").split()
        for word, level in _LEVELS:
            if word in words:
                known[level] = None
                break
    return tuple(known) or None


_LEVELS: tuple[tuple[str, Level], ...] = (
    ("bo", "ministry"),
    ("tinh", "province"),
    ("huyen", "district"),
    ("xa", "commune"),
    ("khac", "other"),
)


def _kind(told: str | None) -> Literal["standard", "province-specific", "internal"] | None:
    words = f" {fold(told or '')} "
    if " noi bo " in words:
        return "internal"
    if " dac thu " in words:
        return "province-specific"
    return "standard" if " chuan " in words else None


def _ways(rows: Sequence[WayRow] | None) -> tuple[WayIn, ...] | None:
    if rows is None:
        return None
    ways: list[WayIn] = []
    for row in rows:
        channel = _CHANNELS.get(fold(row.channel or ""))
        if channel is None:
            continue
        if not row.times:
            ways.append(WayIn(channel=channel))
        ways += [
            WayIn(
                channel=channel,
                time=_duration(time),
                charges=tuple(_charge(charge) for charge in time.charges) or None,
                note=time.note,
            )
            for time in row.times
        ]
    return tuple(ways)


def _remark(rows: Sequence[WayRow] | None) -> str | None:
    unknown = sorted(
        {row.channel for row in rows or () if row.channel and fold(row.channel) not in _CHANNELS}
    )
    return f"channel not understood: {', '.join(unknown)[:200]}" if unknown else None


def _duration(row: TimeRow) -> Duration | None:
    if row.quantity is None:
        return None
    return Duration(quantity=row.quantity, unit=_UNITS.get(fold(row.unit or ""), "none-given"))


def _time(rows: Iterable[TimeRow]) -> Duration | None:
    """The longest time, where all are in one unit."""
    times = [time for row in rows if (time := _duration(row))]
    if not times:
        return None
    if len({time.unit for time in times}) > 1:
        return Duration(unit="mixed")
    return max(times, key=lambda time: time.quantity or 0)


def _charge(row: ChargeRow) -> Charge:
    amount = number_of(row.amount)
    return Charge(
        code=row.code,
        amount=amount,
        recorded=row.amount if amount is None else None,
        unit=row.unit,
        note=row.note,
    )


def _fee(rows: Sequence[ChargeRow]) -> ProcedureFee:
    if not rows:
        return ProcedureFee(kind="unknown")
    note = "; ".join(dict.fromkeys(row.note for row in rows if row.note)) or None
    dong: set[int] = set()
    dollars: set[int] = set()
    unread = False
    for row in rows:
        amount, unit = number_of(row.amount), fold(row.unit or "")
        if amount is None or not (unit in _DONG or unit in _DOLLARS):
            unread = True
        else:
            (dollars if unit in _DOLLARS else dong).add(round(amount))
    paid = sorted(amount for amount in dong if amount)
    foreign = tuple(sorted(amount for amount in dollars if amount))
    if unread or (not paid and (foreign or note)):
        return ProcedureFee(kind="see-note", us_dollars=foreign, note=note)
    if not paid:
        return ProcedureFee(kind="none-recorded")
    if paid[0] < _LEAST_DONG:
        return ProcedureFee(kind="suspect", recorded=tuple(paid), us_dollars=foreign, note=note)
    if len(paid) == 1:
        return ProcedureFee(kind="fixed", amount=paid[0], us_dollars=foreign, note=note)
    return ProcedureFee(kind="tiered", least=paid[0], most=paid[-1], us_dollars=foreign, note=note)


def _documents(record: Record) -> tuple[RequiredDocument, ...] | None:
    if record.papers is None:
        return None
    return tuple(
        RequiredDocument(
            name=paper.name,
            code=paper.code,
            case=group.case,
            originals=int(paper.originals or 0),
            copies=int(paper.copies or 0),
            form=paper.form,
            form_url=paper.url,
            replaced_by=paper.replaced_by,
        )
        for group in record.papers
        for paper in group.papers
        if paper.name
    )


def _laws(record: Record) -> tuple[LegalBasis, ...] | None:
    if record.laws is None:
        return None
    return tuple(
        LegalBasis(
            number=law.number,
            name=law.name,
            issuer=law.issuer,
            issued=law.issued,
            effective=law.effective,
        )
        for law in record.laws
        if law.number or law.name
    )


def _agencies(record: Record) -> Iterable[ProcedureAgency]:
    roles: tuple[tuple[Literal["executing", "competent", "coordinating"], Sequence[Unit]], ...] = (
        ("executing", record.executing),
        ("competent", record.competent),
        ("coordinating", record.coordinating),
    )
    for role, units in roles:
        for unit in units:
            if unit.code or unit.name:
                code = _canonical(unit.code)
                name = unit.name or unit.code or ""
                yield ProcedureAgency(role=role, code=code, name=name)


def _steps(record: Record) -> tuple[ProcessStep, ...] | None:
    if record.steps is None:
        return None
    return tuple(
        ProcessStep(name=step.name, case=group.case)
        for group in record.steps
        for step in group.steps
        if step.name
    )


def _keywords(told: str | None) -> tuple[str, ...] | None:
    words = [word.strip() for word in re.split(r"[,;\n]", told or "")]
    return tuple(dict.fromkeys(word for word in words if word)) or None
