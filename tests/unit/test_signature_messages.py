"""The verdict on signed documents that are no PDF: every kind of bad one has its own reason."""

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from signature_connector.assembly import cades
from signature_connector.assembly.edits import applied
from signature_connector.domain.assembly import Level
from signature_connector.domain.findings import Report
from signature_connector.domain.profiles import Profile
from signature_connector.verification.certificates import Trust
from signature_connector.verification.judgement import Returned
from signature_connector.verification.messages import judge
from tests.support.assembly import message, tsa
from tests.support.signing import Holder, authority, colleague, issue, root, signer

DOCUMENTS = {
    "cades": "Kết quả giải quyết".encode(),
    "xades": '<?xml version="1.0"?><!--x--><ho-so xmlns="urn:a" b="1">Kết quả</ho-so>'.encode(),
    "jades": '{"ket-qua": "Đồng ý"}'.encode(),
}
every_format = pytest.mark.parametrize("form", DOCUMENTS)


@cache
def signed(form: str, **how: Any) -> bytes:
    return message(DOCUMENTS[form], format=form, **how)


def trust(*holders: Holder) -> Trust:
    return Trust.of([one.certificate.public_bytes(Encoding.DER) for one in holders or (root(),)])


def verdict(
    form: Any,
    content: bytes,
    *,
    sent: bytes | None = None,
    by: Holder | None = None,
    trusted: Trust | None = None,
    level: Level = "b-b",
    moment: datetime | None = None,
) -> Report:
    returned = Returned(
        DOCUMENTS[form] if sent is None else sent,
        content,
        (by or signer()).der,
        moment or datetime.now(UTC),
    )
    return judge(returned, trusted or trust(), Profile(form, level))


def reason(report: Report) -> str | None:
    return report.refusal.code if report.refusal else None


@every_format
@pytest.mark.parametrize("mechanism", ["rsassa_pss", "rsassa_pkcs1v15"])
def test_what_was_signed_as_it_was_asked_is_accepted(form: str, mechanism: str) -> None:
    report = verdict(form, signed(form, mechanism=mechanism))
    assert reason(report) is None
    assert report.facts["signature"]["level"] == "B-B"
    assert datetime.fromisoformat(report.facts["signature"]["signed_at"]) <= datetime.now(UTC)
    codes = {one.code for one in report.findings}
    passed = {"signer-expected", "algorithms-allowed", "intact", "covered", "trusted"}
    assert passed | {"content-kept", "revocation-unchecked"} <= codes
    assert ("pkcs1-padding" in codes) == (mechanism == "rsassa_pkcs1v15")


@every_format
def test_a_report_names_nobody(form: str) -> None:
    told = json.dumps(verdict(form, signed(form)).body(), ensure_ascii=False)
    (name,) = signer().certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert str(name.value) not in told
    assert not re.search(r"\*\*\*[0-9]{3}", told)  # nor part of the number, as others are told


@every_format
def test_somebody_elses_signature_is_refused(form: str) -> None:
    content = message(DOCUMENTS[form], colleague(), format=form)
    assert reason(verdict(form, content)) == "wrong-certificate"


@every_format
def test_another_documents_signature_is_refused(form: str) -> None:
    other = DOCUMENTS[form].replace("ế".encode(), b"e").replace("Đ".encode(), b"D")
    assert other != DOCUMENTS[form]
    content = message(other, format=form)
    assert reason(verdict(form, content)) == "other-document"


@every_format
def test_the_document_that_was_sent_is_not_signed(form: str) -> None:
    assert reason(verdict(form, DOCUMENTS[form])) == "unsigned"


@every_format
@pytest.mark.parametrize("hostile", [b"", b"\x00" * 50, b"{}", b"<a/>", b"\x30\x80"])
def test_what_cannot_be_read_is_refused(form: str, hostile: bytes) -> None:
    assert verdict(form, hostile).refusal


@every_format
def test_a_value_that_does_not_verify_is_refused(form: str) -> None:
    assert reason(verdict(form, broken(form))) == "bad-signature"


def broken(form: str) -> bytes:
    content = signed(form)
    if form == "cades":
        return content[:-1] + bytes([content[-1] ^ 1])
    if form == "jades":
        head, _, value = content.rpartition(b".")
        raw = base64.urlsafe_b64decode(value + b"==")
        flipped = bytes([raw[0] ^ 1]) + raw[1:]
        return head + b"." + base64.urlsafe_b64encode(flipped).rstrip(b"=")
    start = content.index(b"<ds:SignatureValue")
    at = content.index(b">", start) + 5
    return content[:at] + (b"A" if content[at : at + 1] != b"A" else b"B") + content[at + 1 :]


@every_format
def test_a_chain_to_nowhere_is_refused(form: str) -> None:
    stranger = issue("Somebody's root", None)
    assert reason(verdict(form, signed(form), trusted=trust(stranger))) == "certificate-untrusted"


@every_format
def test_a_certificate_that_had_ended_is_refused(form: str) -> None:
    later = datetime.now(UTC) + timedelta(days=20 * 365)
    assert reason(verdict(form, signed(form), moment=later)) == "certificate-expired"


@every_format
def test_a_level_that_was_not_reached_is_refused(form: str) -> None:
    assert reason(verdict(form, signed(form), level="b-t")) == "level-differs"


def stamped() -> bytes:
    content = signed("cades")
    token = tsa().token(cades.imprint(content))
    return applied(content, cades.timestamped(content, token))


def test_a_timestamp_counts_only_from_an_authority_that_is_trusted() -> None:
    anchors = trust(root(), authority())
    der = tsa().root.public_bytes(Encoding.DER)
    both = Trust.of([root().certificate.public_bytes(Encoding.DER), der])
    moment = datetime.now(UTC) + timedelta(minutes=1)
    good = verdict("cades", stamped(), level="b-t", trusted=both, moment=moment)
    assert reason(good) is None
    assert good.facts["signature"]["level"] == "B-T"
    bad = verdict("cades", stamped(), level="b-t", trusted=anchors, moment=moment)
    assert reason(bad) == "level-differs"


def test_a_second_signer_of_a_cms_message_is_refused() -> None:
    one = cms.ContentInfo.load(signed("cades"))
    other = cms.ContentInfo.load(message(DOCUMENTS["cades"], colleague(), format="cades"))
    signers = [*one["content"]["signer_infos"], *other["content"]["signer_infos"]]
    one["content"]["signer_infos"] = cms.SignerInfos(signers)
    assert reason(verdict("cades", one.dump(force=True))) == "several-signatures"


def test_a_countersignature_is_refused() -> None:
    one = cms.ContentInfo.load(signed("cades"))
    (signer_info,) = one["content"]["signer_infos"]
    signer_info["unsigned_attrs"] = cms.CMSAttributes(
        [cms.CMSAttribute({"type": "counter_signature", "values": [signer_info.copy()]})]
    )
    assert reason(verdict("cades", one.dump(force=True))) == "several-signatures"


def test_a_message_without_the_document_in_it_is_refused() -> None:
    assert reason(verdict("cades", signed("cades", detached=True))) == "content-missing"


def test_a_second_signature_of_a_jws_is_refused() -> None:
    def part(content: bytes) -> tuple[str, dict[str, str]]:
        head, payload, value = content.decode().split(".")
        return payload, {"protected": head, "signature": value}

    payload, one = part(signed("jades"))
    _, other = part(message(DOCUMENTS["jades"], colleague(), format="jades"))
    both = json.dumps({"payload": payload, "signatures": [one, other]}).encode()
    assert reason(verdict("jades", both)) == "several-signatures"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ((b"<!--x-->", b"<!--y-->"), "other-document"),  # no canonical form that is signed has it
        ((b"</ho-so>", b"<mot/></ho-so>"), "other-document"),
        ((b"K\xe1\xba\xbft", b"Ket"), "other-document"),
        ((b"</ds:Signature>", b"<ds:Object><x/></ds:Object></ds:Signature>"), "extra-update"),
    ],
    ids=["comment", "element", "text", "object"],
)
def test_an_xml_document_that_was_altered_is_refused(
    change: tuple[bytes, bytes], expected: str
) -> None:
    altered = signed("xades").replace(*change)
    assert altered != signed("xades")
    assert reason(verdict("xades", altered)) == expected


def test_a_second_signature_in_an_xml_document_is_refused() -> None:
    content = signed("xades")
    start, end = content.index(b"<ds:Signature "), content.index(b"</ds:Signature>") + 15
    twice = content[:end] + content[start:end] + content[end:]
    assert reason(verdict("xades", twice)) == "several-signatures"


def test_signed_parts_of_an_xml_document_do_not_count_for_the_whole() -> None:
    document = b'<a xmlns="urn:a">\n<b Id="b">1</b></a>'
    signed_part = message(b'<b xmlns="urn:a" Id="b">1</b>', format="xades")
    start, end = signed_part.index(b"<ds:Signature "), signed_part.index(b"</ds:Signature>") + 15
    moved = document.replace(b"</a>", signed_part[start:end] + b"</a>")
    assert reason(verdict("xades", moved, sent=document)) == "digest-mismatch"
