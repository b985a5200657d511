"""A zip of JSON lines that is handed on while it is written."""

import asyncio
import hashlib
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import IO, Self

from gateway.domain.log_export import File

_LEVEL = 6


class ZipStream:
    """A zip that is handed on while it is written."""

    def __init__(self) -> None:
        self._sent = _Sink()
        self._zip = zipfile.ZipFile(
            self._sent,
            "w",
            zipfile.ZIP_DEFLATED,
            compresslevel=_LEVEL,
        )
        self._file: IO[bytes] | None = None
        self._now = datetime.now(UTC).timetuple()[:6]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # One that was broken off is closed too, to be rid of it: nobody gets these bytes.
        if self._file is not None:
            self._file.close()
        self._zip.close()

    def begin(self, name: str) -> None:
        """Start a file; there is one at a time."""
        self._name, self._lines, self._bytes = name, 0, 0
        self._digest = hashlib.sha256()
        # Its size is not known before: 64-bit sizes, for more than 4 GiB.
        self._file = self._zip.open(self._entry(name), "w", force_zip64=True)

    async def write(self, lines: Sequence[bytes]) -> bytes:
        """Add lines; what of the zip can be sent now."""
        return await asyncio.to_thread(self._write, lines)

    def _write(self, lines: Sequence[bytes]) -> bytes:
        content = b"".join(line + b"\n" for line in lines)
        self._digest.update(content)
        self._lines += len(lines)
        self._bytes += len(content)
        if self._file is not None:
            self._file.write(content)
        return self._sent.taken()

    def end(self) -> File:
        """End the file, which is told of."""
        if self._file is not None:
            self._file.close()
        return File(self._name, self._lines, self._bytes, self._digest.hexdigest())

    def whole(self, name: str, content: bytes) -> None:
        """Add a small file."""
        self._zip.writestr(self._entry(name), content)

    def close(self) -> bytes:
        """End the zip; its last bytes."""
        self._zip.close()
        return self._sent.taken()

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(name, self._now)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        return entry


class _Sink:
    """Takes what a zip writes, front to back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing to do: what was written is there."""

    def close(self) -> None:
        """Nothing is held open."""

    def taken(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken
