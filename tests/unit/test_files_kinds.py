"""What a file is, by its content."""

import io
import os
import zipfile
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.use_cases.file_kinds import BY_MEDIA, KINDS, PDF, TAIL, Sniffer

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODT = "application/vnd.oasis.opendocument.text"


def zipped(*members: tuple[str, bytes], comment: bytes = b"") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            stored = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(name, content, compress_type=stored)
        archive.comment = comment
    return made.getvalue()


TYPES = ("[Content_Types].xml", b"<Types/>")
WORD = ("word/document.xml", b"<w:document/>" * 50)
DOCUMENT = zipped(TYPES, ("_rels/.rels", b"<r/>"), WORD)
SHEET = zipped(TYPES, ("xl/workbook.xml", b"<workbook/>"))
TEXT = zipped(("mimetype", ODT.encode()), ("content.xml", b"<office/>"))
SIGNED_XML = (
    b'<?xml version="1.0"?><HoSo><Signature xmlns="http://www.w3.org/2000/09/xmldsig#"/></HoSo>'
)
SIGNED_DATA = bytes.fromhex("3082010006092a864886f70d010702a0820100") + b"\0" * 50
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 20

FILES = {
    "application/pdf": b"%PDF-1.7\n%%EOF\n",
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + b"\0" * 20,
    "image/png": PNG,
    "image/tiff": b"II*\0\x08\0\0\0",
    DOCX: DOCUMENT,
    XLSX: SHEET,
    ODT: TEXT,
    "application/xml": SIGNED_XML,
    "application/pkcs7-mime": SIGNED_DATA,
}


def is_a(media: str, content: bytes, *, at: Sequence[int] = ()) -> bool:
    sniffer = Sniffer(BY_MEDIA[media])
    places = [0, *at, len(content)]
    parts = [content[a:b] for a, b in pairwise(places)]
    return all(sniffer.see(part) for part in parts) and sniffer.verdict()


def test_every_kind_has_an_example_here() -> None:
    assert set(FILES) == {kind.media for kind in KINDS}


@pytest.mark.parametrize("media", FILES)
def test_a_file_is_what_it_is_and_nothing_else(media: str) -> None:
    assert [kind.media for kind in KINDS if is_a(kind.media, FILES[media])] == [media]


@pytest.mark.parametrize("media", FILES)
def test_it_does_not_matter_how_it_comes_in(media: str) -> None:
    content = FILES[media]
    assert is_a(media, content, at=range(1, len(content)))


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"MZ\x90\0", b"#!/bin/sh\n", b"\x7fELF", b"GIF89a", b"<?php", b"%!PS", b"\0"],
)
def test_what_is_none_of_them_is_not_taken(content: bytes) -> None:
    assert not [kind.media for kind in KINDS if is_a(kind.media, content)]


@given(content=st.binary(max_size=300))
def test_no_content_upsets_it(content: bytes) -> None:
    for kind in KINDS:
        is_a(kind.media, content)
        is_a(kind.media, kind.begins[0] + content)


@given(place=st.integers(0, len(DOCUMENT) - 1), value=st.integers(0, 255))
def test_no_changed_byte_upsets_it(place: int, value: int) -> None:
    changed = bytearray(DOCUMENT)
    changed[place] = value
    is_a(DOCX, bytes(changed))


def test_what_it_cannot_become_is_told_at_the_first_bytes() -> None:
    assert Sniffer(PDF).see(b"%PD")
    assert not Sniffer(PDF).see(b"PK\x03\x04")


@pytest.mark.parametrize(
    "content",
    [
        zipped(("a.txt", b"x")),
        zipped(TYPES),
        zipped(TYPES, WORD, ("word/vbaProject.bin", b"macro")),
        DOCUMENT + b"more",
        DOCUMENT[:-1],
        b"\0" * 10 + DOCUMENT,
        b"PK\x03\x04" + DOCUMENT,
        DOCUMENT[:-22] + zipped()[-22:],
    ],
)
def test_a_zip_that_is_no_sound_document_is_refused(content: bytes) -> None:
    assert not is_a(DOCX, content)


def test_a_zip_with_one_name_twice_is_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = zipped(TYPES, WORD, WORD)
    assert not is_a(DOCX, twice)


def test_a_zip_may_have_a_comment_and_many_members() -> None:
    pictures = [(f"word/media/image{n}.png", b"") for n in range(500)]
    assert is_a(DOCX, zipped(TYPES, WORD, *pictures, comment=b"thank you"))


def test_a_document_larger_than_what_is_looked_at() -> None:
    large = zipped(TYPES, WORD, ("word/media/image1.bmp", os.urandom(2 * TAIL)))
    assert is_a(DOCX, large, at=range(0, len(large), 60_000))


@pytest.mark.parametrize(
    "content",
    [
        b'<?xml version="1.0"?><HoSo/>',
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + SIGNED_XML,
        SIGNED_XML.removeprefix(b'<?xml version="1.0"?>'),
    ],
)
def test_xml_that_nobody_signed_is_refused(content: bytes) -> None:
    assert not is_a("application/xml", content)


def test_an_odt_tells_its_type_first() -> None:
    assert not is_a(ODT, zipped(("content.xml", b"<office/>"), ("mimetype", ODT.encode())))
    assert not is_a(ODT, zipped(("mimetype", b"application/zip"), ("content.xml", b"<office/>")))
