"""Manipulated documents, each with the reason for which it has to be refused."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from asn1crypto import cms
from lxml import etree
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.verification import Kind
from tests.support.signing import (
    How,
    Usage,
    authority,
    colleague,
    draw,
    issue,
    pdf,
    sign,
    signer,
    updated,
)
from tests.support.verification import (
    b64,
    cades,
    jws,
    pades,
    raw,
    revoked_data,
    xades,
)

Writer = IncrementalPdfFileWriter
NAME, TEXT = generic.pdf_name, generic.pdf_string
XADES = "{http://uri.etsi.org/01903/v1.3.2#}"


@dataclass(frozen=True)
class Manipulation:
    """A manipulated document.

    Attributes:
        reason: code of the finding that has to refuse it.
        detached: what is given beside it.
    """

    name: str
    kind: Kind
    content: bytes
    reason: str
    detached: bytes | None = None
    data: ValidationData | None = None
    at: datetime | None = None


def _pdf() -> Iterator[tuple[str, Callable[[], bytes], str]]:
    yield "appended-revision", lambda: updated(pades(), draw), "changed-after-signing"
    yield "shadow-hide", _hide, "changed-after-signing"
    yield "shadow-replace", _replace, "form-filled"
    yield "shadow-hide-and-replace", _hide_and_replace, "changed-after-signing"
    yield "swapped-signature", _swapped, "digest-mismatch"
    yield "truncated", lambda: pades()[:-300], "signature-unreadable"
    yield "trailing-bytes", lambda: pades() + b"\n% more", "not-covered"
    yield "range-with-hole", _hole, "not-covered"
    yield "range-from-later", _later_range, "not-covered"
    yield "flipped-byte", _flipped, "digest-mismatch"
    yield "broken-value", _broken_value, "bad-signature"
    yield "empty-field-that-shows", _showing_field, "changed-after-signing"
    yield "action-added", lambda: updated(pades(), _action), "changed-after-signing"


def _hide() -> bytes:
    """An overlay that was signed is taken away: what lay beneath is seen."""

    def overlay(writer: Writer) -> None:
        box = generic.StreamObject(stream_data=b"q 1 1 1 rg 0 0 600 800 re f Q")
        writer.add_stream_to_page(0, writer.add_object(box))

    def remove(writer: Writer) -> None:
        page = writer.root["/Pages"]["/Kids"][0]
        contents = page["/Contents"]
        page[NAME("/Contents")] = generic.ArrayObject(list(contents)[:1])
        writer.update_container(page)

    return updated(pades(content=updated(pdf(), overlay)), remove)


def _form(writer: Writer) -> None:
    look = generic.StreamObject(
        dict_data={
            NAME("/Type"): NAME("/XObject"),
            NAME("/Subtype"): NAME("/Form"),
            NAME("/BBox"): generic.ArrayObject(map(generic.NumberObject, (0, 0, 99, 20))),
        },
        stream_data=b"",
    )
    page = writer.root["/Pages"]["/Kids"][0]
    field = generic.DictionaryObject(
        {
            NAME("/Type"): NAME("/Annot"),
            NAME("/Subtype"): NAME("/Widget"),
            NAME("/Rect"): generic.ArrayObject(map(generic.NumberObject, (72, 600, 171, 620))),
            NAME("/FT"): NAME("/Tx"),
            NAME("/T"): TEXT("Total"),
            NAME("/V"): TEXT("1000000"),
            NAME("/AP"): generic.DictionaryObject({NAME("/N"): writer.add_object(look)}),
        }
    )
    place = writer.add_object(field)
    page[NAME("/Annots")] = generic.ArrayObject([place])
    writer.update_container(page)
    writer.root[NAME("/AcroForm")] = generic.DictionaryObject(
        {NAME("/Fields"): generic.ArrayObject([place])}
    )
    writer.update_root()


def _replace() -> bytes:
    """The value of a form that was there when it was signed is another one."""

    def fill(writer: Writer) -> None:
        field = writer.root["/AcroForm"]["/Fields"][0].get_object()
        field[NAME("/V")] = TEXT("9000000")
        writer.update_container(field)

    return updated(pades(content=updated(pdf(), _form)), fill)


def _hide_and_replace() -> bytes:
    """A second document that was signed along, unseen, is brought to light."""
    other = generic.pdf_name("/Shadow")

    def prepare(writer: Writer) -> None:
        page = writer.root["/Pages"]["/Kids"][1].get_object()
        writer.root[other] = writer.add_object(generic.DictionaryObject(dict(page)))
        writer.update_root()

    def show(writer: Writer) -> None:
        pages = writer.root["/Pages"]
        kids = pages["/Kids"]
        kids[0] = writer.root.raw_get("/Shadow")
        writer.update_container(pages)

    return updated(pades(content=updated(pdf(), prepare)), show)


def _swapped() -> bytes:
    """The signature of another document stands in this one."""
    there, here = sign(pdf("another"), signer()), pades()
    return _with_value(here, _value(there))


def _gap(content: bytes) -> tuple[int, int]:
    """Where the signature value begins and ends."""
    found = re.search(rb"/ByteRange \[0 (\d+) (\d+) ", content)
    assert found
    return int(found[1]) + 1, int(found[2]) - 1


def _value(content: bytes) -> bytes:
    begin, end = _gap(content)
    return content[begin:end]


def _with_value(content: bytes, value: bytes) -> bytes:
    begin, end = _gap(content)
    return content[:begin] + value.rstrip(b"0").ljust(end - begin, b"0") + content[end:]


def _with_range(change: Callable[[int, int, int], tuple[int, ...]]) -> bytes:
    content = pades()
    found = re.search(rb"/ByteRange \[0 (\d+) (\d+) (\d+)\s*\]", content)
    assert found
    numbers = change(*(int(found[i]) for i in (1, 2, 3)))
    text = b"/ByteRange [%d %d %d %d" % numbers
    return content.replace(found[0], text.ljust(len(found[0]) - 1) + b"]")


def _hole() -> bytes:
    return _with_range(lambda gap, after, rest: (0, gap - 9, after, rest))


def _later_range() -> bytes:
    return _with_range(lambda gap, after, rest: (1, gap - 1, after, rest))


def _flipped() -> bytes:
    content = bytearray(pades())
    place = bytes(content).rindex(b"/M (D") + 10
    content[place] = ord("1") if content[place] != ord("1") else ord("2")
    return bytes(content)


def _broken_value() -> bytes:
    content = pades()
    message = cms.ContentInfo.load(bytes.fromhex(_value(content).decode()))
    signature = message["content"]["signer_infos"][0]["signature"].native
    place = content.index(signature.hex().upper().encode())
    digit = b"0" if content[place : place + 1] != b"0" else b"1"
    return content[:place] + digit + content[place + 1 :]


def _showing_field() -> bytes:
    def add(writer: Writer) -> None:
        fields.append_signature_field(
            writer, fields.SigFieldSpec("Cover", box=(0, 0, 600, 800), empty_field_appearance=True)
        )

    return updated(pades(), add)


def _action(writer: Writer) -> None:
    writer.root[NAME("/OpenAction")] = generic.DictionaryObject(
        {NAME("/S"): NAME("/JavaScript"), NAME("/JS"): TEXT("app.alert(1)")}
    )
    writer.update_root()


# XML


def _xml() -> Iterator[tuple[str, Callable[[], bytes], str]]:
    yield "changed-content", lambda: xades().replace(b">12<", b">99<"), "digest-mismatch"
    yield "wrapping", _wrapped, "part-signed"
    yield "wrapping-same-id", _same_id, "reference-ambiguous"
    yield "properties-swapped", _properties, "digest-mismatch"
    yield "certificate-swapped", _xml_certificate, "signer-certificate-swapped"
    yield "no-reference-to-content", _only_properties, "bad-signature"
    yield "filtering-transform", _filter, "bad-signature"
    yield "sha1", _sha1, "bad-signature"
    yield "document-type", lambda: b"<!DOCTYPE a [<!ENTITY x 'y'>]>" + xades(), "unreadable"
    yield "hmac", _hmac, "weak-algorithm"


_ENVELOPE = b'<Goi><GiayPhep Id="p1"><So>12</So></GiayPhep></Goi>'


@cache
def part_signed() -> bytes:
    """A document of which one element is signed, as some systems do."""
    return xades(_ENVELOPE, reference="#p1")


def _wrapped() -> bytes:
    """The signed element is moved aside, and another stands in its place."""
    root = etree.fromstring(part_signed())
    signed = root.find("GiayPhep")
    forged = etree.fromstring(b'<GiayPhep Id="p2"><So>99</So></GiayPhep>')
    root.replace(signed, forged)
    etree.SubElement(root, "Kho").append(signed)
    return bytes(etree.tostring(root))


def _same_id() -> bytes:
    root = etree.fromstring(part_signed())
    root.insert(0, etree.fromstring(b'<GiayPhep Id="p1"><So>99</So></GiayPhep>'))
    return bytes(etree.tostring(root))


def _properties() -> bytes:
    return re.sub(rb"(SigningTime>)20\d\d", rb"\g<1>2001", xades())


def _xml_certificate() -> bytes:
    mine = base64.b64encode(signer().der)
    content = re.sub(rb"(X509Certificate>)([^<]+)", _squeezed, xades())
    assert mine in content
    return content.replace(mine, base64.b64encode(colleague().der))


def _squeezed(found: re.Match[bytes]) -> bytes:
    return found[1] + b"".join(found[2].split())


def _only_properties() -> bytes:
    root = etree.fromstring(xades())
    info = root.find(".//{*}SignedInfo")
    info.remove(info.findall("{*}Reference")[0])
    return bytes(etree.tostring(root))


def _filter() -> bytes:
    return xades().replace(
        b"http://www.w3.org/2000/09/xmldsig#enveloped-signature",
        b"http://www.w3.org/TR/1999/REC-xpath-19991116",
        1,
    )


def _sha1() -> bytes:
    return xades().replace(
        b"http://www.w3.org/2001/04/xmlenc#sha256", b"http://www.w3.org/2000/09/xmldsig#sha1", 1
    )


def _hmac() -> bytes:
    return re.sub(
        rb"(SignatureMethod Algorithm=\")[^\"]+",
        rb"\g<1>http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
        xades(),
    )


# JOSE


def _jose() -> Iterator[tuple[str, Callable[[], bytes], str]]:
    yield "alg-none", lambda: _headed({"alg": "none"}, value=""), "algorithm-none"
    yield "alg-none-mixed-case", lambda: _headed({"alg": "nOnE"}, value=""), "algorithm-none"
    yield "alg-of-a-shared-secret", lambda: _headed({"alg": "HS256"}), "algorithm-none"
    yield "other-alg", lambda: _headed({"alg": "RS256"}), "bad-signature"
    yield "payload-swapped", _payload, "bad-signature"
    yield "header-swapped", lambda: _headed({"iat": 978307200}), "bad-signature"
    yield "chain-swapped", _jose_chain, "signer-certificate-swapped"
    yield "resigned-by-another", _resigned, "signer-certificate-swapped"
    yield "header-not-protected", _unprotected, "header-refused"
    yield "name-twice", _twice, "header-refused"
    yield "critical-not-understood", _critical, "signature-unsupported"
    yield "no-chain", lambda: jws(leave_out=("x5c",)).encode(), "signer-certificate-missing"
    yield "base64-in-another-way", lambda: jws().encode() + b"==", "header-refused"


def _parts() -> tuple[dict[str, Any], str, str]:
    protected, payload, value = jws().split(".")
    header = json.loads(base64.urlsafe_b64decode(protected + "=="))
    return header, payload, value


def _headed(changes: dict[str, Any], value: str | None = None) -> bytes:
    header, payload, given = _parts()
    protected = b64(json.dumps({**header, **changes}).encode())
    return f"{protected}.{payload}.{given if value is None else value}".encode()


def _payload() -> bytes:
    protected, _, value = jws().split(".")
    return f"{protected}.{b64(b'{}')}.{value}".encode()


def _jose_chain() -> bytes:
    return _headed({"x5c": [base64.b64encode(colleague().der).decode()]})


def _resigned() -> bytes:
    """Somebody else's key and certificate, but still the digest of the signer's."""
    header, payload, _ = _parts()
    header |= {"alg": "ES256", "x5c": [base64.b64encode(colleague().der).decode()]}
    protected = b64(json.dumps(header).encode())
    return (
        f"{protected}.{payload}.{b64(raw(colleague(), f'{protected}.{payload}'.encode()))}".encode()
    )


def _unprotected() -> bytes:
    protected, payload, value = jws(leave_out=("x5c",)).split(".")
    chain = [base64.b64encode(signer().der).decode()]
    body = {"payload": payload, "protected": protected, "signature": value}
    return json.dumps({**body, "header": {"x5c": chain}}).encode()


def _twice() -> bytes:
    protected, payload, value = jws().split(".")
    header = base64.urlsafe_b64decode(protected + "==").replace(b"{", b'{"alg": "none", ', 1)
    return f"{b64(header)}.{payload}.{value}".encode()


def _critical() -> bytes:
    return jws(header={"crit": ["exp"], "exp": 1}).encode()


# CMS


def _cms() -> Iterator[tuple[str, Callable[[], bytes], str]]:
    yield "other-content", _other_content, "digest-mismatch"
    yield "cms-broken-value", _cms_value, "bad-signature"
    yield "no-signed-attributes", _no_attributes, "signature-unsupported"
    yield "cms-certificate-removed", _no_certificate, "signer-certificate-missing"
    yield "attributes-changed", _attributes, "bad-signature"
    yield "no-signers", _no_signers, "no-signature"
    yield "cms-truncated", lambda: cades()[:-200], "signature-unreadable"


def _message(change: Callable[[cms.SignedData], None]) -> bytes:
    message = cms.ContentInfo.load(cades())
    change(message["content"])
    return bytes(message.dump(force=True))


def _other_content() -> bytes:
    return cades().replace(b"Noi dung", b"Noi dun2")


def _cms_value() -> bytes:
    def change(signed: cms.SignedData) -> None:
        value = signed["signer_infos"][0]["signature"].native
        signed["signer_infos"][0]["signature"] = value[:-1] + bytes([value[-1] ^ 1])

    return _message(change)


def _no_attributes() -> bytes:
    def change(signed: cms.SignedData) -> None:
        signer_info = signed["signer_infos"][0]
        given = {
            name: signer_info[name]
            for name in ("version", "sid", "digest_algorithm", "signature_algorithm", "signature")
        }
        signed["signer_infos"] = cms.SignerInfos([cms.SignerInfo(given)])

    return _message(change)


def _no_certificate() -> bytes:
    def change(signed: cms.SignedData) -> None:
        kept = [one for one in signed["certificates"] if one.chosen.dump() != signer().der]
        signed["certificates"] = cms.CertificateSet(kept)

    return _message(change)


def _attributes() -> bytes:
    def change(signed: cms.SignedData) -> None:
        for one in signed["signer_infos"][0]["signed_attrs"]:
            if one["type"].native == "signing_time":
                one["values"] = [cms.Time({"utc_time": datetime(2020, 1, 1, tzinfo=UTC)})]

    return _message(change)


def _no_signers() -> bytes:
    def change(signed: cms.SignedData) -> None:
        signed["signer_infos"] = cms.SignerInfos([])

    return _message(change)


# Certificates


def _certificates() -> Iterator[Manipulation]:
    expired = issue("Hết hạn", authority(), Usage(days=(-30, -1)))
    early = issue("Chưa tới hạn", authority(), Usage(days=(1, 30)))
    wrong = issue("Không để ký", authority(), Usage(signing=False))
    alone = issue("Tự cấp", None)
    for name, holder, reason in (
        ("expired", expired, "certificate-expired"),
        ("not-yet-valid", early, "certificate-not-yet-valid"),
        ("other-usage", wrong, "certificate-usage"),
        ("self-issued", alone, "certificate-untrusted"),
    ):
        yield Manipulation(name, "pdf", sign(pdf(), holder), reason)
        yield Manipulation(name, "cms", cades(holder=holder), reason)
        yield Manipulation(name, "xml", xades(holder=holder), reason)
        yield Manipulation(name, "jws", jws(holder=holder).encode(), reason)
    revoked = revoked_data(datetime.now(UTC) - timedelta(hours=2))
    kinds: list[tuple[Kind, bytes]] = [
        ("pdf", pades()),
        ("cms", cades()),
        ("xml", xades()),
        ("jws", jws().encode()),
    ]
    for kind, content in kinds:
        yield Manipulation("revoked", kind, content, "certificate-revoked", data=revoked)
    impostor = issue("Issuing CA", None, Usage(authority=True))
    yield Manipulation(
        "resigned-by-another-chain",
        "pdf",
        sign(pdf(), issue("Nguyễn Văn Ký", impostor), How()),
        "certificate-untrusted",
    )
    yield Manipulation(
        "detached-other-content",
        "cms",
        cades(b"Noi dung", detached=True),
        "digest-mismatch",
        detached=b"Noi dung khac",
    )
    yield Manipulation(
        "content-given-twice", "cms", cades(b"Noi dung"), "content-twice", detached=b"Noi dung"
    )


@cache
def corpus() -> tuple[Manipulation, ...]:
    """All of them."""
    found: list[Manipulation] = []
    for kind, family in (("pdf", _pdf), ("xml", _xml), ("jws", _jose), ("cms", _cms)):
        found += [
            Manipulation(name, kind, make(), reason)  # type: ignore[arg-type]  # literals
            for name, make, reason in family()
        ]
    return (*found, *_certificates())
