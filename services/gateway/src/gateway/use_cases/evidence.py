"""One exchange as evidence: an ASiC-E container (ETSI EN 319 162-1) that needs nothing of ours.

With a certificate a CAdES signature (ETSI EN 319 122-1, level B-T where a timestamp is to be had)
covers all files, and a time assertion besides; without one there is the time assertion alone.
"""

import asyncio
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from uuid import UUID

from asn1crypto import algos, cms, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm
from pydantic import SecretStr

from gateway.domain import evidence
from gateway.domain.log_export import Block, Proven
from gateway.domain.proof import canonical
from gateway.use_cases.log_export import LogExport, Source
from gateway.use_cases.timestamps import Authorities

_COORDINATE = 32


class NotAnchored(Exception):
    """The block of the exchange waits for its timestamp."""


class NothingToSealWith(Exception):
    """Neither a certificate nor a time-stamping authority: there would be no container."""


@dataclass(frozen=True)
class Signer:
    """Signs containers.

    Attributes:
        key: EC.
        chain: its certificate first, then those above it but for the root.
    """

    key: ec.EllipticCurvePrivateKey
    chain: Sequence[x509.Certificate]

    def signature(self, content: bytes, at: datetime) -> bytes:
        """A detached CAdES-B-B signature (DER)."""
        return cms_of(self._signed(content, at), self.chain)

    def _signed(self, content: bytes, at: datetime) -> cms.SignerInfo:
        own = asn1_x509.Certificate.load(self.chain[0].public_bytes(Encoding.DER))
        certified = tsp.ESSCertIDv2({"cert_hash": hashlib.sha256(own.dump()).digest()})
        attributes = cms.CMSAttributes(
            [
                _attribute("content_type", "data"),
                _attribute("signing_time", cms.Time({"utc_time": at.replace(microsecond=0)})),
                _attribute("message_digest", hashlib.sha256(content).digest()),
                _attribute(
                    "signing_certificate_v2", tsp.SigningCertificateV2({"certs": [certified]})
                ),
            ]
        )
        return cms.SignerInfo(
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


def signer_of(key: SecretStr, certificates: str) -> Signer:
    """A signer of PEM texts.

    Raises:
        ValueError: they are no EC key and its certificate.
    """
    try:
        private = load_pem_private_key(key.get_secret_value().encode(), password=None)
    except (ValueError, TypeError) as error:
        raise ValueError("not a private key in PEM without a password") from error
    chain = x509.load_pem_x509_certificates(certificates.encode())
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("not an EC key")  # noqa: TRY004 - a faulty setting
    if chain[0].public_key() != private.public_key():
        raise ValueError("the first certificate is of another key")
    return Signer(private, chain)


def cms_of(signer: cms.SignerInfo, chain: Sequence[x509.Certificate]) -> bytes:
    """A CMS SignedData (RFC 5652) without content."""
    signed = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": {"content_type": "data"},
            "certificates": [
                asn1_x509.Certificate.load(one.public_bytes(Encoding.DER)) for one in chain
            ],
            "signer_infos": [signer],
        }
    )
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump())


def signature_value(signature: bytes) -> bytes:
    """What the signature's own timestamp is asked for (ETSI EN 319 122-1 section 5.3)."""
    (signer,) = cms.ContentInfo.load(signature)["content"]["signer_infos"]
    return bytes(signer["signature"].native)


def with_timestamp(signature: bytes, token: bytes) -> bytes:
    """CAdES-B-T: the signature with a timestamp over its value."""
    info = cms.ContentInfo.load(signature)
    signed = info["content"]
    (signer,) = signed["signer_infos"]
    stamp = _attribute("signature_time_stamp_token", cms.ContentInfo.load(token))
    raised = cms.SignerInfo(
        {
            **{
                name: signer[name]
                for name in (
                    "version",
                    "sid",
                    "digest_algorithm",
                    "signed_attrs",
                    "signature_algorithm",
                    "signature",
                )
            },
            "unsigned_attrs": cms.CMSAttributes([stamp]),
        }
    )
    signed["signer_infos"] = cms.SignerInfos([raised])
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump())


def _attribute(kind: str, value: Any) -> cms.CMSAttribute:
    return cms.CMSAttribute({"type": kind, "values": [value]})


class Evidence:
    """Makes containers.

    Args:
        source: the sealed log.
        export: finds proofs in it.
        system: whose log it is.
        authorities: who stamps containers.
        signer: signs them; None where there is no certificate.
    """

    def __init__(
        self,
        source: Source,
        export: LogExport,
        system: str,
        authorities: Authorities | None,
        signer: Signer | None,
    ) -> None:
        self._source = source
        self._export = export
        self._system = system
        self._authorities = authorities
        self._signer = signer

    async def of(self, identifier: UUID) -> bytes:
        """The container of the exchange with this id, as ``container``."""
        return await self.container(*await self._source.place(identifier))

    async def container(self, partition: int, number: int) -> bytes:
        """The container of one record.

        Raises:
            NotInTheLog: there is no such sealed record, or not any more.
            NotAnchored: its block has no timestamp yet.
            NotStamped: no authority stamps the container now.
            NothingToSealWith: neither certificate nor authority.
        """
        if self._authorities is None and self._signer is None:
            raise NothingToSealWith
        block, proven = await self._export.proven(partition, number)
        if block.token is None:
            raise NotAnchored
        (key,) = await self._source.keys([block.header.key_id])
        files = {**self._files(block, proven, key), "block-timestamp.tst": block.token}
        at = datetime.now(UTC)
        added: dict[str, bytes] = {}
        if self._signer is not None:
            added |= await self._signed(self._signer, files, at)
        if self._authorities is not None:
            covered = evidence.manifest(evidence.TIMESTAMP, evidence.TIMESTAMP_TYPE, files)
            stamp = await self._authorities.stamp(covered)
            added |= {evidence.STAMPED_MANIFEST: covered, evidence.TIMESTAMP: stamp.token}
        return _zipped({**files, **added}, at)

    def _files(self, block: Block, proven: Proven, key: dict[str, Any]) -> dict[str, bytes]:
        header = block.header.signed()
        r, s = (
            int.from_bytes(part, "big")
            for part in (block.signature[:_COORDINATE], block.signature[_COORDINATE:])
        )
        text = evidence.explanation(
            block,
            proven,
            self._system,
            signed=self._signer is not None,
            stamped=self._authorities is not None,
        )
        return {
            evidence.TEXT: text.encode(),
            evidence.PAGE: evidence.page(text).encode(),
            "record.json": canonical(proven.record.members()),
            "proof.json": canonical(evidence.proof(block, proven)),
            "block-header.json": header,
            "block-signature.der": encode_dss_signature(r, s),
            "block-key.pem": _public_pem(key),
            "block-stamped.bin": header + block.signature,
            evidence.CHECK: _check(),
        }

    async def _signed(
        self, signer: Signer, files: Mapping[str, bytes], at: datetime
    ) -> dict[str, bytes]:
        covered = evidence.manifest(evidence.SIGNATURE, evidence.SIGNATURE_TYPE, files)
        signature = await asyncio.to_thread(signer.signature, covered, at)
        if self._authorities is not None:
            stamp = await self._authorities.stamp(signature_value(signature))
            signature = with_timestamp(signature, stamp.token)
        return {evidence.SIGNED_MANIFEST: covered, evidence.SIGNATURE: signature}


def _public_pem(jwk: dict[str, Any]) -> bytes:
    key = ECAlgorithm.from_jwk(jwk)
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _check() -> bytes:
    return resources.files("gateway.domain").joinpath("evidence_check.py").read_bytes()


def _zipped(files: Mapping[str, bytes], at: datetime) -> bytes:
    """The container: its type comes first and as it is (EN 319 162-1 annex A.1)."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"mimetype": evidence.MEDIA_TYPE.encode(), **files}.items():
            entry = zipfile.ZipInfo(name, at.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return sink.getvalue()
