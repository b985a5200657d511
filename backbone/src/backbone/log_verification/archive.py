"""Opening exports that anybody may have made: within limits, and only what an export contains.

Everything is read as a stream. A zip that says one thing and holds another, names that lead
elsewhere, and sizes beyond what an export can have are refused before anything is believed.
"""

import hashlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from gateway.domain.log_export import KEYS, MANIFEST, SIGNATURE, File

MOST_ENTRIES = 2 * 1024 + 3
LARGEST_TEXT = 4 * 1024 * 1024
"""Bytes of the manifest, its signature, and the keys."""
LONGEST_LINE = 128 * 1024
"""Bytes of a record, a proof, or a block with its token."""
HIGHEST_RATIO = 100
"""Of content to its compressed form; hexadecimal digests do not shrink by more than ten."""

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_LARGEST_DIRECTORY = MOST_ENTRIES * 256
_SMALL = 1024 * 1024
_CHUNK = 256 * 1024
_FOLDERS = frozenset({"blocks/", "records/", "exchanges/"})
_NAME = re.compile(r"(blocks|records|exchanges)/(0|[1-9][0-9]{0,4})\.ndjson")


class Refused(Exception):
    """A file that is no export, or one that nobody's gateway wrote.

    Args:
        vi, en: why, in both languages.
    """

    def __init__(self, vi: str, en: str) -> None:
        super().__init__(en)
        self.vi = vi
        self.en = en


@dataclass
class Lines:
    """The lines of one file, read once; afterwards what the manifest has to say of it."""

    archive: zipfile.ZipFile
    name: str
    lines: int = 0
    size: int = 0

    def __post_init__(self) -> None:
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        """Each line without its end.

        Raises:
            Refused: one is too long, the last one has no end, or the zip is damaged.
        """
        rest = b""
        for chunk in _chunks(self.archive, self.name):
            self._digest.update(chunk)
            self.size += len(chunk)
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE or any(len(line) > LONGEST_LINE for line in whole):
                raise Refused(f"{self.name}: có dòng quá dài", f"{self.name}: a line is too long")
            self.lines += len(whole)
            yield from whole
        if rest:
            raise Refused(
                f"{self.name}: dòng cuối bị cắt", f"{self.name}: the last line is cut off"
            )

    def file(self) -> File:
        """As a manifest describes what was read."""
        return File(self.name, self.lines, self.size, self._digest.hexdigest())


class Archive:
    """An export, open for reading.

    Raises:
        Refused: it is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._stream: IO[bytes] = path.open("rb")
        except OSError as error:
            raise Refused(f"không mở được {path.name}", f"cannot open {path.name}") from error
        try:
            _check_directory(self._stream)
            self._zip = zipfile.ZipFile(self._stream)
            self.names = self._checked()
        except (zipfile.BadZipFile, OSError, ValueError, struct.error, EOFError) as error:
            self._stream.close()
            raise Refused("không phải tệp zip hợp lệ", "not a well-formed zip") from error
        except Refused:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._stream.close()

    def text(self, name: str) -> bytes:
        """A small file as a whole.

        Raises:
            Refused: there is none, or it is damaged.
        """
        if name not in self.names:
            raise Refused(f"thiếu tệp {name}", f"the file {name} is missing")
        return b"".join(_chunks(self._zip, name))

    def lines(self, name: str) -> Lines:
        """The lines of a file."""
        return Lines(self._zip, name)

    def _checked(self) -> frozenset[str]:
        # A zip that somebody packed again may name its folders.
        entries = [one for one in self._zip.infolist() if one.filename not in _FOLDERS]
        names = frozenset(entry.filename for entry in entries)
        if len(names) != len(entries):
            raise Refused("zip có tệp trùng tên", "the zip has two files of one name")
        for entry in entries:
            text = entry.filename in {MANIFEST, SIGNATURE, KEYS}
            if not text and not _NAME.fullmatch(entry.filename):
                raise Refused(
                    "zip có tệp không thuộc bản trích", "the zip has files that no export has"
                )
            if entry.orig_filename != entry.filename or entry.flag_bits & 0x1:
                raise Refused("zip có mục bất thường", "the zip has an unusual entry")
            if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise Refused("kiểu nén không được nhận", "a compression that no export has")
            if text and entry.file_size > LARGEST_TEXT:
                raise Refused(f"{entry.filename} quá lớn", f"{entry.filename} is too large")
            if entry.file_size > max(_SMALL, entry.compress_size * HIGHEST_RATIO):
                raise Refused("tỷ lệ nén bất thường (zip bomb)", "compressed too well (zip bomb)")
        return names


def _chunks(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    # The length that the directory names bounds what is read; the checksum is checked at the end.
    try:
        with archive.open(name) as opened:
            while chunk := opened.read(_CHUNK):
                yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        raise Refused(f"{name} bị hỏng trong tệp zip", f"{name} is damaged in the zip") from error
    except (NotImplementedError, RuntimeError) as error:
        raise Refused("zip có mục bất thường", "the zip has an unusual entry") from error


def _check_directory(stream: IO[bytes]) -> None:
    """Refuse a directory too large to be held, before it is read as a whole."""
    total = stream.seek(0, 2)
    if total < _END.size:
        raise Refused("không phải tệp zip", "not a zip")
    stream.seek(total - _END.size)
    mark, *_, size, _, comment = _END.unpack(stream.read(_END.size))
    if mark != b"PK\x05\x06" or comment:
        raise Refused("không phải tệp zip của bản trích", "not the zip of an export")
    if total >= _END.size + _LOCATOR.size:
        stream.seek(total - _END.size - _LOCATOR.size)
        mark, _, place, _ = _LOCATOR.unpack(stream.read(_LOCATOR.size))
        if mark == b"PK\x06\x07":
            if place > total - _END_64.size:
                raise Refused("không phải tệp zip hợp lệ", "not a well-formed zip")
            stream.seek(place)
            size = max(_END_64.unpack(stream.read(_END_64.size))[-2], size % 0xFFFFFFFF)
    if size > _LARGEST_DIRECTORY:
        raise Refused("zip có quá nhiều mục", "the zip has too many entries")
    stream.seek(0)
