"""Raw signatures: by which algorithm a key signs, and whether it did."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from signature_connector.domain.assembly import Unfit, Wish

DIGESTS: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


def certificate_of(wish: Wish) -> x509.Certificate:
    """The signer's certificate, whose key can sign as it is wished.

    Raises:
        Unfit: it cannot be read, or its key is of another kind than the mechanism.
    """
    try:
        certificate = x509.load_der_x509_certificate(wish.certificate)
        key = certificate.public_key()
    except Exception as error:  # hostile bytes make the parser raise nearly anything
        raise Unfit("certificate-malformed", type(error).__name__) from error
    wanted = ec.EllipticCurvePublicKey if wish.mechanism == "ecdsa" else rsa.RSAPublicKey
    if not isinstance(key, wanted):
        raise Unfit("unfit-key", wish.mechanism)
    return certificate


def check_salt(digest_algorithm: str, salt: int | None) -> None:
    """Of XML and JSON signatures the salt of PSS is as long as the digest; they cannot say else.

    Raises:
        Unfit: "bad-signature".
    """
    if salt not in (None, DIGESTS[digest_algorithm]().digest_size):
        raise Unfit("bad-signature", "salt length")


def plain(certificate: bytes, signature: bytes) -> bytes:
    """An ECDSA signature as XML and JSON hold it: both numbers in full length, one by one."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Unfit("unfit-key", "ecdsa")
    length = (key.curve.key_size + 7) // 8
    return b"".join(number.to_bytes(length, "big") for number in decode_dss_signature(signature))


def salt_of(
    certificate: bytes, mechanism: str, digest_algorithm: str, signed: bytes, signature: bytes
) -> int | None:
    """The length of the salt in a signature that verifies; None where the mechanism has none.

    Args:
        certificate: DER.
        mechanism, digest_algorithm: as in ``Wish``.
        signed: the bytes that were to be signed.
        signature: octets of PKCS#1 or PSS, the DER sequence of ECDSA.

    Raises:
        Unfit: "bad-signature".
    """
    key = x509.load_der_x509_certificate(certificate).public_key()
    digest = DIGESTS[digest_algorithm]()
    try:
        if mechanism == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(digest))
            return None
        if mechanism == "rsassa_pkcs1v15" and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), digest)
            return None
        if mechanism == "rsassa_pss" and isinstance(key, rsa.RSAPublicKey):
            return _pss_salt(key, digest, signed, signature)
    except (InvalidSignature, ValueError) as error:
        raise Unfit("bad-signature") from error
    raise Unfit("unfit-key", mechanism)


def _pss_salt(
    key: rsa.RSAPublicKey, digest: hashes.HashAlgorithm, signed: bytes, signature: bytes
) -> int:
    """As long as the digest (EN 319 102-1 and nearly everybody), or as long as fits."""
    longest = padding.calculate_max_pss_salt_length(key, digest)
    try:
        key.verify(signature, signed, _pss(digest, digest.digest_size), digest)
        return digest.digest_size
    except InvalidSignature:
        key.verify(signature, signed, _pss(digest, longest), digest)
        return longest


def _pss(digest: hashes.HashAlgorithm, salt: int) -> padding.PSS:
    return padding.PSS(padding.MGF1(digest), salt)
