"""Where on a page a visible stamp goes: a box, or beside a text.

Boxes are as the page is seen; a page may be stored turned and be shown upright by its /Rotate.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pypdfium2 as pdfium

from signature_connector.domain.assembly import Stamp, Unfit

Box = tuple[float, float, float, float]  # left, bottom, right, top in points

WIDTH = 200.0
LINE = 12.0
_LEAST = (40.0, 16.0)  # of width and height: below, nothing can be read
_EDGE = 6.0  # kept free along the page's edges
_GAP = 4.0  # between the anchor and the stamp


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stamp goes.

    Attributes:
        page: from 0.
        box: in the coordinates in which the page is stored.
        turned: degrees by which the page is turned clockwise when it is shown: 0, 90, 180 or 270.
    """

    page: int
    box: Box
    turned: int

    @property
    def size(self) -> tuple[float, float]:
        """Width and height as they are seen."""
        left, bottom, right, top = self.box
        seen = right - left, top - bottom
        return seen if self.turned % 180 == 0 else seen[::-1]


def place_of(content: bytes, stamp: Stamp) -> Place:
    """Where the stamp goes.

    Raises:
        Unfit: the anchor is not in the document, or the box not on its page.
    """
    document = pdfium.PdfDocument(content)
    try:
        if stamp.anchor is not None:
            return _beside(document, stamp, _normal(stamp.anchor))
        count = len(document)
        number = stamp.page + count if stamp.page < 0 else stamp.page
        if not 0 <= number < count or stamp.box is None:
            raise Unfit("stamp-outside", f"page {stamp.page} of {count}")
        return _Page(document, number).place(stamp.box)
    finally:
        document.close()


def in_field(field: Any) -> Place:
    """The place that a field has.

    Args:
        field: its dictionary, which is the one of its only widget too, or has that as its kid.

    Raises:
        Unfit: it is not to be seen.
    """
    widget = field["/Kids"][0].get_object() if "/Kids" in field else field
    x1, y1, x2, y2 = (float(one) for one in widget["/Rect"])
    box = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    turned = int(widget["/P"].get("/Rotate", 0)) % 360 if "/P" in widget else 0
    if box[2] - box[0] < min(_LEAST) or box[3] - box[1] < min(_LEAST):
        raise Unfit("stamp-outside", "field")
    return Place(0, box, turned)


class _Page:
    """A page as it is seen: its lower left corner is the origin."""

    def __init__(self, document: pdfium.PdfDocument, number: int) -> None:
        self.number = number
        self.page = document[number]
        self.turned = self.page.get_rotation()
        self._left, self._bottom, right, top = self.page.get_cropbox()
        self._stored = right - self._left, top - self._bottom
        self.width, self.height = self._stored if self.turned % 180 == 0 else self._stored[::-1]
        self.text = self.page.get_textpage()

    def place(self, box: Box) -> Place:
        left, bottom, right, top = box
        if (
            right - left < _LEAST[0]
            or top - bottom < _LEAST[1]
            or left < 0
            or bottom < 0
            or right > self.width
            or top > self.height
        ):
            raise Unfit("stamp-outside", f"page {self.number}")
        return Place(self.number, self.stored(box), self.turned)

    def stored(self, box: Box) -> Box:
        """A box as seen, in the coordinates in which the page is stored."""
        width, height = self._stored
        left, bottom, right, top = box
        seen = {
            0: (left, bottom, right, top),
            90: (width - top, left, width - bottom, right),
            180: (width - right, height - top, width - left, height - bottom),
            270: (bottom, height - right, top, height - left),
        }[self.turned]
        return (
            seen[0] + self._left,
            seen[1] + self._bottom,
            seen[2] + self._left,
            seen[3] + self._bottom,
        )

    def seen(self, box: Box) -> Box:
        """A box as stored, in the coordinates in which the page is seen."""
        width, height = self._stored
        left, right = box[0] - self._left, box[2] - self._left
        bottom, top = box[1] - self._bottom, box[3] - self._bottom
        return {
            0: (left, bottom, right, top),
            90: (bottom, width - right, top, width - left),
            180: (width - right, height - top, width - left, height - bottom),
            270: (height - top, left, height - bottom, right),
        }[self.turned]

    def find(self, wanted: str) -> Box | None:
        """Where a text stands last on the page."""
        found = None
        searcher = self.text.search(wanted, match_case=True)
        while (hit := searcher.get_next()) is not None:
            found = hit
        if found is None:
            return None
        first, count = found
        boxes = [self.seen(self.text.get_charbox(first + one)) for one in range(count)]
        return (
            min(box[0] for box in boxes),
            min(box[1] for box in boxes),
            max(box[2] for box in boxes),
            max(box[3] for box in boxes),
        )

    def is_empty(self, box: Box) -> bool:
        """Whether no text stands there."""
        return not self.text.get_text_bounded(*self.stored(box)).strip()


def _beside(document: pdfium.PdfDocument, stamp: Stamp, anchor: str) -> Place:
    """By the last occurrence of the anchor: where people sign is at the end."""
    for number in reversed(range(len(document))):
        page = _Page(document, number)
        found = page.find(anchor) or page.find(unicodedata.normalize("NFD", anchor))
        if found is not None:
            width, height = _size(stamp)
            fitting = [
                box
                for box in _around(found, width, height, page.width)
                if box[0] >= _EDGE
                and box[1] >= _EDGE
                and box[2] <= page.width - _EDGE
                and box[3] <= page.height - _EDGE
            ]
            if not fitting:
                raise Unfit("stamp-outside", f"page {number}")
            return page.place(next((box for box in fitting if page.is_empty(box)), fitting[0]))
    raise Unfit("anchor-missing")


def _size(stamp: Stamp) -> tuple[float, float]:
    if stamp.box is not None:
        left, bottom, right, top = stamp.box
        return right - left, top - bottom
    return WIDTH, LINE * (len(stamp.lines) + 1)


def _around(anchor: Box, width: float, height: float, page_width: float) -> Iterator[Box]:
    """Above the anchor, right and left of it, below it."""
    left, bottom, right, top = anchor
    middle, level = (left + right) / 2, (bottom + top) / 2
    centred = min(max(middle - width / 2, _EDGE), page_width - _EDGE - width)
    for x, y in (
        (centred, top + _GAP),
        (right + _GAP, level - height / 2),
        (left - _GAP - width, level - height / 2),
        (centred, bottom - _GAP - height),
    ):
        yield x, y, x + width, y + height


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()))
