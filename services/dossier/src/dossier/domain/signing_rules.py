"""Which results have to be signed, and by whom: versioned data, which an operator gives.

No published list says which procedures' results must bear a digital signature, so this release has
no rules. A result that its source system already asks to be signed is left as it is; of several
rules that fit, the first counts.
"""

from collections.abc import Callable
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from common.contracts.codes import AgencyCode, ProcedureCode, within
from common.contracts.commands import Complete, Result, SigningWish
from common.contracts.dossier import Stamp
from dossier.domain.calendar import VIETNAM
from dossier.domain.model import Dossier, SignedInTurn, Turn

_SHAPE = ConfigDict(frozen=True, extra="forbid")

Seal = Callable[[str, str], str]
"""Seals a text for its owner."""


class Signer(BaseModel):
    """Who signs.

    Attributes:
        user: number of the person, or tax code of the organisation, that the CA knows: personal
            data, so the file with the rules is mounted like a secret.
        ca_name: the CA, as the signing gateway names it.
    """

    model_config = _SHAPE

    user: SecretStr
    ca_name: str = Field(min_length=1, max_length=50)
    reason: str | None = Field(default=None, max_length=200)

    def wish(self, seal: Seal, code: str) -> SigningWish:
        """What is asked of this signer for a dossier, the number sealed for it."""
        sealed = seal(self.user.get_secret_value(), code)
        return SigningWish(sealed_user=sealed, ca_name=self.ca_name, reason=self.reason)


class Place(BaseModel):
    """Where a visible stamp is put: beside a text, or into a box of a page.

    Attributes:
        page: from 0; negative from the end.
        box: left, bottom, right, top in points from the page's lower left corner.
    """

    model_config = _SHAPE

    anchor: str | None = Field(default=None, min_length=1, max_length=200)
    page: int = Field(default=-1, ge=-1000, le=1000)
    box: tuple[float, float, float, float] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.anchor is None) == (self.box is None):
            raise ValueError("a stamp needs either an anchor or a box")
        return self

    def stamp(self) -> Stamp:
        """The same, as it is told."""
        return Stamp(anchor=self.anchor, page=self.page, box=self.box)


class SignerInTurn(Signer):
    """One of several who sign, each what the one before left.

    Attributes:
        seal: an agency's seal: the last signature, after which none may follow.
    """

    stamp: Place | None = None
    seal: bool = False

    def turn(self, seal: Seal, code: str) -> Turn:
        """The same, the number sealed for a dossier."""
        stamp = self.stamp.stamp() if self.stamp else None
        return Turn(signer=self.wish(seal, code), stamp=stamp, seal=self.seal)


class Rule(BaseModel):
    """Results of these dossiers are to be signed.

    Attributes:
        agency: where the dossier is when it is completed; those below it are meant as well.
        procedures: None for every procedure.
        results: codes of result papers (MaGiayToKetQua); None for every one.
        signer: who signs, where it is one.
        signers: who signs, one after the other, where it is several or a seal; the result is
            signed once the last of them has.
        valid_from, valid_until: first and last day in Vietnam on which a completion falls under it.
        basis: the decision or regulation that demands it.
    """

    model_config = _SHAPE

    agency: AgencyCode
    procedures: tuple[ProcedureCode, ...] | None = None
    results: tuple[str, ...] | None = None
    signer: Signer | None = None
    signers: tuple[SignerInTurn, ...] | None = Field(default=None, min_length=1, max_length=20)
    valid_from: date
    valid_until: date | None = None
    basis: str = Field(min_length=1)

    @model_validator(mode="after")
    def _signers(self) -> Self:
        if (self.signer is None) == (self.signers is None):
            raise ValueError("a rule names either a signer or signers")
        if any(one.seal for one in (self.signers or ())[:-1]):
            raise ValueError("a seal is the last signature")
        return self

    def demands(self, dossier: Dossier, result: Result, day: date) -> bool:
        """Whether a result of a dossier that is completed on a day has to be signed."""
        return (
            within(dossier.state.agency, self.agency)
            and self.valid_from <= day <= (self.valid_until or day)
            and (self.procedures is None or dossier.state.procedure.code in self.procedures)
            and (self.results is None or result.code in self.results)
        )

    def applied(self, result: Result, code: str, seal: Seal) -> Result:
        """A result of a dossier with the wish that this rule has for it."""
        if self.signer is not None:
            return result.model_copy(update={"signing": self.signer.wish(seal, code)})
        turns = tuple(one.turn(seal, code) for one in self.signers or ())
        return SignedInTurn(**dict(result), turns=turns)


class SigningRules(BaseModel):
    """All rules, with where they are from."""

    model_config = _SHAPE

    version: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.-]{0,29}$")
    source: str
    confidence: str
    rules: tuple[Rule, ...] = ()

    def applied(self, command: Complete, dossier: Dossier, seal: Seal) -> Complete:
        """The command, with a wish for each result that has to be signed and names no signer.

        A result without a file is left alone: there is nothing to be signed.
        """
        if not self.rules:
            return command
        day = command.at.astimezone(VIETNAM).date()
        results = []
        for result in command.results:
            rule = next((one for one in self.rules if one.demands(dossier, result, day)), None)
            if rule is None or result.file is None or result.signing is not None:
                results.append(result)
            else:
                results.append(rule.applied(result, dossier.code, seal))
        return command.model_copy(update={"results": tuple(results)})


def load(path: Path | None = None) -> SigningRules:
    """The operator's rules, or those of this release, of which there are none.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no rules.
    """
    data = path or resources.files("dossier") / "data" / "signing_rules.json"
    return SigningRules.model_validate_json(data.read_bytes())
