"""A message log made by hand: its chains, its keys, its time-stamping authority, its exports."""

import asyncio
import io
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from gateway.domain.log_choice import Chain, Choice
from gateway.domain.log_export import Block, Chained
from gateway.domain.proof import GENESIS, Header, Record, linked, root, stamped
from gateway.use_cases.log_export import LogExport
from gateway.use_cases.log_key import LogKey
from simulators.timestamps import Authority

BEGAN = datetime(2026, 11, 2, 1, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Key:
    """A key of the log."""

    private: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    days: int = 4000
    """How long its certificate is valid after ``BEGAN``."""

    @cached_property
    def pem(self) -> str:
        return self.private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ).decode()

    @cached_property
    def _key(self) -> LogKey:
        return LogKey(SecretStr(self.pem))

    @property
    def id(self) -> str:
        return self._key.id

    @property
    def public(self) -> dict[str, Any]:
        return self._key.public

    def sign(self, content: bytes) -> bytes:
        return self._key.sign(content)

    @cached_property
    def certificate(self) -> x509.Certificate:
        """A certificate of the key, signed by itself."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Nhật ký thông điệp thử nghiệm")])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(BEGAN - timedelta(days=400))
            .not_valid_after(BEGAN + timedelta(days=self.days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=True,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=False,
                    crl_sign=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .sign(self.private, SHA256())
        )

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )


@dataclass
class Log:
    """A message log in memory; what the gateway's tables hold, for exports."""

    key: Key
    tsa: Authority
    chains: dict[int, list[Chained]] = field(default_factory=dict)
    sealed: dict[int, list[Block]] = field(default_factory=dict)
    old_keys: list[Key] = field(default_factory=list)

    def write(self, partition: int, sizes: Sequence[int], *, stamp: bool = True) -> None:
        """Seal further blocks with so many records each."""
        chain = self.chains.setdefault(partition, [])
        blocks = self.sealed.setdefault(partition, [])
        for size in sizes:
            first = len(chain) + 1
            link = chain[-1].link if chain else GENESIS
            for number in range(first, first + size):
                one = record(partition, number)
                link = linked(link, one.hash())
                chain.append(Chained(number, link, one))
            header = Header(
                partition=partition,
                number=len(blocks) + 1,
                first=first,
                last=len(chain),
                root=root([one.record.hash() for one in chain[first - 1 :]]),
                link=link,
                previous=blocks[-1].header.hash() if blocks else GENESIS,
                sealed_at=BEGAN + timedelta(seconds=10 * len(blocks) + 10),
                key_id=self.key.id,
            )
            blocks.append(self._signed(header, stamp=stamp))

    def _signed(self, header: Header, *, stamp: bool) -> Block:
        """Signed, and timestamped two seconds later."""
        signature = self.key.sign(header.signed())
        digest = stamped(header, signature)
        at = header.sealed_at + timedelta(seconds=2)
        return Block(header, signature, self.tsa.token(digest, at) if stamp else None)

    def change_key(self) -> None:
        """From now on another key signs."""
        self.old_keys.append(self.key)
        self.key = Key()

    async def blocks(self, partition: int, first: int, last: int) -> Sequence[Block]:
        return self.sealed[partition][first - 1 : last]

    async def link(self, partition: int, number: int) -> bytes:
        return self.sealed[partition][number - 1].header.link

    async def records(self, partition: int, first: int, last: int) -> Sequence[Chained]:
        return self.chains[partition][first - 1 : last]

    async def hashes(self, partition: int, first: int, last: int) -> Sequence[bytes]:
        return [one.record.hash() for one in self.chains[partition][first - 1 : last]]

    async def chosen(self, choice: Choice) -> Sequence[tuple[int, int]]:
        return [
            (partition, one.number)
            for partition, chain in sorted(self.chains.items())
            for one in chain
            if choice.subject in {None, one.record.subject}
            and choice.client_id in {None, one.record.client_id}
        ]

    async def holding(self, partition: int, numbers: Sequence[int]) -> Sequence[Block]:
        return [
            block
            for block in self.sealed[partition]
            if any(block.header.first <= number <= block.header.last for number in numbers)
        ]

    async def some(self, partition: int, numbers: Sequence[int]) -> Sequence[Chained]:
        return [self.chains[partition][number - 1] for number in numbers]

    async def place(self, identifier: UUID) -> tuple[int, int]:
        return identifier.int >> 64, identifier.int & (2**64 - 1)

    async def between(self, since: datetime, until: datetime) -> Sequence[Chain]:
        raise NotImplementedError

    async def around(self, partition: int, first: int, last: int) -> Chain:
        raise NotImplementedError

    async def keys(self, ids: Sequence[str]) -> Sequence[dict[str, Any]]:
        return [key.public for key in (*self.old_keys, self.key) if key.id in ids]

    def exports(self, system: str = "urn:lienthong:test") -> LogExport:
        """Writes exports of it."""
        return LogExport(self, self.key, system)

    def export(self, *chains: Chain) -> bytes:
        """An export; of everything where no chain is named."""
        everything = [Chain(one, 1, len(blocks)) for one, blocks in sorted(self.sealed.items())]
        return collected(self.exports().chains(chains or everything))

    def trusted(self) -> bytes:
        """The certificates of a file of trusted ones."""
        keys = b"".join(key.certificate_pem for key in (*self.old_keys, self.key))
        return self.tsa.root_pem + keys


def collected(parts: Any) -> bytes:
    """All that comes."""

    async def all_of() -> bytes:
        return b"".join([part async for part in parts])

    return asyncio.run(all_of())


def record(partition: int, number: int) -> Record:
    """An exchange of two clients in turn; every third is about the same dossier."""
    return Record(
        id=UUID(int=(partition << 64) + number),
        at=BEGAN + timedelta(milliseconds=70 * number + partition),
        client_id=("one-stop", "other")[number % 2],
        agency="H56.14",
        form="POST /v1/dossiers",
        digest=f"{number:064x}",
        size=1000 + number,
        status=202,
        answer_digest=f"{number + 7:064x}",
        subject="H56.14-261102-0003" if number % 3 == 0 else f"H56.14-261102-{number:04d}",
    )


def files_of(export: bytes) -> dict[str, bytes]:
    """What is in a zip."""
    with zipfile.ZipFile(io.BytesIO(export)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip of these files."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return sink.getvalue()


def needs(*programs: str) -> None:
    """Skip the test where an expert's program is not installed."""
    if missing := [one for one in programs if shutil.which(one) is None]:
        pytest.skip(f"needs {', '.join(missing)}")


def written(folder: Path, name: str, content: bytes) -> Path:
    """A file with this content."""
    path = folder / name
    path.write_bytes(content)
    return path
