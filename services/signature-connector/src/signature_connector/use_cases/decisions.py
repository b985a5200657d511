"""Requests are cancelled, and operators decide about those that are held."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from common.outbox import Unit
from signature_connector.domain.findings import Report, refused, warning
from signature_connector.domain.requests import (
    AT_REST,
    BY_OPERATOR,
    UNSUBMITTED,
    Request,
    State,
    Step,
)
from signature_connector.store import decisions, waiting
from signature_connector.store import requests as store
from signature_connector.use_cases.book import end
from signature_connector.use_cases.steps import Steps

Kind = Literal["confirm", "repeat", "give-up"]


class NotHeld(Exception):
    """The request does not wait for an operator."""


class NotSigned(Exception):
    """The file is not the signed document.

    Attributes:
        report: of the verdict.
    """

    def __init__(self, report: Report) -> None:
        super().__init__("not the signed document")
        self.report = report


@dataclass(frozen=True, slots=True)
class Decision:
    """What an operator decided.

    Attributes:
        client: who.
        reason: in the operator's words; kept at the desk, not in the evidence.
        file: SHA-256 of the signed document in the file store, to confirm with.
    """

    kind: Kind
    client: str
    reason: str
    file: str | None = None


async def cancel(unit: Unit, request_id: UUID, client: str) -> Request | None:
    """Cancel a request nobody was asked for yet; a later one is marked, and goes on to its end.

    What a person does who may have been asked already cannot be taken back.
    """
    now = datetime.now(UTC)
    request = (await store.find(unit.connection, [request_id], lock=True)).get(request_id)
    if request is None:
        return None
    if request.state in UNSUBMITTED:
        finding = refused("cancelled")
        step = Step(State.CANCELLED, {"by": client}, reason=finding.sentence())
        return await end(unit, request, step, now)
    if request.state not in AT_REST - {State.MANUAL_REVIEW}:
        await waiting.want_cancelled(unit.connection, request_id, client, now)
    return request


async def judged(steps: Steps, request: Request, file: str) -> None:
    """Hold a file that an operator brings against the verdict, before anything is changed.

    Raises:
        NotHeld: the request is not held, or was erased.
        NotSigned: it is not the document with the expected signature.
        BlobMissing, BlobDamaged: there is no such file.
    """
    if request.state is not State.MANUAL_REVIEW or request.sealed_certificate is None:
        raise NotHeld
    brought = replace(request, returned_file=file, result_file=None, returned_at=datetime.now(UTC))
    report = await steps.finishing.verdict(brought)
    if report.refusal:
        raise NotSigned(report)


async def decide(unit: Unit, request_id: UUID, decision: Decision) -> Request:
    """Let a held request go on as an operator decided. The same decision again changes nothing.

    Raises:
        NotHeld: it is not held, and the last decision was another.
    """
    now = datetime.now(UTC)
    request = (await store.find(unit.connection, [request_id], lock=True))[request_id]
    if request.state is not State.MANUAL_REVIEW:
        if await decisions.last(unit.connection, request_id) == (decision.kind, decision.client):
            return request
        raise NotHeld
    if decision.kind != "give-up" and request.sealed_certificate is None:
        raise NotHeld
    await decisions.note(unit.connection, request, decision.kind, decision.client, decision.reason)
    return await end(unit, request, _step(decision, now), now, BY_OPERATOR)


def _step(decision: Decision, now: datetime) -> Step:
    facts = {"decision": decision.kind, "by": decision.client}
    match decision.kind:
        case "confirm":
            return Step(
                State.SIGNED_RAW,
                {**facts, "returned_sha256": decision.file},
                changes={
                    "returned_file": decision.file,
                    "returned_at": now,
                    "result_file": None,
                    # What was brought is whole: there is nothing to be assembled.
                    "sealed_preparation": None,
                    "attempts": 0,
                    "outcome": None,
                },
                reason=warning("confirmed-by-operator").sentence(),
            )
        case "repeat":
            return Step(
                State.RECEIVED,
                {**facts, "signer_agreed": True},
                changes={
                    "attempts": 0,
                    "asked_at": now,
                    "sealed_certificate": None,
                    "sealed_preparation": None,
                    "submission": None,
                    "deadline": None,
                    "outcome": None,
                },
                reason=warning("repeated-by-operator").sentence(),
            )
        case "give-up":
            return Step(State.FAILED, facts, reason=refused("given-up-by-operator").sentence())
