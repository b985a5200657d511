"""Old dossiers as a table: the columns of a CSV file, each for a field of the line."""

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "code": ("code",),
    "agency": ("agency",),
    "procedure_code": ("procedure", "code"),
    "procedure_name": ("procedure", "name"),
    "field_code": ("procedure", "field", "code"),
    "field_name": ("procedure", "field", "name"),
    "channel": ("channel",),
    "applicant_kind": ("applicant", "kind"),
    "applicant_name": ("applicant", "name"),
    "identity_type": ("applicant", "identity", "type"),
    "identity_number": ("applicant", "identity", "number"),
    "portal_account": ("applicant", "portal_account"),
    "email": ("applicant", "email"),
    "phone": ("applicant", "phone"),
    "address": ("applicant", "address"),
    "summary": ("summary",),
    "status": ("status",),
    "submitted_at": ("submitted_at",),
    "received_at": ("received_at",),
    "due_at": ("due_at",),
    "finished_at": ("finished_at",),
    "returned_at": ("returned_at",),
    "refused_at": ("refused_at",),
    "processing_unit": ("processing_unit",),
    "receipt_number": ("receipt_number",),
    "return_method": ("return_method",),
    "paid_online": ("paid_online",),
    "satisfaction": ("rating", "satisfaction"),
    "satisfaction_source": ("rating", "source"),
    "satisfaction_at": ("rating", "at"),
    "remark": ("remark",),
    "step_kind": ("step", "kind"),
    "step_at": ("step", "at"),
    "step_official": ("step", "official", "name"),
    "step_title": ("step", "official", "title"),
    "step_department": ("step", "official", "department"),
    "step_note": ("step", "note"),
}
"""Where each column's value goes. ``step`` is the last one; a table holds none before it."""

REQUIRED = (
    *("code", "procedure_code", "procedure_name", "field_name", "channel", "applicant_kind"),
    *("applicant_name", "summary", "status", "submitted_at"),
)


class TableFault(Exception):
    """The first line is not the heading of such a table; the message says why."""


def heading(cells: Sequence[str]) -> list[str]:
    """The columns of a table, by its first line.

    Raises:
        TableFault: a column is unknown, missing, or there twice.
    """
    columns = [cell.strip().lower() for cell in cells]
    unknown = sorted(set(columns) - set(COLUMNS))
    missing = [name for name in REQUIRED if name not in columns]
    if unknown:
        raise TableFault(f"{len(unknown)} unknown columns")
    if missing:
        raise TableFault(f"missing columns: {', '.join(missing)}")
    if len(set(columns)) < len(columns):
        raise TableFault("a column is there twice")
    return columns


def line_of(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    """A row in the form of a line; an empty cell is no value."""
    line: dict[str, Any] = {}
    for column, cell in zip(columns, cells, strict=True):
        value = cell.strip()
        if not value:
            continue
        *above, last = COLUMNS[column]
        place = line
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    step = line.pop("step", None)
    if step is not None:
        line["steps"] = [{**step, "status": line.get("status")}]
    return line
