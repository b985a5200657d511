"""What a signing provider may change: append a signature, and data to validate it later.

The verifying library judges what happened *after* a signature. What the signing update itself did
to the document that was sent, the signature covers and so cannot show; here that update is judged
by the same rules, with the sent document as the base. The rules are pyHanko's, narrowed: no
filling of other fields, no actions, no other kinds of form.
"""

from collections.abc import Iterable

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import HistoricalResolver, PdfFileReader
from pyhanko.sign.diff_analysis import (
    CatalogModificationRule,
    DocInfoRule,
    DSSCompareRule,
    FieldComparisonContext,
    FieldComparisonSpec,
    FieldMDPRule,
    FormUpdate,
    FormUpdatingRule,
    MetadataUpdateRule,
    ModificationLevel,
    ObjectStreamRule,
    SigFieldCreationRule,
    SigFieldModificationRule,
    StandardDiffPolicy,
    SuspiciousModification,
    XrefStreamRule,
)
from pyhanko.sign.fields import enumerate_sig_fields

from signature_connector.domain.findings import Refusal

# What a signer may set in the form: /SigFlags says that there are signatures, /DR and /DA serve
# visible marks. Everything else (/XFA, /CO, /NeedAppearances) changes what a reader shows.
_FORM_KEYS = frozenset({"/Fields", "/SigFlags", "/DR", "/DA"})
_ACTIONS = frozenset({"/A", "/AA"})


class _FormRule(FormUpdatingRule):
    """Also judges the first form of a document; pyHanko's rule needs one in the base."""

    def apply(
        self, old: HistoricalResolver, new: HistoricalResolver
    ) -> Iterable[tuple[ModificationLevel, FormUpdate]]:
        if "/AcroForm" in old.root:
            yield from super().apply(old, new)
        elif "/AcroForm" in new.root:
            yield from self._first_form(old, new)

    def _first_form(
        self, old: HistoricalResolver, new: HistoricalResolver
    ) -> Iterable[tuple[ModificationLevel, FormUpdate]]:
        form = new.root["/AcroForm"]
        if not isinstance(form, generic.DictionaryObject) or set(form) - _FORM_KEYS:
            raise SuspiciousModification("the new form holds more than signatures")
        fields = form["/Fields"]
        if not isinstance(fields, generic.ArrayObject):
            raise SuspiciousModification("the fields of the new form are no array")
        for place in (new.root.raw_get("/AcroForm"), form.raw_get("/Fields")):
            if isinstance(place, generic.IndirectObject):
                if not old.is_ref_unassignable(place.reference):
                    raise SuspiciousModification("the new form replaces an object")
                yield ModificationLevel.LTA_UPDATES, FormUpdate(place.reference)
        if "/DR" in form:
            for resource in new.collect_dependencies(
                form.raw_get("/DR"), since_revision=old.revision + 1
            ):
                yield ModificationLevel.FORM_FILLING, FormUpdate(resource)
        context = FieldComparisonContext(dict(map(_new_field, fields)), old, new)
        for rule in self.field_rules:
            yield from rule.apply(context)


def _new_field(place: generic.PdfObject) -> tuple[str, FieldComparisonSpec]:
    field = place.get_object()
    if not isinstance(place, generic.IndirectObject) or not isinstance(
        field, generic.DictionaryObject
    ):
        raise SuspiciousModification("a field is not an object of its own")
    if field.get("/FT") != "/Sig":
        raise SuspiciousModification("a new field is no signature")
    return str(field["/T"]), FieldComparisonSpec("/Sig", None, place.reference, None)


class _NoActions(FieldMDPRule):
    """A new field may not do anything when it is seen, clicked or left."""

    def apply(
        self, context: FieldComparisonContext
    ) -> Iterable[tuple[ModificationLevel, FormUpdate]]:
        for spec in context.field_specs.values():
            field = spec.new_field
            if spec.old_field_ref is None and field is not None:
                kids = [kid.get_object() for kid in field.get("/Kids", ())]
                if any(_ACTIONS & set(part) for part in (field, *kids)):
                    raise SuspiciousModification("a new field carries an action")
        return ()


_HARMLESS = (
    CatalogModificationRule(),
    XrefStreamRule().as_qualified(ModificationLevel.LTA_UPDATES),
    ObjectStreamRule().as_qualified(ModificationLevel.LTA_UPDATES),
    DocInfoRule().as_qualified(ModificationLevel.LTA_UPDATES),
    MetadataUpdateRule().as_qualified(ModificationLevel.LTA_UPDATES),
)
_SIGNATURES = StandardDiffPolicy(
    global_rules=[*_HARMLESS, DSSCompareRule().as_qualified(ModificationLevel.LTA_UPDATES)],
    form_rule=_FormRule(
        field_rules=[_NoActions(), SigFieldCreationRule(), SigFieldModificationRule()],
        ignored_acroform_keys=_FORM_KEYS,
    ),
)
_NOTHING = StandardDiffPolicy(global_rules=list(_HARMLESS), form_rule=None)


def judge_signing_update(
    reader: PdfFileReader, sent_revisions: int, signed_revision: int, field: str
) -> None:
    """Refuse unless the updates up to the signature added that signature and nothing else.

    Args:
        reader: the returned document.
        sent_revisions: how many revisions the sent document has.
        signed_revision: the revision that the new signature covers.
        field: name of the field that holds it.

    Raises:
        Refusal: something else was changed.
    """
    base = reader.get_historical_resolver(sent_revisions - 1)
    for revision in range(sent_revisions, signed_revision + 1):
        try:
            result = _SIGNATURES.apply(base, reader.get_historical_resolver(revision))
        except SuspiciousModification as reason:
            raise Refusal("changed-while-signing") from reason
        if result.changed_form_fields - {field}:
            raise Refusal("changed-while-signing")


def judge_later_updates(reader: PdfFileReader, signed_revision: int) -> None:
    """Refuse unless every update after the signature adds data to validate it later.

    Raises:
        Refusal: the document was changed, or an update serves no such purpose.
    """
    base = reader.get_historical_resolver(signed_revision)
    for revision in range(signed_revision + 1, reader.total_revisions):
        new = reader.get_historical_resolver(revision)
        try:
            level = _SIGNATURES.apply(base, new).modification_level
        except SuspiciousModification as reason:
            raise Refusal("changed-after-signing") from reason
        if level > ModificationLevel.LTA_UPDATES:
            raise Refusal("changed-after-signing")
        if _adds_nothing(base, new):
            raise Refusal("extra-update")


def judge_between(
    reader: PdfFileReader, signed_revision: int, last_signature: int
) -> ModificationLevel:
    """What was done after a signature, by the same narrow rules, in a document of several signers.

    Args:
        signed_revision: the revision that the signature covers.
        last_signature: the revision of the last signature or timestamp of the document; after it
            nothing but data for validation may follow. Negative: there is none after this one.

    Returns:
        ``FORM_FILLING`` where further signatures were added, else ``LTA_UPDATES``.

    Raises:
        Refusal: the document was changed, or an update serves no such purpose.
    """
    base = reader.get_historical_resolver(signed_revision)
    _check_empty_fields(reader, base)
    most = ModificationLevel.FORM_FILLING if last_signature >= 0 else ModificationLevel.LTA_UPDATES
    found = ModificationLevel.LTA_UPDATES
    for revision in range(signed_revision + 1, reader.total_revisions):
        new = reader.get_historical_resolver(revision)
        try:
            level = _SIGNATURES.apply(base, new).modification_level
        except SuspiciousModification as reason:
            raise Refusal("changed-after-signing") from reason
        if level > most:
            raise Refusal("changed-after-signing")
        if _adds_nothing(base, new):
            raise Refusal("extra-update")
        found = max(found, level)
    if last_signature >= 0:
        judge_later_updates(reader, last_signature)
    return found


def _check_empty_fields(reader: PdfFileReader, base: HistoricalResolver) -> None:
    """A field that was added later and waits for a signature may not show anything meanwhile."""
    before = {name for name, _, _ in enumerate_sig_fields(base)}
    for name, _, place in enumerate_sig_fields(reader, filled_status=False):
        field = place.get_object()
        parts = [field, *(kid.get_object() for kid in field.get("/Kids", ()))]
        if name not in before and any("/AP" in part for part in parts):
            raise Refusal("changed-after-signing", "empty field")


def _adds_nothing(base: HistoricalResolver, new: HistoricalResolver) -> bool:
    """Whether the update is explained without any data for validation."""
    try:
        _NOTHING.apply(base, new)
    except SuspiciousModification:
        return False
    return True
