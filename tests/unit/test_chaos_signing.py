"""The storm's invariants of signing: each names what it is there for, and nothing else."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from backbone.demo.client import Book
from backbone.demo.lives import Procedure, lives
from tests.chaos import invariants, providers
from tests.chaos.invariants import Evidence
from tests.chaos.providers import PROVIDERS, signer_of, spread
from tests.chaos.signings import Asked, Kept, Signing, Signings, finding_of

FILE = "a" * 64
ADDRESS = f"http://gateway/v1/files/{FILE}?n=x&e=1&k=k1&s=s"


def asked(program: str = "smartca", **changed: Any) -> Asked:
    return replace(Asked(program, 1, "signed", "", "1f"), **changed)


def kept(state: str = "completed", finding: str | None = None, **changed: Any) -> Kept:
    one = Kept(UUID(int=1), state, "smartca", FILE, finding, ends=1, broken=None, records=9)
    return replace(one, **changed)


def signed(**changed: Any) -> Signing:
    """A result that was signed as it should be."""
    one = Signing(
        "H49-1", "099000000001", "smartca", (asked(),), (kept(),), "signed", FILE, (ADDRESS,)
    )
    return replace(one, **changed)


def not_signed(row: Asked, request: Kept, signing: str = "failed") -> Signing:
    return signed(asked=(row,), requests=(request,), signing=signing, addresses=())


def found(name: str, *all_: Signing, **changed: Any) -> Sequence[str]:
    told = Signings(tuple(all_), replayed=1)
    evidence = Evidence(
        book=Book(),
        checks=[],
        parked={},
        waiting={},
        undelivered={},
        unpublished={},
        published=Counter(),
        signings=replace(told, **changed),
    )
    return list(getattr(invariants, name)(evidence))


OF_ONE = (
    "nobody_is_asked_twice_to_sign",
    "every_signing_ends_as_the_books_say",
    "a_flawed_result_is_no_result",
    "what_was_signed_is_what_the_portal_has",
)


@pytest.mark.parametrize(
    "good",
    [
        signed(),
        not_signed(asked(outcome="refused"), kept("rejected-by-user", "refused-by-person")),
        not_signed(asked(outcome="expired"), kept("expired", "expired")),
        not_signed(asked(outcome="quota", asked=0), kept("failed", "refused-by-provider")),
        not_signed(asked(flaw="wrong_certificate"), kept("failed", "bad-signature")),
        not_signed(
            asked("signing-gateway", flaw="altered_document"),
            kept("failed", "changed-after-signing"),
        ),
        not_signed(asked("csc-v1"), kept("manual-review", "unclear-answer"), "held"),
        not_signed(
            asked("mysign", outcome="refused"), kept("manual-review", "interrupted"), "held"
        ),
        signed(
            asked=(), requests=(kept("manual-review", "no-news"),), signing="held", addresses=()
        ),
    ],
)
def test_what_is_as_it_must_be_is_not_complained_of(good: Signing) -> None:
    assert [found(name, good) for name in OF_ONE] == [[]] * len(OF_ONE)


@pytest.mark.parametrize(
    ("bad", "names"),
    [
        (signed(asked=(asked(asked=2),)), {OF_ONE[0]}),
        (signed(asked=(asked(), asked("csc-v1"))), {OF_ONE[0], OF_ONE[1]}),
        (signed(asked=(asked(flaw="bad_signature"),)), {OF_ONE[1], OF_ONE[2]}),
        (signed(asked=(asked(outcome="refused"),)), {OF_ONE[1]}),
        (signed(asked=()), {OF_ONE[1]}),
        (signed(requests=()), {OF_ONE[1], OF_ONE[3]}),
        (signed(requests=(kept(ends=2),)), {OF_ONE[1]}),
        (signed(requests=(kept(broken=3),)), {OF_ONE[1]}),
        (signed(signing="held"), {OF_ONE[1]}),
        (signed(addresses=()), {OF_ONE[3]}),
        (signed(addresses=(ADDRESS, ADDRESS)), {OF_ONE[3]}),
        (signed(file="b" * 64), {OF_ONE[3]}),
        (signed(complaint="signed by somebody else"), {OF_ONE[3]}),
        # An answer that was lost can be asked about here.
        (
            not_signed(asked(), kept("manual-review", "unclear-answer"), "held"),
            {OF_ONE[1]},
        ),
        # There was news to be had.
        (not_signed(asked("mysign"), kept("manual-review", "no-news"), "held"), {OF_ONE[1]}),
        # The end is right, the reason is not.
        (not_signed(asked(flaw="bad_signature"), kept("failed", "expired")), {OF_ONE[1]}),
        (not_signed(asked(flaw="bad_signature"), kept("failed", None)), {OF_ONE[1]}),
    ],
)
def test_what_is_wrong_is_named_by_its_invariant(bad: Signing, names: set[str]) -> None:
    assert {name for name in OF_ONE if found(name, bad)} == names


def test_a_storm_that_asked_nobody_is_no_proof() -> None:
    nothing = found("every_provider_had_results_signed")
    assert {f"nothing of {program} was completed" for program in PROVIDERS} <= set(nothing)
    assert "no callback of mysign was taken" in nothing
    assert found("a_callback_that_comes_again_changes_nothing", replayed=0)
    assert found("a_callback_that_comes_again_changes_nothing", moved=("x",)) == ["x"]
    unmet = ("mysign: refuse on signHash",)
    assert found("every_fault_of_a_provider_was_met", unmet=unmet) == [
        "nobody met mysign: refuse on signHash"
    ]


def test_a_provider_whose_results_are_mostly_held_is_named() -> None:
    everybody = [signed(asked=(asked(program),)) for program in PROVIDERS]
    called = {"smartca": 1, "mysign": 1}
    name = "every_provider_had_results_signed"
    assert found(name, *everybody, callbacks=called) == []
    held = [not_signed(asked("csc-v1"), kept("manual-review", "interrupted"), "held")] * 2
    assert found(name, *everybody, *held, callbacks=called) == [
        "1 of 3 signed by csc-v1 were completed"
    ]


def test_signers_are_spread_over_all_providers_each_with_a_person_of_its_own() -> None:
    played = lives(400, ["H49", "H26"], [Procedure("1.0", "Cấp bản sao")], seed=3)
    signers = [one for one in map(signer_of, spread(played, 3)) if one is not None]
    assert len(signers) > 40
    assert len({person for person, _ in signers}) == len(signers)
    counted = Counter(program for _, program in signers)
    assert counted.keys() == PROVIDERS.keys()
    assert max(counted.values()) - min(counted.values()) <= 1
    assert spread(played, 3) == spread(played, 3) != spread(played, 4)


def test_every_provider_has_people_for_each_kind_of_fault_and_nobody_meets_two() -> None:
    played = lives(1500, ["H49", "H26"], [Procedure("1.0", "Cấp bản sao")], seed=3)
    groups = (providers.DISAPPOINTING, providers.UNHEARD, providers.MISTAKEN)
    met: Counter[tuple[str, str]] = Counter()
    for person, program in filter(None, map(signer_of, spread(played, 3))):
        one = PROVIDERS[program]
        mine = [group for group in groups if one.meets(person, one.of(group))]
        assert len(mine) <= 1
        met.update((program, group) for group in mine)
    assert len(met) == len(PROVIDERS) * len(groups)


def test_a_finding_is_known_by_its_sentence_with_or_without_a_detail() -> None:
    sentence = "Người ký từ chối / The signer refused"
    assert finding_of(sentence) == finding_of(f"{sentence} (code 4002)") == "refused-by-person"
    assert finding_of(None) is None
    assert finding_of("something else") is None
