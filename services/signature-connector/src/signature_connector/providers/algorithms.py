"""Object identifiers of algorithms, as MySign and the CSC API name them (RFC 8017, RFC 5758)."""

from collections.abc import Mapping
from types import MappingProxyType

from asn1crypto import algos

from signature_connector.domain.provider import Order

HASH_OIDS: Mapping[str, str] = MappingProxyType(
    {
        "sha256": "2.16.840.1.101.3.4.2.1",
        "sha384": "2.16.840.1.101.3.4.2.2",
        "sha512": "2.16.840.1.101.3.4.2.3",
    }
)
SIGNATURE_OIDS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        **{("rsassa_pkcs1v15", digest): "1.2.840.113549.1.1.1" for digest in HASH_OIDS},
        **{("rsassa_pss", digest): "1.2.840.113549.1.1.10" for digest in HASH_OIDS},
        ("ecdsa", "sha256"): "1.2.840.10045.4.3.2",
        ("ecdsa", "sha384"): "1.2.840.10045.4.3.3",
        ("ecdsa", "sha512"): "1.2.840.10045.4.3.4",
    }
)
"""By mechanism and digest. Plain RSA stands for PKCS#1 v1.5, as the digest is named beside it."""
_SALT_BYTES = {"sha256": 32, "sha384": 48, "sha512": 64}


def parameters(order: Order) -> bytes | None:
    """DER of the parameters of RSA-PSS: MGF1 with the same digest, a salt as long as it; None for
    mechanisms without parameters."""
    if order.mechanism != "rsassa_pss":
        return None
    digest = algos.DigestAlgorithm({"algorithm": order.digest_algorithm})
    masks = algos.MaskGenAlgorithm({"algorithm": "mgf1", "parameters": digest})
    given = {
        "hash_algorithm": digest,
        "mask_gen_algorithm": masks,
        "salt_length": _SALT_BYTES[order.digest_algorithm],
    }
    der: bytes = algos.RSASSAPSSParams(given).dump()
    return der
