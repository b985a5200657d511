"""The visible stamp: its lines in a frame, with a font that has the Vietnamese letters embedded."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Any

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.content import AppearanceContent, ResourceType
from pyhanko.pdf_utils.font.opentype import GlyphAccumulator
from pyhanko.pdf_utils.layout import BoxConstraints
from pyhanko.stamp import BaseStampStyle

from signature_connector.assembly.places import Place
from signature_connector.domain.assembly import Unfit

_INK = (0.10, 0.10, 0.14)
_FRAME = (0.75, 0.09, 0.13)
_BAR = 3.0  # of the frame's colour, along the left side
_PADDING = 6.0
_SIZES = tuple(size / 4 for size in range(38, 17, -1))  # points: 9.5 down to 4.5
_EASY = 7.0  # points that are still read easily: down to here a line is rather smaller than broken
_LEADING = 1.28  # line height over font size: room for marks above capitals (Ế) and below (Ợ)
_ASCENT = 1.02  # of the first line's baseline below the top, over font size
_UPRIGHT = {
    0: (1, 0, 0, 1),
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}


_NOWHERE = Place(0, (0, 0, 0, 0), 0)


@dataclass(frozen=True)
class FramedLines(BaseStampStyle):
    """What the signing library asks for an appearance.

    Attributes:
        lines: top to bottom; the first is set in bold.
        place: whose turn the appearance undoes.
    """

    lines: tuple[str, ...] = ()
    place: Place = _NOWHERE

    def create_stamp(self, writer: Any, box: BoxConstraints, text_params: dict[str, Any]) -> Any:
        """The appearance for one writer."""
        return _Appearance(writer, self)


class _Appearance(AppearanceContent):
    def __init__(self, writer: Any, style: FramedLines) -> None:
        width, height = style.place.size
        super().__init__(writer, BoxConstraints(width=width, height=height))
        self._style = style
        self._width, self._height = width, height
        # A font of which nothing is used cannot be embedded.
        self._fonts = {
            name: GlyphAccumulator(writer, BytesIO(_font(name)), font_size=1, bcp47_lang_code="vi")
            for name in ("Bold", "Regular")[: len(style.lines)]
        }
        self._widths: dict[tuple[str, str], float] = {}

    def render(self) -> bytes:
        size, lines = self._set()
        for name, font in self._fonts.items():
            self.set_resource(ResourceType.FONT, generic.pdf_name(f"/{name}"), font.as_resource())
        commands = [
            b"q 1 1 1 rg 0 0 %.2f %.2f re f" % (self._width, self._height),
            b"%.3f %.3f %.3f rg 0 0 %.2f %.2f re f" % (*_FRAME, _BAR, self._height),
            b"%.3f %.3f %.3f RG 0.8 w 0.4 0.4 %.2f %.2f re S"
            % (*_FRAME, self._width - 0.8, self._height - 0.8),
            b"BT %.3f %.3f %.3f rg" % _INK,
        ]
        y = (self._height + len(lines) * size * _LEADING) / 2 - _ASCENT * size
        for name, text in lines:
            # The engine was made for a size of 1, so that one measure serves all sizes.
            shaped = self._fonts[name].shape(text).graphics_ops
            commands.append(
                b"/%s 1 Tf %.3f 0 0 %.3f %.2f %.2f Tm %s"
                % (name.encode(), size, size, _BAR + _PADDING, y, shaped)
            )
            y -= size * _LEADING
        return b"\n".join([*commands, b"ET Q"])

    def as_form_xobject(self) -> Any:
        form = super().as_form_xobject()
        matrix = [generic.NumberObject(one) for one in (*_UPRIGHT[self._style.place.turned], 0, 0)]
        form[generic.pdf_name("/Matrix")] = generic.ArrayObject(matrix)
        return form

    def _set(self) -> tuple[float, list[tuple[str, str]]]:
        """The size at which all lines fit, and the lines as broken for it."""
        fitting = [(size, lines) for size in _SIZES if (lines := self._fitted(size)) is not None]
        if not fitting:
            raise Unfit("stamp-outside", "too small for its lines")
        unbroken = len(self._style.lines)
        whole = (one for one in fitting if one[0] >= _EASY and len(one[1]) == unbroken)
        return next(whole, fitting[0])

    def _fitted(self, size: float) -> list[tuple[str, str]] | None:
        width = (self._width - _BAR - 2 * _PADDING) / size
        lines = [
            (name, part)
            for number, line in enumerate(self._style.lines)
            for name in ("Regular" if number else "Bold",)
            for part in self._broken(name, line, width)
        ]
        wide = any(self._measure(name, part) > width for name, part in lines)
        high = len(lines) * size * _LEADING > self._height - _PADDING
        return None if wide or high else lines

    def _broken(self, name: str, line: str, width: float) -> Iterator[str]:
        begun = ""
        for word in unicodedata.normalize("NFC", line).split(" "):
            longer = f"{begun} {word}".strip()
            if begun and self._measure(name, longer) > width:
                yield begun
                begun = word
            else:
                begun = longer
        yield begun or "\N{NO-BREAK SPACE}"

    def _measure(self, name: str, text: str) -> float:
        """Width over font size, word by word."""
        words = text.split(" ")
        return sum(self._width_of(name, word) for word in words) + (
            self._width_of(name, " ") * (len(words) - 1)
        )

    def _width_of(self, name: str, word: str) -> float:
        if (name, word) not in self._widths:
            self._widths[name, word] = float(self._fonts[name].shape(word).x_advance)
        return self._widths[name, word]


@cache
def _font(name: str) -> bytes:
    return (resources.files("signature_connector") / f"data/fonts/NotoSans-{name}.ttf").read_bytes()
