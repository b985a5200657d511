"""Signatures in JOSE: JWS (RFC 7515) and JAdES (TS 119 182-1), whose key is proven by ``x5c``."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from asn1crypto import x509

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Refusal, warning
from signature_connector.domain.verification import Material
from signature_connector.verification.chains import Chains
from signature_connector.verification.raw_signatures import Scheme, check_value
from signature_connector.verification.signature import (
    MOST_SIGNATURES,
    Found,
    Judged,
    Stamped,
    check_count,
    judge,
    read_so_far,
)

_SCHEMES = {
    **{f"RS{bits}": Scheme("rsassa_pkcs1v15", f"sha{bits}") for bits in (256, 384, 512)},
    **{f"PS{bits}": Scheme("rsassa_pss", f"sha{bits}") for bits in (256, 384, 512)},
    **{f"ES{bits}": Scheme("ecdsa", f"sha{bits}") for bits in (256, 384, 512)},
}
_SIGT_UNTIL = datetime(2025, 7, 15, tzinfo=UTC)
"""From here on a signature names its time in ``iat`` alone (TS 119 182-1 v1.2.1)."""
_CURVES = {"ES256": 256, "ES384": 384, "ES512": 521}
_UNDERSTOOD = frozenset({"b64", "sigT", "x5t#S256", "x5t#o", "sigX5ts", "srCms", "sigPl", "iat"})
_ADVANCED = frozenset({"x5t#S256", "x5t#o", "sigX5ts"})
_MOST_CERTIFICATES = 10
_HEADER_ALONE = ("alg", "crit", "b64", "x5c", "x5t#S256", "x5t#o", "sigX5ts", "sigT", "iat", "sigD")
"""Read from the protected header alone: what is not signed could be swapped."""


def verify(material: Material, chains: Chains) -> Iterator[Judged]:
    """Each signature of a JWS in compact or JSON serialisation.

    Raises:
        Refusal: it is none.
    """
    payload, signatures = _read(material.content)
    if len(signatures) > MOST_SIGNATURES:
        raise Refusal("too-many-signatures", str(len(signatures)))
    for number, one in enumerate(signatures, start=1):
        found = Found(str(number), "jws")

        def check(found: Found = found, one: Mapping[str, Any] = one) -> None:
            _check(found, payload, one, material.detached)

        yield judge(found, check, chains, material.at or material.moment)


def _read(content: bytes) -> tuple[str, list[Mapping[str, Any]]]:
    text = content.decode("utf-8").strip()
    if not text.startswith("{"):
        protected, payload, signature = text.split(".")
        return payload, [{"protected": protected, "signature": signature}]
    body = _object(text.encode())
    if "signatures" in body and "signature" in body:
        raise Refusal("header-refused", "two serialisations")
    signatures = body.get("signatures", [body] if "signature" in body else [])
    if not isinstance(signatures, list) or not signatures:
        raise Refusal("no-signature")
    payload = body.get("payload", "")
    if not isinstance(payload, str) or not all(isinstance(one, dict) for one in signatures):
        raise Refusal("signature-unreadable", "serialisation")
    return payload, signatures


def _object(content: bytes) -> dict[str, Any]:
    """A JSON object that says nothing twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise Refusal("header-refused", "a name twice")
        return dict(pairs)

    body = json.loads(content, object_pairs_hook=once)
    if not isinstance(body, dict):
        raise Refusal("header-refused", "no object")
    return body


def _check(found: Found, payload: str, one: Mapping[str, Any], detached: bytes | None) -> None:
    protected = str(one.get("protected") or "")
    header = _object(_decoded(protected)) if protected else {}
    unprotected = one.get("header") or {}
    if not isinstance(unprotected, dict):
        raise Refusal("header-refused", "header")
    if swapped := [name for name in _HEADER_ALONE if name in unprotected]:
        raise Refusal("header-refused", f"{swapped[0]} is not protected")
    scheme = _scheme(header)
    found.mechanism = str(scheme)
    _check_critical(header)
    found.value = _decoded(str(one.get("signature") or ""))
    found.others = _chain(header)
    found.certificate = found.others[0]
    _check_named(header, found.certificate)
    bits = found.certificate.public_key.bit_size
    if header["alg"] in _CURVES and bits != _CURVES[header["alg"]]:
        raise Refusal("bad-signature", "curve")
    signed, octets = _signed(header, protected, payload, detached)
    found.signed_digest = (scheme.digest, hashlib.new(scheme.digest, octets).digest())
    check_value(found.certificate, scheme, found.value, signed)
    found.claimed_at = _claimed(header)
    found.advanced = bool(_ADVANCED & header.keys()) and found.claimed_at is not None
    found.form = "jades" if found.advanced else "jws"
    if "sigT" in header and (found.claimed_at is None or found.claimed_at >= _SIGT_UNTIL):
        found.findings.append(warning("sigt-deprecated"))
    found.good("algorithms-allowed", found.mechanism)
    found.good("intact")
    found.good("covered")
    found.facts["covers"] = ["detached" if detached is not None else "payload"]
    head, _, middle = signed.partition(b".")
    _read_unsigned(found, unprotected, (middle, head, str(one.get("signature"))))


def _scheme(header: Mapping[str, Any]) -> Scheme:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm.lower() == "none" or algorithm.startswith("HS"):
        raise Refusal("algorithm-none")
    scheme = _SCHEMES.get(algorithm)
    if scheme is None:
        raise Refusal("weak-algorithm", algorithm[:20])
    return scheme


def _check_critical(header: Mapping[str, Any]) -> None:
    critical = header.get("crit", [])
    if (
        not isinstance(critical, list)
        or ("crit" in header and not critical)
        or any(not isinstance(name, str) or name not in header for name in critical)
    ):
        raise Refusal("header-refused", "crit")
    if unknown := set(critical) - _UNDERSTOOD:
        raise Refusal("signature-unsupported", f"crit {min(unknown)}"[:40])
    if "sigD" in header:
        raise Refusal("signature-unsupported", "sigD")
    if "b64" in header and ("b64" not in critical or not isinstance(header["b64"], bool)):
        raise Refusal("header-refused", "b64")  # RFC 7797


def _chain(header: Mapping[str, Any]) -> list[x509.Certificate]:
    given = header.get("x5c")
    if not isinstance(given, list) or not given:
        raise Refusal("signer-certificate-missing")
    if len(given) > _MOST_CERTIFICATES:
        raise Refusal("header-refused", "x5c")
    return [
        x509.Certificate.load(base64.b64decode(one, validate=True), strict=True) for one in given
    ]


def _check_named(header: Mapping[str, Any], certificate: x509.Certificate) -> None:
    """What the header says of the certificate has to be true of the first of ``x5c``."""
    named: list[tuple[str, Any]] = []
    if "x5t#S256" in header:
        named.append(("sha256", header["x5t#S256"]))
    other = header.get("sigX5ts") or ([header["x5t#o"]] if "x5t#o" in header else [])
    if other:
        algorithm = {"S256": "sha256", "S384": "sha384", "S512": "sha512"}.get(
            str(other[0].get("digAlg"))
        )
        if algorithm is None:
            raise Refusal("weak-algorithm", "x5t#o")
        named.append((algorithm, other[0].get("digVal")))
    for algorithm, digest in named:
        if hashlib.new(algorithm, certificate.dump()).digest() != _decoded(str(digest)):
            raise Refusal("signer-certificate-swapped")


def _signed(
    header: Mapping[str, Any], protected: str, payload: str, detached: bytes | None
) -> tuple[bytes, bytes]:
    """The signing input, and the octets that it is about."""
    if payload and detached is not None:
        raise Refusal("content-twice")
    if not payload and detached is None:
        raise Refusal("content-missing")
    plain = header.get("b64") is False
    if detached is not None:
        octets = detached
    else:
        octets = payload.encode() if plain else _decoded(payload)
    middle = octets if plain else base64.urlsafe_b64encode(octets).rstrip(b"=")
    return protected.encode("ascii") + b"." + middle, octets


def _claimed(header: Mapping[str, Any]) -> datetime | None:
    """When the signer says to have signed; of both, ``iat`` counts (TS 119 182-1 v1.2.1)."""
    told = header.get("iat")
    if isinstance(told, int | float) and not isinstance(told, bool):
        return datetime.fromtimestamp(told, UTC)
    told = header.get("sigT")
    if isinstance(told, str):
        claimed = datetime.fromisoformat(told)
        return claimed if claimed.tzinfo else None
    return None


def _read_unsigned(
    found: Found, unprotected: Mapping[str, Any], before: tuple[bytes, bytes, str]
) -> None:
    """Timestamps and data for validation (``etsiU``, TS 119 182-1, 5.3), in their order.

    Args:
        before: what stands before them: the payload as it is signed, the protected header and the
            signature as they are written.
    """
    items = unprotected.get("etsiU") or []
    if not isinstance(items, list):
        raise Refusal("header-refused", "etsiU")
    encoded = all(isinstance(one, str) for one in items)
    ocsps: list[bytes] = []
    crls: list[bytes] = []
    for place, item in enumerate(items):
        part = _object(_decoded(item)) if isinstance(item, str) else item
        if "sigTst" in part:
            _add_stamps(found, part["sigTst"], _imprint(before[2]))
        archive = part.get("arcTst")
        if archive is not None:
            # In clear the components would have to be canonicalised in a way that is not settled.
            if encoded and len(part) == 1 and archive.keys() == {"tstTokens"}:
                so_far = read_so_far(ocsps, crls)
                imprint = _archive_imprint(before, items, place)
                _add_stamps(found, archive, imprint, so_far)
            else:
                found.named_only()
        for holder in (part, part.get("tstVD") or {}, part.get("anyValData") or {}):
            values = holder.get("rVals") or {}
            ocsps += [base64.b64decode(one["val"]) for one in values.get("ocspVals", ())]
            crls += [base64.b64decode(one["val"]) for one in values.get("crlVals", ())]
            for one in holder.get("xVals") or ():
                der = base64.b64decode(one["x509Cert"]["val"])
                found.others.append(x509.Certificate.load(der, strict=True))
    found.carried = ValidationData((), tuple(ocsps), tuple(crls))


def _add_stamps(
    found: Found,
    container: Mapping[str, Any],
    imprint: Callable[[str], bytes],
    archived: Callable[[], ValidationData] | None = None,
) -> None:
    """Tokens of one container are over the same, and not over one another."""
    before = range(len(found.stamps))
    for one in container.get("tstTokens", ()):
        check_count(len(found.stamps) + 1)
        token = base64.b64decode(one["val"])
        found.stamps.append(
            Stamped(token, imprint)
            if archived is None
            else Stamped(token, imprint, "archive", before, archived)
        )


def _archive_imprint(
    before: tuple[bytes, bytes, str], items: Sequence[str], place: int
) -> Callable[[str], bytes]:
    """Over all that was there before it, as it is written (TS 119 182-1, 5.3.6)."""
    payload, protected, signature = before

    def imprint(algorithm: str) -> bytes:
        digest = hashlib.new(algorithm, b".".join((payload, protected, signature.encode("ascii"))))
        digest.update(b".")
        for item in items[:place]:
            digest.update(item.encode("ascii"))
        return digest.digest()

    return imprint


def _imprint(signature: str) -> Callable[[str], bytes]:
    """Over the signature as it is written (TS 119 182-1, 5.3.4)."""

    def imprint(algorithm: str) -> bytes:
        return hashlib.new(algorithm, signature.encode("ascii")).digest()

    return imprint


def _decoded(text: str) -> bytes:
    """Base64url without padding, written in the one way that there is."""
    decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != text:
        raise Refusal("header-refused", "base64url")
    return decoded
