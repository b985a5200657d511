"""What the simulated national portal knows, and since when, read from the journal of its books.

Asking it over HTTP would make it count all its dossiers each time, on the processors that are
measured.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

_ACCEPTED = re.compile(
    rb'{"number":\d+,"time":([\d.]+),"service":"\w+","outcome":"accepted",'
    rb'"end":"open","items":(\d+),"kept":{"(\w+)":'
)
_CODE = re.compile(rb'"MaHoSo":"([^"]+)"')


class Journal:
    """New dossiers (``created``), steps (``steps``), or both, in the portal's journal.

    Args:
        delay: seconds from a call's arrival, which the journal has, to its acceptance.
    """

    def __init__(self, journal: Path, kept: Collection[bytes], delay: float) -> None:
        self._journal = journal
        self._kept = kept
        self._delay = delay
        self._read = 0
        self._times: dict[str, float] = {}
        self._items = 0
        self._last = 0.0

    async def known(self) -> tuple[int, float]:
        """How many there are, and when the last one was accepted (seconds since 1970)."""
        if not self._journal.exists():
            return 0, 0.0
        with self._journal.open("rb") as lines:
            lines.seek(self._read)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                self._take(line)
        return self._items, self._last

    async def times(self) -> Mapping[str, float]:
        """When each new dossier was accepted, by its code."""
        return self._times

    def _take(self, line: bytes) -> None:
        call = _ACCEPTED.match(line)
        if call is None or call[3] not in self._kept:
            return
        self._last = float(call[1]) + self._delay
        self._items += int(call[2])
        if call[3] == b"created":
            for code in _CODE.findall(line, call.end()):
                self._times[code.decode()] = self._last
