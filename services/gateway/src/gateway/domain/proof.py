"""The message log as evidence: what a record says, how records are chained, what seals them.

The form of an export, which anybody can check without us:

* A **record** is a JSON object of strings and integers. Its hash is SHA-256 of its canonical form
  (RFC 8785: names sorted, no white space, UTF-8).
* Records of one **partition** are numbered from 1 without gaps. Each has a **link**, SHA-256 of the
  link before it and its own hash, so that none can be changed, taken out, put in or moved unseen.
* A **block** closes a run of numbers: its Merkle root (RFC 9162 section 2.1.1) over the records'
  hashes and the link of the last one. Its header, canonical JSON, is signed with ES256 and then
  timestamped (RFC 3161) over ``stamped(header, signature)``. The header names the hash of the
  header before it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

GENESIS = bytes(32)
"""The link before the first record, and the header hash before the first block."""


@dataclass(frozen=True, slots=True)
class Record:
    """One exchange (NĐ 47/2020/NĐ-CP, as amended, Điều 45).

    Attributes:
        id: of the exchange.
        at: when the request had come.
        client_id: who asked.
        agency: for whose dossier (new code form), empty where there is none.
        form: method and route template, such as ``POST /v1/dossiers``.
        digest: SHA-256 (hexadecimal) of the request's content as it was received.
        size: of that content in bytes.
        status: of the answer.
        answer_digest: SHA-256 (hexadecimal) of the answer's content.
        subject: what it was about: a submission, a dossier code or a file's digest.
    """

    id: UUID
    at: datetime
    client_id: str
    agency: str
    form: str
    digest: str
    size: int
    status: int
    answer_digest: str
    subject: str = ""

    def members(self) -> dict[str, str | int]:
        """As it stands in an export."""
        return {
            "id": str(self.id),
            "at": moment(self.at),
            "client_id": self.client_id,
            "agency": self.agency,
            "form": self.form,
            "digest": self.digest,
            "size": self.size,
            "status": self.status,
            "answer_digest": self.answer_digest,
            "subject": self.subject,
        }

    def hash(self) -> bytes:
        """What stands for it in links and trees."""
        return hashlib.sha256(canonical(self.members())).digest()


@dataclass(frozen=True, slots=True)
class Header:
    """What a block's signature and timestamp vouch for.

    Attributes:
        partition: which chain.
        number: of the block in its partition, from 1.
        first, last: numbers of its records.
        root: Merkle root of the records' hashes.
        link: of the last record.
        previous: hash of the header before it.
        sealed_at: when it was closed, by our clock.
        key_id: of the key that signs.
    """

    partition: int
    number: int
    first: int
    last: int
    root: bytes
    link: bytes
    previous: bytes
    sealed_at: datetime
    key_id: str

    def members(self) -> dict[str, str | int]:
        """As it stands in an export."""
        return {
            "partition": self.partition,
            "number": self.number,
            "first": self.first,
            "last": self.last,
            "root": self.root.hex(),
            "link": self.link.hex(),
            "previous": self.previous.hex(),
            "sealed_at": moment(self.sealed_at),
            "key_id": self.key_id,
        }

    def signed(self) -> bytes:
        """The bytes that are signed."""
        return canonical(self.members())

    def hash(self) -> bytes:
        """What the next header names."""
        return hashlib.sha256(self.signed()).digest()


def canonical(members: Mapping[str, Any]) -> bytes:
    """Canonical JSON of strings and integers (RFC 8785; names here are ASCII)."""
    return orjson.dumps(members, option=orjson.OPT_SORT_KEYS)


def moment(at: datetime) -> str:
    """A moment as it stands in records: UTC with microseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def linked(link: bytes, record_hash: bytes) -> bytes:
    """The link of a record behind another one."""
    return hashlib.sha256(link + record_hash).digest()


def root(hashes: Sequence[bytes]) -> bytes:
    """Merkle tree hash of one or more leaves (RFC 9162 section 2.1.1)."""
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in hashes]
    while len(level) > 1:
        paired = [
            hashlib.sha256(b"\x01" + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=False)
        ]
        # An odd one moves up as it is, which gives the same tree as the standard's split.
        level = paired + level[len(paired) * 2 :]
    return level[0]


def path(hashes: Sequence[bytes], place: int) -> list[bytes]:
    """The inclusion proof of a leaf (RFC 9162 section 2.1.3), from the leaf to the root."""
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in hashes]
    found = []
    while len(level) > 1:
        beside = place ^ 1
        if beside < len(level):
            found.append(level[beside])
        paired = [
            hashlib.sha256(b"\x01" + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=False)
        ]
        level = paired + level[len(paired) * 2 :]
        place //= 2
    return found


def led_to(record_hash: bytes, place: int, count: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to; None where it is none for this place.

    Args:
        place: of the record in its block, from 0.
        count: records in the block.
    """
    node = hashlib.sha256(b"\x00" + record_hash).digest()
    left, last = place, count - 1
    rest = list(proof)
    while last > 0:
        if left & 1 or left < last:
            if not rest:
                return None
            beside = rest.pop(0)
            pair = beside + node if left & 1 else node + beside
            node = hashlib.sha256(b"\x01" + pair).digest()
        left >>= 1
        last >>= 1
    return None if rest else node


def stamped(header: Header, signature: bytes) -> bytes:
    """The SHA-256 digest over which a block's timestamp is asked for."""
    return hashlib.sha256(header.signed() + signature).digest()
