"""Which results have to be signed, and by whom: versioned data, which an operator gives.

No published list says which procedures' results must bear a digital signature, so this release has
no rules. A result that its source system already asks to be signed is left as it is; of several
rules that fit, the first counts.
"""

from collections.abc import Callable
from datetime import date
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from common.contracts.codes import AgencyCode, ProcedureCode, within
from common.contracts.commands import Complete, Result, SigningWish
from dossier.domain.calendar import VIETNAM
from dossier.domain.model import Dossier

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


class Rule(BaseModel):
    """Results of these dossiers are to be signed.

    Attributes:
        agency: where the dossier is when it is completed; those below it are meant as well.
        procedures: None for every procedure.
        results: codes of result papers (MaGiayToKetQua); None for every one.
        valid_from, valid_until: first and last day in Vietnam on which a completion falls under it.
        basis: the decision or regulation that demands it.
    """

    model_config = _SHAPE

    agency: AgencyCode
    procedures: tuple[ProcedureCode, ...] | None = None
    results: tuple[str, ...] | None = None
    signer: Signer
    valid_from: date
    valid_until: date | None = None
    basis: str = Field(min_length=1)

    def demands(self, dossier: Dossier, result: Result, day: date) -> bool:
        """Whether a result of a dossier that is completed on a day has to be signed."""
        return (
            within(dossier.state.agency, self.agency)
            and self.valid_from <= day <= (self.valid_until or day)
            and (self.procedures is None or dossier.state.procedure.code in self.procedures)
            and (self.results is None or result.code in self.results)
        )


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
            if rule is not None and result.file is not None and result.signing is None:
                wish = SigningWish(
                    sealed_user=seal(rule.signer.user.get_secret_value(), dossier.code),
                    ca_name=rule.signer.ca_name,
                    reason=rule.signer.reason,
                )
                result = result.model_copy(update={"signing": wish})  # noqa: PLW2901
            results.append(result)
        return command.model_copy(update={"results": tuple(results)})


def load(path: Path | None = None) -> SigningRules:
    """The operator's rules, or those of this release, of which there are none.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no rules.
    """
    data = path or resources.files("dossier") / "data" / "signing_rules.json"
    return SigningRules.model_validate_json(data.read_bytes())
