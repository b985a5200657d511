"""Signed documents of every kind and level, and the manipulations that have to be noticed."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from typing import Any

from asn1crypto import cms, keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from lxml import etree
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner
from pyhanko.sign.timestamps.dummy_client import DummyTimeStamper
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore
from signxml.algorithms import (
    CanonicalizationMethod,
    SignatureConstructionMethod,
    SignatureMethod,
)
from signxml.xades.xades import XAdESSigner

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Report
from signature_connector.domain.verification import Kind, Material
from signature_connector.verification.policies import Policies
from signature_connector.verification.verification import verify
from tests.support.signing import (
    Holder,
    authority,
    cms_signer,
    issue,
    pdf,
    root,
    signer,
)

OCSP_URL, CRL_URL = "http://ocsp.example.vn/", "http://crl.example.vn/ca.crl"


def der(holder: Holder) -> bytes:
    """A holder's certificate."""
    return holder.certificate.public_bytes(Encoding.DER)


def policies(*roots: Holder) -> Policies:
    """One policy without dates."""
    return Policies.of([der(one) for one in roots or (root(),)])


@cache
def tsa(name: str = "TSA") -> Holder:
    """A timestamp authority below the root."""
    key = rsa.generate_private_key(65537, 2048)
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(root().certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=800))
        .not_valid_after(now + timedelta(days=3000))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root().key.public_key()), False
        )
        .sign(root().key, SHA256())
    )
    return Holder(made, key, (root().certificate,))


def private(holder: Holder) -> bytes:
    """A holder's key, PKCS #8."""
    return holder.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def stamper(by: Holder | None = None, at: datetime | None = None) -> DummyTimeStamper:
    """What makes timestamps, now or as of a moment."""
    holder = by or tsa()
    store = SimpleCertificateStore()
    store.register(asn1_x509.Certificate.load(der(holder)))
    return DummyTimeStamper(
        asn1_x509.Certificate.load(der(holder)),
        keys.PrivateKeyInfo.load(private(holder)),
        certs_to_embed=store,
        fixed_dt=at,
    )


def crl(
    issuer: Holder, revoked: Mapping[int, datetime] | None = None, *, hours: float = 24
) -> bytes:
    """An issuer's CRL (DER)."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - timedelta(hours=1))
        .next_update(now + timedelta(hours=hours))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False
        )
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for serial, at in (revoked or {}).items():
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, SHA256()).public_bytes(Encoding.DER)


def ocsp_answer(
    holder: Holder,
    issuer: Holder,
    *,
    revoked: datetime | None = None,
    by: Holder | None = None,
) -> bytes:
    """An OCSP response about a certificate (DER)."""
    now = datetime.now(UTC)
    responder = by or issuer
    made = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=holder.certificate,
            issuer=issuer.certificate,
            algorithm=SHA1(),  # noqa: S303 - names a certificate, protects nothing
            cert_status=ocsp.OCSPCertStatus.REVOKED if revoked else ocsp.OCSPCertStatus.GOOD,
            this_update=now - timedelta(minutes=5),
            next_update=now + timedelta(hours=1),
            revocation_time=revoked,
            revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
        .sign(responder.key, SHA256())
    )
    return made.public_bytes(Encoding.DER)


def good_data(*, signer_crl: bytes | None = None) -> ValidationData:
    """Nothing is revoked: CRLs of the root and of the issuing CA."""
    return ValidationData((der(authority()),), (), (crl(root()), signer_crl or crl(authority())))


def revoked_data(at: datetime, holder: Holder | None = None) -> ValidationData:
    """A holder was revoked at a moment."""
    serial = (holder or signer()).certificate.serial_number
    return good_data(signer_crl=crl(authority(), {serial: at}))


def report(
    kind: Kind,
    content: bytes,
    *,
    detached: bytes | None = None,
    data: ValidationData | None = None,
    trusted: Policies | None = None,
    **given: Any,
) -> Report:
    """What is said of a document; nothing revoked unless said otherwise."""
    material = Material(kind, content, datetime.now(UTC), detached=detached, **given)
    return verify(material, trusted or policies(), good_data() if data is None else data)


def codes(found: Report) -> list[str]:
    """What speaks against a document, of the document itself and of its signatures."""
    findings = [one.body() for one in found.findings]
    for one in found.facts["signatures"]:
        findings += one["findings"]
    return [one["code"] for one in findings if one["level"] != "passed"]


# PDF


def pades(level: str = "b-b", holder: Holder | None = None, content: bytes | None = None) -> bytes:
    """A PDF signed at a level."""
    who = holder or signer()
    lasting = level in {"b-lt", "b-lta"}
    context = ValidationContext(
        trust_roots=[asn1_x509.Certificate.load(der(root()))],
        other_certs=[asn1_x509.Certificate.load(der(authority()))],
        crls=[crl(root()), crl(authority())],
        allow_fetching=False,
        revocation_mode="require",
    )
    meta = PdfSignatureMetadata(
        field_name="Signature1",
        md_algorithm="sha256",
        subfilter=fields.SigSeedSubFilter.PADES,
        validation_context=context if lasting else None,
        embed_validation_info=lasting,
        use_pades_lta=level == "b-lta",
    )
    made = PdfSigner(
        meta,
        cms_signer(who),
        timestamper=None if level == "b-b" else stamper(),
        new_field_spec=fields.SigFieldSpec("Signature1"),
    )
    writer = IncrementalPdfFileWriter(BytesIO(content or pdf()))
    return bytes(made.sign_pdf(writer, bytes_reserved=32768).getbuffer())


# CMS


def cades(
    content: bytes = b"Noi dung",
    *,
    detached: bool = False,
    holder: Holder | None = None,
    stamped: bool = False,
) -> bytes:
    """A CMS message with a CAdES signature."""
    made: cms.ContentInfo = asyncio.run(
        cms_signer(holder or signer()).async_sign_general_data(
            content,
            "sha256",
            use_cades=True,
            detached=detached,
            timestamper=stamper() if stamped else None,
        )
    )
    return bytes(made.dump())


# XML


def xades(
    document: bytes = b"<GiayPhep><So>12</So></GiayPhep>",
    *,
    holder: Holder | None = None,
    method: SignatureConstructionMethod = SignatureConstructionMethod.enveloped,
    reference: str | None = None,
) -> bytes:
    """An XML document with a XAdES signature."""
    who = holder or signer()
    algorithm = (
        SignatureMethod.RSA_SHA256
        if isinstance(who.key, rsa.RSAPrivateKey)
        else SignatureMethod.ECDSA_SHA256
    )
    made = XAdESSigner(
        method=method,
        signature_algorithm=algorithm,
        c14n_algorithm=CanonicalizationMethod.CANONICAL_XML_1_1,
    ).sign(
        etree.fromstring(document),
        key=who.key,
        cert=[who.certificate, *who.chain[:1]],
        reference_uri=reference,
    )
    return bytes(etree.tostring(made))


# JWS


def b64(content: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def jws(
    payload: bytes = b'{"so":"12"}',
    *,
    holder: Holder | None = None,
    header: Mapping[str, Any] | None = None,
    leave_out: Sequence[str] = (),
    detached: bool = False,
) -> str:
    """A JWS in compact serialisation, JAdES unless the header says otherwise."""
    who = holder or signer()
    is_rsa = isinstance(who.key, rsa.RSAPrivateKey)
    given: dict[str, Any] = {
        "alg": "PS256" if is_rsa else "ES256",
        "x5c": [
            base64.b64encode(one.public_bytes(Encoding.DER)).decode()
            for one in (who.certificate, *who.chain[:1])
        ],
        "x5t#S256": b64(hashlib.sha256(der(who)).digest()),
        "iat": int(datetime.now(UTC).timestamp()),
        **(header or {}),
    }
    protected = b64(json.dumps({k: v for k, v in given.items() if k not in leave_out}).encode())
    signed = f"{protected}.{b64(payload)}".encode()
    return f"{protected}.{'' if detached else b64(payload)}.{b64(raw(who, signed))}"


def raw(who: Holder, signed: bytes) -> bytes:
    """A signature as JOSE writes it."""
    if isinstance(who.key, rsa.RSAPrivateKey):
        return who.key.sign(signed, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
    r, s = decode_dss_signature(who.key.sign(signed, ec.ECDSA(SHA256())))
    size = (who.key.key_size + 7) // 8
    return r.to_bytes(size) + s.to_bytes(size)


@dataclass(frozen=True)
class Addressed:
    """A certificate that says where its revocation can be looked up."""

    ocsp: str | None = OCSP_URL
    crl: str | None = CRL_URL


def addressed(
    name: str, issuer: Holder, where: Addressed = Addressed(), *, subject: str | None = None
) -> Holder:
    """A signer's certificate with AIA and CDP."""
    plain = issue(name, issuer)
    builder = (
        x509.CertificateBuilder()
        .subject_name(
            x509.Name([x509.NameAttribute(NameOID.USER_ID, subject)])
            if subject
            else plain.certificate.subject
        )
        .issuer_name(issuer.certificate.subject)
        .public_key(plain.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(plain.certificate.not_valid_before_utc)
        .not_valid_after(plain.certificate.not_valid_after_utc)
    )
    for extension in plain.certificate.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    if where.ocsp:
        place = x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(where.ocsp)
        )
        builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
    if where.crl:
        names = [x509.UniformResourceIdentifier(where.crl)]
        point = x509.DistributionPoint(names, None, None, None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    made = builder.sign(issuer.key, SHA256())
    return Holder(made, plain.key, plain.chain)
