"""Results that have to be signed though their source system did not ask for it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from common.contracts.commands import Complete
from common.sealing import KeyRing
from common.service import Shared
from dossier.domain import signing_rules
from dossier.domain.model import Dossier, SignedInTurn
from dossier.domain.signing_rules import SigningRules
from dossier.main import create_app
from dossier.settings import Settings
from tests.support.dossiers import AGENCY, START, code, command, result
from tests.unit.test_dossier_steps import live

KEY = SecretStr("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
KEYS = KeyRing({"k1": KEY}, "k1")
OFFICIAL = "001099000007"
PROCEDURE = live(command("submit")).state.procedure.code
DAY = START.date().isoformat()


def rules(*given: dict[str, Any]) -> SigningRules:
    least = {
        "agency": AGENCY,
        "signer": {"user": OFFICIAL, "ca_name": "VNPT-CA", "reason": "Phê duyệt"},
        "valid_from": "2026-01-01",
        "basis": "QĐ 1/QĐ-UBND",
    }
    return SigningRules.model_validate(
        {
            "version": "1",
            "source": "the tests",
            "confidence": "made up",
            "rules": [{**least, **one} for one in given],
        }
    )


def applied(given: SigningRules, *results: dict[str, Any], before: Dossier | None = None) -> Any:
    complete = command("complete", 5, results=list(results))
    assert isinstance(complete, Complete)
    dossier = before or live(command("submit"), command("receive", 1))
    return given.applied(complete, dossier, KEYS.seal).results


def test_a_result_is_signed_by_whom_the_rule_names() -> None:
    (signed,) = applied(rules({}), result())
    assert signed.signing is not None
    assert (signed.signing.ca_name, signed.signing.reason) == ("VNPT-CA", "Phê duyệt")
    assert KEYS.open(signed.signing.sealed_user, code(1)) == OFFICIAL


def test_who_is_to_sign_stands_nowhere_in_clear() -> None:
    given = rules({})
    (signed,) = applied(given, result())
    assert OFFICIAL not in repr(given) + repr(signed) + given.model_dump_json()


@pytest.mark.parametrize(
    "rule",
    [
        {"agency": AGENCY.split(".")[0]},
        {"procedures": [PROCEDURE]},
        {"results": ["KQ.G01"]},
        {"valid_from": DAY, "valid_until": DAY},
    ],
)
def test_a_rule_speaks_of_these_dossiers(rule: dict[str, Any]) -> None:
    (signed,) = applied(rules(rule), {**result(), "code": "KQ.G01"})
    assert signed.signing is not None


@pytest.mark.parametrize(
    "rule",
    [
        {"agency": "H99"},
        {"agency": AGENCY + ".01"},
        {"procedures": ["9.999999"]},
        {"results": ["KQ.G02"]},
        {"valid_from": "2100-01-01"},
        {"valid_from": "2020-01-01", "valid_until": "2020-12-31"},
    ],
)
def test_a_rule_does_not_speak_of_others(rule: dict[str, Any]) -> None:
    (unsigned,) = applied(rules(rule), {**result(), "code": "KQ.G01"})
    assert unsigned.signing is None


def test_the_first_rule_that_fits_counts() -> None:
    other = {"signer": {"user": OFFICIAL, "ca_name": "FPT-CA"}}
    (signed,) = applied(rules({"procedures": ["9.999999"]}, other, {}), result())
    assert signed.signing.ca_name == "FPT-CA"


def test_what_was_asked_for_by_the_source_system_stays_as_it_is() -> None:
    wished = result(signed=True)
    (signed,) = applied(rules({"signer": {"user": OFFICIAL, "ca_name": "FPT-CA"}}), wished)
    assert signed.signing.model_dump() == wished["signing"]


def test_a_result_without_a_file_has_nothing_to_be_signed() -> None:
    (unsigned,) = applied(rules({}), result(file=None))
    assert unsigned.signing is None


def test_a_rule_holds_from_midnight_in_vietnam() -> None:
    given = rules({"valid_from": "2026-11-02"})
    for moment, demanded in [
        (datetime(2026, 11, 1, 16, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 11, 1, 17, 0, tzinfo=UTC), True),
    ]:
        complete = Complete.model_validate({"at": moment, "results": [result()]})
        (one,) = given.applied(complete, live(command("submit")), KEYS.seal).results
        assert (one.signing is not None) is demanded


HEAD, SEAL = "001099000008", "0100109106"
SIGNERS: list[dict[str, Any]] = [
    {"user": OFFICIAL, "ca_name": "VNPT-CA", "reason": "Thẩm định"},
    {"user": HEAD, "ca_name": "Viettel-CA", "stamp": {"anchor": "Thủ trưởng"}},
    {"user": SEAL, "ca_name": "CA2", "seal": True, "stamp": {"page": 0, "box": [1, 2, 3, 4]}},
]
TOGETHER: dict[str, Any] = {"signer": None, "signers": SIGNERS}


def test_a_rule_can_name_several_signers_in_their_order_and_the_seal_last() -> None:
    (paper,) = applied(rules(TOGETHER), result())
    assert isinstance(paper, SignedInTurn)
    assert paper.signing is None  # nobody is the only one
    numbers = [KEYS.open(one.signer.sealed_user, code(1)) for one in paper.turns]
    assert numbers == [OFFICIAL, HEAD, SEAL]
    assert [one.signer.ca_name for one in paper.turns] == ["VNPT-CA", "Viettel-CA", "CA2"]
    assert [one.signer.reason for one in paper.turns] == ["Thẩm định", None, None]
    assert [one.seal for one in paper.turns] == [False, False, True]
    places = [one.stamp.model_dump() if one.stamp else None for one in paper.turns]
    assert places == [
        None,
        {"anchor": "Thủ trưởng", "page": -1, "box": None},
        {"anchor": None, "page": 0, "box": (1, 2, 3, 4)},
    ]
    assert {"id": paper.id, "name": paper.name, "file": paper.file}.items() <= result().items()


def test_none_of_several_signers_stands_anywhere_in_clear() -> None:
    given = rules(TOGETHER)
    (paper,) = applied(given, result())
    said = repr(given) + repr(paper) + given.model_dump_json()
    assert not [number for number in (OFFICIAL, HEAD, SEAL) if number in said]


@pytest.mark.parametrize(
    "wished", [result(file=None), result(signed=True), {**result(), "code": "KQ.G02"}]
)
def test_several_sign_no_result_that_one_would_not(wished: dict[str, Any]) -> None:
    (paper,) = applied(rules({**TOGETHER, "results": ["KQ.G01"]}), {"code": "KQ.G01", **wished})
    assert not isinstance(paper, SignedInTurn)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"signer": None}, "either a signer or signers"),
        ({"signers": SIGNERS}, "either a signer or signers"),
        ({"signer": None, "signers": []}, "at least 1 item"),
        ({"signer": None, "signers": SIGNERS[:1] * 21}, "at most 20 items"),
        ({"signer": None, "signers": SIGNERS[::-1]}, "a seal is the last signature"),
        ({"signer": {**SIGNERS[0], "seal": True}}, "Extra inputs"),
        (
            {"signer": None, "signers": [{**SIGNERS[0], "stamp": {"page": 0}}]},
            "either an anchor or a box",
        ),
    ],
)
def test_a_rule_that_cannot_be_followed_stops_the_start(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        rules(wrong)


def test_this_release_demands_nothing() -> None:
    assert signing_rules.load().rules == ()


def test_a_file_that_is_no_list_of_rules_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text(json.dumps({"version": "1", "rules": [{"agency": "H01"}]}))
    with pytest.raises(ValidationError):
        signing_rules.load(tmp_path / "rules.json")


def test_rules_without_a_key_to_seal_with_stop_the_start(tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    body = json.loads(rules({}).model_dump_json())
    body["rules"][0]["signer"]["user"] = OFFICIAL
    file.write_text(json.dumps(body))
    url = SecretStr("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    with pytest.raises(ValueError, match="sealing_key"):
        create_app(Settings(database_url=url, signing_rules=file), Shared())
    create_app(
        Settings(database_url=url, signing_rules=file, sealing_keys={"k1": KEY}, sealing_key="k1"),
        Shared(),
    )
