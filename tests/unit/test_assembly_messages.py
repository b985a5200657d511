"""CAdES, XAdES and JAdES: what is assembled here holds for libraries that no one here wrote."""

import asyncio
import hashlib
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwcrypto import jwk, jws
from lxml import etree
from pyhanko.sign.validation.generic_cms import (
    async_validate_cms_signature,
    async_validate_detached_cms,
)
from signxml.exceptions import InvalidDigest, InvalidSignature
from signxml.verifier import SignatureConfiguration
from signxml.xades.xades import XAdESVerifier

from signature_connector.assembly import cades, jades, work, xades
from signature_connector.assembly.edits import applied
from signature_connector.domain.assembly import Unfit, ValidationData
from tests.support import assembly
from tests.support.assembly import message, raw_signature, tsa, wish
from tests.support.signing import Holder, colleague, signer
from tests.unit.test_assembly_pades import MECHANISMS, holder

SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
XML = '<?xml version="1.0"?><ho-so xmlns="urn:a" xmlns:b="urn:b" b:ma="1&amp;2">Kết quả</ho-so>'


# -- CAdES -----------------------------------------------------------------------------------


def cms_holds(content: bytes, document: bytes | None = None) -> bool:
    signed = cms.ContentInfo.load(content)["content"]
    if document is None:
        coroutine = async_validate_cms_signature(signed, validation_context=assembly.trusting())
        found = asyncio.run(coroutine)
        return bool(found.valid and found.intact and found.trusted)
    status = asyncio.run(
        async_validate_detached_cms(
            document, signed, assembly.trusting(), ts_validation_context=assembly.trusting()
        )
    )
    return bool(status.bottom_line)


@SLOW
@given(
    content=st.binary(max_size=2000),
    mechanism=MECHANISMS,
    digest=st.sampled_from(["sha256", "sha384", "sha512"]),
    detached=st.booleans(),
)
def test_a_cades_signature_holds_for_any_document(
    content: bytes, mechanism: tuple[str, str], digest: str, detached: bool
) -> None:
    how: dict[str, Any] = {"digest_algorithm": digest, "mechanism": mechanism[1]}
    person = holder(mechanism[0])
    made = message(content, person, format="cades", detached=detached, **how)
    carried = cms.ContentInfo.load(made)["content"]["encap_content_info"]["content"].native
    assert carried == (None if detached else content)
    assert cms_holds(made, content if detached else None)
    if detached:
        assert not cms_holds(made, content + b"!")


def test_a_cades_signature_says_its_time_and_certificate_under_the_signature() -> None:
    moment = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
    made = message(b"van ban", format="cades", claimed_at=moment)
    signer_info = cms.ContentInfo.load(made)["content"]["signer_infos"][0]
    attributes = {one["type"].native: one["values"][0] for one in signer_info["signed_attrs"]}
    assert attributes["signing_time"].native == moment
    found = attributes["signing_certificate_v2"]["certs"][0]["cert_hash"].native
    assert found == hashlib.sha256(signer().der).digest()


def test_a_cades_signature_takes_a_timestamp() -> None:
    document = b"van ban"
    made = message(document, format="cades", detached=True)
    token = tsa().token(cades.imprint(made))
    stamped = applied(made, cades.timestamped(made, token))
    assert cms_holds(stamped, document)
    attributes = cms.ContentInfo.load(stamped)["content"]["signer_infos"][0]["unsigned_attrs"]
    assert [one["type"].native for one in attributes] == ["signature_time_stamp_token"]
    with pytest.raises(Unfit, match="timestamped-already"):
        cades.timestamped(stamped, token)
    with pytest.raises(Unfit, match="wrong-timestamp"):
        cades.timestamped(made, tsa().token(hashlib.sha256(b"khac").digest()))


# -- XAdES -----------------------------------------------------------------------------------


def xml_holds(content: bytes, person: Holder | None = None) -> bool:
    """By the signer's certificate: what it leads to is not this library's to say."""
    try:
        XAdESVerifier().verify(
            content,
            x509_cert=(person or signer()).certificate,
            expect_config=SignatureConfiguration(expect_references=2),
        )
    except (InvalidSignature, InvalidDigest):
        return False
    return True


NAMES = st.sampled_from(["a", "b", "ho-so", "x"])
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), max_size=20
).map(lambda text: text.replace("￾", "").replace("￿", ""))


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """XML with namespaces, attributes, comments, mixed content and a comment behind the root."""

    def element(depth: int) -> etree._Element:
        space = draw(st.sampled_from([None, "urn:a", "urn:b"]))
        spaces = draw(st.sampled_from([None, {None: "urn:a"}, {"ds": "urn:khac"}]))
        name = draw(NAMES)
        made = etree.Element(f"{{{space}}}{name}" if space else name, nsmap=spaces)
        for _ in range(draw(st.integers(0, 2))):
            made.set(draw(NAMES), draw(TEXTS))
        made.text = draw(TEXTS)
        if draw(st.booleans()):
            made.append(etree.Comment("ghi chú"))
        for _ in range(draw(st.integers(0, 2)) if depth else 0):
            child = element(depth - 1)
            child.tail = draw(TEXTS)
            made.append(child)
        return made

    top = element(2)
    if draw(st.booleans()):
        top.addnext(etree.Comment("sau"))
    made: bytes = etree.tostring(etree.ElementTree(top), encoding="UTF-8", xml_declaration=True)
    return made


@SLOW
@given(
    content=documents(),
    mechanism=MECHANISMS,
    digest=st.sampled_from(["sha256", "sha384", "sha512"]),
)
def test_a_xades_signature_holds_for_any_document(
    content: bytes, mechanism: tuple[str, str], digest: str
) -> None:
    person = holder(mechanism[0])
    made = message(content, person, format="xades", digest_algorithm=digest, mechanism=mechanism[1])
    assert xml_holds(made, person)


def test_a_changed_xml_document_or_property_does_not_hold() -> None:
    made = message(XML.encode(), format="xades")
    assert xml_holds(made)
    assert not xml_holds(made.replace("Kết".encode(), "Hết".encode()))
    assert not xml_holds(made.replace(b"SigningTime>20", b"SigningTime>19"))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"not xml", "not-xml"),
        (b"<a><b></a>", "not-xml"),
        (b"", "not-xml"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "not-xml"),
        (b'<a><Signature xmlns="http://www.w3.org/2000/09/xmldsig#"/></a>', "signed-xml"),
    ],
)
def test_xml_that_cannot_be_signed_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(Unfit) as refused:
        xades.prepare(content, wish(format="xades"))
    assert refused.value.code == code


# -- JAdES -----------------------------------------------------------------------------------


def jws_holds(content: bytes, person: Holder) -> bool:
    token = jws.JWS()
    token.allowed_algs = ["PS256", "PS384", "PS512", "RS256", "RS384", "RS512"]
    token.allowed_algs += ["ES256", "ES384", "ES512"]
    token.deserialize(content.decode())
    try:
        token.verify(jwk.JWK.from_pem(person.certificate.public_bytes(Encoding.PEM)))
    except jws.InvalidJWSSignature:
        return False
    return True


JSON_MECHANISMS = st.one_of(
    st.tuples(
        st.just("rsa-2048"),
        st.sampled_from(["rsassa_pss", "rsassa_pkcs1v15"]),
        st.sampled_from(["sha256", "sha384", "sha512"]),
    ),
    st.sampled_from(
        [
            ("p-256", "ecdsa", "sha256"),
            ("p-384", "ecdsa", "sha384"),
            ("p-521", "ecdsa", "sha512"),
        ]
    ),
)


@SLOW
@given(content=st.binary(max_size=2000), mechanism=JSON_MECHANISMS)
def test_a_jades_signature_holds_for_any_document(
    content: bytes, mechanism: tuple[str, str, str]
) -> None:
    kind, how, digest = mechanism
    person = holder(kind)
    made = message(content, person, format="jades", mechanism=how, digest_algorithm=digest)
    assert jws_holds(made, person)
    head, payload, _ = made.split(b".")
    assert urlsafe_b64decode(payload + b"==") == content
    other = b".".join((head, b"AAAA" + payload, made.split(b".")[2]))
    assert not jws_holds(other, person)


def test_a_jades_header_says_time_and_certificate() -> None:
    moment = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
    made = message(b"{}", colleague(), format="jades", claimed_at=moment)
    header = orjson.loads(urlsafe_b64decode(made.split(b".")[0] + b"=="))
    assert header["alg"] == "ES256"
    assert header["iat"] == 1795323600, "seconds since 1970 (RFC 7519), of 2026-11-22T05:00:00Z"
    assert "sigT" not in header, "deprecated (TS 119 182-1 v1.2.1)"
    assert "crit" not in header, "nothing that a verifier has to know beyond RFC 7515"
    assert len(header["x5c"]) == 2, "the signer's and the issuing CA's, not the root"
    thumbprint = urlsafe_b64decode(header["x5t#S256"] + "==")
    assert thumbprint == hashlib.sha256(colleague().der).digest()


def test_a_curve_that_jws_has_no_name_for_is_refused() -> None:
    with pytest.raises(Unfit, match="unfit-key"):
        jades.prepare(b"{}", wish(colleague(), format="jades", digest_algorithm="sha512"))


# -- all of them -----------------------------------------------------------------------------


@pytest.mark.parametrize("module", [cades, xades, jades])
def test_neither_a_wrong_signature_nor_another_document_is_assembled(module) -> None:
    kind = module.__name__.rpartition(".")[2]
    how = wish(format=kind)
    waiting, _ = module.prepare(XML.encode(), how)
    good = raw_signature(signer().key, waiting.digest, how)
    with pytest.raises(Unfit, match="bad-signature"):
        module.finish(XML.encode(), waiting, good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(Unfit, match="other-document"):
        module.finish(XML.encode() + b"\n", waiting, good)


@pytest.mark.parametrize("kind", ["xades", "jades"])
def test_a_salt_that_the_format_cannot_name_is_refused(kind: Any) -> None:
    module = {"xades": xades, "jades": jades}[kind]
    how = wish(format=kind)
    waiting, _ = module.prepare(XML.encode(), how)
    signature = raw_signature(signer().key, waiting.digest, how, salt=2048 // 8 - 32 - 2)
    with pytest.raises(Unfit, match="salt"):
        module.finish(XML.encode(), waiting, signature)


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        *((kind, "imprint") for kind in ("xades", "jades")),
        *((kind, "long_term") for kind in ("cades", "xades", "jades")),
        *((kind, "archive_imprint") for kind in ("cades", "xades", "jades")),
    ],
)
def test_a_level_that_a_format_does_not_reach_yet_is_said(kind: Any, call: str, tmp_path) -> None:
    paper = tmp_path / "paper"
    paper.write_bytes(message(XML.encode(), format=kind))
    material = (ValidationData(),) if call == "long_term" else ()
    answer = getattr(work, call)(paper, kind, *material)
    assert isinstance(answer, Unfit)
    assert (answer.code, answer.detail) == ("level-not-supported", kind)
