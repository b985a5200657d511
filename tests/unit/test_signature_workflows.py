"""Several signers of one document: who waits for whom, and what is no order at all."""

from typing import Any
from uuid import UUID, uuid5

import pytest

from common.contracts.commands import SigningWish
from common.contracts.dossier import SigningTurn, SigningWorkflowRequested, Stamp
from common.contracts.registry import EVENTS
from common.envelope import Draft, Received, decode, encode
from common.identifiers import new_id
from signature_connector.domain.profiles import Mark, Options
from signature_connector.use_cases.workflows import LONGEST, wishes_of

WORKFLOW = new_id()


def turn(place: int, **changed: Any) -> SigningTurn:
    signer = SigningWish(sealed_user=f"v1.k1.{place}", ca_name="VNPT-CA", reason=f"Lần {place}")
    return SigningTurn(**{"request_id": uuid5(WORKFLOW, str(place)), "signer": signer, **changed})


def asked(*turns: SigningTurn, **changed: Any) -> SigningWorkflowRequested:
    given: dict[str, Any] = {
        "workflow_id": WORKFLOW,
        "dossier_code": "H56.14-261102-0001",
        "agency": "H56.14",
        "document_id": "KQ1",
        "document_name": "Giấy phép",
        "file": "a" * 64,
        "signers": turns,
        "procedure_code": "1.000016",
    }
    return SigningWorkflowRequested(**{**given, **changed})


def received(event: SigningWorkflowRequested) -> Received:
    identifier = new_id()
    draft = Draft(
        id=identifier,
        event=event,
        aggregate=event.dossier_code,
        agency=event.agency,
        subject=event.dossier_code,
        traceparent=None,
        correlation="c",
        causation=None,
    )
    return decode(encode(draft, producer="dossier", epoch=1, sequence=None))


def wishes(*turns: SigningTurn, **changed: Any) -> list[Any]:
    told = received(asked(*turns, **changed))
    assert isinstance(told.event, SigningWorkflowRequested)
    return wishes_of(told, told.event, None)


def test_each_waits_for_the_one_before_and_the_last_brings_the_document_to_its_level() -> None:
    stamp = Stamp(page=0, box=(1, 2, 3, 4))
    three = wishes(turn(0), turn(1, stamp=stamp), turn(2, seal=True), profile="pades-b-lt")
    ids = [one.request_id for one in three]
    assert ids == [uuid5(WORKFLOW, str(place)) for place in range(3)]
    assert [one.after for one in three] == [None, *ids[:2]]
    assert [one.place for one in three] == [0, 1, 2]
    assert {one.workflow for one in three} == {WORKFLOW}
    assert [one.profile for one in three] == ["pades-b-b", "pades-b-b", "pades-b-lt"]
    options = [Options.read(one.options) for one in three]
    assert [one.final for one in options] == [False, False, True]
    assert [one.reason for one in options] == ["Lần 0", "Lần 1", "Lần 2"]
    assert [one.stamp for one in options] == [None, Mark(None, 0, (1, 2, 3, 4)), None]
    assert [one.sealed_user for one in three] == ["v1.k1.0", "v1.k1.1", "v1.k1.2"]
    for one in three:
        assert (one.client, one.dossier_code, one.procedure) == (
            "dossier",
            "H56.14-261102-0001",
            "1.000016",
        )
        assert (one.file, one.correlation) == ("a" * 64, "c")
        assert isinstance(one.causation, UUID)


@pytest.mark.parametrize(
    ("turns", "changed", "said"),
    [
        ((), {}, "from one to"),
        (tuple(turn(n) for n in range(LONGEST + 1)), {}, "from one to"),
        ((turn(0, seal=True), turn(1)), {}, "a seal is the last signature"),
        ((turn(0), turn(1)), {"profile": "xades-b-b"}, "only a PDF"),
    ],
)
def test_what_cannot_be_signed_in_turn_is_not_begun(
    turns: tuple[SigningTurn, ...], changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        wishes(*turns, **changed)


def test_who_knows_of_one_signer_only_does_not_know_the_event_of_several() -> None:
    """The first of several is never taken for the only one: no type holds both."""
    one, several = EVENTS["signing.requested.v1"], EVENTS["signing.workflow-requested.v1"]
    assert one is not several
    assert "signers" not in one.model_fields
    assert not {"signer", "request_id"} & set(several.model_fields)
