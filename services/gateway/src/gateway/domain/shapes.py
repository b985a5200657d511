"""The members of what is read, by which ``fields=`` chooses.

They are the providers' (``contracts/rest``); a test compares. A member without parentheses has no
further names inside: it is chosen as a whole.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Shape = Mapping[str, "Shape"]
"""The names of an object's members, each with those inside of it."""

_TOKEN = re.compile(r"[a-z0-9_]+|[()]")


class UnknownField(Exception):
    """A name that is in no such object.

    Attributes:
        known: the names that are there in its place.
    """

    def __init__(self, known: Iterable[str]) -> None:
        super().__init__("unknown field")
        self.known = tuple(sorted(known))


def shape(written: str) -> Shape:
    """A shape from ``name other(inside more)``."""
    return _level(iter(_TOKEN.findall(written)))


def _level(tokens: Iterator[str]) -> Shape:
    names: dict[str, Shape] = {}
    last = ""
    for token in tokens:
        if token == "(":
            names[last] = _level(tokens)
        elif token == ")":
            break
        else:
            names[last := token] = {}
    return names


def chosen(known: Shape, paths: Iterable[str]) -> Shape:
    """The part of a shape that dotted names choose; a name chooses all inside of it.

    Raises:
        UnknownField: one is not in the shape.
    """
    part: dict[str, Any] = {}
    for path in paths:
        inside, at = known, part
        names = path.split(".")
        for place, name in enumerate(names):
            if name not in inside:
                raise UnknownField(inside)
            inside = inside[name]
            if place == len(names) - 1:
                at[name] = {}  # the whole, also where a part of it was named before
            elif name in at and not at[name]:
                break
            else:
                at = at.setdefault(name, {})
    return part


def pattern(known: Shape) -> str:
    """What ``fields`` may be for a shape, as a regular expression."""
    names = _names(known)
    return f"^({names})(,({names}))*$"


def _names(known: Shape) -> str:
    return "|".join(
        name + (rf"(\.({_names(inside)}))?" if inside else "")
        for name, inside in sorted(known.items())
    )


def only(part: Shape, value: Any) -> Any:
    """What a part of a shape leaves of a JSON value; of a list, of each element."""
    if not part:
        return value
    if isinstance(value, list):
        return [only(part, one) for one in value]
    if isinstance(value, dict):
        return {name: only(part[name], inside) for name, inside in value.items() if name in part}
    return value


_AGREED = "code field(code name) has_fee name service_level time(quantity unit) version"
_PAPER = "component digitised file from_data_store id name replaced_by reused url"
_FEE = "amount code kind method name"
_LAW = "effective issued issuer name number"

DOSSIER = shape(
    f"""
    agency anonymised_at applicant(address email identity(number type) name phone portal_account)
    applicant_kind channel code databases documents({_PAPER}) due_at due_computed extensions
    fees({_FEE}) filed_at finished_at former_agencies historic id online_payment
    other_papers(kind name quantity) paid_online procedure({_AGREED}) processing_unit
    rating(at satisfaction source) receipt_number received_at refused_at remark
    results(code component file id name signing) return_method returned_at state status
    submitted_at summary supplements(content documents({_PAPER}) due_after due_before fees({_FEE})
    given_at number papers(kind name quantity) received_by received_note requested_at requested_by)
    version vneid_verified
    submission_id pending(submission_id kind received_at)
    """
)
DOSSIER_LINE = shape(
    f"""
    agency channel code due_at finished_at historic procedure({_AGREED}) received_at returned_at
    status submitted_at updated_at version
    """
)
STEP = shape(
    """
    agency at channel due_at flagged flagged_reason(en vi) kind note number
    official(department name title) started_at status
    """
)
PROCEDURE = shape(
    f"""
    active agencies(code name role) applicants audience_note cases(code time(quantity unit)) code
    decision documents(case code copies form form_url name originals replaced_by) documents_total
    fee(amount kind least most note recorded us_dollars) field(code code_from name) implementing
    implementing_total irregular keywords kind legal_basis({_LAW}) levels linked(code name relation)
    name note origin portal_flags promulgator(code name) reception_address
    required_identification(account_level note) requirements results(code name) service_level
    service_level_from service_level_reason(basis({_LAW}) reason) source(catalogue details)
    steps(case name) time(quantity unit) topics valid_from valid_to version
    ways_in(channel charges(amount code note recorded unit) note time(quantity unit))
    """
)
PROCEDURE_LINE = shape(
    """
    active code field(code code_from name) irregular levels name promulgator(code name)
    service_level version
    """
)
AGENCY = shape(
    """
    absorbed active closed_by code confidence former_names gso_code gso_code_before_2025_07 kind
    legacy_code listed_in name name_en name_vi note origin parent portal_domain short_name sources
    successor valid_from valid_to version version_from version_to
    """
)
SUBMISSION = shape(
    "submission_id dossier_code kind state received_at decided_at step_number flagged problem"
)
