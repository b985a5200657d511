"""Signing as a provider of hashes does, and the data that long-term signatures carry."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from pyhanko_certvalidator import ValidationContext

from signature_connector.assembly import augmentation, cades, jades, pades, xades
from signature_connector.assembly.edits import Edit, applied
from signature_connector.assembly.raw import DIGESTS
from signature_connector.domain.assembly import Prepared, ValidationData, Wish
from simulators.timestamps import Authority
from simulators.timestamps import authority as timestamp_authority
from tests.support.signing import Holder, Key, authority, root, signer


def wish(holder: Holder | None = None, **wanted: Any) -> Wish:
    """To sign as PAdES with what the holder's key is for."""
    holder = holder or signer()
    elliptic = isinstance(holder.key, ec.EllipticCurvePrivateKey)
    standard: dict[str, Any] = {
        "format": "pades",
        "certificate": holder.der,
        "chain": tuple(one.public_bytes(Encoding.DER) for one in holder.chain),
        "digest_algorithm": "sha256",
        "mechanism": "ecdsa" if elliptic else "rsassa_pss",
        "claimed_at": datetime.now(UTC).replace(microsecond=0),
    }
    return Wish(**{**standard, **wanted})


def raw_signature(key: Key, digest: bytes, how: Wish, *, salt: int | None = None) -> bytes:
    """What a provider makes of a digest: it never sees the document."""
    algorithm = DIGESTS[how.digest_algorithm]()
    hashed = Prehashed(algorithm)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(digest, ec.ECDSA(hashed))
    if how.mechanism == "rsassa_pkcs1v15":
        return key.sign(digest, padding.PKCS1v15(), hashed)
    length = algorithm.digest_size if salt is None else salt
    return key.sign(digest, padding.PSS(padding.MGF1(algorithm), length), hashed)


def prepared(content: bytes, how: Wish) -> Prepared:
    """A PDF that waits for its signature."""
    return _with_document(content, pades.prepare(content, how))


def finished(waiting: Prepared, signature: bytes) -> bytes:
    """The PDF with the signature in it."""
    return applied(waiting.content, pades.finish(waiting.content, waiting, signature))


def signed(content: bytes, holder: Holder | None = None, **wanted: Any) -> bytes:
    """A PDF signed at B-B."""
    holder = holder or signer()
    how = wish(holder, **wanted)
    waiting = prepared(content, how)
    return finished(waiting, raw_signature(holder.key, waiting.digest, how))


def timestamped(content: bytes) -> bytes:
    """At B-T."""
    token = tsa().token(augmentation.imprint(content))
    return applied(content, augmentation.timestamped(content, token))


def long_term(content: bytes) -> bytes:
    """At B-LT."""
    return applied(content, augmentation.long_term(content, validation_data()))


def archive_prepared(content: bytes) -> Prepared:
    """With room for a timestamp over the document."""
    return _with_document(content, augmentation.archive_imprint(content))


def archived(content: bytes) -> bytes:
    """At B-LTA."""
    waiting = archive_prepared(content)
    token = tsa().token(waiting.digest)
    return applied(waiting.content, augmentation.archived(waiting.content, waiting, token))


def _with_document(content: bytes, made: tuple[Prepared, Edit]) -> Prepared:
    waiting, edit = made
    return replace(waiting, content=applied(content, edit))


@cache
def tsa() -> Authority:
    """Who stamps time."""
    return timestamp_authority()


@cache
def validation_data() -> ValidationData:
    """All that the signer's and the timestamps' chains need: CRLs, and of the signer OCSP."""
    stamps = tsa()
    certificates = (
        *(one.certificate for one in (signer(), authority(), root())),
        stamps.certificate,
        stamps.root,
    )
    crls = [
        revocation_list(root()),
        revocation_list(authority()),
        _list(stamps.root, stamps.root_key),
    ]
    return ValidationData(
        certificates=[one.public_bytes(Encoding.DER) for one in certificates],
        ocsps=[status_response(signer(), authority())],
        crls=crls,
    )


def revocation_list(issuer: Holder, *revoked: int) -> bytes:
    """A CRL by an issuer, naming these serial numbers."""
    return _list(issuer.certificate, issuer.key, *revoked)


def _list(issuer: x509.Certificate, key: Key | None, *revoked: int) -> bytes:
    assert key is not None
    now = datetime.now(UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - timedelta(minutes=5))
        .next_update(now + timedelta(days=7))
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial)
        builder = builder.add_revoked_certificate(
            entry.revocation_date(now - timedelta(days=1)).build()
        )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def status_response(holder: Holder, issuer: Holder) -> bytes:
    """An OCSP response by the issuer itself: good."""
    now = datetime.now(UTC)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=holder.certificate,
        issuer=issuer.certificate,
        algorithm=hashes.SHA256(),
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=now - timedelta(minutes=5),
        next_update=now + timedelta(days=1),
        revocation_time=None,
        revocation_reason=None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def roots() -> list[asn1_x509.Certificate]:
    """Of persons and of timestamps."""
    return [
        asn1_x509.Certificate.load(one.public_bytes(Encoding.DER))
        for one in (root().certificate, tsa().root)
    ]


def trusting(**settings: Any) -> ValidationContext:
    """What validates by these roots, and fetches nothing."""
    return ValidationContext(trust_roots=roots(), allow_fetching=False, **settings)


def message(content: bytes, holder: Holder | None = None, **wanted: Any) -> bytes:
    """A document of another kind (CAdES, XAdES, JAdES), signed at B-B."""
    holder = holder or signer()
    how = wish(holder, **wanted)
    module = {"cades": cades, "xades": xades, "jades": jades}[how.format]
    waiting, _ = module.prepare(content, how)
    signature = raw_signature(holder.key, waiting.digest, how)
    return applied(content, module.finish(content, waiting, signature))
