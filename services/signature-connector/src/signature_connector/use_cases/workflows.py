"""Several signers of one document, one after the other, from REST and from events."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from common.contracts.dossier import SigningTurn, SigningWorkflowRequested
from common.envelope import Received
from signature_connector.domain.profiles import PROFILES, Mark, Options
from signature_connector.domain.requests import PROFILE, Request

LONGEST = 20
"""So many sign one document at the most."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the signers.

    Attributes:
        request_id: of his signature.
        sealed_user: his number, sealed for the request's owner.
        options: his own; ``final`` of an agency's seal.
    """

    request_id: UUID
    ca_name: str
    sealed_user: str
    options: Options


def check_order(profile: str, seals: Sequence[bool]) -> None:
    """Whether a document can be signed like this by several.

    Args:
        profile: format and level.
        seals: for each signer in his turn, whether his is the agency's seal.

    Raises:
        ValueError: there is nobody, or there are too many; a signature would follow the seal; it
            is to become no PDF.
    """
    if not 0 < len(seals) <= LONGEST:
        raise ValueError(f"from one to {LONGEST} sign a document")
    if any(seals[:-1]):
        raise ValueError("a seal is the last signature")
    if not profile.startswith("pades-"):
        raise ValueError("only a PDF is signed by several, one after the other")


def in_turn(whole: Request, turns: Sequence[Turn]) -> list[Request]:
    """A request for each signer, all but the first waiting for the one before.

    Args:
        whole: what they have in common, its profile that of the last signature: what is for the
            long term is added once, since nothing can be put into a signature that another covers.

    Raises:
        ValueError: see ``check_order``.
    """
    check_order(whole.profile, [turn.options.final for turn in turns])
    requests: list[Request] = []
    for place, turn in enumerate(turns):
        last = place == len(turns) - 1
        requests.append(
            replace(
                whole,
                request_id=turn.request_id,
                ca_name=turn.ca_name,
                sealed_user=turn.sealed_user,
                options=turn.options.written(),
                profile=whole.profile if last else PROFILE,
                place=place,
                after=requests[-1].request_id if requests else None,
            )
        )
    return requests


def wishes_of(
    received: Received, event: SigningWorkflowRequested, traceparent: str | None
) -> list[Request]:
    """The requests that an event asks for.

    Raises:
        ValueError: see ``check_order``.
    """
    whole = Request(
        request_id=event.workflow_id,
        client=received.producer,
        dossier_code=event.dossier_code,
        agency=event.agency,
        procedure=event.procedure_code,
        document_id=event.document_id,
        document_name=event.document_name,
        file=event.file,
        ca_name="",
        sealed_user="",
        profile=event.profile if event.profile in PROFILES else PROFILE,
        workflow=event.workflow_id,
        created_at=datetime.now(UTC),
        traceparent=traceparent,
        correlation=received.correlation,
        causation=received.id,
    )
    return in_turn(whole, [_turn(one) for one in event.signers])


def _turn(one: SigningTurn) -> Turn:
    stamp = Mark(one.stamp.anchor, one.stamp.page, one.stamp.box) if one.stamp else None
    return Turn(
        request_id=one.request_id,
        ca_name=one.signer.ca_name,
        sealed_user=one.signer.sealed_user,
        options=Options(reason=one.signer.reason, stamp=stamp, final=one.seal),
    )
