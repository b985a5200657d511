"""What an export of the message log looks like: a zip of JSON texts and lines of them.

* ``manifest.json``: what the export holds, with count and SHA-256 of every other file.
* ``signature.json``: ES256 over the manifest, by a key of the log.
* ``keys.json``: the public keys that signed what is in it (JWK Set, RFC 7517).
* ``blocks/<partition>.ndjson``: a line for each block: header, signature, time-stamp token.
* ``records/<partition>.ndjson``: a line for each record (whole chains), or
  ``exchanges/<partition>.ndjson``: a line for each chosen record with its inclusion proof.

Whole chains are always cut between blocks, so that exports join: the first header of one names the
last header of the one before. Every text is canonical JSON, as ``proof`` has it; bytes that are no
digest are base64.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID

import orjson

from gateway.domain.proof import Header, Record, canonical

FORMAT = "lienthong-message-log/1"
MANIFEST, SIGNATURE, KEYS = "manifest.json", "signature.json", "keys.json"
MEDIA_TYPE = "application/zip"
Kind = Literal["chains", "exchanges"]
T = TypeVar("T", "Block", "Chained", "Proven")

_DIGEST_CHARACTERS = 64
_RECORD = {
    "id": str,
    "at": str,
    "client_id": str,
    "agency": str,
    "form": str,
    "digest": str,
    "size": int,
    "status": int,
    "answer_digest": str,
    "subject": str,
}
_HEADER = {
    "partition": int,
    "number": int,
    "first": int,
    "last": int,
    "root": str,
    "link": str,
    "previous": str,
    "sealed_at": str,
    "key_id": str,
}


class Malformed(ValueError):
    """A text that no export contains."""


@dataclass(frozen=True, slots=True)
class Block:
    """A sealed block.

    Attributes:
        signature: ES256 over the header, r and s in 64 bytes (RFC 7518 section 3.4).
        token: RFC 3161 TimeStampToken (DER); None while it waits for one.
    """

    header: Header
    signature: bytes
    token: bytes | None = None

    def line(self) -> bytes:
        """As it stands in an export."""
        return canonical(
            {
                "header": self.header.members(),
                "signature": base64.b64encode(self.signature).decode(),
                "token": base64.b64encode(self.token or b"").decode(),
            }
        )


@dataclass(frozen=True, slots=True)
class Chained:
    """A record in its chain: its number, and the link behind it."""

    number: int
    link: bytes
    record: Record

    def line(self) -> bytes:
        """As it stands in an export of whole chains."""
        return canonical(
            {"number": self.number, "link": self.link.hex(), "record": self.record.members()}
        )


@dataclass(frozen=True, slots=True)
class Proven:
    """A single record, with the path from it to the root of its block."""

    number: int
    block: int
    path: Sequence[bytes]
    record: Record

    def line(self) -> bytes:
        """As it stands in an export of single exchanges."""
        return canonical(
            {
                "number": self.number,
                "block": self.block,
                "path": [node.hex() for node in self.path],
                "record": self.record.members(),
            }
        )


@dataclass(frozen=True)
class File:
    """A file of the export: its name, lines, bytes, and SHA-256 (hexadecimal)."""

    name: str
    lines: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Part:
    """What the export holds of one partition.

    Attributes:
        first, last: numbers of records; of single exchanges the lowest and the highest.
        first_block, last_block: the same of blocks.
        previous: hash of the header before the first block; empty for single exchanges.
        link: of the record before the first one; empty for single exchanges.
        head: hash of the last header; empty for single exchanges.
        files: blocks, then records or exchanges.
    """

    partition: int
    first: int
    last: int
    first_block: int
    last_block: int
    previous: str
    link: str
    head: str
    files: tuple[File, File]


@dataclass(frozen=True)
class Manifest:
    """What the export holds.

    Attributes:
        system: whose log it is.
        selection: what was asked for.
    """

    format: str
    kind: Kind
    system: str
    made_at: str
    selection: dict[str, str]
    keys: File
    parts: tuple[Part, ...]

    def content(self) -> bytes:
        """The file."""
        return canonical(asdict(self))


def blocks_name(partition: int) -> str:
    """The file with the blocks of a partition."""
    return f"blocks/{partition}.ndjson"


def lines_name(kind: Kind, partition: int) -> str:
    """The file with the records of a partition."""
    return f"{'records' if kind == 'chains' else 'exchanges'}/{partition}.ndjson"


def described(name: str, content: bytes) -> File:
    """A file whose content is known as a whole."""
    return File(name, content.count(b"\n"), len(content), hashlib.sha256(content).hexdigest())


def paths(hashes: Sequence[bytes], places: Sequence[int]) -> list[list[bytes]]:
    """The inclusion proofs of several leaves, as ``proof.path`` makes each, at the cost of one."""
    levels = [[hashlib.sha256(b"\x00" + leaf).digest() for leaf in hashes]]
    while len(levels[-1]) > 1:
        level = levels[-1]
        paired = [
            hashlib.sha256(b"\x01" + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=False)
        ]
        levels.append(paired + level[len(paired) * 2 :])
    return [
        [
            level[beside]
            for depth, level in enumerate(levels)
            if (beside := (place >> depth) ^ 1) < len(level)
        ]
        for place in places
    ]


def block_of(line: bytes) -> Block:
    """The block of a line.

    Raises:
        Malformed: it is not exactly what ``Block.line`` writes.
    """
    members = _members(line, {"header": dict, "signature": str, "token": str})
    try:
        token = base64.b64decode(members["token"], validate=True)
        block = Block(
            header_of(members["header"]),
            base64.b64decode(members["signature"], validate=True),
            token or None,
        )
    except ValueError as error:
        raise Malformed(str(error)) from error
    return _exactly(block, line)


def chained_of(line: bytes) -> Chained:
    """The record of a line of a whole chain.

    Raises:
        Malformed: it is not exactly what ``Chained.line`` writes.
    """
    members = _members(line, {"number": int, "link": str, "record": dict})
    link = _digest(members["link"])
    return _exactly(Chained(members["number"], link, record_of(members["record"])), line)


def proven_of(line: bytes) -> Proven:
    """The record of a line of single exchanges.

    Raises:
        Malformed: it is not exactly what ``Proven.line`` writes.
    """
    members = _members(line, {"number": int, "block": int, "path": list, "record": dict})
    path = [_digest(node) for node in members["path"]]
    record = record_of(members["record"])
    return _exactly(Proven(members["number"], members["block"], path, record), line)


def record_of(members: object) -> Record:
    """The record of its members.

    Raises:
        Malformed: they are not those of a record.
    """
    given = _typed(members, _RECORD)
    try:
        return Record(**{**given, "id": UUID(given["id"]), "at": _moment(given["at"])})
    except ValueError as error:
        raise Malformed(str(error)) from error


def header_of(members: object) -> Header:
    """The header of its members.

    Raises:
        Malformed: they are not those of a header.
    """
    given = _typed(members, _HEADER)
    digests = {name: _digest(given[name]) for name in ("root", "link", "previous")}
    return Header(**{**given, **digests, "sealed_at": _moment(given["sealed_at"])})


def _exactly(read: T, line: bytes) -> T:
    """What has another spelling has another meaning to somebody else."""
    if read.line() != line:
        raise Malformed("not in canonical form")
    return read


def _members(line: bytes, names: Mapping[str, type]) -> dict[str, Any]:
    try:
        return _typed(orjson.loads(line), names)
    except orjson.JSONDecodeError as error:
        raise Malformed("no JSON text") from error


def _typed(members: object, names: Mapping[str, type]) -> dict[str, Any]:
    if not isinstance(members, dict) or members.keys() != names.keys():
        raise Malformed("other members than expected")
    for name, kind in names.items():
        if type(members[name]) is not kind:
            raise Malformed(f"{name} is of another type than expected")
    return members


def _digest(text: object) -> bytes:
    if not isinstance(text, str) or len(text) != _DIGEST_CHARACTERS:
        raise Malformed("no SHA-256 digest")
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise Malformed("no SHA-256 digest") from error


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise Malformed("no moment") from error
    if at.tzinfo is None:
        raise Malformed("no moment")
    return at
