"""The verdict on returned documents: the good one passes, every kind of bad one has its reason."""

import asyncio
import random
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from io import BytesIO

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer
from pyhanko.sign import fields
from pyhanko.sign.validation.dss import DocumentSecurityStore

from signature_connector.domain.findings import Level, Report
from signature_connector.verification.certificates import Trust
from signature_connector.verification.judgement import Returned, judge
from simulators import pades
from simulators.pki import Pki
from tests.support.signing import (
    CA_NAME,
    USER,
    Holder,
    How,
    Usage,
    authority,
    cms_signer,
    colleague,
    draw,
    issue,
    pdf,
    root,
    sign,
    signer,
    updated,
)

Writer = IncrementalPdfFileWriter
BEGAN = datetime.now(UTC)


@cache
def sent() -> bytes:
    return pdf()


@cache
def signed() -> bytes:
    return sign(sent(), signer())


def trust(holder: Holder | None = None) -> Trust:
    return Trust.of([(holder or root()).certificate.public_bytes(Encoding.DER)])


def verdict(
    content: bytes,
    *,
    document: bytes | None = None,
    by: Holder | None = None,
    trusted: Trust | None = None,
    moment: datetime | None = None,
) -> Report:
    return judge(
        Returned(
            sent=sent() if document is None else document,
            content=content,
            certificate=(by or signer()).der,
            moment=moment or datetime.now(UTC),
        ),
        trusted or trust(),
    )


def reason(report: Report) -> str | None:
    return report.refusal.code if report.refusal else None


def codes(report: Report, level: Level) -> list[str]:
    return [finding.code for finding in report.findings if finding.level is level]


# What is accepted.


def test_the_sent_document_with_the_expected_signature_is_accepted() -> None:
    report = verdict(signed())
    assert reason(report) is None
    assert codes(report, Level.PASSED) == [
        "signer-expected",
        "algorithms-allowed",
        "content-kept",
        "intact",
        "trusted",
        "covered",
    ]
    assert codes(report, Level.WARNING) == ["revocation-unchecked"]
    facts = report.facts["signature"]
    assert facts["serial_number"] == signer().serial
    assert facts["mechanism"] == "rsassa_pss sha256"
    made = datetime.fromisoformat(facts["signed_at"])
    assert BEGAN - timedelta(seconds=1) <= made <= datetime.now(UTC)
    assert [one["subject"].split("Common Name: ")[1][:10] for one in facts["issuers"]] == [
        "Root, User"[:10],
        "Issuing CA",
    ]


def test_a_report_names_no_person() -> None:
    for report in (verdict(signed()), verdict(sign(sent(), colleague()))):
        body = str(report.body())
        assert "Nguyễn" not in body
        assert "Trần" not in body
        assert "CCCD" not in body.replace(f"CCCD:{USER}, Common Name: Issuing CA", "").replace(
            f"User ID: CCCD:{USER}", ""
        )


@pytest.mark.parametrize("algorithms", ["rsa", "ecdsa"])
def test_what_the_signing_gateway_signs_is_accepted(algorithms: str) -> None:
    pki = Pki(algorithms=algorithms)
    person = pki.person(CA_NAME, USER)
    theirs = Holder(person.certificate, person.key, person.chain)
    report = verdict(
        pades.sign(sent(), person),
        by=theirs,
        trusted=trust(Holder(pki.root.certificate, pki.root.key)),
    )
    assert reason(report) is None


@pytest.mark.parametrize(
    ("how", "warnings"),
    [
        (How(box=(50, 50, 200, 100)), []),
        (How(pss=False), ["pkcs1-padding"]),
        (How(digest="sha512"), []),
        (How(subfilter=fields.SigSeedSubFilter.ADOBE_PKCS7_DETACHED), ["not-pades"]),
    ],
)
def test_other_lawful_ways_to_sign_are_accepted(how: How, warnings: list[str]) -> None:
    report = verdict(sign(sent(), signer(), how))
    assert reason(report) is None
    assert codes(report, Level.WARNING) == ["revocation-unchecked", *warnings]


def test_a_second_signature_on_a_signed_document_is_accepted() -> None:
    first = sign(sent(), colleague(), How(field="First"))
    assert reason(verdict(sign(first, signer(), How(field="Second")), document=first)) is None


def test_a_signature_into_a_prepared_field_is_accepted() -> None:
    def prepare(writer: Writer) -> None:
        fields.append_signature_field(writer, fields.SigFieldSpec("Here", box=(10, 10, 90, 40)))

    document = updated(sent(), prepare)
    assert reason(verdict(sign(document, signer(), How(field="Here")), document=document)) is None


def test_a_document_with_cross_reference_streams_is_accepted() -> None:
    writer = copy_into_new_writer(PdfFileReader(BytesIO(sent())))
    writer.stream_xrefs = True
    out = BytesIO()
    writer.write(out)
    document = out.getvalue()
    assert b"/ObjStm" in document or b"/XRef" in document
    assert reason(verdict(sign(document, signer()), document=document)) is None


def test_validation_data_after_the_signature_is_accepted() -> None:
    out = BytesIO(signed())
    DocumentSecurityStore.add_dss(
        out, sig_contents=None, certs=[asn1(authority())], ocsps=[], crls=[]
    )
    report = verdict(out.getvalue())
    assert reason(report) is None
    assert "validation-data-added" in codes(report, Level.PASSED)


def asn1(holder: Holder):
    from asn1crypto import x509

    return x509.Certificate.load(holder.der)


def test_a_certificate_that_ended_after_signing_does_not_spoil_the_verdict() -> None:
    later = datetime.now(UTC) + timedelta(days=400)
    assert reason(verdict(signed(), moment=datetime.now(UTC))) is None
    report = verdict(signed(), moment=later)
    assert reason(report) == "untrusted"
    assert report.refusal is not None
    assert report.refusal.detail == "OUT_OF_BOUNDS_NO_POE"


# What came back is not what was sent.


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not-a-pdf"),
        (b"<html>502 Bad Gateway</html>", "not-a-pdf"),
        (b"%PDF-1.7\n" + b"\x00\xff" * 400, "other-document"),
        (sent(), "unsigned"),
        (sent()[:-40], "truncated"),
        (signed()[:-200], "truncated"),
        (signed()[: len(sent()) + 700], "truncated"),
        (sent() + b"garbage\n%%EOF\n", "unreadable"),
        (updated(sent(), draw), "unsigned"),
        (sign(pdf("another"), signer()), "other-document"),
    ],
    ids=[
        "empty",
        "html",
        "garbage",
        "as-sent",
        "shorter-than-sent",
        "end-cut-off",
        "cut-in-the-middle",
        "garbage-appended",
        "changed-not-signed",
        "other-document",
    ],
)
def test_what_is_not_the_signed_document_is_refused(content: bytes, expected: str) -> None:
    assert reason(verdict(content)) == expected


def test_a_document_that_only_begins_with_the_sent_bytes_is_refused() -> None:
    """The appended part is a document of its own: a reader would never show what was sent."""
    other = sign(pdf("shadow"), signer())
    shift = len(sent())
    moved = re.sub(
        rb"(?m)^(\d{10}) (\d{5}) n", lambda m: b"%010d %s n" % (int(m[1]) + shift, m[2]), other
    )
    moved = re.sub(rb"startxref\n(\d+)", lambda m: b"startxref\n%d" % (int(m[1]) + shift), moved)
    moved = re.sub(rb"/Prev (\d+)", lambda m: b"/Prev %d" % (int(m[1]) + shift), moved)
    assert reason(verdict(sent() + moved)) == "other-document"


@pytest.mark.parametrize("flaw", pades.FLAWS)
def test_every_flaw_of_the_signing_gateway_is_refused(flaw: str) -> None:
    pki = Pki(algorithms="ecdsa")
    person = pki.person(CA_NAME, USER)
    theirs = Holder(person.certificate, person.key, person.chain)
    report = verdict(
        pades.sign(sent(), person, flaw),
        by=theirs,
        trusted=trust(Holder(pki.root.certificate, pki.root.key)),
    )
    assert (
        reason(report)
        == {
            "bad_signature": "bad-signature",
            "altered_document": "changed-after-signing",
            "other_document": "other-document",
        }[flaw]
    )


# Signed, but not as it should be.


def test_somebody_elses_signature_is_refused() -> None:
    assert reason(verdict(sign(sent(), colleague()))) == "wrong-certificate"


def test_another_certificate_with_the_same_name_and_key_is_refused() -> None:
    twin = issue("Nguyễn Văn Ký", authority(), Usage(key=signer().key))
    assert reason(verdict(sign(sent(), twin))) == "wrong-certificate"


def test_two_new_signatures_are_refused() -> None:
    both = sign(sign(sent(), signer(), How(field="A")), signer(), How(field="B"))
    assert reason(verdict(both)) == "several-signatures"


def test_a_signature_without_a_trusted_root_is_refused() -> None:
    foreign = issue("Foreign root", None, Usage(authority=True))
    report = verdict(signed(), trusted=trust(foreign))
    assert reason(report) == "untrusted"


def test_sha1_is_refused() -> None:
    report = verdict(sign(sent(), signer(), How(digest="sha1", pss=False)))
    assert reason(report) == "weak-algorithm"
    assert report.refusal is not None
    assert report.refusal.detail == "sha1"


@pytest.mark.parametrize(
    "key",
    [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP192R1())],
    ids=["rsa-1024", "p-192"],
)
def test_short_keys_are_refused(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    weak = issue("Weak", authority(), Usage(key=key))
    assert reason(verdict(sign(sent(), weak), by=weak)) == "weak-algorithm"


def test_a_certificate_for_other_purposes_is_refused() -> None:
    wrong = issue("Not for signing", authority(), Usage(signing=False))
    assert reason(verdict(sign(sent(), wrong), by=wrong)) == "untrusted"


def test_a_page_changed_after_signing_is_refused() -> None:
    assert reason(verdict(updated(signed(), draw))) == "changed-after-signing"


def _text_field(writer: Writer) -> None:
    field = generic.DictionaryObject(
        {
            generic.pdf_name("/FT"): generic.pdf_name("/Tx"),
            generic.pdf_name("/T"): generic.pdf_string("Total"),
            generic.pdf_name("/V"): generic.pdf_string("1000000"),
        }
    )
    form = generic.DictionaryObject(
        {generic.pdf_name("/Fields"): generic.ArrayObject([writer.add_object(field)])}
    )
    writer.root[generic.pdf_name("/AcroForm")] = form
    writer.update_root()


def _open_action(writer: Writer) -> None:
    writer.root[generic.pdf_name("/OpenAction")] = generic.DictionaryObject(
        {
            generic.pdf_name("/S"): generic.pdf_name("/JavaScript"),
            generic.pdf_name("/JS"): generic.pdf_string("app.alert(1)"),
        }
    )
    writer.update_root()


def _xfa(writer: Writer) -> None:
    writer.root[generic.pdf_name("/AcroForm")] = generic.DictionaryObject(
        {
            generic.pdf_name("/Fields"): generic.ArrayObject(),
            generic.pdf_name("/XFA"): generic.pdf_string("<xdp/>"),
        }
    )
    writer.update_root()


def _acting_field(writer: Writer) -> None:
    fields.append_signature_field(writer, fields.SigFieldSpec("Signature1"))
    field = writer.root["/AcroForm"]["/Fields"][0].get_object()
    field[generic.pdf_name("/AA")] = generic.DictionaryObject()


def _second_visible_field(writer: Writer) -> None:
    fields.append_signature_field(writer, fields.SigFieldSpec("Cover", box=(0, 0, 600, 800)))


@pytest.mark.parametrize(
    "change", [draw, _text_field, _open_action, _xfa, _acting_field, _second_visible_field]
)
def test_a_change_that_the_signing_update_brings_along_is_refused(change) -> None:
    """The signature covers such a change, and every checker of the signature alone is content."""
    content = sign(sent(), signer(), How(before=change))
    assert reason(verdict(content)) == "changed-while-signing"


def test_filling_a_form_while_signing_is_refused() -> None:
    document = updated(sent(), _text_field)

    def fill(writer: Writer) -> None:
        field = writer.root["/AcroForm"]["/Fields"][0].get_object()
        field[generic.pdf_name("/V")] = generic.pdf_string("9000000")
        writer.update_container(field)

    assert reason(verdict(sign(document, signer()), document=document)) is None
    filled = sign(document, signer(), How(before=fill))
    assert reason(verdict(filled, document=document)) == "changed-while-signing"


def test_a_byte_of_the_signed_update_changed_is_refused() -> None:
    place = signed().rindex(b"/M (D") + 10
    digit = b"1" if signed()[place : place + 1] != b"1" else b"2"
    content = signed()[:place] + digit + signed()[place + 1 :]
    assert reason(verdict(content)) == "digest-mismatch"


def _signed_with_range(change, content: bytes | None = None) -> bytes:
    """The signed document with another range, and a signature that is right for that range."""
    content = content or signed()
    found = re.search(rb"/ByteRange \[0 (\d+) (\d+) (\d+)\s*\]", content)
    assert found
    gap, after, rest = (int(found[i]) for i in (1, 2, 3))
    numbers = change(gap, after, rest)
    text = b"/ByteRange [%d %d %d %d]" % numbers
    assert len(text) <= len(found[0])
    content = content.replace(found[0], text.ljust(len(found[0])))
    covered = b"".join(
        content[start : start + length] for start, length in (numbers[:2], numbers[2:])
    )
    made = asyncio.run(cms_signer(signer()).async_sign(sha256(covered).digest(), "sha256"))
    message: bytes = made.dump().hex().encode()
    return content[: gap + 1] + message.ljust(after - gap - 2, b"0") + content[after - 1 :]


def test_a_range_without_holes_that_was_signed_by_hand_is_accepted() -> None:
    """So that the next test refuses the holes and nothing else."""
    content = _signed_with_range(lambda gap, after, rest: (0, gap, after, rest))
    assert reason(verdict(content)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda gap, after, rest: (0, gap, after + 5, rest - 5),
        lambda gap, after, rest: (0, gap, after + 9, rest),
        lambda gap, after, rest: (0, gap - 9, after, rest),
        lambda gap, after, rest: (0, gap - 9, after, rest + 9),
        lambda gap, after, rest: (0, gap, after, rest - 9),
        lambda gap, after, rest: (1, gap - 1, after, rest),
        lambda gap, after, rest: (0, 20, after, rest),
        lambda gap, after, rest: (0, 20, after - gap + 20, rest + gap - 20),
    ],
    ids=[
        "later",
        "beyond-the-end",
        "wide-gap",
        "same-length-wide-gap",
        "end-left-out",
        "begin-left-out",
        "huge-gap",
        "same-length-elsewhere",
    ],
)
def test_a_range_with_holes_is_refused(change) -> None:
    assert reason(verdict(_signed_with_range(change))) == "not-covered"


def test_a_range_around_another_string_is_refused() -> None:
    """The signature value would then be part of what is signed, or of nothing."""

    document = pdf(kib=100)
    content = sign(document, signer())

    def around_the_id(_gap: int, after: int, rest: int) -> tuple[int, int, int, int]:
        start = content.index(b"<", content.rindex(b"/ID"))
        end = content.index(b">", start) + 1
        return (0, start, end, after + rest - end)

    wrapped = _signed_with_range(around_the_id, content)
    assert reason(verdict(wrapped, document=document)) == "not-covered"


@pytest.mark.parametrize(
    ("tail", "expected"), [(b"\n% more", "not-covered"), (b"\nendobj\n%%EOF\n", "unreadable")]
)
def test_bytes_after_the_end_are_refused(tail: bytes, expected: str) -> None:
    assert reason(verdict(signed() + tail)) == expected


def test_updates_after_signing_that_serve_no_purpose_are_refused() -> None:
    def retitle(writer: Writer) -> None:
        writer.set_info(
            writer.add_object(
                generic.DictionaryObject(
                    {generic.pdf_name("/Title"): generic.pdf_string("another")}
                )
            )
        )

    def nothing(writer: Writer) -> None:
        writer.add_object(generic.pdf_string("nobody refers to this"))

    assert reason(verdict(updated(signed(), retitle))) == "extra-update"
    assert reason(verdict(updated(signed(), nothing))) == "extra-update"


@pytest.mark.parametrize("seed", range(40))
def test_damaged_documents_end_in_a_refusal_and_never_in_an_error(seed: int) -> None:
    """Bytes are changed, cut out and doubled all over the appended part."""
    chance = random.Random(seed)
    content = bytearray(signed())
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(sent()), len(content))
        match chance.randrange(3):
            case 0:
                content[place] = chance.randrange(256)
            case 1:
                del content[place : place + chance.randint(1, 50)]
            case 2:
                content[place:place] = content[place : place + chance.randint(1, 50)]
    report = verdict(bytes(content))
    assert reason(report) is not None or bytes(content) == signed()
