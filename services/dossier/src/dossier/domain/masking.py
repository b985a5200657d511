"""The applicant's personal fields as those see them who may not have them in clear."""

from typing import Any

from common.contracts.base import Data

_SHOWN = 3
_HIDDEN = "***"


class Identity(Data):
    """An identity paper's number, with its kind."""

    type: str
    number: str


class Applicant(Data):
    """Who hands in a dossier: what the gateway seals (owner: the dossier code)."""

    name: str
    identity: Identity | None = None
    portal_account: str | None = None
    email: str | None = None
    phone: str | None = None
    address: str | None = None


def read(opened: Any) -> Applicant:
    """The applicant of an opened seal.

    Raises:
        ValueError: it holds something else.
    """
    return Applicant.model_validate(opened)


def masked(applicant: Applicant) -> Applicant:
    """Initials for the name, the last three digits of numbers, and nothing else in clear."""
    identity = applicant.identity
    return Applicant(
        name=" ".join(f"{word[0]}." for word in applicant.name.split()),
        identity=Identity(type=identity.type, number=_ending(identity.number))
        if identity
        else None,
        portal_account=_ending(applicant.portal_account),
        email=applicant.email and _HIDDEN,
        phone=_ending(applicant.phone),
        address=applicant.address and _HIDDEN,
    )


def _ending(number: str | None) -> str | None:
    """The last three characters, of those long enough that this gives away little."""
    if not number:
        return None
    return _HIDDEN + (number[-_SHOWN:] if len(number) > 2 * _SHOWN else "")
