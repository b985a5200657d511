"""Recompute what a container of evidence claims; goes into every container as ``kiem-tra.py``.

Needs Python alone. Run it in the folder where the container was unpacked. What it does not check
are signatures and timestamps: those are left to openssl, as the explanation beside it says.
"""

import hashlib
import json
import sys
from pathlib import Path


def led_to(leaf: bytes, place: int, count: int, path: list[bytes]) -> bytes | None:
    """The root of the Merkle tree that a record's path leads to (RFC 9162 section 2.1.3.2)."""
    node, last = hashlib.sha256(b"\x00" + leaf).digest(), count - 1
    for beside in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            node = hashlib.sha256(b"\x01" + beside + node).digest()
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + beside).digest()
        place, last = place >> 1, last >> 1
    return node if last == 0 else None


def faults(folder: Path) -> list[str]:
    """What does not agree, in Vietnamese and English."""
    record = (folder / "record.json").read_bytes()
    header_text = (folder / "block-header.json").read_bytes()
    proof = json.loads((folder / "proof.json").read_text("utf-8"))
    header = json.loads(header_text)
    leaf = hashlib.sha256(record).digest()
    path = [bytes.fromhex(node) for node in proof["path"]]
    place = proof["number"] - header["first"]
    count = header["last"] - header["first"] + 1
    stamped = (folder / "block-stamped.bin").read_bytes()
    checks = {
        "bản ghi khác với proof.json | the record is not the one of proof.json": (
            leaf.hex() == proof["record_hash"]
        ),
        "bản ghi không thuộc khối | the record is not in the block": (
            (header["partition"], header["number"]) == (proof["partition"], proof["block"])
            and 0 <= place < count
        ),
        "đường chứng minh không dẫn đến gốc | the path does not lead to the root": (
            (led_to(leaf, place, count, path) or b"").hex() == header["root"]
        ),
        "dấu thời gian không phủ khối này | what was stamped is not this block": (
            stamped[:-64] == header_text
        ),
    }
    return [fault for fault, agrees in checks.items() if not agrees]


def main() -> int:
    """Say whether everything agrees; 0 if it does."""
    found = faults(Path())
    for fault in found:
        sys.stdout.write(f"SAI | WRONG: {fault}\n")
    if not found:
        sys.stdout.write("KHỚP: bản ghi thuộc khối | AGREES: the record is in the block\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.exit(main())
