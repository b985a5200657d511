"""Codes of the field that cross every border: agencies, dossiers, procedures.

Sources: agency codes QĐ 20/2020/QĐ-TTg (new form) and QCVN 102:2016/BTTTT (old form); dossier
codes TT 01/2018/TT-VPCP Điều 19 (law), longer sequences and eight-digit dates as seen in public
code; procedure codes as seen in public code.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

_GROUPS = r"[0-9A-Z]+(?:\.[0-9A-Z]+)*"
_AGENCY = rf"(?:[A-Z][0-9]{{2}}(?:\.{_GROUPS})?|{_GROUPS}\.[A-Z][0-9]{{2}})"
AGENCY_PATTERN = rf"^{_AGENCY}$"
DOSSIER_PATTERN = rf"^{_AGENCY}-(?:[0-9]{{6}}|[0-9]{{8}})-[0-9]{{4,7}}$"
PROCEDURE_PATTERN = rf"^[0-9]\.[0-9]{{6}}(?:\.{_GROUPS})?$"

_LEVEL_ONE = re.compile(r"^[A-Z]\d{2}$")
_ZERO = re.compile(r"^0+$")


def canonical_agency(code: str) -> str:
    """The new form of an agency code, whichever form it came in.

    The old form has its level-1 group rightmost and pads with groups of zeros
    (``000.00.15.H10``); the new form has it leftmost (``H10.15``). Both name one agency.

    Raises:
        ValueError: neither form: no level-1 group (a letter and two digits) at either end.
    """
    groups = code.split(".")
    if _LEVEL_ONE.match(groups[0]):
        return code
    if _LEVEL_ONE.match(groups[-1]):
        kept = [group for group in reversed(groups) if not _ZERO.match(group)]
        return ".".join(kept)
    raise ValueError("agency code has no level-1 group (a letter and two digits) at either end")


def agency_of_dossier(code: str) -> str:
    """The agency whose code begins a dossier code, in the new form.

    Raises:
        ValueError: the agency part is in neither form.
    """
    return canonical_agency(code.rsplit("-", 2)[0])


def within(agency: str, subtree: str) -> bool:
    """Whether an agency (new form) is the subtree's root or below it; ``*`` holds all."""
    return subtree in ("*", agency) or agency.startswith(subtree + ".")


AgencyCode = Annotated[
    str,
    StringConstraints(max_length=35, pattern=AGENCY_PATTERN),
    AfterValidator(canonical_agency),
]
DossierCode = Annotated[str, StringConstraints(max_length=60, pattern=DOSSIER_PATTERN)]
ProcedureCode = Annotated[str, StringConstraints(max_length=45, pattern=PROCEDURE_PATTERN)]
