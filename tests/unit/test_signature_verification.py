"""What is told of signatures that somebody asks about: kinds, levels, times, trust, the report."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pyhanko.generated.etsi import ts_11910202 as vr
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner
from signxml.algorithms import SignatureConstructionMethod
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import warning
from signature_connector.domain.sentences import SENTENCES
from signature_connector.domain.verification import INDICATIONS, MEDIA, Kind
from signature_connector.verification.signature import plain
from tests.support.signing import (
    Holder,
    How,
    Usage,
    authority,
    cms_signer,
    colleague,
    issue,
    pdf,
    root,
    sign,
    signer,
)
from tests.support.verification import (
    addressed,
    cades,
    codes,
    crl,
    der,
    good_data,
    jws,
    ocsp_answer,
    pades,
    policies,
    report,
    revoked_data,
    stamper,
    tsa,
    xades,
)

NONE = ValidationData()
JSON = b'{"so":"12"}'


def outcome(found):
    return found.facts["indication"], found.facts["sub_indication"]


def only(found):
    (one,) = found.facts["signatures"]
    return one


# Kinds and levels.


@pytest.mark.parametrize(
    ("kind", "content", "form"),
    [
        ("pdf", pades(), "pades"),
        ("cms", cades(), "cades"),
        ("cms", cades(holder=colleague()), "cades"),
        ("xml", xades(), "xades"),
        ("xml", xades(holder=colleague()), "xades"),
        ("xml", xades(method=SignatureConstructionMethod.enveloping), "xades"),
        ("jws", jws().encode(), "jades"),
        ("jws", jws(holder=colleague()).encode(), "jades"),
    ],
    ids=["pdf", "cms", "cms-ec", "xml", "xml-ec", "xml-enveloping", "jws", "jws-ec"],
)
def test_a_good_signature_of_every_kind_passes(kind, content, form) -> None:
    found = report(kind, content)
    assert outcome(found) == ("TOTAL-PASSED", None)
    one = only(found)
    assert (one["format"], one["level"]) == (form, "B-B")
    assert one["intact"]
    assert one["revocation"] == "good"
    assert "Issuing CA" in one["issuer"]
    assert one["claimed_at"]
    assert one["proven_at"] is None
    assert [sorted(one["chain"][0])] == [["sha256", "subject"]]


def test_a_detached_signature_is_verified_with_its_content() -> None:
    kinds: list[tuple[Kind, bytes]] = [
        ("cms", cades(JSON, detached=True)),
        ("jws", jws(detached=True).encode()),
    ]
    for kind, signed in kinds:
        assert outcome(report(kind, signed, detached=JSON)) == ("TOTAL-PASSED", None)
        assert outcome(report(kind, signed)) == ("INDETERMINATE", "SIGNED_DATA_NOT_FOUND")
        other = report(kind, signed, detached=JSON + b" ")
        assert other.facts["indication"] == "TOTAL-FAILED"


def test_json_serialisations_of_a_jws_are_read() -> None:
    protected, payload, value = jws().split(".")
    flat = {"payload": payload, "protected": protected, "signature": value}
    general = {"payload": payload, "signatures": [{"protected": protected, "signature": value}] * 2}
    for body, count in ((flat, 1), (general, 2)):
        found = report("jws", json.dumps(body).encode())
        assert outcome(found) == ("TOTAL-PASSED", None)
        assert len(found.facts["signatures"]) == count


@pytest.mark.parametrize(
    ("level", "told"), [("b-b", "B-B"), ("b-t", "B-T"), ("b-lt", "B-LT"), ("b-lta", "B-LTA")]
)
def test_the_level_of_a_pdf_is_told_as_far_as_it_is_proven(level: str, told: str) -> None:
    found = report("pdf", pades(level))
    assert outcome(found) == ("TOTAL-PASSED", None)
    one = only(found)
    assert one["level"] == told
    assert (one["proven_at"] is not None) == (level != "b-b")
    assert one["modifications"] == ("validation-data" if "LT" in told else "none")


def test_a_long_term_signature_needs_nothing_that_is_looked_up() -> None:
    assert outcome(report("pdf", pades("b-lt"), data=NONE)) == ("TOTAL-PASSED", None)
    assert outcome(report("pdf", pades("b-b"), data=NONE)) == ("INDETERMINATE", "TRY_LATER")


def test_chains_to_look_up_are_named_when_nothing_tells_of_revocation() -> None:
    found = report("pdf", pades(), data=NONE)
    assert [len(chain) for chain in found.facts["unchecked"]] == [3]
    assert found.facts["unchecked"][0][0] == signer().der
    # Of a long-term one only the authority's: nothing proves the time of the last timestamp.
    found = report("pdf", pades("b-lt"), data=NONE)
    assert [one for one, *_ in found.facts["unchecked"]] == [der(tsa())]


def test_a_timestamp_in_cms_makes_it_b_t() -> None:
    assert only(report("cms", cades(stamped=True)))["level"] == "B-T"


def test_every_signature_of_several_signers_is_told() -> None:
    both = sign(pades(), colleague(), How(field="Second"))
    found = report("pdf", both)
    assert outcome(found) == ("TOTAL-PASSED", None)
    first, second = found.facts["signatures"]
    assert (first["modifications"], second["modifications"]) == ("signatures", "none")
    assert first["certificate"]["sha256"] != second["certificate"]["sha256"]
    assert outcome(report("pdf", both, data=revoked_data(_ago(2), colleague()))) == (
        "INDETERMINATE",
        "REVOKED_NO_POE",
    )


def test_a_signature_that_is_no_ades_has_no_level() -> None:
    adobe = sign(pdf(), signer(), How(subfilter=fields.SigSeedSubFilter.ADOBE_PKCS7_DETACHED))
    one = only(report("pdf", adobe))
    assert (one["format"], one["level"]) == ("pkcs7", None)
    plain = jws(leave_out=("iat", "x5t#S256")).encode()
    assert only(report("jws", plain))["format"] == "jws"


def with_sig_t(told: str, **header: Any) -> bytes:
    given = {"sigT": told, "crit": ["sigT"], **header}
    return jws(header=given, leave_out=() if "iat" in header else ("iat",)).encode()


def test_a_jades_signature_tells_its_time_in_iat() -> None:
    found = report("jws", jws(header={"iat": 1795323600}).encode())
    assert outcome(found) == ("TOTAL-PASSED", None)
    assert only(found)["claimed_at"] == "2026-11-22T05:00:00+00:00"
    assert codes(found) == []


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("2025-07-14T23:59:59Z", []),
        ("2025-07-15T00:00:00Z", ["sigt-deprecated"]),
        ("2026-11-22T05:00:00Z", ["sigt-deprecated"]),
    ],
)
def test_sig_t_is_accepted_and_in_a_newer_signature_told_of(told: str, said: list[str]) -> None:
    found = report("jws", with_sig_t(told))
    assert outcome(found) == ("TOTAL-PASSED", None)
    assert (only(found)["format"], only(found)["level"]) == ("jades", "B-B")
    assert only(found)["claimed_at"] == told.replace("Z", "+00:00")
    assert codes(found) == said
    sentences = [one for one in only(found)["findings"] if one["code"] in said]
    assert all("sigT" in one["vi"] and "sigT" in one["en"] for one in sentences)


def test_of_iat_and_sig_t_the_first_counts() -> None:
    found = report("jws", with_sig_t("2001-01-01T00:00:00Z", iat=1795323600))
    assert only(found)["claimed_at"] == "2026-11-22T05:00:00+00:00"
    assert codes(found) == ["sigt-deprecated"]


@pytest.mark.parametrize("told", [True, "1795323600", None, 10**30, -(10**30), 1e400])
def test_an_iat_that_is_no_time_claims_none_and_breaks_nothing(told: Any) -> None:
    found = report("jws", jws(header={"iat": told}).encode())
    assert (only(found)["claimed_at"], only(found)["level"]) == (None, None)


def test_an_iat_that_is_not_signed_is_refused() -> None:
    protected, payload, value = jws(leave_out=("iat",)).split(".")
    body = {"payload": payload, "protected": protected, "signature": value}
    whole = json.dumps({**body, "header": {"iat": 1795323600}}).encode()
    assert codes(report("jws", whole)) == ["header-refused"]


def test_a_document_without_signatures_says_so() -> None:
    kinds: list[tuple[Kind, bytes]] = [
        ("pdf", pdf()),
        ("xml", b"<a/>"),
        ("jws", b'{"payload":"YQ"}'),
    ]
    for kind, content in kinds:
        found = report(kind, content)
        assert found.facts["indication"] == "TOTAL-FAILED"
        assert codes(found) == ["no-signature"]


# Times, revocation and trust.


def _ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


@cache
def located() -> Holder:
    """A signer whose certificate names an OCSP responder."""
    return addressed("Nguyễn Văn Ký", authority())


def _asked(**given) -> ValidationData:
    """What the responder says, and the CRL of the root."""
    return ValidationData((), (ocsp_answer(located(), authority(), **given),), (crl(root()),))


def _stamped(at: datetime) -> bytes:
    meta = PdfSignatureMetadata(
        field_name="Signature1", md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES
    )
    made = PdfSigner(
        meta,
        cms_signer(located()),
        timestamper=stamper(at=at),
        new_field_spec=fields.SigFieldSpec("Signature1"),
    )
    writer = IncrementalPdfFileWriter(BytesIO(pdf()))
    return bytes(made.sign_pdf(writer, bytes_reserved=32768).getbuffer())


def test_a_revoked_certificate_speaks_against_a_signature_without_proof_of_its_time() -> None:
    for data in (
        revoked_data(_ago(1), located()),
        _asked(revoked=_ago(1)),
    ):
        found = report("pdf", pades(holder=located()), data=data)
        assert outcome(found) == ("INDETERMINATE", "REVOKED_NO_POE")
        assert only(found)["revocation"] == "revoked"


def test_revocation_after_the_proven_time_does_not() -> None:
    document = _stamped(_ago(3))
    for data in (revoked_data(_ago(1), located()), _asked(revoked=_ago(1))):
        assert outcome(report("pdf", document, data=data)) == ("TOTAL-PASSED", None)
    earlier = report("pdf", document, data=revoked_data(_ago(4), located()))
    assert outcome(earlier) == ("INDETERMINATE", "REVOKED_NO_POE")


def test_ocsp_by_somebody_else_proves_nothing() -> None:
    document = pades(holder=located())
    assert outcome(report("pdf", document, data=_asked())) == ("TOTAL-PASSED", None)
    forged = report("pdf", document, data=_asked(by=colleague()))
    assert outcome(forged) == ("INDETERMINATE", "TRY_LATER")


def test_an_expired_certificate_passes_only_with_proof_that_it_signed_before() -> None:
    later = datetime.now(UTC) + timedelta(days=500)
    assert outcome(report("pdf", pades(), at=later)) == ("INDETERMINATE", "OUT_OF_BOUNDS_NO_POE")
    found = report("pdf", pades("b-lta"), at=later, data=NONE)
    assert "certificate-expired" not in codes(found)
    assert only(found)["level"] is not None


def test_it_is_judged_as_of_the_date_that_is_asked_for() -> None:
    before = datetime.now(UTC) - timedelta(days=30)
    found = report("pdf", pades(), at=before)
    assert codes(found) == ["certificate-not-yet-valid"]
    assert found.facts["at"] == before.isoformat()


def test_a_foreign_root_is_no_trust() -> None:
    foreign = issue("Foreign", None, Usage(authority=True))
    kinds: list[tuple[Kind, bytes]] = [
        ("pdf", pades()),
        ("cms", cades()),
        ("xml", xades()),
        ("jws", jws().encode()),
    ]
    for kind, content in kinds:
        found = report(kind, content, trusted=policies(foreign))
        assert outcome(found) == ("INDETERMINATE", "NO_CERTIFICATE_CHAIN_FOUND")


def test_a_timestamp_by_an_untrusted_authority_proves_nothing() -> None:
    rogue = issue("Rogue", None, Usage(authority=True, key=signer().key))
    meta = PdfSignatureMetadata(
        field_name="Signature1", md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES
    )
    made = PdfSigner(
        meta,
        cms_signer(signer()),
        timestamper=stamper(Holder(rogue.certificate, rogue.key)),
        new_field_spec=fields.SigFieldSpec("Signature1"),
    )
    writer = IncrementalPdfFileWriter(BytesIO(pdf()))
    found = report("pdf", bytes(made.sign_pdf(writer, bytes_reserved=32768).getbuffer()))
    one = only(found)
    assert (one["level"], one["proven_at"]) == ("B-B", None)
    assert [stamp["accepted"] for stamp in one["timestamps"]] == [False]


def test_weak_keys_are_not_accepted() -> None:
    weak = issue("Weak", authority(), Usage(key=ec.generate_private_key(ec.SECP192R1())))
    kinds: list[tuple[Kind, bytes]] = [("pdf", sign(pdf(), weak)), ("cms", cades(holder=weak))]
    for kind, content in kinds:
        assert outcome(report(kind, content)) == ("INDETERMINATE", "CRYPTO_CONSTRAINTS_FAILURE")


# The report.


def test_the_signer_is_told_in_clear_only_where_it_may_be() -> None:
    masked = report("pdf", pades(), xml=True)
    assert only(masked)["signer"] == {
        "name": "N. V. K.",
        "identifier": "***001",
        "organisation": None,
    }
    person = base64.b64encode(signer().der)
    for text in (repr(masked.facts["signatures"][0]["signer"]), masked.facts["xml"].decode()):
        assert "Nguyễn" not in text
    assert person not in masked.facts["xml"]
    clear = report("pdf", pades(), xml=True, names=True)
    assert only(clear)["signer"]["name"] == "Nguyễn Văn Ký"
    assert person in clear.facts["xml"]
    assert "Nguyễn Văn Ký" in clear.facts["xml"].decode()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("pdf", pades("b-lta")),
        ("pdf", sign(pades(), colleague(), How(field="B"))),
        ("cms", cades(stamped=True)),
        ("xml", xades()),
        ("jws", jws().encode()),
        ("pdf", pdf()),
        ("cms", b"nonsense"),
    ],
    ids=["pdf", "two", "cms", "xml", "jws", "unsigned", "nonsense"],
)
def test_the_etsi_report_holds_what_its_schema_knows_and_requires(kind, content) -> None:
    """Read back by the bindings that were generated from the schema of TS 119 102-2, where what
    the schema does not know is an error; the schema itself comes with no package."""
    found = report(kind, content, xml=True)
    strict = ParserConfig(fail_on_unknown_properties=True, fail_on_unknown_attributes=True)
    read: Any = XmlParser(config=strict).from_bytes(found.facts["xml"], vr.ValidationReport)
    assert len(read.signature_validation_report) == max(1, len(found.facts["signatures"]))
    named = {one.id for one in _objects(read)}
    for number, one in enumerate(read.signature_validation_report):
        status = one.signature_validation_status
        told = found.facts["signatures"]
        said = (told[number] if told else found.facts)["indication"]
        assert status.main_indication == f"urn:etsi:019102:mainindication:{said.lower()}"
        if one.signer_information:
            assert set(one.signer_information.signer_certificate.voreference) <= named
        for data in status.associated_validation_report_data:
            assert set(data.trust_anchor.voreference) <= named
        policy = one.validation_constraints_evaluation_report.signature_validation_policy
        assert policy.policy_name.startswith("bundle ")


def _objects(read):
    objects = read.signature_validation_objects
    return objects.validation_object if objects else ()


def test_the_page_for_other_systems_lists_every_message() -> None:
    page = (Path(__file__).parents[2] / "docs" / "signature-verification.md").read_text("utf-8")
    for code, (indication, sub) in INDICATIONS.items():
        vietnamese, english = SENTENCES[code]
        assert f"| `{code}` | {indication} / {sub} | {vietnamese} | {english} |" in page


def test_every_finding_with_a_meaning_has_words_and_media_types_have_kinds() -> None:
    assert INDICATIONS.keys() <= SENTENCES.keys()
    assert set(MEDIA.values()) == {"pdf", "cms", "xml", "jws"}
    assert good_data().crls


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "\ud800"},
        {"crit": ["\ud800"], "\ud800": 1},
        {"alg": "\x00" * 500},
        {"crit": ["\x00\n"], "\x00\n": 1},
    ],
)
def test_names_that_no_text_can_hold_are_told_nevertheless(header: dict[str, Any]) -> None:
    found = report("jws", jws(header=header).encode(), xml=True)
    told = orjson.dumps([one.body() for one in found.findings] + found.facts["signatures"])
    assert b"\\u0000" not in told, "PostgreSQL has no room for it"
    assert found.facts["indication"] != "TOTAL-PASSED"


def test_what_is_told_of_a_document_is_bounded_and_can_be_written() -> None:
    assert warning("weak-algorithm", "x" * 5000).detail == "x" * 200
    assert warning("weak-algorithm", "a\x00\ud800b").detail == "a??b"
    assert orjson.dumps(plain({"name": ["\ud800"]})) == b'{"name":["?"]}'


def test_a_holder_whose_name_xml_cannot_hold_is_reported_nevertheless() -> None:
    holder = issue("Nguyễn\x01Văn\x00Ký", authority())
    found = report("jws", jws(holder=holder).encode(), xml=True, names=True)
    assert "Nguyễn?Văn?Ký" in found.facts["xml"].decode()
    assert outcome(found) == ("TOTAL-PASSED", None)


def test_what_is_not_verified_is_told_once_however_often_it_stands_there() -> None:
    protected, payload, value = jws().split(".")
    body = {"payload": payload, "protected": protected, "signature": value}
    many: dict[str, Any] = {"etsiU": [{"arcTst": {"tstTokens": []}}] * 5000}
    found = report("jws", json.dumps({**body, "header": many}).encode())
    assert codes(found) == ["timestamp-unchecked"]


def _ring(names: int, each: int) -> Holder:
    """A signer below CAs that issue one another in a ring, several of each name, with one key."""
    key = ec.generate_private_key(ec.SECP256R1())

    def named(number: int) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Ring {number}")])

    def made(subject: x509.Name, issuer: x509.Name, usage: Usage) -> x509.Certificate:
        plain = issue("Ring", None, usage)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(plain.certificate.not_valid_before_utc)
            .not_valid_after(plain.certificate.not_valid_after_utc)
        )
        for extension in plain.certificate.extensions:
            if isinstance(extension.value, x509.BasicConstraints | x509.KeyUsage):
                builder = builder.add_extension(extension.value, critical=True)
        return builder.sign(key, SHA256())

    ring = [
        made(named(number), named((number + 1) % names), Usage(key=key, authority=True))
        for number in range(names)
        for _ in range(each)
    ]
    leaf = made(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "L")]), named(0), Usage(key=key))
    return Holder(leaf, key, tuple(ring))


@pytest.mark.parametrize(("names", "each"), [(1, 12), (2, 6), (3, 4), (12, 1)])
def test_certificates_that_issue_one_another_are_soon_seen_to_lead_nowhere(
    names: int, each: int
) -> None:
    ring = _ring(names, each)
    chain = [
        base64.b64encode(one.public_bytes(Encoding.DER)).decode()
        for one in (ring.certificate, *ring.chain)
    ]
    protected, payload, value = jws(holder=ring, header={"x5c": chain[:1]}).split(".")
    body = {"payload": payload, "protected": protected, "signature": value}
    others = [{"x509Cert": {"val": one}} for one in chain[1:]]
    whole = json.dumps({**body, "header": {"etsiU": [{"xVals": others}]}}).encode()
    begun = time.process_time()
    found = report("jws", whole)
    assert time.process_time() - begun < 5, "nine of one name took more than a minute"
    assert codes(found) == ["certificate-untrusted"]
