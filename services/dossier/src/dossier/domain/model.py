"""A dossier as the service keeps it, and what becomes of a step."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from common.contracts.base import Data
from common.contracts.commands import Result, SigningWish
from common.contracts.dossier import (
    DossierFact,
    DossierState,
    SigningRequested,
    SigningWorkflowRequested,
    Stamp,
    Status,
    StepTaken,
    Supplement,
)
from common.errors import Problem


class Signing(Data):
    """A signature that was asked for; a result's last one is the one that counts."""

    request_id: UUID
    """Of several signatures one after the other, the last: what it left is the result."""
    result: str
    before: tuple[UUID, ...] = ()
    """Of several, those before the last, in their order."""
    workflow: UUID | None = None
    """Of several, what they have in common."""


class Turn(Data):
    """One of several who are to sign a result."""

    signer: SigningWish
    stamp: Stamp | None = None
    seal: bool = False


class SignedInTurn(Result):
    """A result that several have to sign, one after the other; a rule says so, never a command."""

    turns: tuple[Turn, ...]


class Erasure(Data):
    """When personal data was erased, and by which version of which policy."""

    at: datetime
    policy: str


class Dossier(Data):
    """A dossier with what only this service needs to know of it."""

    state: DossierState
    steps: int
    """Steps taken so far: the number of the last one, and the version of the dossier."""
    interrupted: tuple[Status, ...] = ()
    """In status 5 or 6: what was interrupted and is gone back to, the latest last."""
    fee_open: bool = False
    """A fee was asked for and its payment has not been recorded."""
    signings: tuple[Signing, ...] = ()
    erased: Erasure | None = None
    """Its personal data is gone; nothing is done with it any more."""

    @property
    def code(self) -> str:
        return self.state.code

    @property
    def open_supplement(self) -> Supplement | None:
        """The latest request for papers, while it is unanswered."""
        last = self.state.supplements[-1] if self.state.supplements else None
        return last if last is not None and last.given_at is None else None


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that took effect."""

    dossier: Dossier
    step: StepTaken
    fact: DossierFact
    signings: tuple[SigningRequested | SigningWorkflowRequested, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A step that did not; the dossier is as it was."""

    problem: Problem
