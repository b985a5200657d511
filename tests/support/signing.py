"""Documents, certificates and signatures of every kind for the tests of the signature connector."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from typing import Any

from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner, SimpleSigner
from pyhanko_certvalidator.registry import SimpleCertificateStore
from reportlab.pdfgen.canvas import Canvas

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
USER, CA_NAME = "001099000001", "VNPT-CA"


def pdf(line: str = "Kết quả giải quyết", *, kib: int = 0) -> bytes:
    """A small PDF of two pages; with ``kib`` padded to about that size by a stream."""
    out = BytesIO()
    canvas = Canvas(out)
    for page in (1, 2):
        canvas.drawString(72, 720, f"{line.encode('ascii', 'ignore').decode()} {page}")
        canvas.showPage()
    canvas.save()
    if kib:
        writer = IncrementalPdfFileWriter(BytesIO(out.getvalue()))
        writer.add_stream_to_page(0, writer.add_object(_noise(kib * 1024)))
        out = BytesIO()
        writer.write(out)
    return out.getvalue()


def _noise(size: int) -> Any:
    from pyhanko.pdf_utils.generic import StreamObject

    return StreamObject(stream_data=b"% " + b"x" * size + b"\n")


@dataclass(frozen=True)
class Holder:
    """A certificate with its key and the certificates above it, below the root."""

    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def serial(self) -> str:
        """Its serial number as the gateway writes it."""
        return format(self.certificate.serial_number, "x")


@dataclass(frozen=True)
class Usage:
    """What an issued certificate is for and when."""

    key: Key | None = None
    days: tuple[int, int] = (-1, 365)
    signing: bool = True
    authority: bool = False


def issue(name: str, issuer: Holder | None, usage: Usage = Usage()) -> Holder:
    """A certificate by an issuer, or self-issued."""
    key = usage.key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.USER_ID, f"CCCD:{USER}"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    now = datetime.now(UTC)
    signer = issuer.key if issuer else key
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=usage.days[0]))
        .not_valid_after(now + timedelta(days=usage.days[1]))
        .add_extension(x509.BasicConstraints(ca=usage.authority, path_length=None), critical=True)
        .add_extension(_bits(usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
        )
        .sign(signer, SHA256())
    )
    chain = (issuer.certificate, *issuer.chain) if issuer else ()
    return Holder(certificate, key, chain)


def _bits(usage: Usage) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=usage.signing and not usage.authority,
        content_commitment=usage.signing and not usage.authority,
        key_encipherment=not usage.signing,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=usage.authority,
        crl_sign=usage.authority,
        encipher_only=False,
        decipher_only=False,
    )


@cache
def root() -> Holder:
    """The root that the tests trust."""
    return issue("Root", None, Usage(authority=True, days=(-1, 3650)))


@cache
def authority() -> Holder:
    """An issuing CA below it."""
    return issue("Issuing CA", root(), Usage(authority=True, days=(-1, 3000)))


@cache
def signer() -> Holder:
    """Who is expected to sign (RSA 2048)."""
    return issue("Nguyễn Văn Ký", authority(), Usage(key=rsa.generate_private_key(65537, 2048)))


@cache
def colleague() -> Holder:
    """Somebody else, with a certificate as good (P-256)."""
    return issue("Trần Thị Khác", authority())


@dataclass(frozen=True)
class How:
    """How a test signs."""

    digest: str = "sha256"
    pss: bool = True
    box: tuple[int, int, int, int] | None = None
    before: Callable[[IncrementalPdfFileWriter], None] | None = None
    """Changes made in the very update that holds the signature."""
    subfilter: fields.SigSeedSubFilter = fields.SigSeedSubFilter.PADES
    certify: fields.MDPPerm | None = None
    field: str = "Signature1"


def cms_signer(holder: Holder, *, pss: bool = True) -> SimpleSigner:
    """What makes a holder's CMS signatures."""
    store = SimpleCertificateStore()
    store.register_multiple(
        asn1_x509.Certificate.load(one.public_bytes(Encoding.DER)) for one in holder.chain[:1]
    )
    private = holder.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return SimpleSigner(
        signing_cert=asn1_x509.Certificate.load(holder.der),
        signing_key=asn1_keys.PrivateKeyInfo.load(private),
        cert_registry=store,
        prefer_pss=pss and isinstance(holder.key, rsa.RSAPrivateKey),
    )


def sign(content: bytes, holder: Holder, how: How = How()) -> bytes:
    """The document with a signature appended."""
    simple = cms_signer(holder, pss=how.pss)
    writer = IncrementalPdfFileWriter(BytesIO(content))
    if how.before is not None:
        how.before(writer)
    meta = PdfSignatureMetadata(
        field_name=how.field,
        md_algorithm=how.digest,
        subfilter=how.subfilter,
        certify=how.certify is not None,
        docmdp_permissions=how.certify or fields.MDPPerm.FILL_FORMS,
    )
    spec = fields.SigFieldSpec(how.field, box=how.box)
    signed = PdfSigner(meta, simple, new_field_spec=spec).sign_pdf(writer, bytes_reserved=16384)
    return bytes(signed.getbuffer())


def updated(content: bytes, change: Callable[[IncrementalPdfFileWriter], None]) -> bytes:
    """The document with one more update."""
    writer = IncrementalPdfFileWriter(BytesIO(content))
    change(writer)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def draw(writer: IncrementalPdfFileWriter) -> None:
    """Draw over the first page."""
    from pyhanko.pdf_utils.generic import StreamObject

    line = StreamObject(stream_data=b"q 2 w 50 50 m 300 300 l S Q")
    writer.add_stream_to_page(0, writer.add_object(line))
