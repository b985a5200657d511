"""The CMS of PAdES and CAdES: signed attributes before the signature, SignedData with it."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from asn1crypto import algos, cms, core, tsp, x509
from pyhanko.sign.general import as_signing_certificate_v2, simple_cms_attribute

from signature_connector.domain.assembly import Unfit, Wish

TOKEN_ROOM = 12 * 1024
"""Bytes kept for a timestamp token with its chain (RSA-4096 and three certificates: some 8 KiB)."""
_FRAME = 1024  # algorithms, digests and the structure around them: some 400 bytes
_TOKEN = "signature_time_stamp_token"


def load_certificate(der: bytes) -> x509.Certificate:
    """A certificate as the CMS holds it.

    Raises:
        Unfit: it cannot be read.
    """
    try:
        return x509.Certificate.load(der, strict=True)
    except (ValueError, TypeError) as error:
        raise Unfit("certificate-malformed", type(error).__name__) from error


def signed_attributes(wish: Wish, document_digest: bytes) -> bytes:
    """The attributes that are signed (EN 319 122-1), as the DER that is hashed.

    A PAdES signature claims its time in the PDF (EN 319 142-1 section 6.3), a CAdES one here.
    """
    certificate = load_certificate(wish.certificate)
    attributes = [
        simple_cms_attribute("content_type", "data"),
        simple_cms_attribute("message_digest", document_digest),
        simple_cms_attribute(
            "signing_certificate_v2", as_signing_certificate_v2(certificate, wish.digest_algorithm)
        ),
    ]
    if wish.format == "cades":
        attributes.append(
            simple_cms_attribute(
                "signing_time", cms.Time({"utc_time": core.UTCTime(wish.claimed_at)})
            )
        )
    return bytes(cms.CMSAttributes(attributes).dump())


def mechanism_of(
    mechanism: str, digest_algorithm: str, salt: int | None
) -> algos.SignedDigestAlgorithm:
    """The signature algorithm as SignerInfo names it."""
    if mechanism == "rsassa_pss":
        digest = algos.DigestAlgorithm({"algorithm": digest_algorithm})
        parameters = algos.RSASSAPSSParams(
            {
                "hash_algorithm": digest,
                "mask_gen_algorithm": algos.MaskGenAlgorithm(
                    {"algorithm": "mgf1", "parameters": digest}
                ),
                "salt_length": salt,
            }
        )
        return algos.SignedDigestAlgorithm({"algorithm": "rsassa_pss", "parameters": parameters})
    kind = "ecdsa" if mechanism == "ecdsa" else "rsa"
    return algos.SignedDigestAlgorithm({"algorithm": f"{digest_algorithm}_{kind}"})


def signed_data(
    *,
    certificates: Sequence[bytes],
    digest_algorithm: str,
    mechanism: algos.SignedDigestAlgorithm,
    attributes: bytes,
    signature: bytes,
    content: bytes | None,
) -> cms.ContentInfo:
    """The CMS message.

    Args:
        certificates: DER, the signer's first; roots among them are left out.
        attributes: DER of the signed attributes.
        content: to be carried along; None for a detached signature.
    """
    own, *chain = [load_certificate(one) for one in certificates]
    digest = algos.DigestAlgorithm({"algorithm": digest_algorithm})
    signer = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                {
                    "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                        {"issuer": own.issuer, "serial_number": own.serial_number}
                    )
                }
            ),
            "digest_algorithm": digest,
            "signature_algorithm": mechanism,
            "signed_attrs": cms.CMSAttributes.load(attributes),
            "signature": signature,
        }
    )
    carried: dict[str, Any] = {"content_type": "data"}
    if content is not None:
        carried["content"] = content
    message = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": cms.DigestAlgorithms((digest,)),
            "encap_content_info": carried,
            "certificates": [own, *(one for one in chain if one.issuer != one.subject)],
            "signer_infos": [signer],
        }
    )
    return cms.ContentInfo({"content_type": "signed_data", "content": message})


def room_for(wish: Wish) -> int:
    """Bytes that the CMS of a detached signature may take, with a timestamp token to come."""
    own = load_certificate(wish.certificate)
    certificates = sum(map(len, (wish.certificate, *wish.chain)))
    issuer = 2 * len(own.issuer.dump())  # as who signed, and in the reference to the certificate
    signature = 3 * own.public_key.byte_size  # of ECDSA two numbers and their frame
    return int(certificates + issuer + signature + _FRAME + TOKEN_ROOM)


def only_signer(message: cms.ContentInfo) -> cms.SignerInfo:
    """The message's one signer.

    Raises:
        Unfit: it is no signature, or has several signers.
    """
    if message["content_type"].native != "signed_data":
        raise Unfit("unsigned")
    signers = message["content"]["signer_infos"]
    if len(signers) != 1:
        raise Unfit("several-signatures", str(len(signers)))
    return signers[0]


def imprint_of(signer: cms.SignerInfo) -> bytes:
    """SHA-256 of the signature value, which a signature timestamp is over."""
    return hashlib.sha256(signer["signature"].native).digest()


def check_token(
    token: bytes, digest: bytes, digest_algorithm: Literal["sha256"] = "sha256"
) -> cms.ContentInfo:
    """A timestamp token over a digest. Whether it is to be trusted is for the verdict to say.

    Raises:
        Unfit: "wrong-timestamp".
    """
    try:
        loaded = cms.ContentInfo.load(token, strict=True)
        content = loaded["content"]["encap_content_info"]
        stamped: tsp.TSTInfo = content["content"].parsed
        imprint = stamped["message_imprint"]
        found = imprint["hash_algorithm"]["algorithm"].native, imprint["hashed_message"].native
        kind = content["content_type"].native
    except Exception as error:  # hostile bytes make the parser raise nearly anything
        raise Unfit("wrong-timestamp", type(error).__name__) from error
    if kind != "tst_info" or found != (digest_algorithm, digest):
        raise Unfit("wrong-timestamp", "imprint")
    return loaded


def add_token(signer: cms.SignerInfo, token: bytes) -> None:
    """Put a signature timestamp beside the signature.

    Raises:
        Unfit: it is over something else, or there is one already.
    """
    loaded = check_token(token, imprint_of(signer))
    present = signer["unsigned_attrs"]
    attributes = [] if isinstance(present, core.Void) else list(present)
    if any(one["type"].native == _TOKEN for one in attributes):
        raise Unfit("timestamped-already")
    attributes.append(simple_cms_attribute(_TOKEN, loaded))
    signer["unsigned_attrs"] = cms.CMSAttributes(attributes)
