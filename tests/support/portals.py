"""Portals of agencies, really listening, with certificates made on the spot, and their DNS."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from common.addresses import Address, Family, ResolverAway


@dataclass
class Names:
    """A resolver that says what it is told to (``common.addresses.Resolver``)."""

    ipv6: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ipv4: Mapping[str, Sequence[str]] = field(default_factory=dict)
    away: bool = False
    asked: list[tuple[str, Family]] = field(default_factory=list)

    async def addresses(self, host: str, family: Family) -> Sequence[Address]:
        self.asked.append((host, family))
        if self.away:
            raise ResolverAway("told to be away")
        known = self.ipv6 if family == "ipv6" else self.ipv4
        return [ipaddress.ip_address(one) for one in known.get(host, ())]


class Authority:
    """A certification authority of one test.

    folder: where it writes keys and certificates; `bundle` is what trusts it.
    """

    def __init__(self, folder: Path, name: str = "Gốc thử nghiệm") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        self._certificate = self._sign(
            self._name, self._key.public_key(), now - timedelta(days=400), now + timedelta(days=400)
        )
        self.bundle = folder / f"{abs(hash(name))}.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, host: str, *, days: int = 90) -> ssl.SSLContext:
        """What a server of the host presents itself with; days: until its certificate ends."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair(host, days=days))
        return context

    def pair(self, host: str, *, days: int = 90) -> tuple[Path, Path]:
        """A certificate and its key, as PEM files."""
        key = ec.generate_private_key(ec.SECP256R1())
        until = datetime.now(UTC) + timedelta(days=days, hours=1)
        certificate = self._sign(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])]),
            key.public_key(),
            until - timedelta(days=100),
            until,
            host=host,
        )
        chain, secret = self._folder / f"{host}.{days}.pem", self._folder / f"{host}.{days}.key"
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return chain, secret

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        start: datetime,
        until: datetime,
        *,
        host: str | None = None,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if host is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
        else:
            builder = builder.add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=True,
                    crl_sign=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        return builder.sign(self._key, SHA256())


@dataclass
class Portal:
    """A server that answers what it is told to and remembers the requests.

    silent: takes connections and never answers.
    """

    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    silent: bool = False
    port: int = 0
    requests: list[bytes] = field(default_factory=list)

    @asynccontextmanager
    async def serving(
        self, address: str = "::1", tls: ssl.SSLContext | None = None, port: int = 0
    ) -> AsyncIterator["Portal"]:
        """Listen until the block ends."""
        server = await asyncio.start_server(self._take, address, port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if self.silent:
                await reader.read()
            else:
                writer.write(self.answer)
                await writer.drain()
                await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
