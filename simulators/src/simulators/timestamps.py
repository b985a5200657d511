"""Time-stamp tokens as an authority makes them (RFC 3161), with a root of its own.

Known: the protocol, tokens and the profile of certificates (RFC 3161 section 2.3, RFC 5816). Own
choice: the policy, ECDSA on P-256, and serial numbers that count up from the moment of the start.
"""

import hashlib
import itertools
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import algos, cms, core, tsp, x509
from cryptography import x509 as certificates
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

POLICY = "1.3.6.1.4.1.55555.3161.1"
"""Under a number that nobody was given."""
HASHES = {"sha256": 32, "sha384": 48, "sha512": 64}
_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Authority:
    """A time-stamping authority.

    Attributes:
        key: signs tokens.
        certificate: of that key, for time-stamping alone.
        root: who issued it; what those who check tokens trust.
        policy: under which tokens are made.
        root_key: of the root, where it is at hand: signs lists of revocations.
    """

    key: ec.EllipticCurvePrivateKey
    certificate: certificates.Certificate
    root: certificates.Certificate
    policy: str = POLICY
    serials: "itertools.count[int]" = field(default_factory=lambda: itertools.count(time.time_ns()))
    root_key: ec.EllipticCurvePrivateKey | None = field(default=None, repr=False)

    @property
    def root_pem(self) -> bytes:
        """What goes into a file of trusted certificates."""
        return self.root.public_bytes(Encoding.PEM)

    def revocations(self, revoked: bool = False, now: datetime | None = None) -> bytes | None:
        """The root's list of revocations (DER); None where the root's key is not at hand.

        Args:
            revoked: whether this authority is on it, since yesterday.
            now: when it is made; None: by the clock.
        """
        if self.root_key is None:
            return None
        now = now or datetime.now(UTC)
        key_id = certificates.AuthorityKeyIdentifier.from_issuer_public_key(
            self.root_key.public_key()
        )
        crl = (
            certificates.CertificateRevocationListBuilder()
            .issuer_name(self.root.subject)
            .last_update(now - timedelta(minutes=1))
            .next_update(now + timedelta(days=1))
            .add_extension(key_id, False)
            .add_extension(certificates.CRLNumber(int(now.timestamp())), False)
        )
        if revoked:
            entry = certificates.RevokedCertificateBuilder(
                self.certificate.serial_number, now - timedelta(days=1)
            )
            crl = crl.add_revoked_certificate(entry.build())
        return crl.sign(self.root_key, SHA256()).public_bytes(Encoding.DER)

    def answer(self, request: bytes, now: datetime | None = None) -> bytes:
        """The response (DER) to a request (DER); a request that cannot be met is rejected in it.

        Args:
            now: the time to certify; the clock's where it is None.
        """
        try:
            asked = tsp.TimeStampReq.load(request, strict=True)
            imprint = asked["message_imprint"]
            digest = imprint["hashed_message"].native
            algorithm = imprint["hash_algorithm"]["algorithm"].native
            nonce, policy = asked["nonce"].native, asked["req_policy"].native
            wants_certificate = bool(asked["cert_req"].native)
        except (ValueError, TypeError, KeyError):
            return _rejection("bad_data_format")
        if len(digest) != HASHES.get(algorithm):
            return _rejection("bad_alg")
        if policy is not None and policy != self.policy:
            return _rejection("unaccepted_policy")
        token = self.token(
            digest, now, algorithm=algorithm, nonce=nonce, certificate=wants_certificate
        )
        granted = tsp.PKIStatusInfo({"status": "granted"})
        answer = tsp.TimeStampResp(
            {"status": granted, "time_stamp_token": cms.ContentInfo.load(token)}
        )
        return bytes(answer.dump())

    def token(
        self,
        digest: bytes,
        now: datetime | None = None,
        *,
        algorithm: str = "sha256",
        nonce: int | None = None,
        certificate: bool = True,
    ) -> bytes:
        """A TimeStampToken (DER) over a digest."""
        made: dict[str, Any] = {
            "version": "v1",
            "policy": self.policy,
            "message_imprint": {
                "hash_algorithm": {"algorithm": algorithm},
                "hashed_message": digest,
            },
            "serial_number": next(self.serials),
            "gen_time": (now or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0),
            "accuracy": {"seconds": 1},
            "tsa": x509.GeneralName(
                "directory_name",
                x509.Name.load(self.certificate.subject.public_bytes()),
            ),
        }
        if nonce is not None:
            made["nonce"] = nonce
        return self._signed(tsp.TSTInfo(made).dump(), with_certificate=certificate)

    def _signed(self, content: bytes, *, with_certificate: bool) -> bytes:
        own = x509.Certificate.load(self.certificate.public_bytes(Encoding.DER))
        attributes = cms.CMSAttributes(
            [
                cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
                cms.CMSAttribute(
                    {"type": "message_digest", "values": [hashlib.sha256(content).digest()]}
                ),
                cms.CMSAttribute(
                    {
                        "type": "signing_certificate_v2",
                        "values": [
                            tsp.SigningCertificateV2(
                                {
                                    "certs": [
                                        tsp.ESSCertIDv2(
                                            {"cert_hash": hashlib.sha256(own.dump()).digest()}
                                        )
                                    ]
                                }
                            )
                        ],
                    }
                ),
            ]
        )
        signer = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier(
                    "issuer_and_serial_number",
                    {"issuer": own.issuer, "serial_number": own.serial_number},
                ),
                "digest_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
                "signed_attrs": attributes,
                "signature_algorithm": {"algorithm": "sha256_ecdsa"},
                "signature": self.key.sign(attributes.dump(), ec.ECDSA(SHA256())),
            }
        )
        signed: dict[str, Any] = {
            "version": "v3",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": {
                "content_type": "tst_info",
                "content": core.ParsableOctetString(content),
            },
            "signer_infos": [signer],
        }
        if with_certificate:
            signed["certificates"] = [own]
        token = cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)})
        return bytes(token.dump())


def authority(
    name: str = "TSA thử nghiệm", *, days: float | None = None, crls: str | None = None
) -> Authority:
    """An authority with new keys and certificates.

    Args:
        days: after how many its certificate ends; None: with that of its root.
        crls: address below which its certificate says that lists of revocations are; None: nowhere.
    """
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = _name(f"{name} - gốc")
    start = datetime.now(UTC) - timedelta(days=_DAYS // 2)
    end = start + timedelta(days=_DAYS)

    def begun(
        subject: certificates.Name,
        public: ec.EllipticCurvePublicKey,
        *,
        ca: bool,
        end: datetime = end,
    ) -> certificates.CertificateBuilder:
        return (
            certificates.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root_name)
            .public_key(public)
            .serial_number(certificates.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(certificates.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(_usage(ca=ca), critical=True)
            .add_extension(certificates.SubjectKeyIdentifier.from_public_key(public), False)
            .add_extension(
                certificates.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
                False,
            )
        )

    root = begun(root_name, root_key.public_key(), ca=True).sign(root_key, SHA256())
    # RFC 3161 section 2.3: this use alone, and critical.
    purpose = certificates.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    ending = end if days is None else datetime.now(UTC) + timedelta(days=days)
    own = begun(_name(name), key.public_key(), ca=False, end=ending)
    own = own.add_extension(purpose, critical=True)
    if crls is not None:
        place = certificates.UniformResourceIdentifier(f"{crls}/root.crl")
        point = certificates.DistributionPoint([place], None, None, None)
        own = own.add_extension(certificates.CRLDistributionPoints([point]), False)
    return Authority(key, own.sign(root_key, SHA256()), root, root_key=root_key)


def _rejection(failure: str) -> bytes:
    status = tsp.PKIStatusInfo({"status": "rejection", "fail_info": {failure}}).dump()
    return bytes([0x30, len(status), *status])  # a response without a token


def _name(common_name: str) -> certificates.Name:
    return certificates.Name(
        [
            certificates.NameAttribute(NameOID.COMMON_NAME, common_name),
            certificates.NameAttribute(NameOID.COUNTRY_NAME, "VN"),
        ]
    )


def _usage(*, ca: bool) -> certificates.KeyUsage:
    return certificates.KeyUsage(
        digital_signature=not ca,
        content_commitment=not ca,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
