"""JAdES signatures (ETSI TS 119 182-1): B-B, as JWS in compact serialisation (RFC 7515)."""

import hashlib
from base64 import b64decode, b64encode, urlsafe_b64encode

import orjson
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.asymmetric import ec

from signature_connector.assembly import raw
from signature_connector.assembly.edits import Edit, whole
from signature_connector.domain.assembly import Prepared, Unfit, Wish

_FAMILY = {"rsassa_pss": "PS", "rsassa_pkcs1v15": "RS", "ecdsa": "ES"}
_CURVES = {"sha256": ec.SECP256R1, "sha384": ec.SECP384R1, "sha512": ec.SECP521R1}


def prepare(content: bytes, wish: Wish) -> tuple[Prepared, None]:
    """The JWS without its signature, which is what is to be signed.

    Raises:
        Unfit: the certificate cannot sign as it is wished (of ECDSA each digest has its curve).
    """
    key = raw.certificate_of(wish).public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(
        key.curve, _CURVES[wish.digest_algorithm]
    ):
        raise Unfit("unfit-key", f"{key.curve.name} with {wish.digest_algorithm}")
    to_sign = b".".join((_encoded(orjson.dumps(_header(wish))), _encoded(content)))
    facts = {
        "certificate": b64encode(wish.certificate).decode(),
        "digest_algorithm": wish.digest_algorithm,
        "mechanism": wish.mechanism,
    }
    digest = hashlib.new(wish.digest_algorithm, to_sign).digest()
    return Prepared("jades", b"", to_sign, digest, facts), None


def finish(content: bytes, prepared: Prepared, signature: bytes) -> Edit:
    """The JWS, once the raw signature has been verified.

    Raises:
        Unfit: it is not one by the certificate over what was to be signed, or the document is not
            the one that was prepared.
    """
    facts = prepared.facts
    certificate, digest_algorithm = b64decode(facts["certificate"]), facts["digest_algorithm"]
    salt = raw.salt_of(
        certificate, facts["mechanism"], digest_algorithm, prepared.to_sign, signature
    )
    raw.check_salt(digest_algorithm, salt)
    if prepared.to_sign.partition(b".")[2] != _encoded(content):
        raise Unfit("other-document")
    if facts["mechanism"] == "ecdsa":
        signature = raw.plain(certificate, signature)
    return whole(b".".join((prepared.to_sign, _encoded(signature))))


def _header(wish: Wish) -> dict[str, object]:
    """The protected header of B-B: signing time, reference to the certificate, and its chain."""
    chain = [asn1_x509.Certificate.load(one) for one in wish.chain]
    carried = [wish.certificate, *(one.dump() for one in chain if one.issuer != one.subject)]
    thumbprint = hashlib.sha256(wish.certificate).digest()
    return {
        "alg": f"{_FAMILY[wish.mechanism]}{wish.digest_algorithm[3:]}",
        "x5t#S256": _encoded(thumbprint).decode(),
        "x5c": [b64encode(one).decode() for one in carried],
        "iat": int(wish.claimed_at.timestamp()),  # rather than sigT: TS 119 182-1 v1.2.1
    }


def _encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
