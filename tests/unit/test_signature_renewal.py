"""When archive timestamps are renewed, and what is known of the authority that made the newest."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from uuid import UUID, uuid4

import pytest
from asn1crypto import crl
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESPassed
from pyhanko.sign.validation.ades import ades_lta_validation
from pyhanko.sign.validation.policy_decl import (
    LocalKnowledge,
    PdfSignatureValidationSpec,
    SignatureValidationSpec,
)
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.ltv.types import ValidationTimingInfo
from pyhanko_certvalidator.policy_decl import REQUIRE_REVINFO, CertRevTrustPolicy
from pyhanko_certvalidator.registry import SimpleTrustManager
from pyhanko_certvalidator.revinfo.archival import CRLContainer

from signature_connector.assembly import augmentation
from signature_connector.assembly.edits import applied
from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Report
from signature_connector.domain.renewal import Schedule, worthwhile
from signature_connector.use_cases.finishing import NoValidationData, OfTimestamp
from signature_connector.use_cases.validation_data import ValidationSources
from signature_connector.verification.archive import examine_newest_stamp
from signature_connector.verification.policies import Policies
from simulators.timestamps import Authority
from simulators.timestamps import authority as timestamp_authority
from tests.support import assembly
from tests.support.signing import pdf, root, signer
from tests.support.verification import der

ENDS = datetime(2031, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SCHEDULE = Schedule(90 * DAY, timedelta(minutes=1))

# When.


@given(st.uuids())
def test_a_document_is_due_with_its_margin_left_and_at_most_a_third_more(request_id: UUID) -> None:
    due = SCHEDULE.due(ENDS, request_id)
    assert ENDS - 120 * DAY <= due <= ENDS - 90 * DAY
    assert due == SCHEDULE.due(ENDS, request_id)


def test_documents_of_one_authority_come_due_in_turn() -> None:
    days = [(ENDS - SCHEDULE.due(ENDS, uuid4())).days for _ in range(3000)]
    busiest = max(days.count(day) for day in set(days))
    assert busiest < 200, "of 3000 over 30 days"


def test_tries_come_less_and_less_often_until_the_end() -> None:
    since = now = ENDS - 90 * DAY
    pauses = []
    while now < ENDS:
        later = SCHEDULE.again(since, now, ENDS)
        assert now < later <= ENDS
        pauses.append(later - now)
        now = later
    assert pauses[0] == timedelta(minutes=1)
    assert pauses[:-1] == sorted(pauses[:-1])
    assert max(pauses) == DAY
    assert now == ENDS


@pytest.mark.parametrize(
    ("left", "gained", "enough"),
    [(60, 0, False), (60, 59, False), (60, 60, True), (2, 3, True), (60, -1, False), (0, 0, False)],
)
def test_a_timestamp_is_kept_only_if_it_carries_the_proof_on(
    left: int, gained: int, enough: bool
) -> None:
    now = ENDS - left * DAY
    assert worthwhile(ENDS, ENDS + gained * DAY, now) is enough


# By whom, and what is known of them.

CRLS = "http://tsa.example.vn/crls"


@cache
def told_of() -> Authority:
    """An authority whose certificate says where its revocation is told; it ends in 20 days."""
    return timestamp_authority("TSA", days=20, crls=CRLS)


@cache
def untold() -> Authority:
    """One whose certificate does not."""
    return timestamp_authority("TSA không nêu")


def stamped(by: Authority) -> bytes:
    """A document at B-T."""
    content = assembly.signed(pdf())
    token = by.token(augmentation.imprint(content))
    return applied(content, augmentation.timestamped(content, token))


def archived(content: bytes, by: Authority) -> bytes:
    """With one more timestamp over it."""
    waiting = assembly.archive_prepared(content)
    token = by.token(waiting.digest)
    return applied(waiting.content, augmentation.archived(waiting.content, waiting, token))


def with_data(content: bytes, data: ValidationData) -> bytes:
    return applied(content, augmentation.long_term(content, data))


def examined(
    content: bytes,
    data: ValidationData = ValidationData(),  # noqa: B008 - frozen
    moment: datetime | None = None,
) -> Report:
    stamps = (told_of(), untold())
    trusted = [der(root()), *map(_root, stamps)]
    return examine_newest_stamp(
        content, Policies.of(trusted).at(datetime.now(UTC)), moment or datetime.now(UTC), data
    )


def _root(by: Authority) -> bytes:
    return by.root.public_bytes(Encoding.DER)


def lists(by: Authority, *, revoked: bool = False) -> ValidationData:
    """What would be looked up."""
    found = by.revocations(revoked)
    assert found is not None
    return ValidationData((), (), (found,))


def code(report: Report) -> str:
    return report.findings[0].code


def test_the_newest_timestamp_says_until_when_it_proves_something() -> None:
    signature = examined(stamped(told_of()))
    assert (signature.facts["archive"], code(signature)) == (False, "revocation-unchecked")
    both = archived(stamped(told_of()), untold())
    report = examined(both)
    assert report.facts["archive"]
    assert report.facts["ends"] == untold().certificate.not_valid_after_utc
    assert report.facts["signer"] == signer().der
    again = archived(both, told_of())
    assert examined(again).facts["ends"] == told_of().certificate.not_valid_after_utc


def test_what_the_document_carries_about_its_authority_is_enough() -> None:
    content = with_data(stamped(told_of()), lists(told_of()))
    report = examined(content)
    assert (code(report), report.facts["embedded"]) == ("not-revoked", True)
    # The same authority's next timestamp is covered by it, another's is not.
    assert examined(archived(content, told_of())).facts["embedded"]
    assert not examined(archived(content, untold())).facts["embedded"]


@pytest.mark.parametrize("kind", ["tampered", "none", "unsigned", "ended", "stranger", "no pdf"])
def test_a_timestamp_that_is_not_good_proves_nothing(kind: str) -> None:
    moment = datetime.now(UTC)
    content = archived(stamped(told_of()), told_of())
    match kind:
        case "tampered":
            content = content[:9] + bytes([content[9] ^ 1]) + content[10:]
        case "none":
            content = assembly.signed(pdf())
        case "unsigned":
            content = pdf()
        case "ended":
            moment += 21 * DAY
        case "stranger":
            content = archived(content, timestamp_authority("TSA lạ"))
        case _:
            content = b"%PDF-1.7 nothing"
    assert examined(content, moment=moment).refusal is not None


def test_a_timestamp_over_other_bytes_proves_nothing() -> None:
    waiting = assembly.archive_prepared(stamped(told_of()))
    start, end = waiting.facts["gap"]
    token = told_of().token(bytes(32)).hex().encode()
    filled = b"<" + token.ljust(end - start - 2, b"0") + b">"
    content = waiting.content[:start] + filled + waiting.content[end:]
    refusal = examined(content).refusal
    assert refusal is not None
    assert refusal.code == "digest-mismatch"


@dataclass
class Reading:
    """Examines here what the service examines in another process."""

    async def newest_stamp(
        self,
        content: bytes,
        moment: datetime,
        data: ValidationData = ValidationData(),  # noqa: B008 - frozen
    ) -> Report:
        return await asyncio.to_thread(examined, content, data, moment)

    async def chain(self, *_: object) -> Report:
        raise AssertionError("not of a timestamp")


@dataclass
class Looking:
    """Tells what it was given."""

    data: ValidationData
    asked: int = 0

    async def data_for(self, chain: object, moment: datetime) -> ValidationData:
        self.asked += 1
        return self.data


async def of_timestamp(content: bytes, looking: Looking) -> OfTimestamp:
    return await ValidationSources(Reading(), looking).of_timestamp(content, datetime.now(UTC))


async def test_what_tells_of_the_authority_is_looked_up_once_for_a_document() -> None:
    looking = Looking(lists(told_of()))
    found = await of_timestamp(stamped(told_of()), looking)
    assert (found.status, found.data.crls) == ("found", looking.data.crls)
    assert found.data.certificates == (
        told_of().certificate.public_bytes(Encoding.DER),
        _root(told_of()),
    )
    carrying = with_data(stamped(told_of()), found.data)
    assert (await of_timestamp(carrying, looking)).status == "embedded"
    assert looking.asked == 1


@pytest.mark.parametrize("told", ["nothing", "revoked"])
async def test_an_authority_whose_status_is_told_somewhere_has_to_be_known_not_to_be_revoked(
    told: str,
) -> None:
    data = ValidationData() if told == "nothing" else lists(told_of(), revoked=True)
    with pytest.raises(NoValidationData) as error:
        await of_timestamp(stamped(told_of()), Looking(data))
    assert error.value.untold is (told == "nothing")


async def test_an_authority_that_names_nobody_who_tells_is_taken_without() -> None:
    found = await of_timestamp(stamped(untold()), Looking(ValidationData()))
    assert (found.status, found.data.crls, len(found.data.certificates)) == ("unnamed", (), 2)
    facts: dict[str, object] = {}
    found.note(facts)
    assert facts["authority_status"] == "unnamed"
    assert facts["authority_warning"]


# What others say of a renewed document.


async def accepted_at(content: bytes, by: Authority, days: int) -> bool:
    """What pyHanko says by its own rules (EN 319 102-1, 5.6.3) at a date to come, with revocation
    required: it knows what one authority says of revocation by then, and else what the document
    carries."""
    at = datetime.now(UTC) + days * DAY
    listed = by.revocations(now=at)
    assert listed is not None
    trust = SimpleTrustManager.build(
        trust_roots=[
            asn1_x509.Certificate.load(one) for one in (der(root()), *map(_root, (told_of(), by)))
        ]
    )
    spec = SignatureValidationSpec(
        CertValidationPolicySpec(trust, CertRevTrustPolicy(REQUIRE_REVINFO)),
        local_knowledge=LocalKnowledge(known_crls=[CRLContainer(crl.CertificateList.load(listed))]),
    )
    (signature,) = PdfFileReader(BytesIO(content)).embedded_regular_signatures
    result = await ades_lta_validation(
        signature,
        PdfSignatureValidationSpec(spec),
        ValidationTimingInfo(at, at, point_in_time_validation=True),
    )
    return bool(result.ades_subindic == AdESPassed.OK)


async def test_a_renewed_document_is_accepted_by_others_after_the_end_of_the_first_authority() -> (
    None
):
    lasting = timestamp_authority("TSA B", days=3000, crls=CRLS)
    person = assembly.validation_data()
    both = ValidationData(
        (*person.certificates, _root(told_of())),
        person.ocsps,
        (*person.crls, *lists(told_of()).crls),
    )
    before = archived(with_data(stamped(told_of()), both), told_of())
    after = archived(with_data(before, lists(told_of())), lasting)
    assert await accepted_at(before, told_of(), 1)
    assert not await accepted_at(before, lasting, 25), "its authority has ended"
    assert await accepted_at(after, lasting, 25)
