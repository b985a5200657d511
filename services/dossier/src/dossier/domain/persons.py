"""By what a person's dossiers can be found, each in one normal form.

Two ways of writing one number make one entry of the index: spaces, dots and hyphens go, letters
are capital; a telephone number begins with 0 whether or not it was given with the country's code.
"""

import unicodedata
from typing import Literal

from dossier.domain.masking import Applicant

IdentityType = Literal["citizen-id", "old-citizen-id", "passport", "tax-code"]
PHONE, EMAIL = "phone", "email"
_BETWEEN = str.maketrans("", "", " .-\u2010\u2011\u2012\u2013\u2014\u00a0\t")
_COUNTRY, _NATIONAL_DIGITS = "84", 9


def entries(applicant: Applicant) -> list[tuple[str, str]]:
    """Kind and normal form of everything an applicant can be found by."""
    found = []
    if applicant.identity is not None:
        found.append((applicant.identity.type, identity(applicant.identity.number)))
    if applicant.phone:
        found.append((PHONE, phone(applicant.phone)))
    if applicant.email:
        found.append((EMAIL, email(applicant.email)))
    return [(kind, value) for kind, value in found if value]


def normal(kind: str, value: str) -> str:
    """A value in the normal form of its kind; empty where nothing is left of it."""
    if kind == PHONE:
        return phone(value)
    return email(value) if kind == EMAIL else identity(value)


def identity(number: str) -> str:
    """An identity paper's or tax number."""
    return unicodedata.normalize("NFKC", number).translate(_BETWEEN).upper()


def phone(number: str) -> str:
    """A telephone number: its digits, national numbers from their 0 on."""
    digits = "".join(c for c in unicodedata.normalize("NFKC", number) if c in "0123456789")
    digits = digits.removeprefix("00") if digits.startswith(f"00{_COUNTRY}") else digits
    if digits.startswith(_COUNTRY) and len(digits) == len(_COUNTRY) + _NATIONAL_DIGITS:
        return "0" + digits.removeprefix(_COUNTRY)
    return digits


def email(address: str) -> str:
    """An e-mail address; capitals make no difference."""
    return unicodedata.normalize("NFKC", address).strip().casefold()
