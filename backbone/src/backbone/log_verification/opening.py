"""What stands before the records of an export: its manifest, its keys, who signed."""

import base64
import json
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from backbone.log_verification.archive import Archive
from backbone.log_verification.report import Report
from backbone.log_verification.trust import Key, Trust
from gateway.domain.log_export import (
    FORMAT,
    KEYS,
    MANIFEST,
    SIGNATURE,
    Block,
    File,
    Malformed,
    Manifest,
    blocks_name,
    described,
    lines_name,
)
from gateway.domain.proof import canonical

_MOST_PARTS = 1024

_MANIFEST = TypeAdapter(Manifest)


@dataclass
class Opened:
    """An export whose manifest was read."""

    archive: Archive
    manifest: Manifest
    keys: dict[str, Key]


def opened(archive: Archive, trust: Trust, report: Report) -> Opened | None:
    """The export's manifest, keys and signature; None where there is nothing to go by."""
    name = archive.path.name
    content = archive.text(MANIFEST)
    try:
        manifest = _MANIFEST.validate_json(content, strict=True)
    except ValidationError:
        report.find("manifest", name)
        return None
    if manifest.content() != content or not _sound(manifest):
        report.find("manifest", name)
        return None
    named = {MANIFEST, SIGNATURE, KEYS} | {
        file.name for part in manifest.parts for file in part.files
    }
    if named != archive.names:
        report.find("files", f"{name}: {', '.join(sorted(named ^ archive.names)[:5])}")
        return None
    key_set = archive.text(KEYS)
    if described(KEYS, key_set) != manifest.keys:
        report.find("file", f"{name}: {KEYS}")
    try:
        keys = trust.keys(key_set)
    except Malformed:
        report.find("keys", name)
        return None
    report.read.append(f"{name}: {manifest.system}, {manifest.made_at}, {_asked(manifest)}")
    _manifest_signature(archive, content, keys, report)
    return Opened(archive, manifest, keys)


def _asked(manifest: Manifest) -> str:
    return " ".join(f"{name}={value}" for name, value in manifest.selection.items()) or "-"


def _sound(manifest: Manifest) -> bool:
    """Whether the manifest names what an export can hold."""
    partitions = [part.partition for part in manifest.parts]
    chained = manifest.kind == "chains"
    return (
        manifest.format == FORMAT
        and manifest.keys.name == KEYS
        and 0 < len(partitions) <= _MOST_PARTS
        and len(set(partitions)) == len(partitions)
        and all(
            [file.name for file in part.files]
            == [blocks_name(part.partition), lines_name(manifest.kind, part.partition)]
            and (not chained or all(map(_is_digest, (part.previous, part.link, part.head))))
            for part in manifest.parts
        )
    )


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(character in "0123456789abcdef" for character in text)


def _manifest_signature(
    archive: Archive, content: bytes, keys: dict[str, Key], report: Report
) -> None:
    where = f"{archive.path.name}: {SIGNATURE}"
    given = archive.text(SIGNATURE)
    try:
        members = json.loads(given)
        signature = base64.b64decode(members["signature"], validate=True)
        if canonical(members) != given or members.keys() != {"key_id", "signature"}:
            raise Malformed(SIGNATURE)
        key = keys.get(members["key_id"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        report.find("manifest-signature", where)
        return
    if key is None:
        report.find("unknown-key", where)
    elif not key.signed(signature, content):
        report.find("manifest-signature", where)
    elif not key.trusted:
        report.find("untrusted-key", where)


def check_signature(block: Block, keys: dict[str, Key], report: Report, where: str) -> None:
    """Find a block that no trusted key signed, or none that was valid then."""
    header = block.header
    key = keys.get(header.key_id)
    if key is None:
        report.find("unknown-key", where)
    elif not key.signed(block.signature, header.signed()):
        report.find("block-signature", where)
    elif not key.trusted:
        report.find("untrusted-key", where)
    elif not key.valid_at(header.sealed_at):
        report.find("key-period", where)


def compare(read: tuple[File, File], told: tuple[File, File], name: str, report: Report) -> None:
    """Find files that are not those that the manifest describes."""
    for found, said in zip(read, told, strict=True):
        if found != said:
            report.find("file", f"{name}: {said.name}")
