"""A fact leads to a snapshot and to the step that an official took, still sealed."""

import orjson
import pytest

from common.contracts.commands import Official
from common.contracts.dossier import DossierProgressed, DossierState, DossierSubmitted, StepTaken
from common.contracts.usage import UsageMeasured
from common.delivery import Item
from common.envelope import decode
from national_portal_sync.consumers import items_of, subscriptions
from national_portal_sync.domain.keys import sequence_of, step_key, step_number, version_of
from tests.support.portal import PERSONAL, START, code_of, envelope, fact

CODE = code_of(7)


def items(status: str = "4", sequence: int = 3, epoch: int = 1, **changed: object) -> list[Item]:
    told = fact(CODE, sequence, DossierProgressed, status, **changed)  # type: ignore[arg-type]
    return items_of(decode(envelope(told, CODE, sequence, epoch=epoch)))


def test_a_fact_is_a_snapshot_and_a_step_in_this_order() -> None:
    snapshot, step = items()
    assert (snapshot.kind, snapshot.key, snapshot.waits) == ("dossier", CODE, False)
    assert (step.kind, step.key, step.waits) == ("step", f"{CODE}/3", True)
    for item in (snapshot, step):
        assert (item.agency, item.subject, item.lane) == ("H10.15", CODE, "live")
        assert sequence_of(item.version) == 3


def test_bodies_hold_everything_and_nothing_in_clear() -> None:
    told = fact(CODE, 3, DossierProgressed, "4")
    snapshot, step = items_of(decode(envelope(told, CODE, 3)))
    assert DossierState.model_validate_json(snapshot.body) == told.dossier
    assert StepTaken.model_validate_json(step.body) == told.step
    for secret in PERSONAL:
        assert secret.encode() not in snapshot.body + step.body


@pytest.mark.parametrize("official", [None, Official(name=""), Official(name=" \n")])
def test_without_an_official_there_is_no_step(official: Official | None) -> None:
    assert [item.kind for item in items(official=official)] == ["dossier"]


def test_a_later_epoch_is_newer_than_any_earlier_one() -> None:
    (late, _), (early, _) = items(sequence=900, epoch=1), items(sequence=1, epoch=2)
    assert early.version > late.version
    assert sequence_of(version_of("dossier/7/H10-260101-0001", 12)) == 12


def test_a_step_is_known_by_its_number() -> None:
    assert step_number(step_key(CODE, 41)) == 41


def test_the_trace_goes_on() -> None:
    members = orjson.loads(envelope(fact(CODE, 1, DossierSubmitted, "1"), CODE, 1))
    members["traceparent"] = f"00-{'a' * 32}-{'b' * 16}-01"
    assert {item.traceparent for item in items_of(decode(orjson.dumps(members)))} == {
        members["traceparent"]
    }


def test_other_events_lead_to_nothing() -> None:
    usage = UsageMeasured(
        service="x", instance="i", boot="b", interval=1, started_at=START, ended_at=START, counts=()
    )
    assert items_of(decode(envelope(usage, "x", None))) == []  # type: ignore[arg-type]


def test_one_queue_takes_the_whole_stream() -> None:
    subscription, _ = subscriptions(lambda: None)
    assert (subscription.purpose, subscription.patterns) == ("dossiers", ("dossier.#",))
