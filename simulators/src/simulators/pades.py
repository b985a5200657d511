"""Signing a PDF as a CA's signing service does, and the ways to do it wrong.

Known: the document comes back PAdES signed (ETSI EN 319 142-1), with RSA-PSS or ECDSA (TT
15/2025/TT-BKHCN). Own choice: level B-B, SHA-256, no timestamp, no visible mark, a salt as long
as the digest, and every flaw.
"""

from io import BytesIO
from uuid import uuid4

from asn1crypto import algos
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from pyhanko.pdf_utils.generic import StreamObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import copy_into_new_writer
from pyhanko.sign import fields
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner, Signer
from pyhanko_certvalidator.registry import SimpleCertificateStore

from simulators.pki import Person

FLAWS = ("bad_signature", "altered_document", "other_document")
_DIGEST = "sha256"
_ROOM = 8 * 1024  # bytes reserved for the CMS


class BadDocument(ValueError):
    """What was sent is no PDF that can be signed."""


class _PersonSigner(Signer):
    """Signs with the person's key held in memory (loading it for each file costs more)."""

    def __init__(self, person: Person, broken: bool) -> None:
        self._key = person.key
        self._broken = broken
        store = SimpleCertificateStore()
        store.register_multiple(
            asn1_x509.Certificate.load(one.public_bytes(serialization.Encoding.DER))
            for one in person.chain
        )
        super().__init__(
            signing_cert=asn1_x509.Certificate.load(person.der),
            cert_registry=store,
            embed_roots=False,
            signature_mechanism=_mechanism(person),
        )

    async def async_sign_raw(
        self, data: bytes, digest_algorithm: str, dry_run: bool = False
    ) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)
            signature = self._key.sign(data, pss, SHA256())
        else:
            signature = self._key.sign(data, ec.ECDSA(SHA256()))
        if self._broken:
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        return signature


def sign(document: bytes, person: Person, flaw: str | None = None) -> bytes:
    """The document with the person's signature appended as an incremental update.

    Parameters:
        flaw: one of FLAWS, or None for a faultless signature.

    Raises:
        BadDocument: the bytes are no PDF that can be signed, whatever the reason.
    """
    try:
        if flaw == "other_document":
            document = _copy(document)
        signed = _append_signature(document, _PersonSigner(person, flaw == "bad_signature"))
        return _alter(signed) if flaw == "altered_document" else signed
    except Exception as wrong:  # a hostile PDF makes the reader raise nearly anything
        raise BadDocument(type(wrong).__name__) from wrong


def _append_signature(document: bytes, signer: Signer) -> bytes:
    writer = IncrementalPdfFileWriter(BytesIO(document), strict=False)
    meta = PdfSignatureMetadata(
        field_name=f"Signature-{uuid4().hex[:12]}",
        md_algorithm=_DIGEST,
        subfilter=fields.SigSeedSubFilter.PADES,
    )
    signed = PdfSigner(meta, signer).sign_pdf(writer, bytes_reserved=2 * _ROOM)
    return bytes(signed.getbuffer())


def _copy(document: bytes) -> bytes:
    out = BytesIO()
    copy_into_new_writer(PdfFileReader(BytesIO(document), strict=False)).write(out)
    return out.getvalue()


def _alter(document: bytes) -> bytes:
    """Draw over the first page in a further update, which the signature does not cover."""
    writer = IncrementalPdfFileWriter(BytesIO(document), strict=False)
    line = StreamObject(stream_data=b"q 2 w 50 50 m 300 300 l S Q")
    writer.add_stream_to_page(0, writer.add_object(line))
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def _mechanism(person: Person) -> algos.SignedDigestAlgorithm:
    if isinstance(person.key, ec.EllipticCurvePrivateKey):
        return algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"})
    digest = algos.DigestAlgorithm({"algorithm": _DIGEST})
    return algos.SignedDigestAlgorithm(
        {
            "algorithm": "rsassa_pss",
            "parameters": algos.RSASSAPSSParams(
                {
                    "hash_algorithm": digest,
                    "mask_gen_algorithm": algos.MaskGenAlgorithm(
                        {"algorithm": "mgf1", "parameters": digest}
                    ),
                    "salt_length": SHA256.digest_size,
                }
            ),
        }
    )
