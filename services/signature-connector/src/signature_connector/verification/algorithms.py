"""Which algorithms a signature and the certificates below its root may use: an allow-list."""

from datetime import datetime

from asn1crypto import algos, keys
from pyhanko.sign.validation.utils import CMSAlgorithmUsagePolicy
from pyhanko_certvalidator.policy_decl import AlgorithmUsageConstraint

POLICY = {
    "version": "2026-1",
    "source": "TT 15/2025/TT-BKHCN: RSA from 2048 bits, ECDSA from 256 bits; no SHA-1",
    "confidence": "law for the sizes; the digests by judgement",
}
LEAST_BITS = {"rsa": 2048, "rsassa_pss": 2048, "ec": 256}
SIGNATURES = frozenset({"rsassa_pkcs1v15", "rsassa_pss", "ecdsa"})
DIGESTS = frozenset({"sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"})

_ALLOWED = AlgorithmUsageConstraint(allowed=True)


def _denied(reason: str) -> AlgorithmUsageConstraint:
    return AlgorithmUsageConstraint(allowed=False, failure_reason=reason)


class AlgorithmPolicy(CMSAlgorithmUsagePolicy):
    """The allow-list as the verifying library asks for it; moments play no role."""

    def digest_algorithm_allowed(
        self, algo: algos.DigestAlgorithm, moment: datetime | None
    ) -> AlgorithmUsageConstraint:
        """SHA-2 and SHA-3 from 256 bits."""
        name = str(algo["algorithm"].native)
        return _ALLOWED if name in DIGESTS else _denied(name)

    def signature_algorithm_allowed(
        self,
        algo: algos.SignedDigestAlgorithm,
        moment: datetime | None,
        public_key: keys.PublicKeyInfo | None,
    ) -> AlgorithmUsageConstraint:
        """RSA (both paddings) or ECDSA, with such a digest and a key that is long enough."""
        try:
            name = algo.signature_algo
        except ValueError:
            return _denied(str(algo["algorithm"].native))
        if name not in SIGNATURES:
            return _denied(name)
        for digest in _digests(algo, name):
            if digest not in DIGESTS:
                return _denied(f"{name} with {digest}")
        return _ALLOWED if public_key is None else key_allowed(public_key)


def key_allowed(public_key: keys.PublicKeyInfo) -> AlgorithmUsageConstraint:
    """Whether the kind and the length of a key are allowed."""
    bits = int(public_key.bit_size)
    allowed = bits >= LEAST_BITS.get(public_key.algorithm, bits + 1)
    return _ALLOWED if allowed else _denied(f"{public_key.algorithm} {bits}")


def _digests(algo: algos.SignedDigestAlgorithm, name: str) -> list[str]:
    if name == "rsassa_pss":
        parameters = algo["parameters"]
        mask = parameters["mask_gen_algorithm"]["parameters"]
        return [
            str(parameters["hash_algorithm"]["algorithm"].native),
            str(mask["algorithm"].native),
        ]
    try:
        return [str(algo.hash_algo)]
    except ValueError:  # plain rsaEncryption: the digest is named beside it and checked there
        return []
