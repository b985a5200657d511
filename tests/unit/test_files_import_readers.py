"""Who leaves imported dossiers alone."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from common.contracts.dossier import DossierImported, DossierState, StepTaken
from common.delivery import Item
from common.envelope import Received, decode
from common.outbox import Unit
from metrics_exporter import use_cases as metrics
from metrics_exporter.clients import Wire
from national_portal_sync.consumers import items_of
from tests.support.dossiers import code, envelope

FIELD = {"code": None, "name": "Kinh doanh"}
AT = datetime(2015, 3, 2, tzinfo=UTC)


def imported(**asked: bool) -> Received:
    state = DossierState.model_validate(
        {
            "code": code(1),
            "agency": "H10.15",
            "procedure": {
                "code": "1.000016",
                "name": "Đăng ký",
                "field": {"code": None, "name": "Kinh doanh"},
            },
            "channel": "1",
            "applicant_kind": "1",
            "sealed": "v1.k1.x",
            "summary": "Hồ sơ cũ",
            "status": "9",
            "submitted_at": AT,
            "historic": True,
        }
    )
    step = StepTaken(number=1, kind="complete", status="9", at=AT)
    event = DossierImported(dossier=state, step=step, lane="bulk", **asked)
    return decode(envelope(event, 1, aggregate=code(1), producer="dossier"))


def test_the_portal_hears_of_them_only_when_that_is_wished() -> None:
    assert items_of(imported()) == []
    assert items_of(imported(measure=True)) == []
    (told,) = items_of(imported(tell_portal=True))
    assert (told.subject, told.lane) == (code(1), "bulk")


async def test_they_are_measured_only_when_that_is_wished(monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[Item] = []

    class Records:
        def record(self, _: Any) -> bytes:
            return b"{}"

    async def queue(_: Any, __: str, items: list[Item]) -> None:
        queued.extend(items)

    monkeypatch.setattr(metrics, "queue", queue)
    unit, wire = Unit(cast("Any", None)), cast("Wire", Records())
    await metrics.queue_records(unit, [imported(), imported(tell_portal=True)], wire)
    assert queued == []
    await metrics.queue_records(unit, [imported(measure=True)], wire)
    assert [item.subject for item in queued] == [code(1)]
