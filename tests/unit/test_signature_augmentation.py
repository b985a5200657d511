"""How far a signed document gets above B-B, and what is done about the rest."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from signature_connector.domain.assembly import Format, Prepared, Unfit, ValidationData, Wish
from signature_connector.domain.requests import State, moved
from signature_connector.use_cases.finishing import NoTimestamp, NoValidationData, OfTimestamp
from signature_connector.use_cases.providers import Always
from signature_connector.use_cases.steps import Steps
from tests.unit.test_signature_states import KEYS, SIGNED, Examiner, Files, Provider, wish

CERTIFICATE = {"certificate": "aa", "serial_number": "ab", "transaction_id": "", "chain": ["bb"]}


@dataclass
class Assembler:
    """Writes down at the document's end what was done to it."""

    carried: list[ValidationData] = field(default_factory=list)

    async def prepare(self, content: bytes, wish: Wish) -> Prepared:
        raise AssertionError("signed already")

    async def finish(self, prepared: Prepared, signature: bytes) -> bytes:
        raise AssertionError("signed already")

    async def imprint(self, content: bytes, kind: Format) -> bytes:
        if b"LT" in content:
            raise Unfit("covered-already")
        return b"imprint"

    async def timestamped(self, content: bytes, kind: Format, token: bytes) -> bytes:
        return content + b" T"

    async def long_term(self, content: bytes, kind: Format, data: ValidationData) -> bytes:
        self.carried.append(data)
        return content + b" LT"

    async def archive_imprint(self, content: bytes, kind: Format) -> Prepared:
        return Prepared(kind, content, b"", b"archive", {})

    async def archived(self, prepared: Prepared, token: bytes) -> bytes:
        return prepared.content + b" LTA"


@dataclass
class Timestamps:
    """Gives as many as it has."""

    left: int = 10

    async def token(self, imprint: bytes) -> bytes:
        if not self.left:
            raise NoTimestamp("out of order")
        self.left -= 1
        return b"token over " + imprint


@dataclass
class Revocations:
    """Tells, or does not."""

    told: bool = True
    asked: list[Sequence[bytes]] = field(default_factory=list)
    authority: OfTimestamp | str = field(
        default_factory=lambda: OfTimestamp(ValidationData(), "embedded")
    )
    """Of a timestamp; or why there is nothing."""
    archive: OfTimestamp | str | None = None
    """Of an archive timestamp, if that is another authority's."""

    async def validation_data(
        self, certificates: Sequence[bytes], moment: datetime
    ) -> ValidationData:
        self.asked.append(certificates)
        if not self.told:
            raise NoValidationData("revocation-unchecked")
        return ValidationData((b"signer", b"root"), (), (b"list",))

    async def of_timestamp(self, content: bytes, moment: datetime) -> OfTimestamp:
        found = self.archive if b"LTA" in content and self.archive else self.authority
        if isinstance(found, str):
            raise NoValidationData(found)
        return found


@dataclass
class Desk:
    """Steps around doubles."""

    timestamps: Timestamps | None = field(default_factory=Timestamps)
    revocations: Revocations = field(default_factory=Revocations)
    files: Files = field(default_factory=Files)
    assembler: Assembler = field(default_factory=Assembler)

    async def ended(self, **asked: Any) -> tuple[Any, list[Any]]:
        """A document that was just signed, step after step until it rests or waits."""
        steps = Steps(
            Always((Provider(),)),
            self.files,
            Examiner(),
            KEYS,
            file_limit=1000,
            patience=timedelta(hours=1),
            assembler=self.assembler,
            timestamps=self.timestamps,
            revocations=self.revocations,
            augment_after=timedelta(minutes=2),
        )
        given = {
            "state": State.ASSEMBLED,
            "result_file": await self.files.put(SIGNED),
            "level": "b-b",
            "sealed_certificate": KEYS.seal(CERTIFICATE, wish().owner),
            **asked,
        }
        request, taken = wish(**given), []
        while request.state is not State.COMPLETED:
            step = (await steps.take(request, None)).step
            assert step is not None
            request = moved(request, step)
            taken.append(step)
            if step.wait is not None:
                break
        return request, taken

    def content(self, request: Any) -> bytes:
        return self.files.kept[request.signed_file]


@pytest.mark.parametrize(
    ("level", "done"), [("b-t", b" T"), ("b-lt", b" T LT"), ("b-lta", b" T LT LTA")]
)
async def test_every_level_builds_upon_the_one_below(level: str, done: bytes) -> None:
    desk = Desk()
    request, _ = await desk.ended(profile=f"pades-{level}")
    assert (request.level, request.augment_at) == (level, None)
    assert request.sealed_certificate is None
    assert desk.content(request) == SIGNED + done
    if level != "b-t":
        assert desk.revocations.asked == [(b"\xaa", b"\xbb")]


@pytest.mark.parametrize(
    ("desk", "level", "done"),
    [
        (Desk(Timestamps(0)), "b-b", b""),
        (Desk(revocations=Revocations(told=False)), "b-t", b" T"),
        (Desk(Timestamps(1)), "b-lt", b" T LT"),
    ],
)
async def test_what_was_reached_counts_and_the_rest_is_tried_for_later(
    desk: Desk, level: str, done: bytes
) -> None:
    before = datetime.now(UTC)
    request, steps = await desk.ended(profile="pades-b-lta")
    assert (request.state, request.level) == (State.COMPLETED, level)
    assert desk.content(request) == SIGNED + done
    assert any("not_augmented" in step.facts for step in steps)
    assert steps[-1].facts["warning"]["code"] == "level-not-reached"
    wait = request.augment_at - before
    assert timedelta(minutes=2) <= wait < timedelta(minutes=3)
    assert request.sealed_certificate is not None  # needed once more
    assert request.sealed_preparation is None


async def test_a_level_that_is_required_is_waited_for() -> None:
    desk = Desk(Timestamps(1))
    request, steps = await desk.ended(profile="pades-b-lta", options='{"augment":"required"}')
    assert (request.state, request.level) == (State.ASSEMBLED, "b-b")
    assert steps[-1].wait is not None


async def test_without_any_authority_nothing_is_tried_later() -> None:
    request, _ = await Desk(timestamps=None).ended(profile="pades-b-t")
    assert (request.level, request.augment_at) == ("b-b", None)
    assert request.sealed_certificate is None


FOUND = OfTimestamp(ValidationData((b"tsa", b"root"), (b"answer",), (b"list",)), "found")


async def test_a_long_term_document_carries_what_is_known_of_the_authority_too() -> None:
    desk = Desk(revocations=Revocations(authority=FOUND))
    request, steps = await desk.ended(profile="pades-b-lt")
    assert request.level == "b-lt"
    (carried,) = desk.assembler.carried
    assert carried == ValidationData((b"signer", b"root", b"tsa"), (b"answer",), (b"list",))
    facts = next(step.facts for step in steps if step.to is State.AUGMENTED)
    assert facts["authority_status"] == "found"
    assert facts["validation_data"] == {"ocsps": 1, "crls": 1, "certificates": 3}


@pytest.mark.parametrize("why", ["revocation-unchecked", "certificate-revoked"])
async def test_without_what_the_authority_names_the_level_is_not_reached(why: str) -> None:
    desk = Desk(revocations=Revocations(authority=why))
    request, _ = await desk.ended(profile="pades-b-lta")
    assert request.level == "b-t"
    assert desk.content(request) == SIGNED + b" T"
    assert request.augment_at is not None


async def test_an_authority_that_names_nobody_is_taken_and_the_evidence_says_so() -> None:
    unnamed = OfTimestamp(ValidationData((b"tsa",)), "unnamed")
    desk = Desk(revocations=Revocations(authority=unnamed))
    request, steps = await desk.ended(profile="pades-b-lt")
    assert request.level == "b-lt"
    facts = next(step.facts for step in steps if step.to is State.AUGMENTED)
    assert facts["authority_warning"]["code"] == "authority-status-unnamed"


@pytest.mark.parametrize(
    ("archive", "level", "done"),
    [
        (FOUND, "b-lta", b" T LT LTA LT"),
        ("revocation-unchecked", "b-lta", b" T LT LTA"),
        ("certificate-revoked", "b-lt", b" T LT"),
    ],
)
async def test_data_of_another_authority_follows_its_archive_timestamp(
    archive: OfTimestamp | str, level: str, done: bytes
) -> None:
    desk = Desk(revocations=Revocations(archive=archive))
    request, steps = await desk.ended(profile="pades-b-lta")
    assert (request.level, desk.content(request)) == (level, SIGNED + done)
    if archive == "revocation-unchecked":
        facts = next(step.facts for step in steps if step.to is State.AUGMENTED)
        assert facts["authority_status"] == "revocation-unchecked"
