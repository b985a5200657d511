"""How a document is to be signed: format, level, what else was wished."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import orjson

from signature_connector.domain.assembly import Format, Level

Augment = Literal["required", "wanted"]
"""Whether a document is handed out only with the timestamps and validation data of its level, or
also at B-B where no authority answers."""

PROFILES = (
    *(f"pades-{level}" for level in get_args(Level)),
    "cades-b-b",
    "cades-b-t",
    "xades-b-b",
    "jades-b-b",
)
"""What can be put together here: others are refused before anybody is asked."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Format and level, such as ``pades-b-lt`` (ETSI EN 319 142-1 and its like)."""

    format: Format
    level: Level

    @classmethod
    def of(cls, name: str) -> "Profile":
        """Read a profile's name.

        Raises:
            ValueError: not one of ``PROFILES``.
        """
        if name not in PROFILES:
            raise ValueError(f"no such profile: {name}")
        form, _, level = name.partition("-")
        return cls(form, level)  # type: ignore[arg-type]  # one of PROFILES


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a visible stamp is wanted.

    Attributes:
        anchor: text on the page beside which it is put; else ``page`` and ``box``.
        page: from 0; negative from the end.
        box: left, bottom, right, top in points from the page's lower left corner.
    """

    anchor: str | None = None
    page: int = -1
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What else was wished.

    Attributes:
        stamp: where a visible stamp is wanted; None: none.
        final: the last signature on the document, such as an agency's seal.
        augment: see ``Augment``.
    """

    reason: str | None = None
    location: str | None = None
    stamp: Mark | None = None
    final: bool = False
    augment: Augment = "wanted"

    def written(self) -> str:
        """As canonical JSON: the same wish has the same text."""
        body: dict[str, Any] = {}
        if self.reason:
            body["reason"] = self.reason
        if self.location:
            body["location"] = self.location
        if self.stamp is not None:
            mark = self.stamp
            box = list(mark.box) if mark.box else None
            body["stamp"] = {"anchor": mark.anchor, "page": mark.page, "box": box}
        if self.final:
            body["final"] = True
        if self.augment != "wanted":
            body["augment"] = self.augment
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def read(cls, written: str) -> "Options":
        """What ``written`` wrote."""
        body: Mapping[str, Any] = orjson.loads(written)
        stamp = body.get("stamp")
        mark = None
        if stamp is not None:
            box = tuple(stamp["box"]) if stamp["box"] else None
            mark = Mark(stamp["anchor"], stamp["page"], box)
        return cls(
            reason=body.get("reason"),
            location=body.get("location"),
            stamp=mark,
            final=body.get("final", False),
            augment=body.get("augment", "wanted"),
        )
