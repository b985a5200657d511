"""A PDF is prepared, its digest signed elsewhere, and put together; nothing wrong gets in."""

import asyncio
import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from io import BytesIO

import pytest
from asn1crypto import cms, x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESPassed
from pyhanko.sign.fields import SigFieldSpec, append_signature_field
from pyhanko.sign.general import SigningError
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko.sign.validation.ades import (
    ades_basic_validation,
    ades_lta_validation,
    ades_with_time_validation,
)
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.policy_decl import (
    PdfSignatureValidationSpec,
    SignatureValidationSpec,
)
from pyhanko.sign.validation.status import PdfSignatureStatus
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.policy_decl import (
    NO_REVOCATION,
    REQUIRE_REVINFO,
    CertRevTrustPolicy,
    RevocationCheckingPolicy,
)
from pyhanko_certvalidator.registry import SimpleTrustManager

from signature_connector.assembly import augmentation
from signature_connector.domain.assembly import Unfit
from signature_connector.verification.certificates import Trust
from signature_connector.verification.judgement import Returned, judge
from tests.support import assembly
from tests.support.assembly import raw_signature, trusting, tsa, wish
from tests.support.signing import (
    Holder,
    How,
    Key,
    Usage,
    authority,
    colleague,
    issue,
    pdf,
    sign,
    signer,
    updated,
)

KEYS: dict[str, Callable[[], Key]] = {
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "p-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p-521": lambda: ec.generate_private_key(ec.SECP521R1()),
}


@cache
def holder(kind: str) -> Holder:
    return issue(f"Người ký {kind}", authority(), Usage(key=KEYS[kind]()))


def statuses(content: bytes) -> list[PdfSignatureStatus]:
    """What pyHanko says of every signature, modifications after it included."""
    reader = PdfFileReader(BytesIO(content), strict=True)

    async def all_of_them() -> list[PdfSignatureStatus]:
        return [
            await async_validate_pdf_signature(one, trusting(), ts_validation_context=trusting())
            for one in reader.embedded_regular_signatures
        ]

    return asyncio.run(all_of_them())


def accepted(content: bytes, signatures: int = 1) -> bool:
    found = statuses(content)
    return len(found) == signatures and all(one.bottom_line for one in found)


MECHANISMS = st.one_of(
    st.tuples(
        st.sampled_from(["rsa-2048", "rsa-3072"]),
        st.sampled_from(["rsassa_pss", "rsassa_pkcs1v15"]),
    ),
    st.tuples(st.sampled_from(["p-256", "p-384", "p-521"]), st.just("ecdsa")),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    mechanism=MECHANISMS,
    digest=st.sampled_from(["sha256", "sha384", "sha512"]),
    kib=st.integers(0, 40),
    reason=st.none() | st.text(max_size=30),
)
def test_whatever_the_key_digest_and_document_the_signature_holds(
    mechanism: tuple[str, str], digest: str, kib: int, reason: str | None
) -> None:
    person = holder(mechanism[0])
    document = pdf(kib=kib)
    signed = assembly.signed(
        document, person, digest_algorithm=digest, mechanism=mechanism[1], reason=reason
    )
    assert signed.startswith(document)
    (status,) = statuses(signed)
    assert status.bottom_line
    assert status.md_algorithm == digest
    assert status.signing_cert.dump() == person.der


def test_the_signature_is_of_the_pades_form() -> None:
    moment = wish().claimed_at
    signed = assembly.signed(pdf(), reason="Phê duyệt", location="Hà Nội", claimed_at=moment)
    (one,) = PdfFileReader(BytesIO(signed)).embedded_signatures
    assert one.sig_object["/SubFilter"] == "/ETSI.CAdES.detached"
    assert one.sig_object["/Reason"] == "Phê duyệt"
    assert one.self_reported_timestamp == moment
    attributes = {a["type"].native for a in one.signer_info["signed_attrs"]}
    assert attributes == {"content_type", "message_digest", "signing_certificate_v2"}
    carried = {one.dump() for one in one.other_embedded_certs}
    assert carried == {wish().chain[0]}, "the issuing CA goes along, the root does not"


def test_a_signature_with_the_longest_salt_is_embedded_as_what_it_is() -> None:
    how = wish()
    waiting = assembly.prepared(pdf(), how)
    salt = 2048 // 8 - 32 - 2
    signature = raw_signature(signer().key, waiting.digest, how, salt=salt)
    assert accepted(assembly.finished(waiting, signature))


@pytest.mark.parametrize("person", [signer, colleague])
def test_a_signature_by_another_key_or_over_something_else_is_not_embedded(person) -> None:
    how = wish(person())
    waiting = assembly.prepared(pdf(), how)
    good = raw_signature(person().key, waiting.digest, how)
    kind = "p-256" if isinstance(person().key, ec.EllipticCurvePrivateKey) else "rsa-2048"
    wrong = [
        raw_signature(holder(kind).key, waiting.digest, how),
        raw_signature(person().key, hashlib.sha256(b"khac").digest(), how),
        good[:-1] + bytes([good[-1] ^ 1]),
        good[:-1],
        b"",
    ]
    for signature in wrong:
        with pytest.raises(Unfit) as refused:
            assembly.finished(waiting, signature)
        assert refused.value.code == "bad-signature"
    assert accepted(assembly.finished(waiting, good))


def test_a_signature_of_another_padding_than_was_asked_for_is_refused() -> None:
    how = wish()
    waiting = assembly.prepared(pdf(), how)
    signature = raw_signature(
        signer().key, waiting.digest, replace(how, mechanism="rsassa_pkcs1v15")
    )
    with pytest.raises(Unfit, match="bad-signature"):
        assembly.finished(waiting, signature)


def test_a_document_changed_between_preparing_and_finishing_is_refused() -> None:
    how = wish()
    waiting = assembly.prepared(pdf(), how)
    signature = raw_signature(signer().key, waiting.digest, how)
    changed = bytearray(waiting.content)
    changed[300] ^= 1
    with pytest.raises(Unfit, match="other-document"):
        assembly.finished(replace(waiting, content=bytes(changed)), signature)


def test_what_was_prepared_can_be_kept_as_json_and_finished_elsewhere() -> None:
    how = wish()
    waiting = assembly.prepared(pdf(), how)
    kept = json.loads(json.dumps(dict(waiting.facts)))
    signature = raw_signature(signer().key, waiting.digest, how)
    assert accepted(assembly.finished(replace(waiting, facts=kept), signature))
    assert b64encode(how.certificate).decode() in kept["certificates"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mechanism": "ecdsa"}, "unfit-key"),
        ({"certificate": b"0\x03abc"}, "certificate-malformed"),
        ({"certificate": b""}, "certificate-malformed"),
    ],
)
def test_a_wish_that_the_certificate_cannot_fulfil_is_refused_before_anybody_is_asked(
    changes: dict, code: str
) -> None:
    with pytest.raises(Unfit) as refused:
        assembly.prepared(pdf(), wish(**changes))
    assert refused.value.code == code


def test_what_is_no_pdf_is_refused() -> None:
    with pytest.raises(Unfit, match="not-a-pdf"):
        assembly.prepared(b"PK\x03\x04", wish())


def test_the_verdict_on_documents_that_came_back_accepts_what_is_assembled_here() -> None:
    trust = Trust.of(one.dump() for one in assembly.roots())
    document = pdf()
    for person, final in ((signer(), False), (colleague(), False), (holder("p-384"), True)):
        signed = assembly.signed(document, person, final=final)
        report = judge(Returned(document, signed, person.der, datetime.now(UTC)), trust)
        assert report.refusal is None, report.refusal
        document = signed


# -- several signers -------------------------------------------------------------------------


def test_signers_follow_each_other_and_those_before_stay_valid() -> None:
    people = [signer(), colleague(), holder("p-384"), holder("rsa-3072")]
    document = pdf()
    for count, person in enumerate(people, start=1):
        document = assembly.signed(document, person)
        assert accepted(document, count)
    order = [
        one.signer_cert.dump()
        for one in PdfFileReader(BytesIO(document)).embedded_regular_signatures
    ]
    assert order == [person.der for person in people]


@pytest.mark.parametrize("before", [0, 1, 2])
def test_behind_the_final_signature_nobody_can_sign_and_those_before_stay_valid(
    before: int,
) -> None:
    document = pdf()
    for person in [signer(), colleague()][:before]:
        document = assembly.signed(document, person)
    sealed = assembly.signed(document, holder("p-384"), final=True)
    assert accepted(sealed, before + 1)
    with pytest.raises(Unfit, match="locked"):
        assembly.prepared(sealed, wish())
    if before == 0:
        with pytest.raises(SigningError):
            sign(sealed, colleague(), How(field="Later"))
        return
    forced = sign(sealed, colleague(), How(field="Later"))
    seal = statuses(forced)[before]
    assert not seal.bottom_line, "a signature that is added all the same breaks the seal"


def test_the_final_signature_can_still_be_augmented() -> None:
    sealed = assembly.signed(assembly.signed(pdf()), colleague(), final=True)
    archived = assembly.archived(assembly.long_term(assembly.timestamped(sealed)))
    assert accepted(archived, 2)
    assert accepted(assembly.archived(assembly.long_term(archived)), 2)


def test_an_empty_field_is_used_and_a_signed_one_refused() -> None:
    spec = SigFieldSpec("LanhDao", box=(100, 100, 250, 160), on_page=0)
    document = updated(pdf(), lambda writer: append_signature_field(writer, spec))
    signed = assembly.signed(document, field="LanhDao")
    (one,) = PdfFileReader(BytesIO(signed)).embedded_signatures
    assert one.field_name == "LanhDao"
    assert accepted(signed)
    with pytest.raises(Unfit, match="field-taken"):
        assembly.signed(signed, colleague(), field="LanhDao")


# -- timestamps and validation data ----------------------------------------------------------


def strict_spec() -> PdfSignatureValidationSpec:
    """Revocation has to be proved by what the document carries; nothing is fetched."""
    return PdfSignatureValidationSpec(spec(REQUIRE_REVINFO))


def spec(revocation: RevocationCheckingPolicy) -> SignatureValidationSpec:
    roots = SimpleTrustManager.build(trust_roots=assembly.roots())
    return SignatureValidationSpec(CertValidationPolicySpec(roots, CertRevTrustPolicy(revocation)))


def test_b_t_carries_a_token_over_the_signature() -> None:
    signed = assembly.signed(pdf())
    stamped = assembly.timestamped(signed)
    assert len(stamped) == len(signed)
    (status,) = statuses(stamped)
    assert status.bottom_line
    assert status.timestamp_validity is not None
    assert status.timestamp_validity.trusted


def test_a_token_over_something_else_or_a_second_one_is_refused() -> None:
    signed = assembly.signed(pdf())
    for wrong in (
        tsa().token(hashlib.sha256(b"khac").digest()),
        tsa().token(hashlib.sha512(b"").digest(), algorithm="sha512"),
        b"",
        signer().der,
    ):
        with pytest.raises(Unfit, match="wrong-timestamp"):
            augmentation.timestamped(signed, wrong)
    stamped = assembly.timestamped(signed)
    with pytest.raises(Unfit, match="timestamped-already"):
        assembly.timestamped(stamped)


def test_a_signature_that_others_cover_takes_no_token_any_more() -> None:
    with pytest.raises(Unfit, match="covered-already"):
        augmentation.imprint(assembly.long_term(assembly.signed(pdf())))
    with pytest.raises(Unfit, match="unsigned"):
        augmentation.imprint(pdf())


def test_a_token_larger_than_the_room_is_refused() -> None:
    signed = assembly.signed(pdf())
    token = cms.ContentInfo.load(tsa().token(augmentation.imprint(signed)))
    certificate = x509.Certificate.load(holder("rsa-3072").der)
    many = [certificate] * 30
    token["content"]["certificates"] = many
    with pytest.raises(Unfit, match="no-room"):
        augmentation.timestamped(signed, token.dump(force=True))


def test_b_lt_carries_what_is_needed_to_validate_it() -> None:
    document = assembly.long_term(assembly.timestamped(assembly.signed(pdf())))
    reader = PdfFileReader(BytesIO(document))
    store = DocumentSecurityStore.read_dss(reader)
    assert len(store.certs) == 5
    assert len(store.crls) == 3
    assert len(store.ocsps) == 1
    (signature,) = reader.embedded_regular_signatures
    assert store.sig_content_identifier(signature.pkcs7_content) in store.vri_entries
    assert accepted(document)


def test_b_lt_and_b_lta_pass_ades_validation_with_revocation_required_and_nothing_fetched() -> None:
    stamped = assembly.timestamped(assembly.signed(pdf()))
    archived = assembly.archived(assembly.long_term(stamped))

    async def verdict(document: bytes) -> object:
        reader = PdfFileReader(BytesIO(document))
        result = await ades_lta_validation(reader.embedded_regular_signatures[-1], strict_spec())
        return result.ades_subindic

    assert asyncio.run(verdict(archived)) == AdESPassed.OK
    assert asyncio.run(verdict(stamped)) != AdESPassed.OK, "without data nothing is proved"
    again = assembly.archived(assembly.long_term(archived))
    assert asyncio.run(verdict(again)) == AdESPassed.OK
    assert len(PdfFileReader(BytesIO(again)).embedded_timestamp_signatures) == 2


def test_basic_and_timed_ades_validation_pass_at_their_levels() -> None:
    async def verdicts() -> list[object]:
        signed = assembly.signed(pdf())
        found: list[object] = []
        for document, validate in (
            (signed, ades_basic_validation),
            (assembly.timestamped(signed), ades_with_time_validation),
        ):
            (one,) = PdfFileReader(BytesIO(document)).embedded_regular_signatures
            result = await validate(
                one.signed_data, spec(NO_REVOCATION), raw_digest=one.compute_digest()
            )
            found.append(result.ades_subindic)
        return found

    assert asyncio.run(verdicts()) == [AdESPassed.OK, AdESPassed.OK]


def test_an_archive_token_over_something_else_is_refused() -> None:
    waiting = assembly.archive_prepared(assembly.signed(pdf()))
    with pytest.raises(Unfit, match="wrong-timestamp"):
        augmentation.archived(waiting.content, waiting, tsa().token(hashlib.sha256(b"").digest()))
    changed = waiting.content.replace(b"%PDF-1", b"%PDF-2", 1)
    with pytest.raises(Unfit, match="other-document"):
        augmentation.archived(changed, waiting, tsa().token(waiting.digest))
