"""What assembling a PAdES signature costs beside the bare library's, and what large files cost.

    .venv/bin/python -m benchmarks.signing [--rounds 3] [--seconds 4] [--kib 100] [--large 50]

A PDF of 100 KiB is signed at B-B with a local RSA-2048 key (PKCS#1 v1.5): prepared in isolated
processes, the digest signed, verified and embedded, as the service does; and beside it by the
signing library's own ``sign_pdf``, in as many processes as there are processors. Both take turns;
what counts is the ratio. A watch on the event loop tells its longest block; a PDF of 50 MB is
prepared and finished, and the memory of all processes (shared pages counted once) is looked at.
"""

import argparse
import asyncio
import multiprocessing
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from statistics import median
from typing import cast

import psutil
from asn1crypto import algos
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID

from signature_connector.assembly.isolated import IsolatedAssembler
from signature_connector.domain.assembly import Wish

CPUS = os.cpu_count() or 1
RATIO, BLOCK, LARGE_SECONDS, LARGE_MIB = 0.70, 0.050, 1.0, 400


@cache
def holder() -> tuple[rsa.RSAPrivateKey, bytes]:
    """A key and its self-issued certificate."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Người ký")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(True, True, False, False, False, False, False, False, False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(usage, critical=True)
        .sign(key, SHA256())
    )
    return key, certificate.public_bytes(Encoding.DER)


def document(kib: int) -> bytes:
    """A PDF of about that size, most of it a stream that no page shows."""
    filling = os.urandom(kib * 1024)
    objects = (
        b"<</Type/Catalog/Pages 2 0 R/Filling 4 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<<>>>>",
        b"<</Length %d>>\nstream\n%s\nendstream" % (len(filling), filling),
    )
    out, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 5\n0000000000 65535 f \n"
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(out)


def wish() -> Wish:
    """As the service wishes it, without a stamp."""
    now = datetime.now(UTC)
    return Wish("pades", holder()[1], (), "sha256", "rsassa_pkcs1v15", now)


def provider(digest: bytes) -> bytes:
    """Signs a digest, as a provider does."""
    return holder()[0].sign(digest, padding.PKCS1v15(), Prehashed(SHA256()))


# -- the bare library ------------------------------------------------------------------------

_bare: list[object] = []


def _begin(key: bytes, certificate: bytes, content: bytes) -> None:
    from pyhanko.sign.signers.pdf_cms import Signer
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    private = cast("rsa.RSAPrivateKey", load_der_private_key(key, password=None))

    class Keyholder(Signer):
        """The library's own loads the key anew for each document, which costs more than half."""

        async def async_sign_raw(
            self, data: bytes, digest_algorithm: str, dry_run: bool = False
        ) -> bytes:
            return bytes(256) if dry_run else private.sign(data, padding.PKCS1v15(), SHA256())

    signer = Keyholder(
        signing_cert=asn1_x509.Certificate.load(certificate),
        cert_registry=SimpleCertificateStore(),
        signature_mechanism=algos.SignedDigestAlgorithm({"algorithm": "sha256_rsa"}),
    )
    _bare[:] = [signer, content]


def _sign_for(seconds: float) -> float:
    """Documents a second that one process signs."""
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign.fields import SigSeedSubFilter
    from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner

    signer, content = _bare
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        meta = PdfSignatureMetadata(
            field_name="Signature1", md_algorithm="sha256", subfilter=SigSeedSubFilter.PADES
        )
        PdfSigner(meta, signer).sign_pdf(IncrementalPdfFileWriter(BytesIO(content)))  # type: ignore[arg-type]
        count += 1
    return count / (time.perf_counter() - began)


def bare_rate(pool: ProcessPoolExecutor, seconds: float) -> float:
    """Of all processes together."""
    return sum(pool.map(_sign_for, [seconds] * CPUS))


# -- ours ------------------------------------------------------------------------------------


async def our_rate(assembler: IsolatedAssembler, content: bytes, seconds: float) -> float:
    """Documents a second that are prepared, signed and finished."""
    began, count = time.perf_counter(), 0

    async def one_after_another() -> None:
        nonlocal count
        while time.perf_counter() - began < seconds:
            waiting = await assembler.prepare(content, wish())
            await assembler.finish(waiting, provider(waiting.digest))
            count += 1

    await asyncio.gather(*(one_after_another() for _ in range(CPUS + 1)))
    return count / (time.perf_counter() - began)


@asynccontextmanager
async def watched() -> AsyncIterator[list[float]]:
    """How long the event loop was blocked, in seconds, longest last once it is left."""
    blocks = [0.0]

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            blocks.append(time.perf_counter() - before - 0.001)

    task = asyncio.create_task(watch())
    try:
        yield blocks
    finally:
        task.cancel()
        blocks.sort()


async def peak_memory(stop: asyncio.Event) -> float:
    """Most MiB that this process and its children held at a time, shared pages counted once."""
    most = 0.0
    own = psutil.Process()
    while not stop.is_set():
        held = 0
        for process in (own, *own.children(recursive=True)):
            try:
                held += (await asyncio.to_thread(process.memory_full_info)).pss
            except psutil.Error:
                continue
        most = max(most, held / 2**20)
        await asyncio.sleep(0.005)
    return most


async def large(assembler: IsolatedAssembler, content: bytes) -> tuple[float, float]:
    """Seconds to prepare and finish, and the longest block of the loop."""
    async with watched() as blocks:
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        waiting = await assembler.prepare(content, wish())
        await assembler.finish(waiting, provider(waiting.digest))
        took = time.perf_counter() - began
    return took, blocks[-1]


async def main(rounds: int, seconds: float, kib: int, large_mb: int) -> None:
    """Measure and tell."""
    key, certificate = holder()
    small = document(kib)
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assembler = IsolatedAssembler(processes=CPUS, seconds=30, memory=1 << 30, limit=100 << 20)
    ours, bare, longest = [], [], 0.0
    try:
        await our_rate(assembler, small, 1.0)
        with ProcessPoolExecutor(
            CPUS,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(private, certificate, small),
        ) as pool:
            await asyncio.to_thread(bare_rate, pool, 1.0)
            for _ in range(rounds):
                bare.append(await asyncio.to_thread(bare_rate, pool, seconds))
                async with watched() as blocks:
                    ours.append(await our_rate(assembler, small, seconds))
                longest = max(longest, blocks[-1])
        ratio = median(one / other for one, other in zip(ours, bare, strict=True))
        print(f"PAdES B-B of {kib} KiB, RSA-2048, {CPUS} processors, {rounds} rounds")
        print(f"  bare library      {median(bare):8.1f} documents/s")
        print(f"  assembled here    {median(ours):8.1f} documents/s")
        _tell("ratio", ratio, ">=", RATIO, "")
        _tell("longest block of the loop", longest * 1000, "<=", BLOCK * 1000, " ms")
    finally:
        await assembler.close()
    await _large(large_mb)


async def _large(megabytes: int) -> None:
    content = document(megabytes * 1000 * 1000 // 1024)
    assembler = IsolatedAssembler(processes=1, seconds=30, memory=1 << 30, limit=100 << 20)
    try:
        await large(assembler, document(1))  # the process is there
        found = [await large(assembler, content) for _ in range(5)]
        stop = asyncio.Event()
        watching = asyncio.create_task(peak_memory(stop))
        await large(assembler, content)
        stop.set()
        memory = await watching
    finally:
        await assembler.close()
    print(f"a PDF of {megabytes} MB, prepared and finished")
    _tell("time", median(took for took, _ in found), "<=", LARGE_SECONDS, " s")
    _tell(
        "longest block of the loop", max(one for _, one in found) * 1000, "<=", BLOCK * 1000, " ms"
    )
    _tell("memory of all processes", memory, "<=", LARGE_MIB, " MiB")


def _tell(name: str, value: float, relation: str, aim: float, unit: str) -> None:
    met = value >= aim if relation == ">=" else value <= aim
    verdict = "met" if met else "NOT MET"
    print(f"  {name:26} {value:8.2f}{unit}  (aim {relation} {aim:g}{unit}: {verdict})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--kib", type=int, default=100)
    parser.add_argument("--large", type=int, default=50)
    asked = parser.parse_args()
    asyncio.run(main(asked.rounds, asked.seconds, asked.kib, asked.large))
