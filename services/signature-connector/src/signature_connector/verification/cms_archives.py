"""Archive timestamps of CAdES: ``archive-time-stamp-v3`` (EN 319 122-1, 5.5.3).

The token covers the type and the digest of the content, the signed fields of the SignerInfo, and
an index (``ats-hash-index-v3``, 5.5.2) that the token carries itself: digests of the certificates,
of the revocation data and of the unsigned attributes that were there. Whatever the index names has
to be there still; what it does not name, the token does not prove.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from asn1crypto import algos, cms, core

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Refusal
from signature_connector.verification.algorithms import DIGESTS
from signature_connector.verification.cms_data import carried_by, value_octets
from signature_connector.verification.signature import Stamped, attribute, check_count

ARCHIVE_V3 = "0.4.0.1733.2.4"
HASH_INDEX_V3 = "0.4.0.19122.1.5"
_SIGNATURE_TOKEN = "1.2.840.113549.1.9.16.2.14"
_FIELDS = (
    "version",
    "sid",
    "digest_algorithm",
    "signed_attrs",
    "signature_algorithm",
    "signature",
)
_LAST = datetime.max.replace(tzinfo=UTC)


class _Digests(core.SequenceOf):  # type: ignore[misc]  # asn1crypto has no types
    _child_spec = core.OctetString


class HashIndex(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """``ATSHashIndexV3`` (EN 319 122-1, 5.5.2)."""

    _fields: ClassVar[Any] = [
        ("algorithm", algos.DigestAlgorithm),
        ("certificates", _Digests),
        ("crls", _Digests),
        ("unsigned_values", _Digests),
    ]


def stamps(
    signed: cms.SignedData, signer: cms.SignerInfo, content: bytes, before: Sequence[Stamped]
) -> tuple[list[Stamped], bool]:
    """The archive timestamps of a signature, by the time that they claim: attributes are a set.

    Args:
        content: that was signed.
        before: the timestamps of the signature value.

    Returns:
        Them, and whether there are others, whose index is of an older kind.

    Raises:
        Refusal: there are too many.
    """
    tokens = [bytes(one.dump()) for one in attribute(signer, ARCHIVE_V3, signed=False)]
    check_count(len(before) + len(tokens))
    read = [(token, index) for token in tokens if (index := _index(token)) is not None]
    ordered = sorted(read, key=lambda one: _claimed(one[0]))
    places = [value_octets(_SIGNATURE_TOKEN, one.token) for one in before]
    places += [value_octets(ARCHIVE_V3, token) for token, _ in ordered]
    message = _Message(signed, signer, content, tuple(places))
    made = [message.stamped(token, index) for token, index in ordered]
    return made, len(made) < len(tokens)


def covered_octets(
    signed: cms.SignedData, signer: cms.SignerInfo, digest: bytes, index: bytes
) -> bytes:
    """What the imprint of an archive timestamp is the digest of (5.5.3).

    Args:
        digest: of the content, by the algorithm of the imprint.
        index: DER of the hash index.
    """
    kind = signed["encap_content_info"]["content_type"].dump()
    fields = b"".join(signer[name].dump() for name in _FIELDS)
    return bytes(kind + digest + fields + index)


@dataclass(frozen=True, slots=True)
class _Message:
    """A signature in its message.

    Attributes:
        places: of each timestamp, what an index digests of it.
    """

    signed: cms.SignedData
    signer: cms.SignerInfo
    content: bytes
    places: tuple[bytes, ...]

    def stamped(self, token: bytes, index: HashIndex) -> Stamped:
        algorithm = str(index["algorithm"]["algorithm"].native)
        values, choices = _named(index, "unsigned_values"), _named(index, "crls")

        def imprint(wanted: str) -> bytes:
            if wanted != algorithm:
                raise Refusal("digest-mismatch", "algorithm of the index")
            self._check_there(index, algorithm)
            digest = hashlib.new(algorithm, self.content).digest()
            octets = covered_octets(self.signed, self.signer, digest, index.dump())
            return hashlib.new(algorithm, octets).digest()

        def covered(digests: Counter[bytes], octets: bytes) -> bool:
            return algorithm in DIGESTS and hashlib.new(algorithm, octets).digest() in digests

        def data() -> ValidationData:
            return carried_by(
                self.signed,
                self.signer,
                lambda octets: covered(choices, octets),
                lambda octets: covered(values, octets),
            )

        covers = frozenset(
            place for place, octets in enumerate(self.places) if covered(values, octets)
        )
        return Stamped(token, imprint, "archive", covers, data)

    def _check_there(self, index: HashIndex, algorithm: str) -> None:
        """Refuse an index that names what is not there: it was changed or taken away."""
        attributes = self.signer["unsigned_attrs"] or ()
        there: dict[str, tuple[str, Iterable[bytes]]] = {
            "certificates": (
                "certificates",
                (one.dump() for one in self.signed["certificates"] or ()),
            ),
            "crls": ("revocation data", (one.dump() for one in self.signed["crls"] or ())),
            "unsigned_values": (
                "unsigned attributes",
                (
                    value_octets(one["type"].dotted, value.dump())
                    for one in attributes
                    for value in one["values"]
                ),
            ),
        }
        for name, (said, elements) in there.items():
            present = Counter(hashlib.new(algorithm, one).digest() for one in elements)
            if _named(index, name) - present:
                raise Refusal("digest-mismatch", said)


def _named(index: HashIndex, name: str) -> Counter[bytes]:
    return Counter(bytes(one.native) for one in index[name])


def _index(token: bytes) -> HashIndex | None:
    """The index that a token carries; None: none of this kind, or one that cannot be read."""
    try:
        (signer,) = cms.ContentInfo.load(token, strict=True)["content"]["signer_infos"]
        (value,) = attribute(signer, HASH_INDEX_V3, signed=False)
        index: HashIndex = HashIndex.load(value.dump(), strict=True)
        index.native  # noqa: B018 - parses all of it
    except Exception:  # hostile bytes make the parser raise nearly anything
        return None
    return index


def _claimed(token: bytes) -> datetime:
    try:
        payload = cms.ContentInfo.load(token)["content"]["encap_content_info"]
        return payload["content"].parsed["gen_time"].native.astimezone(UTC)  # type: ignore[no-any-return]
    except Exception:  # hostile bytes make the parser raise nearly anything
        return _LAST
