"""A test PKI: a root, one issuing CA per known name, and a certificate per person on first sight.

Known: the CA names (seen in one portal; the official list was not found), RSA of at least 2048
bits or ECDSA of at least 256 (TT 15/2025/TT-BKHCN). From memory: that Vietnamese certificates
carry the person's number in the subject UID with its kind before it.

Own choice: everything else. Making RSA keys is slow, so persons share a small pool of them. Keys
lie unprotected in the state directory: they are worth nothing outside a test.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

CA_NAMES = ("VNPT-CA", "Viettel-CA", "CA2", "BkavCA", "FPT-CA", "TrustCA", "MISA-CA")
POOL = 3  # keys of each algorithm

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_KINDS = (
    ("CCCD", re.compile(r"\d{12}")),
    ("CMND", re.compile(r"\d{9}")),
    ("MST", re.compile(r"\d{10}(-\d{3})?")),
    ("HC", re.compile(r"[A-Z]\d{7,8}")),
)


def kind_of_user(user_id: str) -> str | None:
    """CCCD, CMND, MST or HC (passport), or None when the text is none of them."""
    return next((kind for kind, form in _KINDS if form.fullmatch(user_id)), None)


@dataclass(frozen=True, slots=True)
class Person:
    """A signer: certificate, private key, and the certificates between it and the root."""

    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...]

    @property
    def serial(self) -> str:
        return format(self.certificate.serial_number, "x")

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)


class Pki:
    """Keys and certificates, kept in `directory` when one is given.

    Parameters:
        directory: where keys and certificates survive a restart; `root.pem` is written there.
        algorithms: of the persons' keys: "rsa" (2048 bits), "ecdsa" (P-256) or "mixed".
        crls: address below which certificates say that lists of revocations are; None: nowhere.
    """

    def __init__(
        self, directory: Path | None = None, algorithms: str = "rsa", crls: str | None = None
    ) -> None:
        self._crls = crls
        self._directory = directory / "pki" if directory else None
        if self._directory is not None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = Lock()
        self._people: dict[tuple[str, str], Person] = {}
        self.root = self._authority("Gốc thử nghiệm", "root", issuer=None)
        self._authorities = {
            name: self._authority(f"{name} thử nghiệm", f"ca-{name}", self.root)
            for name in CA_NAMES
        }
        kinds = {"rsa": ("rsa",), "ecdsa": ("ecdsa",), "mixed": ("rsa", "ecdsa")}[algorithms]
        self._pool = [self._key(f"person-{kind}-{i}", kind) for i in range(POOL) for kind in kinds]
        if directory is not None:
            (directory / "root.pem").write_bytes(self.root_pem)

    @property
    def root_pem(self) -> bytes:
        return self.root.certificate.public_bytes(serialization.Encoding.PEM)

    def person(self, ca_name: str, user_id: str) -> Person:
        """The person's signer, issued on first sight; safe to call from any thread."""
        with self._lock:
            person = self._people.get((ca_name, user_id))
            if person is None:
                person = self._people[ca_name, user_id] = self._issue(ca_name, user_id)
            return person

    def revocations(self, issuer: str) -> bytes | None:
        """The list of revocations (DER, nobody on it) of "root" or "ca-<name>"; None: no such."""
        known = {"root": self.root, **{f"ca-{k}": one for k, one in self._authorities.items()}}
        if issuer not in known:
            return None
        authority, now = known[issuer], datetime.now(UTC)
        crl = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.certificate.subject)
            .last_update(now - timedelta(minutes=1))
            .next_update(now + timedelta(days=1))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
                False,
            )
            .add_extension(x509.CRLNumber(int(now.timestamp())), False)
            .sign(authority.key, SHA256())
        )
        return crl.public_bytes(serialization.Encoding.DER)

    def _issue(self, ca_name: str, user_id: str) -> Person:
        digest = hashlib.sha256(f"{ca_name} {user_id}".encode()).digest()
        key = self._pool[digest[0] % len(self._pool)]
        issuer = self._authorities[ca_name]
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.USER_ID, f"{kind_of_user(user_id)}:{user_id}"),
                x509.NameAttribute(NameOID.COMMON_NAME, f"Người ký thử nghiệm {user_id[-4:]}"),
                x509.NameAttribute(NameOID.COUNTRY_NAME, "VN"),
            ]
        )
        file = f"user-{digest.hex()[:32]}"
        at = self._crls and f"{self._crls}/ca-{ca_name}.crl"
        certificate = self._certificate(file, subject, key, issuer, 365, at)
        return Person(certificate, key, (issuer.certificate,))

    def _authority(self, common_name: str, file: str, issuer: Person | None) -> Person:
        key = self._key(file, "ecdsa")
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, common_name),
                x509.NameAttribute(NameOID.COUNTRY_NAME, "VN"),
            ]
        )
        at = f"{self._crls}/root.crl" if self._crls and issuer else None
        return Person(self._certificate(file, subject, key, issuer, 3650, at), key, ())

    def _certificate(
        self,
        file: str,
        subject: x509.Name,
        key: Key,
        issuer: Person | None,
        days: int,
        crl: str | None = None,
    ) -> x509.Certificate:
        path = self._directory / f"{file}.pem" if self._directory else None
        if path is not None and path.exists():
            return x509.load_pem_x509_certificate(path.read_bytes())
        start = datetime.now(UTC) - timedelta(days=1)
        is_ca = days > 365
        signer = issuer.key if issuer else key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(_usage(is_ca), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
            )
        )
        if crl is not None:
            place = x509.UniformResourceIdentifier(crl)
            point = x509.DistributionPoint([place], None, None, None)
            builder = builder.add_extension(x509.CRLDistributionPoints([point]), False)
        certificate = builder.sign(signer, SHA256())
        if path is not None:
            _write(path, certificate.public_bytes(serialization.Encoding.PEM))
        return certificate

    def _key(self, file: str, algorithm: str) -> Key:
        path = self._directory / f"{file}.key" if self._directory else None
        if path is not None and path.exists():
            loaded = serialization.load_pem_private_key(path.read_bytes(), password=None)
            if not isinstance(loaded, Key):
                raise TypeError(f"{path} holds no RSA or ECDSA key")
            return loaded
        key: Key = (
            rsa.generate_private_key(65537, 2048)
            if algorithm == "rsa"
            else ec.generate_private_key(ec.SECP256R1())
        )
        if path is not None:
            pem = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            _write(path, pem)
        return key


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, so that a killed program leaves no half key behind."""
    draft = path.with_name(path.name + ".draft")
    draft.write_bytes(content)
    draft.replace(path)


def _usage(is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=not is_ca,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
