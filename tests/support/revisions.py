"""PDFs that were changed after they were signed, in every way that the rules tell apart."""

from collections.abc import Callable

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields
from pyhanko.sign.fields import MDPPerm

from tests.support.assembly import archived, long_term
from tests.support.manipulations import NAME, TEXT, _form
from tests.support.signing import How, colleague, draw, pdf, sign, signer, updated

Writer = IncrementalPdfFileWriter
Change = Callable[[bytes], bytes]


def with_form() -> bytes:
    """A document with a text field, not signed yet."""
    return updated(pdf(), _form)


def signed(certify: MDPPerm | None = None, content: bytes | None = None) -> bytes:
    """Signed by the first signer; certified with a level of DocMDP."""
    return sign(content or with_form(), signer(), How(certify=certify))


def cosigned(content: bytes) -> bytes:
    """Signed by a second signer too."""
    return sign(content, colleague(), How(field="Second"))


def filled(content: bytes) -> bytes:
    """The text field has another value."""

    def fill(writer: Writer) -> None:
        field = writer.root["/AcroForm"]["/Fields"][0].get_object()
        field[NAME("/V")] = TEXT("9000000")
        writer.update_container(field)

    return updated(content, fill)


def annotated(content: bytes) -> bytes:
    """A note stands on the first page."""

    def note(writer: Writer) -> None:
        page = writer.root["/Pages"]["/Kids"][0].get_object()
        made = generic.DictionaryObject(
            {
                NAME("/Type"): NAME("/Annot"),
                NAME("/Subtype"): NAME("/FreeText"),
                NAME("/Rect"): generic.ArrayObject(map(generic.NumberObject, (72, 500, 300, 520))),
                NAME("/Contents"): TEXT("Ho so bi tra lai"),
                NAME("/DA"): TEXT("/Helv 12 Tf"),
            }
        )
        kept = page.get("/Annots", generic.ArrayObject())
        page[NAME("/Annots")] = generic.ArrayObject([*kept, writer.add_object(made)])
        writer.update_container(page)

    return updated(content, note)


def overwritten(content: bytes) -> bytes:
    """The page's content is another object under the same number."""

    def overwrite(writer: Writer) -> None:
        page = writer.root["/Pages"]["/Kids"][0].get_object()
        place = page.raw_get("/Contents")
        writer.objects[(place.generation, place.idnum)] = generic.StreamObject(stream_data=b"BT ET")

    return updated(content, overwrite)


def unknown_object(content: bytes) -> bytes:
    """An object that nothing leads to."""

    def add(writer: Writer) -> None:
        writer.add_object(TEXT("what for"))

    return updated(content, add)


def unknown_key(content: bytes) -> bytes:
    """The catalogue holds something of no known meaning."""

    def add(writer: Writer) -> None:
        writer.root[NAME("/Lienthong")] = writer.add_object(TEXT("x"))
        writer.update_root()

    return updated(content, add)


def form_key(content: bytes) -> bytes:
    """The form asks viewers to draw its fields anew."""

    def add(writer: Writer) -> None:
        form = writer.root["/AcroForm"].get_object()
        form[NAME("/NeedAppearances")] = generic.BooleanObject(True)
        writer.update_container(form)

    return updated(content, add)


def retitled(content: bytes) -> bytes:
    """Another title in the document information: nothing that is for validation."""

    def retitle(writer: Writer) -> None:
        writer.set_info(writer.add_object(generic.DictionaryObject({NAME("/Title"): TEXT("Khac")})))

    return updated(content, retitle)


def empty_field(content: bytes) -> bytes:
    """One more field for a signature, which shows nothing."""
    return updated(
        content, lambda writer: fields.append_signature_field(writer, fields.SigFieldSpec("Later"))
    )


def new_text_field(content: bytes) -> bytes:
    """A field for text that was not there."""

    def add(writer: Writer) -> None:
        made = generic.DictionaryObject({NAME("/FT"): NAME("/Tx"), NAME("/T"): TEXT("More")})
        form = writer.root["/AcroForm"].get_object()
        form["/Fields"].append(writer.add_object(made))
        writer.update_container(form["/Fields"])

    return updated(content, add)


def drawn(content: bytes) -> bytes:
    """A line over the first page."""
    return updated(content, draw)


def kept(content: bytes) -> bytes:
    """With data for validation, and a timestamp over the document."""
    return archived(long_term(content))


def cosigned_with(before: Callable[[Writer], None]) -> Change:
    """A second signature, and another change in its very update."""
    return lambda content: sign(content, colleague(), How(field="Second", before=before))
