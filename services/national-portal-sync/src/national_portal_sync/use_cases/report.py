"""The report of a reconciliation run."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

_COLUMNS = (
    "run",
    "agency",
    "day",
    "code",
    "kind",
    "fields",
    "expected_status",
    "found_status",
    "expected_sha256",
    "found_sha256",
    "healing",
    "reason",
    "report_sha256",
)


def report(run: Row[Any], differences: Sequence[Row[Any]]) -> dict[str, Any]:
    """Everything that a run says once it is done. Its hash is over just this."""
    kinds = Counter(row.kind for row in differences)
    not_checkable = ["steps"]
    if run.listed is None:
        not_checkable.append("missing-here")
    return {
        "id": str(run.id),
        "agency": run.agency,
        "day": run.day.isoformat(),
        "asked_by": run.asked_by,
        "asked_at": run.asked_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "state": run.state,
        "checked": run.checked,
        "agreed": run.agreed,
        "on_the_way": run.on_the_way,
        "listed_there": run.listed,
        "healed": run.healed,
        "differences_by_kind": dict(sorted(kinds.items())),
        "fields_compared": list(run.compared),
        "not_checkable": {
            "kinds": not_checkable,
            "fields": list(run.not_shown),
            "dossiers_with_steps": run.with_steps,
        },
        "differences": [difference(row) for row in differences],
        "sha256": run.sha256,
    }


def difference(row: Row[Any]) -> dict[str, Any]:
    """One finding; members without a value are left out."""
    members: Mapping[str, Any] = {**row._mapping, "fields": list(row.fields)}
    return {name: value for name, value in members.items() if value not in (None, [])}


def as_csv(told: Mapping[str, Any]) -> str:
    """The report's differences, one a line; each line carries the hash of the whole report."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\r\n")
    lines.writerow(_COLUMNS)
    for one in told["differences"]:
        members = {
            **one,
            "run": told["id"],
            "agency": told["agency"],
            "day": told["day"],
            "fields": " ".join(one.get("fields", ())),
            "report_sha256": told["sha256"],
        }
        lines.writerow([members.get(name, "") for name in _COLUMNS])
    return text.getvalue()
