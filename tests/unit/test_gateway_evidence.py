"""Containers of evidence, opened as an expert opens them: unzip, openssl, and nothing of ours."""

import base64
import hashlib
import shlex
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr

from gateway.domain import evidence_check
from gateway.domain.log_choice import NotInTheLog
from gateway.domain.log_export import paths
from gateway.domain.proof import led_to, path, root
from gateway.use_cases.evidence import (
    Evidence,
    NotAnchored,
    NothingToSealWith,
    Signer,
    signer_of,
)
from gateway.use_cases.timestamps import Stamp
from simulators.timestamps import Authority, authority
from tests.support.made_log import Key, Log, needs

ASIC = "{http://uri.etsi.org/02918/v1.2.1#}"
DSIG = "{http://www.w3.org/2000/09/xmldsig#}"


@dataclass
class Authorities:
    """Stands for the authorities that the gateway asks."""

    tsa: Authority

    async def stamp(self, content: bytes) -> Stamp:
        token = self.tsa.token(hashlib.sha256(content).digest())
        return Stamp(token, "http://tsa", datetime.now(UTC))


@pytest.fixture(scope="module")
def log() -> Log:
    made = Log(Key(), authority())
    made.write(0, [5, 7])
    made.write(0, [2], stamp=False)
    return made


@pytest.fixture(scope="module")
def person() -> Key:
    return Key()


def evidence_of(log: Log, signer: Key | None, *, stamps: bool = True) -> Evidence:
    """Makes containers as the gateway does."""
    return Evidence(
        log,
        log.exports(),
        "urn:lienthong:test",
        Authorities(log.tsa) if stamps else None,  # type: ignore[arg-type]
        Signer(signer.private, [signer.certificate]) if signer else None,
    )


def unpacked(container: bytes, folder: Path, log: Log, person: Key | None) -> Path:
    """As an expert has it: the container unpacked, and certificates from elsewhere beside it."""
    needs("unzip", "openssl")
    archive = folder / "evidence.asice"
    archive.write_bytes(container)
    place = folder / "unpacked"
    subprocess.run(["unzip", "-q", archive, "-d", place], check=True)
    (place / "tsa.pem").write_bytes(log.tsa.root_pem)
    if person is not None:
        (place / "ky.pem").write_bytes(person.certificate_pem)
    return place


def commands(place: Path) -> list[list[str]]:
    """The commands that the explanation names, as they stand there."""
    lines = (place / "HUONG-DAN.txt").read_text("utf-8").splitlines()
    found = [shlex.split(line) for line in lines if line.startswith(("openssl ", "python3 "))]
    return [[sys.executable if word == "python3" else word for word in line] for line in found]


def failing(place: Path) -> list[str]:
    """Which of the commands do not succeed."""
    ended = [
        subprocess.run(line, cwd=place, capture_output=True, text=True, check=False)
        for line in commands(place)
    ]
    return [f"{one.args}: {one.stdout}{one.stderr}" for one in ended if one.returncode]


async def test_an_expert_checks_a_signed_container_with_the_commands_in_it(log, person, tmp_path):
    place = unpacked(await evidence_of(log, person).container(0, 9), tmp_path, log, person)
    assert len(commands(place)) == 6
    assert failing(place) == []
    signed = (place / "manifest.xml").read_bytes()
    assert signed == (place / "META-INF/ASiCManifest001.xml").read_bytes()


async def test_without_a_certificate_timestamps_alone_carry_it(log, tmp_path):
    place = unpacked(await evidence_of(log, None).container(0, 1), tmp_path, log, None)
    assert not list(place.glob("META-INF/*.p7s"))
    assert len(commands(place)) == 5
    assert failing(place) == []


async def test_without_an_authority_the_signature_alone_carries_it(log, person, tmp_path):
    made = evidence_of(log, person, stamps=False)
    place = unpacked(await made.container(0, 1), tmp_path, log, person)
    assert not list(place.glob("META-INF/*.tst"))
    assert failing(place) == []


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("record.json", ["python"]),
        ("proof.json", ["python"]),
        ("block-header.json", ["python", "dgst"]),
        ("block-stamped.bin", ["ts"]),
        ("block-signature.der", ["dgst"]),
        ("block-timestamp.tst", ["ts"]),
        ("META-INF/ASiCManifest001.xml", ["cms"]),
        ("META-INF/ASiCManifest002.xml", ["ts"]),
        ("META-INF/signature001.p7s", ["cms"]),
        ("META-INF/timestamp002.tst", ["ts"]),
    ],
)
async def test_a_changed_file_is_noticed_by_the_commands(log, person, tmp_path, name, checks):
    place = unpacked(await evidence_of(log, person).container(0, 9), tmp_path, log, person)
    changed = bytearray((place / name).read_bytes())
    if name.endswith(".p7s"):  # its last bytes are the timestamp of the signature
        covered = (place / "META-INF/ASiCManifest001.xml").read_bytes()
        at = changed.index(hashlib.sha256(covered).digest())
    else:
        at = len(changed) - 9
    changed[at] ^= 1
    (place / name).write_bytes(changed)
    found = " ".join(failing(place))
    assert all(check in found for check in checks), found


async def test_the_container_has_the_form_of_the_standard(log, person):
    container = await evidence_of(log, person).container(0, 9)
    # EN 319 162-1 annex A.1: the type is the first file, as it is, found at byte 38.
    assert container[:4] == b"PK\x03\x04"
    assert container[30:38] == b"mimetype"
    assert container[38:].startswith(b"application/vnd.etsi.asic-e+zip")
    with zipfile.ZipFile(BytesIO(container)) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
        first = opened.infolist()[0]
    assert (first.filename, first.compress_type, first.extra) == ("mimetype", 0, b"")
    data = {name for name in files if not name.startswith("META-INF/")} - {"mimetype"}
    kinds = ("application/pkcs7-signature", "application/vnd.etsi.timestamp-token")
    for number, kind in enumerate(kinds, start=1):
        tree = ET.fromstring(files[f"META-INF/ASiCManifest00{number}.xml"])  # noqa: S314
        assert tree.tag == f"{ASIC}ASiCManifest"
        reference, *objects = tree
        assert reference.tag == f"{ASIC}SigReference"
        assert reference.get("MimeType") == kind
        assert reference.get("URI") in files
        assert {one.get("URI") for one in objects} == data
        for one in objects:
            assert one.tag == f"{ASIC}DataObjectReference"
            method, value = one
            assert method.tag == f"{DSIG}DigestMethod"
            assert method.get("Algorithm") == "http://www.w3.org/2001/04/xmlenc#sha256"
            digest = hashlib.sha256(files[one.get("URI", "")]).digest()
            assert base64.b64decode(value.text or "") == digest


async def test_the_signature_is_cades_with_a_timestamp(log, person):
    container = await evidence_of(log, person).container(0, 9)
    with zipfile.ZipFile(BytesIO(container)) as opened:
        signature = opened.read("META-INF/signature001.p7s")
    signed = cms.ContentInfo.load(signature, strict=True)["content"]
    assert signed["encap_content_info"]["content"].native is None
    (signer,) = signed["signer_infos"]
    names = {one["type"].native for one in signer["signed_attrs"]}
    assert {"content_type", "message_digest", "signing_certificate_v2"} <= names
    (certified,) = next(
        one["values"][0]["certs"]
        for one in signer["signed_attrs"]
        if one["type"].native == "signing_certificate_v2"
    )
    der = person.certificate.public_bytes(Encoding.DER)
    assert certified["cert_hash"].native == hashlib.sha256(der).digest()
    (stamp,) = signer["unsigned_attrs"]
    assert stamp["type"].native == "signature_time_stamp_token"
    info = stamp["values"][0]["content"]["encap_content_info"]["content"].parsed
    imprint = info["message_imprint"]["hashed_message"].native
    assert imprint == hashlib.sha256(signer["signature"].native).digest()


async def test_names_of_clients_cannot_write_into_the_page(log, person, monkeypatch):
    made = evidence_of(log, person)
    object.__setattr__(made, "_system", "<script>alert(1)</script>")
    with zipfile.ZipFile(BytesIO(await made.container(0, 9))) as opened:
        assert b"<script" not in opened.read("HUONG-DAN.html")


async def test_there_is_no_evidence_before_the_timestamp(log, person):
    with pytest.raises(NotAnchored):
        await evidence_of(log, person).container(0, 13)
    with pytest.raises(NotInTheLog):
        await evidence_of(log, person).container(0, 99)
    with pytest.raises(NothingToSealWith):
        await evidence_of(log, None, stamps=False).container(0, 1)


def test_a_certificate_of_another_key_is_no_setting(person):
    own = person.certificate_pem.decode()
    assert signer_of(SecretStr(person.pem), own).chain[0] == person.certificate
    with pytest.raises(ValueError, match="another key"):
        signer_of(SecretStr(Key().pem), own)
    with pytest.raises(ValueError, match="private key"):
        signer_of(SecretStr("x"), own)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 31, 33])
def test_every_reckoning_of_a_proof_says_the_same(count):
    hashes = [hashlib.sha256(bytes([one])).digest() for one in range(count)]
    top = root(hashes)
    for place, steps in enumerate(paths(hashes, range(count))):
        assert steps == path(hashes, place)
        assert led_to(hashes[place], place, count, steps) == top
        assert evidence_check.led_to(hashes[place], place, count, steps) == top
        for other in range(count):
            if other != place:
                led = evidence_check.led_to(hashes[place], other, count, steps)
                assert led == led_to(hashes[place], other, count, steps) != top or led is None
        assert evidence_check.led_to(hashes[place], place, count, [*steps, top]) != top
