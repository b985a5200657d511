"""The visible stamp: where it goes, what it says, and that it is there to be seen."""

from datetime import UTC, datetime
from io import BytesIO

import pypdfium2 as pdfium
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ImageChops
from pyhanko.sign.fields import SigFieldSpec, append_signature_field
from reportlab.pdfgen.canvas import Canvas

from signature_connector.assembly.places import place_of
from signature_connector.domain.assembly import Stamp, Unfit
from signature_connector.domain.stamps import stamp_lines
from tests.support import assembly
from tests.support.signing import colleague, pdf, updated
from tests.unit.test_assembly_pades import accepted

LINES = stamp_lines(
    "Nguyễn Thị Hồng Ưởng",
    datetime(2026, 12, 31, 18, 30, 5, tzinfo=UTC),
    agency="Ủy ban nhân dân quận Hoàn Kiếm",
    reason="Phê duyệt kết quả",
)
A4 = (595.0, 842.0)


def page(
    *, turned: int = 0, anchor: str = "CHU TICH", at: tuple[float, float] = (300, 300)
) -> bytes:
    """One page that is seen upright as A4, however it is stored."""
    out = BytesIO()
    canvas = Canvas(out, pagesize=A4)
    if turned:
        canvas.setPageRotation(turned)
    canvas.drawString(*at, "CHU TICH")
    canvas.showPage()
    canvas.save()
    return out.getvalue()


def seen(content: bytes, number: int = 0) -> "pdfium.PdfBitmap":
    document = pdfium.PdfDocument(content)
    document.init_forms()
    return document[number].render(scale=1, may_draw_forms=True).to_pil().convert("L")


def text(content: bytes, number: int = 0) -> str:
    """What stands on a page, appearances included."""
    document = pdfium.PdfDocument(content)
    document.init_forms()
    document[number].flatten()
    found: str = document[number].get_textpage().get_text_bounded()
    return found.replace("\xa0", " ")


def test_the_stamp_tells_signer_agency_vietnamese_time_and_reason() -> None:
    assert [line.replace("\xa0", " ") for line in LINES] == [
        "Ký bởi: Nguyễn Thị Hồng Ưởng",
        "Cơ quan: Ủy ban nhân dân quận Hoàn Kiếm",
        "Thời gian ký: 01/01/2027 01:30:05 +07:00",
        "Lý do: Phê duyệt kết quả",
    ]


def test_its_letters_can_be_read_searched_and_copied() -> None:
    stamp = Stamp(LINES, page=0, box=(50, 50, 300, 120))
    signed = assembly.signed(page(), stamp=stamp)
    found = text(signed)
    for line in LINES:
        assert line.replace("\xa0", " ") in found
    assert accepted(signed)


ALPHABET = "aăâbcdđeêghiklmnoôơpqrstuưvxyfjwz" + "áàảãạấầẩẫậắằẳẵặéèẻẽẹếềểễệíìỉĩị"
ALPHABET += "óòỏõọốồổỗộớờởỡợúùủũụứừửữựýỳỷỹỵ"


def test_every_vietnamese_letter_has_a_shape_in_the_embedded_font() -> None:
    lines = (ALPHABET, ALPHABET.upper(), "0123456789 .,:;-/()“”₫")
    signed = assembly.signed(page(), stamp=Stamp(lines, page=0, box=(20, 20, 580, 120)))
    found = text(signed)
    for line in lines:
        assert line in found.replace("\r\n", "")
    assert signed[len(page()) :].count(b"/FontFile2") == 2, "bold and regular, as far as used"


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_a_box_is_where_the_reader_sees_it_also_on_a_turned_page(turned: int) -> None:
    content = page(turned=turned, at=(10, 10))
    signed = assembly.signed(content, stamp=Stamp(LINES, page=0, box=(50, 700, 250, 770)))
    before, after = seen(content), seen(signed)
    assert after.size == (595, 842)
    changed = ImageChops.difference(before, after).getbbox()
    assert changed == pytest.approx((50, 72, 250, 142), abs=2)
    # The thick bar is left of the text as it is read.
    assert all(after.getpixel((52, y)) < 200 for y in range(75, 140))
    assert accepted(signed)


def test_by_an_anchor_it_stands_above_and_beside_where_there_is_no_room_above() -> None:
    above = place_of(page(at=(300, 300)), Stamp(LINES, anchor="CHU TICH"))
    left, bottom, right, _ = above.box
    assert 300 < bottom < 320
    assert (left + right) / 2 == pytest.approx(331, abs=8)
    beside = place_of(page(at=(20, 820)), Stamp(LINES, anchor="CHU TICH"))
    assert beside.box[3] <= 842
    assert place_of(page(at=(300, 300)), Stamp(LINES, anchor="CHU  TICH\n")) == above


def test_it_does_not_cover_other_text_where_there_is_another_place() -> None:
    out = BytesIO()
    canvas = Canvas(out, pagesize=A4)
    canvas.drawString(100, 300, "CHU TICH")
    canvas.drawString(90, 330, "tren chu ky co chu khac")
    canvas.showPage()
    canvas.save()
    place = place_of(out.getvalue(), Stamp(LINES, anchor="CHU TICH"))
    assert place.box[3] < 300, "below it"


def test_the_last_occurrence_of_the_anchor_counts() -> None:
    place = place_of(pdf("CHU TICH"), Stamp(LINES, anchor="CHU TICH"))
    assert place.page == 1


@pytest.mark.parametrize(
    ("stamp", "code"),
    [
        (Stamp(LINES, anchor="khong co"), "anchor-missing"),
        (Stamp(LINES, page=7, box=(0, 0, 100, 50)), "stamp-outside"),
        (Stamp(LINES, page=0, box=(500, 0, 700, 50)), "stamp-outside"),
        (Stamp(LINES, page=0, box=(100, 100, 110, 105)), "stamp-outside"),
        (Stamp(LINES, page=0), "stamp-outside"),
        (Stamp((*LINES, "dài " * 400), page=0, box=(0, 0, 100, 30)), "stamp-outside"),
    ],
)
def test_a_place_that_there_is_not_is_refused(stamp: Stamp, code: str) -> None:
    with pytest.raises(Unfit) as refused:
        assembly.signed(page(), stamp=stamp)
    assert refused.value.code == code


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    width=st.integers(150, 400),
    height=st.integers(50, 150),
    lines=st.lists(st.text("ABC đêế xyz ", min_size=1, max_size=40), min_size=1, max_size=4),
)
def test_whatever_the_lines_and_box_the_signature_holds(
    width: int, height: int, lines: list[str]
) -> None:
    stamp = Stamp(tuple(lines), page=0, box=(10, 10, 10 + width, 10 + height))
    assert accepted(assembly.signed(page(), stamp=stamp))


def test_an_empty_visible_field_is_filled_with_the_stamp() -> None:
    spec = SigFieldSpec("LanhDao", box=(100, 100, 350, 180), on_page=0)
    document = updated(page(), lambda writer: append_signature_field(writer, spec))
    signed = assembly.signed(document, field="LanhDao", stamp=Stamp(LINES))
    assert "Nguyễn Thị Hồng Ưởng" in text(signed)
    assert accepted(signed)


def test_several_stamps_stand_on_one_page_and_all_signatures_hold() -> None:
    first = assembly.signed(page(), stamp=Stamp(LINES, page=0, box=(50, 50, 250, 110)))
    second = assembly.signed(
        first,
        colleague(),
        final=True,
        stamp=Stamp(("Ký bởi: ỦY BAN NHÂN DÂN",), page=0, box=(300, 700, 550, 760)),
    )
    assert accepted(second, 2)
    found = text(second)
    assert "Nguyễn Thị Hồng Ưởng" in found
    assert "ỦY BAN NHÂN DÂN" in found
