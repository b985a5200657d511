"""What may happen to a PDF between one signature and the end of the file, kind by kind."""

from collections.abc import Callable
from functools import cache
from io import BytesIO
from unittest.mock import patch

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign import fields
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.fields import MDPPerm
from pyhanko.sign.signers import PdfSigner

from signature_connector.domain.findings import Refusal
from signature_connector.verification.changes import judge_between
from tests.support import revisions
from tests.support.revisions import (
    annotated,
    cosigned,
    cosigned_with,
    drawn,
    empty_field,
    filled,
    form_key,
    kept,
    new_text_field,
    overwritten,
    retitled,
    unknown_key,
    unknown_object,
)
from tests.support.signing import How, colleague, draw, issue, sign, updated
from tests.support.verification import report

FIRST, CHANGED = 2, "changed-after-signing"  # the revision of the first signature
PASSED, UNSURE, FAILED = "TOTAL-PASSED", "INDETERMINATE", "TOTAL-FAILED"
EVERY = (None, MDPPerm.NO_CHANGES, MDPPerm.FILL_FORMS, MDPPerm.ANNOTATE)
Change = Callable[[bytes], bytes]


@cache
def signed(certify: MDPPerm | None = None) -> bytes:
    return revisions.signed(certify)


def said(content: bytes) -> list[tuple[str, str | None, list[str]]]:
    """Per signature: outcome, what was done since, and what speaks against it."""
    return [
        (
            one["indication"],
            one["modifications"],
            [found["code"] for found in one["findings"] if found["level"] == "refused"],
        )
        for one in report("pdf", content).facts["signatures"]
    ]


@pytest.mark.parametrize("certify", EVERY)
@pytest.mark.parametrize(
    "change",
    [annotated, overwritten, unknown_key, new_text_field, drawn],
)
def test_no_certification_allows_content_to_change(change: Change, certify: MDPPerm | None) -> None:
    """Annotations neither, where DocMDP allows them (3): no rule tells a note from an overlay."""
    assert said(change(signed(certify))) == [(FAILED, None, [CHANGED])]


@pytest.mark.parametrize(
    ("certify", "expected"),
    [
        (None, (UNSURE, "forms", ["form-filled"])),
        (MDPPerm.NO_CHANGES, (FAILED, None, [CHANGED])),
        (MDPPerm.FILL_FORMS, (UNSURE, "forms", ["form-filled"])),
        (MDPPerm.ANNOTATE, (UNSURE, "forms", ["form-filled"])),
    ],
)
def test_a_form_that_was_filled_is_for_a_person_to_judge_unless_it_was_forbidden(
    certify: MDPPerm | None, expected: tuple[str, str | None, list[str]]
) -> None:
    assert said(filled(signed(certify))) == [expected]


@pytest.mark.parametrize("certify", EVERY)
@pytest.mark.parametrize("change", [unknown_object, form_key, retitled])
def test_an_update_that_serves_nothing_known_is_for_a_person_to_judge(
    change: Change, certify: MDPPerm | None
) -> None:
    ((outcome, _, _),) = said(change(signed(certify)))
    assert outcome == UNSURE


@pytest.mark.parametrize("certify", EVERY)
def test_data_for_validation_and_timestamps_are_allowed_always(certify: MDPPerm | None) -> None:
    assert said(kept(signed(certify))) == [(PASSED, "validation-data", [])]


@pytest.mark.parametrize("certify", [None, MDPPerm.FILL_FORMS, MDPPerm.ANNOTATE])
def test_a_further_signature_is_allowed_unless_it_was_forbidden(certify: MDPPerm | None) -> None:
    assert said(cosigned(signed(certify))) == [(PASSED, "signatures", []), (PASSED, "none", [])]
    empty = said(empty_field(signed(certify)))
    assert [outcome for outcome, _, _ in empty] == [PASSED]


def test_a_document_that_was_locked_takes_neither_signature_nor_field() -> None:
    """Other software may sign all the same."""
    with patch.object(PdfSigner, "_enforce_certification_constraints", lambda *_, **__: None):
        both = cosigned(signed(MDPPerm.NO_CHANGES))
    first, second = said(both)
    assert first == (FAILED, None, [CHANGED])
    assert second[0] == PASSED
    assert said(empty_field(signed(MDPPerm.NO_CHANGES))) == [(FAILED, None, [CHANGED])]


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (filled, (UNSURE, "forms", ["form-filled"])),
        (retitled, (UNSURE, "forms", ["form-filled"])),
        (annotated, (FAILED, None, [CHANGED])),
        (drawn, (FAILED, None, [CHANGED])),
        (overwritten, (FAILED, None, [CHANGED])),
        (empty_field, (PASSED, "signatures", [])),
        (kept, (PASSED, "signatures", [])),
    ],
)
def test_a_later_signature_does_not_approve_for_the_first_signer(
    change: Change, first: tuple[str, str | None, list[str]]
) -> None:
    """The second signed what was there, and is as good as ever; the first is judged by itself."""
    assert said(cosigned(change(signed()))) == [first, (PASSED, "none", [])]


def test_what_the_second_signers_update_changed_besides_counts_against_the_first() -> None:
    first, second = said(cosigned_with(draw)(signed()))
    assert first == (FAILED, None, [CHANGED])
    assert second == (PASSED, "none", [])


@pytest.mark.parametrize("change", [annotated, drawn, overwritten, unknown_key])
def test_a_change_after_the_last_signature_counts_against_all(change: Change) -> None:
    assert [one[0] for one in said(change(cosigned(signed())))] == [FAILED, FAILED]


def test_an_empty_field_that_shows_something_is_a_change() -> None:
    def cover(content: bytes) -> bytes:
        spec = fields.SigFieldSpec("Cover", box=(0, 0, 600, 800), empty_field_appearance=True)
        return updated(content, lambda writer: fields.append_signature_field(writer, spec))

    assert said(cover(signed())) == [(FAILED, None, [CHANGED])]
    assert [one[0] for one in said(cosigned(cover(signed())))] == [FAILED, PASSED]


# The narrow rules themselves.


def judged(content: bytes, last: int = -1) -> ModificationLevel | str:
    try:
        return judge_between(PdfFileReader(BytesIO(content), strict=True), FIRST, last)
    except Refusal as refusal:
        return refusal.finding.code


def test_the_narrow_rules_tell_signatures_from_data_for_validation() -> None:
    assert judged(cosigned(signed()), FIRST + 1) is ModificationLevel.FORM_FILLING
    assert judged(kept(signed())) is ModificationLevel.LTA_UPDATES
    assert judged(kept(cosigned(signed())), FIRST + 1) is ModificationLevel.FORM_FILLING


def test_a_signature_is_no_data_for_validation() -> None:
    """Where there is none that is known: a field can be filled with what is no signature."""
    assert judged(cosigned(signed())) == CHANGED


def test_after_the_last_signature_nothing_but_data_may_follow() -> None:
    third = sign(cosigned(signed()), issue("Người thứ ba", None), How(field="Third"))
    assert judged(third, FIRST + 2) is ModificationLevel.FORM_FILLING
    assert judged(third, FIRST + 1) == CHANGED


@pytest.mark.parametrize("change", [retitled, unknown_object])
def test_an_update_without_any_purpose_is_refused(change: Change) -> None:
    assert judged(change(signed())) == "extra-update"
    assert judged(cosigned(change(signed())), FIRST + 2) == "extra-update"
    assert judged(change(cosigned(signed())), FIRST + 1) == "extra-update"


@pytest.mark.parametrize(
    "change", [filled, annotated, overwritten, unknown_key, form_key, new_text_field, drawn]
)
def test_every_other_change_is_refused_before_and_after_the_last_signature(change: Change) -> None:
    assert judged(change(signed())) == CHANGED
    assert judged(cosigned(change(signed())), FIRST + 2) == CHANGED
    assert judged(change(cosigned(signed())), FIRST + 1) == CHANGED


def test_both_signers_are_different_persons() -> None:
    told = report("pdf", cosigned(signed())).facts["signatures"]
    assert told[1]["certificate"]["serial_number"] == colleague().serial
    assert told[0]["certificate"]["serial_number"] != colleague().serial
