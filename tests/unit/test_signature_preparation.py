"""What is looked at before a person is asked: the document, and the certificate."""

from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer
from pyhanko.sign.fields import MDPPerm

from signature_connector.domain.findings import Report
from signature_connector.verification.bundle import TrustError, read_bundle
from signature_connector.verification.certificates import Trust, examine_certificate
from signature_connector.verification.documents import examine_document
from tests.support.signing import (
    Holder,
    How,
    Usage,
    authority,
    colleague,
    issue,
    pdf,
    root,
    sign,
    signer,
)

NOW = datetime.now(UTC)


def reason(report: Report) -> str | None:
    return report.refusal.code if report.refusal else None


def trust(*holders: Holder) -> Trust:
    return Trust.of([one.certificate.public_bytes(Encoding.DER) for one in holders])


def examined(holder: Holder, *known: Holder, serial: str | None = None) -> Report:
    return examine_certificate(holder.der, serial or holder.serial, NOW, trust(*known))


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


def test_a_certificate_with_its_whole_chain_is_usable() -> None:
    report = examined(signer(), root(), authority())
    assert codes(report) == ["certificate-usable", "trusted", "revocation-unchecked"]
    assert report.facts["certificate"]["serial_number"] == signer().serial
    assert report.facts["certificate"]["key"] == "rsa 2048"
    assert "Nguyễn" not in str(report.body())


def test_a_chain_that_cannot_be_checked_is_a_warning() -> None:
    report = examined(signer(), root())
    assert codes(report) == ["certificate-usable", "issuer-unknown", "revocation-unchecked"]
    assert reason(report) is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(days=(-30, -1)), "certificate-expired"),
        (Usage(days=(1, 30)), "certificate-not-yet-valid"),
        (Usage(signing=False), "certificate-usage"),
        (Usage(key=rsa.generate_private_key(65537, 1024)), "weak-algorithm"),
    ],
    ids=["expired", "early", "encryption-only", "rsa-1024"],
)
def test_a_certificate_that_may_not_sign_is_refused(usage: Usage, expected: str) -> None:
    assert reason(examined(issue("x", authority(), usage), root(), authority())) == expected


def test_a_certificate_that_leads_nowhere_is_refused() -> None:
    assert reason(examined(issue("x", None), root())) == "certificate-untrusted"
    impostor = issue("Issuing CA", root(), Usage(authority=True))
    by_impostor = issue("x", impostor)
    assert reason(examined(by_impostor, root(), authority())) == "certificate-untrusted"
    expired = issue("Issuing CA", root(), Usage(authority=True, days=(-30, -1)))
    assert reason(examined(issue("x", expired), root(), expired)) == "certificate-untrusted"


def test_a_serial_number_of_another_certificate_is_refused() -> None:
    report = examined(signer(), root(), serial=colleague().serial)
    assert reason(report) == "certificate-serial"


@pytest.mark.parametrize("form", ["upper", "colons", "zeros"])
def test_serial_numbers_are_read_in_the_usual_forms(form: str) -> None:
    plain = signer().serial
    padded = plain.zfill(len(plain) + len(plain) % 2)
    pairs = ":".join(padded[i : i + 2] for i in range(0, len(padded), 2))
    written = {"upper": plain.upper(), "colons": pairs, "zeros": f"00{plain}"}[form]
    assert reason(examined(signer(), root(), serial=written)) is None


@pytest.mark.parametrize(
    "der", [b"", b"0", b"\x30\x82\xff\xff", b"\x30\x03\x02\x01\x01", signer().der + b"\x00"]
)
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    report = examine_certificate(der, "1", NOW, trust(root()))
    assert reason(report) == "certificate-malformed"


def test_a_document_that_can_be_signed_is_readable() -> None:
    report = examine_document(pdf())
    assert (reason(report), report.facts["signatures"]) == (None, 0)
    report = examine_document(sign(pdf(), colleague()))
    assert (reason(report), report.facts["signatures"]) == (None, 1)


def _encrypted() -> bytes:
    writer = copy_into_new_writer(PdfFileReader(BytesIO(pdf())))
    writer.encrypt("owner", "")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def _cyclic() -> bytes:
    """A page tree that contains itself."""
    return pdf().replace(b"/Type /Pages", b"/Type /Pages /Kids [8 0 R] /X 1", 1)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not-a-pdf"),
        (b"PK\x03\x04", "not-a-pdf"),
        (b"%PDF-1.7\n", "unreadable"),
        (pdf()[:500], "unreadable"),
        (pdf()[:-30], "unreadable"),
        (b"%PDF-1.4\n" + b"[" * 100_000 + b"\nstartxref\n9\n%%EOF", "unreadable"),
        (_encrypted(), "encrypted"),
        (sign(pdf(), colleague(), How(certify=MDPPerm.NO_CHANGES)), "locked"),
    ],
    ids=["empty", "zip", "header", "cut", "no-end", "nested", "encrypted", "certified"],
)
def test_a_document_that_cannot_be_signed_is_refused(content: bytes, expected: str) -> None:
    assert reason(examine_document(content)) == expected


def test_a_trust_bundle_is_read_or_refused_with_a_clear_message(tmp_path) -> None:
    bundle = tmp_path / "bundle.pem"
    pem = [one.certificate.public_bytes(Encoding.PEM) for one in (root(), authority())]
    bundle.write_bytes(b"# roots\n" + b"\n".join(pem))
    assert read_bundle(bundle) == [root().der, authority().der]
    for content in (b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nxx"):
        bundle.write_bytes(content)
        with pytest.raises(TrustError, match=r"bundle\.pem"):
            read_bundle(bundle)
    with pytest.raises(TrustError, match=r"absent\.pem"):
        read_bundle(tmp_path / "absent.pem")


def test_a_trust_bundle_is_sorted_into_roots_and_issuers() -> None:
    sorted_ = trust(authority(), root())
    assert [one.sha256 for one in sorted_.roots] == [trust(root()).roots[0].sha256]
    assert len(sorted_.issuers) == 1


def test_later_is_the_moment_that_counts() -> None:
    later = NOW + timedelta(days=400)
    report = examine_certificate(signer().der, signer().serial, later, trust(root()))
    assert reason(report) == "certificate-expired"
