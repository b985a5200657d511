"""The national catalogue that the portal answers from: given, or a file that is read again when it
changes, so that a program that runs tells another catalogue from then on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

Rows = list[dict[str, Any]]


class Catalogue:
    """Procedures (LayThuTuc records), agencies and fields.

    Parameters:
        source: lists `procedures`, `agencies`, `fields`; or a JSON file that has them.
    """

    def __init__(self, source: Mapping[str, Rows] | Path | None = None) -> None:
        self._path = source if isinstance(source, Path) else None
        self._read_at = 0
        self._lists: Mapping[str, Rows] = {}
        self._by_code: dict[str, Rows] = {}
        if not isinstance(source, Path):
            self._take(source or {})

    def rows(self, name: str) -> Rows:
        """All rows of a list."""
        self._look()
        return self._lists.get(name, [])

    def procedure(self, code: str) -> Rows:
        """The records of a code."""
        self._look()
        return self._by_code.get(code, [])

    def _look(self) -> None:
        if self._path is None:
            return
        changed_at = self._path.stat().st_mtime_ns
        if changed_at != self._read_at:
            self._take(orjson.loads(self._path.read_bytes()))
            self._read_at = changed_at

    def _take(self, lists: Mapping[str, Rows]) -> None:
        self._lists = lists
        self._by_code = {}
        for row in lists.get("procedures", []):
            self._by_code.setdefault(str(row.get("MaTTHC")), []).append(row)
