"""Whoever changes an export: without any key, with one of their own, or with the log's own key.

What nobody has is the key of the time-stamping authority.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from gateway.domain.log_export import KEYS, MANIFEST, SIGNATURE, header_of, record_of
from gateway.domain.proof import canonical, linked, moment, root, stamped
from simulators.timestamps import Authority
from tests.support.made_log import BEGAN, Key, files_of, zipped

Line = dict[str, Any]


class Forgery:
    """An export taken apart, to be changed and put together again.

    Attributes:
        blocks, records: the lines of each partition.
        lowest: by partition, the lowest number of a record that is no longer what it was.
    """

    def __init__(self, export: bytes) -> None:
        self.files = files_of(export)
        self.manifest: dict[str, Any] = json.loads(self.files[MANIFEST])
        self.partitions = [part["partition"] for part in self.manifest["parts"]]
        self.blocks = {one: self._lines(f"blocks/{one}.ndjson") for one in self.partitions}
        self.records = {one: self._lines(f"records/{one}.ndjson") for one in self.partitions}
        self.lowest: dict[int, int] = {}

    def _lines(self, name: str) -> list[Line]:
        return [json.loads(line) for line in self.files[name].splitlines()]

    def relink(self, partition: int) -> None:
        """Number all records anew and chain them, as if they had always been like that."""
        part = self._part(partition)
        link = bytes.fromhex(part["link"])
        for number, line in enumerate(self.records[partition], start=part["first"]):
            line["number"] = number
            link = linked(link, record_of(line["record"]).hash())
            line["link"] = link.hex()

    def reseal(self, partition: int, key: Key, tsa: Authority | None = None) -> None:
        """Make all headers anew over what is there now, and sign them; the last block takes all
        that is left. Timestamps stay those that they were, unless an authority makes new ones."""
        part = self._part(partition)
        lines, place = self.records[partition], 0
        previous = bytes.fromhex(part["previous"])
        first = part["first"]
        for at, line in enumerate(self.blocks[partition]):
            header = header_of(line["header"])
            left = len(lines) - place
            count = (
                left if at == len(self.blocks[partition]) - 1 else header.last - header.first + 1
            )
            count = max(1, min(count, left))
            held = lines[place : place + count]
            place += count
            header = replace(
                header,
                number=part["first_block"] + at,
                first=first,
                last=first + count - 1,
                root=root([record_of(one["record"]).hash() for one in held]),
                link=bytes.fromhex(held[-1]["link"]),
                previous=previous,
                key_id=key.id,
            )
            first += count
            previous = header.hash()
            signature = key.sign(header.signed())
            line["header"] = header.members()
            line["signature"] = base64.b64encode(signature).decode()
            if tsa is not None:
                token = tsa.token(stamped(header, signature), header.sealed_at)
                line["token"] = base64.b64encode(token).decode()

    def closed(self, key: Key | None = None) -> bytes:
        """The export as it is now; with a key the manifest agrees with it and is signed anew."""
        for one in self.partitions:
            for name, lines in (("blocks", self.blocks), ("records", self.records)):
                content = b"".join(canonical(line) + b"\n" for line in lines[one])
                self.files[f"{name}/{one}.ndjson"] = content
        if key is not None:
            self._agree(key)
        return zipped(self.files)

    def _agree(self, key: Key) -> None:
        keys = {one["kid"]: one for one in json.loads(self.files[KEYS])["keys"]}
        keys.setdefault(key.id, key.public)
        self.files[KEYS] = canonical({"keys": list(keys.values())})
        self.manifest["keys"] = _described(KEYS, self.files[KEYS])
        for part in self.manifest["parts"]:
            one = part["partition"]
            part["files"] = [
                _described(name, self.files[name])
                for name in (f"blocks/{one}.ndjson", f"records/{one}.ndjson")
            ]
            if self.blocks[one]:
                last = header_of(self.blocks[one][-1]["header"])
                part["head"], part["last_block"] = last.hash().hex(), last.number
                part["last"] = last.last
                begin = header_of(self.blocks[one][0]["header"])
                part["first"], part["first_block"] = begin.first, begin.number
                part["previous"] = begin.previous.hex()
        self._sign(key)

    def _sign(self, key: Key) -> None:
        self.files[MANIFEST] = canonical(self.manifest)
        signature = base64.b64encode(key.sign(self.files[MANIFEST])).decode()
        self.files[SIGNATURE] = canonical({"key_id": key.id, "signature": signature})

    def signed(self, manifest: dict[str, Any], key: Key) -> bytes:
        """The files as they are, under a manifest that agrees with them."""
        self.manifest = manifest
        for part in manifest["parts"]:
            part["files"] = [
                _described(file["name"], self.files[file["name"]]) for file in part["files"]
            ]
        self._sign(key)
        return zipped(self.files)

    def _part(self, partition: int) -> dict[str, Any]:
        return next(part for part in self.manifest["parts"] if part["partition"] == partition)

    def touch(self, partition: int, number: int) -> None:
        """From this record on nothing is as it was."""
        self.lowest[partition] = min(self.lowest.get(partition, number), number)


def _described(name: str, content: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "lines": content.count(b"\n"),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _changed_text(draw: st.DrawFn, text: str) -> str:
    """The same form, another content."""
    place = draw(st.integers(0, len(text) - 1))
    other = draw(st.sampled_from([one for one in "0123456789abcdef" if one != text[place]]))
    return text[:place] + other + text[place + 1 :]


@st.composite
def changed_record(draw: st.DrawFn, forgery: Forgery) -> None:
    """One member of a record says something else."""
    partition, at = draw(_record(forgery))
    record = forgery.records[partition][at]["record"]
    name = draw(st.sampled_from(sorted(record)))
    match name:
        case "size" | "status":
            record[name] += draw(st.integers(1, 9))
        case "at":
            record[name] = moment(BEGAN)
        case "id":
            record[name] = str(record_of(record).id)[:-12] + "ffffffffffff"
        case "digest" | "answer_digest":
            record[name] = _changed_text(draw, record[name])
        case _:
            record[name] += draw(st.sampled_from(["x", "é", " "]))
    forgery.touch(partition, forgery.records[partition][at]["number"])


@st.composite
def removed_record(draw: st.DrawFn, forgery: Forgery) -> None:
    """A record is gone."""
    partition, at = draw(_record(forgery))
    gone = forgery.records[partition].pop(at)
    forgery.touch(partition, gone["number"])


@st.composite
def inserted_record(draw: st.DrawFn, forgery: Forgery) -> None:
    """A record that never was, or a second copy of one."""
    partition, at = draw(_record(forgery))
    new = deepcopy(forgery.records[partition][at])
    if draw(st.booleans()):
        new["record"]["client_id"] = "nobody"
    forgery.records[partition].insert(at, new)
    forgery.touch(partition, new["number"])


@st.composite
def moved_record(draw: st.DrawFn, forgery: Forgery) -> None:
    """Two records have changed places, with or without their numbers."""
    partition = draw(st.sampled_from(forgery.partitions))
    lines = forgery.records[partition]
    one, other = sorted(
        draw(st.lists(st.integers(0, len(lines) - 1), min_size=2, max_size=2, unique=True))
    )
    if draw(st.booleans()):
        lines[one], lines[other] = lines[other], lines[one]
    else:
        lines[one]["record"], lines[other]["record"] = lines[other]["record"], lines[one]["record"]
    forgery.touch(partition, min(lines[one]["number"], lines[other]["number"]))


@st.composite
def changed_line(draw: st.DrawFn, forgery: Forgery) -> None:
    """A record's number or link."""
    partition, at = draw(_record(forgery))
    line = forgery.records[partition][at]
    forgery.touch(partition, line["number"])
    if draw(st.booleans()):
        line["number"] += draw(st.sampled_from([-1, 1, 2**40]))
    else:
        line["link"] = _changed_text(draw, line["link"])


@st.composite
def changed_header(draw: st.DrawFn, forgery: Forgery) -> None:
    """One member of a block's header says something else."""
    partition, at = draw(_block(forgery))
    header = forgery.blocks[partition][at]["header"]
    forgery.touch(partition, header["first"])
    name = draw(st.sampled_from(sorted(header)))
    match name:
        case "partition" | "number" | "first" | "last":
            header[name] += draw(st.sampled_from([-1, 1, 10**9]))
        case "sealed_at":
            header[name] = "2020-01-01T00:00:00.000000Z"
        case "key_id":
            header[name] += "x"
        case _:
            header[name] = _changed_text(draw, header[name])


@st.composite
def changed_signature(draw: st.DrawFn, forgery: Forgery) -> None:
    """A bit of a block's signature or token."""
    partition, at = draw(_block(forgery))
    line = forgery.blocks[partition][at]
    forgery.touch(partition, line["header"]["first"])
    name = draw(st.sampled_from(["signature", "token"]))
    content = bytearray(base64.b64decode(line[name]))
    # The last bytes of a token are its signature; before it there may be what nobody signs.
    place = draw(st.integers(len(content) - 40, len(content) - 1))
    content[place] ^= 1 << draw(st.integers(0, 7))
    line[name] = base64.b64encode(content).decode()


@st.composite
def swapped_blocks(draw: st.DrawFn, forgery: Forgery) -> None:
    """Two blocks have changed places, or only their signatures or tokens."""
    partition = draw(st.sampled_from(forgery.partitions))
    lines = forgery.blocks[partition]
    one, other = draw(st.lists(st.integers(0, len(lines) - 1), min_size=2, max_size=2, unique=True))
    forgery.touch(partition, min(lines[one]["header"]["first"], lines[other]["header"]["first"]))
    what = draw(st.sampled_from(["all", "signature", "token"]))
    if what == "all":
        lines[one], lines[other] = lines[other], lines[one]
    else:
        lines[one][what], lines[other][what] = lines[other][what], lines[one][what]


@st.composite
def removed_block(draw: st.DrawFn, forgery: Forgery) -> None:
    """A block is gone, with or without its records."""
    partition, at = draw(_block(forgery))
    header = forgery.blocks[partition].pop(at)["header"]
    if draw(st.booleans()):
        forgery.records[partition] = [
            line
            for line in forgery.records[partition]
            if not header["first"] <= line["number"] <= header["last"]
        ]
    forgery.touch(partition, header["first"])


@st.composite
def doubled_block(draw: st.DrawFn, forgery: Forgery) -> None:
    """A block comes twice."""
    partition, at = draw(_block(forgery))
    lines = forgery.blocks[partition]
    lines.insert(at, deepcopy(lines[at]))
    forgery.touch(partition, lines[at]["header"]["first"])


@st.composite
def _record(draw: st.DrawFn, forgery: Forgery) -> tuple[int, int]:
    partition = draw(st.sampled_from(forgery.partitions))
    return partition, draw(st.integers(0, len(forgery.records[partition]) - 1))


@st.composite
def _block(draw: st.DrawFn, forgery: Forgery) -> tuple[int, int]:
    partition = draw(st.sampled_from(forgery.partitions))
    return partition, draw(st.integers(0, len(forgery.blocks[partition]) - 1))


TAMPERING: tuple[Callable[[Forgery], st.SearchStrategy[None]], ...] = (
    changed_record,
    removed_record,
    inserted_record,
    moved_record,
    changed_line,
    changed_header,
    changed_signature,
    swapped_blocks,
    removed_block,
    doubled_block,
)
OF_RECORDS = TAMPERING[:4]
