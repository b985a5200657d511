"""What is done in each state, and the step that follows from how it went.

Nothing here writes: a step is returned, and the caller writes it before the next one is taken.
"""

import asyncio
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import uuid5

import structlog

from common.blobs import BlobDamaged, BlobMissing
from common.errors import describe
from common.sealing import KeyRing
from signature_connector.domain.findings import (
    Finding,
    Report,
    refused,
    warning,
)
from signature_connector.domain.provider import (
    Accepted,
    Credential,
    Credentials,
    Declined,
    NeverSent,
    Order,
    Paper,
    Provider,
    Signed,
    Unavailable,
    Unclear,
)
from signature_connector.domain.requests import Request, State, Step, after_interruption

FRESH_SECONDS = 120.0
"""How old a certificate and its transaction may be when the person is asked."""
LONGEST_PAUSE_SECONDS = 300.0
_KEEP_TRIES = 6
_KEEP_PAUSE_SECONDS = 0.5

log = structlog.get_logger()

_NO: Mapping[str, str] = {
    "rejected-by-user": "refused-by-person",
    "expired": "expired",
    "failed": "refused-by-provider",
}


class Files(Protocol):
    """The file store, as far as it is needed here."""

    async def get(self, digest: str) -> bytes:
        """The content; BlobMissing, BlobDamaged."""

    async def put(self, content: bytes) -> str:
        """Store; the digest."""


class Examination(Protocol):
    """See ``verification.isolation.Examiner``."""

    async def document(self, content: bytes) -> Report:
        """Whether it can be signed."""

    async def certificate(self, der: bytes, serial: str, moment: datetime) -> Report:
        """Whether it may sign."""

    async def verdict(
        self, sent: bytes, content: bytes, certificate: bytes, moment: datetime
    ) -> Report:
        """Whether it came back as it should."""


@dataclass(frozen=True, slots=True)
class Next:
    """A step and, where it leads to the person, the order that may only be given after it."""

    step: Step
    order: Order | None = None
    provider_failed: bool | None = None
    """For the breaker: whether the provider as such failed; None: it was not called."""
    pause: float | None = None
    """Seconds for which the provider asked to be left alone."""


class Steps:
    """The work itself.

    Args:
        file_limit: largest document, in bytes.
        patience: for how long a request is tried again that could not be submitted.
    """

    def __init__(
        self,
        provider: Provider,
        files: Files,
        examiner: Examination,
        keys: KeyRing,
        *,
        file_limit: int,
        patience: timedelta,
    ) -> None:
        self._provider = provider
        self._files = files
        self._examiner = examiner
        self._keys = keys
        self._file_limit = file_limit
        self._patience = patience
        self.provider_name = provider.name

    async def take(self, request: Request, order: Order | None) -> Next:
        """Do what the request's state asks for. Never raises but for a cancellation.

        Args:
            order: what the person is to be asked, in state ``submitting`` alone.
        """
        try:
            match request.state:
                case State.RECEIVED:
                    return await self._prepare(request)
                case State.PREPARED:
                    return await self._order(request)
                case State.SUBMITTING if order is not None:
                    return await self._submit(request, order)
                case State.SIGNED_RAW:
                    return Next(await self._judge(request))
                case State.VALIDATED:
                    return Next(_complete(request))
                case state:
                    raise ValueError(f"nothing to be done in {state}")
        except Exception as error:
            log.error("step failed", state=request.state, error=describe(error))
            return Next(self._again(request, describe(error)))

    # Before the person is asked: all of it may be repeated.

    async def _prepare(self, request: Request) -> Next:
        try:
            content = await self._files.get(request.file)
        except BlobMissing:
            return Next(_failed(refused("file-missing")))
        except BlobDamaged:
            return Next(_failed(refused("file-damaged")))
        if len(content) > self._file_limit:
            return Next(_failed(refused("too-large", f"{len(content)} bytes")))
        document = await self._examiner.document(content)
        facts: dict[str, Any] = {
            "document": document.body(),
            "provider": {
                "name": self._provider.name,
                "confirms": self._provider.abilities.confirms,
            },
        }
        if document.refusal:
            return Next(_failed(document.refusal, facts))
        user = self._keys.open(request.sealed_user, request.owner)
        answer = await self._provider.credentials(user, request.ca_name)
        facts["reply"] = answer.reply.body()
        match answer:
            case Unavailable():
                step = self._again(request, answer.reason, facts)
                return Next(step, provider_failed=True, pause=answer.pause)
            case Declined():
                code = answer.reply.code
                no = _failed(refused("refused-by-provider", f"code {code}"), facts)
                return Next(no, provider_failed=False)
            case Credentials():
                step = await self._choose(request, answer, facts)
                return Next(step, provider_failed=False)

    async def _choose(self, request: Request, answer: Credentials, facts: dict[str, Any]) -> Step:
        """Of the certificates that may sign the one that is valid longest."""
        now = datetime.now(UTC)
        usable: list[tuple[str, Credential, Report]] = []
        refusals: list[Finding] = []
        for credential in answer.found:
            report = await self._examiner.certificate(
                credential.certificate, credential.serial_number, now
            )
            if report.refusal:
                refusals.append(report.refusal)
            else:
                until = report.facts["certificate"]["not_after"]
                usable.append((until, credential, report))
        facts["refused_certificates"] = [finding.body() for finding in refusals]
        if not usable:
            only = refusals[0] if len(refusals) == 1 else refused("no-certificate")
            return _failed(only, facts)
        _, chosen, report = max(usable, key=lambda one: one[0])
        sealed = self._keys.seal(_written(chosen), request.owner)
        return Step(
            State.PREPARED,
            {**facts, "certificate": report.body()},
            changes={
                "prepared_at": now,
                "transaction_id": chosen.transaction_id,
                "serial_number": report.facts["certificate"]["serial_number"],
                "sealed_certificate": sealed,
            },
        )

    async def _order(self, request: Request) -> Next:
        """Lay everything ready, so that nothing but the call itself follows the commit."""
        age = datetime.now(UTC) - (request.prepared_at or request.created_at)
        if age.total_seconds() > FRESH_SECONDS or request.sealed_certificate is None:
            again = warning("prepared-long-ago").sentence()
            return Next(Step(State.RECEIVED, reason=again))
        content = await self._files.get(request.file)
        credential = self._credential(request)
        number = request.submissions + 1
        order = Order(
            outgoing_id=uuid5(request.request_id, str(number)),
            user=self._keys.open(request.sealed_user, request.owner),
            ca_name=request.ca_name,
            credential=credential,
            papers=(Paper(request.request_id, request.document_name, content),),
        )
        facts = {
            "outgoing_id": str(order.outgoing_id),
            "doc_id": str(request.request_id),
            "transaction_id": credential.transaction_id,
            "serial_number": request.serial_number,
            "sent_sha256": request.file,
        }
        return Next(Step(State.SUBMITTING, facts, changes={"submissions": number}), order=order)

    # From here on nothing is done twice.

    async def _submit(self, request: Request, order: Order) -> Next:
        answer = await self._provider.submit(order)
        facts: dict[str, Any] = {"outgoing_id": str(order.outgoing_id)}
        match answer:
            case NeverSent():
                return Next(self._never_sent(request, answer, facts), provider_failed=True)
            case Signed():
                facts["reply"] = answer.reply.body()
                return Next(await self._keep(request, answer, facts), provider_failed=False)
            case Declined():
                facts["reply"] = answer.reply.body()
                finding = refused(_NO[answer.outcome], f"code {answer.reply.code}")
                step = Step(State(answer.outcome), facts, reason=finding.sentence())
                return Next(step, provider_failed=False)
            case Unclear():
                facts["reply"] = answer.reply.body()
                step = _held(refused("unclear-answer", answer.reason), facts)
                # A person who lets time run out says nothing about the provider.
                return Next(step, provider_failed=None if answer.timed_out else True)
            case Accepted():
                facts["reply"] = answer.reply.body()
                return Next(_held(refused("unclear-answer", "accepted"), facts))

    async def _keep(self, request: Request, answer: Signed, facts: dict[str, Any]) -> Step:
        """Store what came back before anything is thought about it."""
        content = answer.results.get(request.request_id)
        if not isinstance(content, bytes):
            return _held(refused("unclear-answer", "no file"), facts)
        facts["returned_sha256"] = hashlib.sha256(content).hexdigest()
        facts["returned_bytes"] = len(content)
        returned_at = datetime.now(UTC)
        for attempt in range(_KEEP_TRIES):
            try:
                stored = await self._files.put(content)
            except Exception as error:
                log.warning("signed document not stored", error=describe(error))
                await asyncio.sleep(_KEEP_PAUSE_SECONDS * 2**attempt)
                continue
            changes = {
                "returned_file": stored,
                "returned_at": returned_at,
                "attempts": 0,
            }
            return Step(State.SIGNED_RAW, facts, changes=changes)
        return _held(refused("result-not-kept"), facts)

    async def _judge(self, request: Request) -> Step:
        sent = await self._files.get(request.file)
        content = await self._files.get(request.returned_file or "")
        report = await self._examiner.verdict(
            sent,
            content,
            self._credential(request).certificate,
            request.returned_at or datetime.now(UTC),
        )
        facts = {
            "sent_sha256": request.file,
            "returned_sha256": request.returned_file,
            "report": report.body(),
        }
        if report.refusal:
            return _failed(report.refusal, facts)
        told = report.facts["signature"]["signed_at"]
        signed_at = datetime.fromisoformat(told) if told else None
        return Step(State.VALIDATED, facts, changes={"signed_at": signed_at})

    def _credential(self, request: Request) -> Credential:
        opened = self._keys.open(request.sealed_certificate or "", request.owner)
        return Credential(
            certificate=bytes.fromhex(opened["certificate"]),
            serial_number=opened["serial_number"],
            transaction_id=opened["transaction_id"],
        )

    # When it does not go on.

    def _never_sent(self, request: Request, answer: NeverSent, facts: dict[str, Any]) -> Step:
        facts["error"] = answer.reason
        attempts = request.attempts + 1
        return Step(
            State.PREPARED,
            facts,
            changes={"attempts": attempts},
            wait=_pause(attempts),
            reason=warning("never-sent", answer.reason).sentence(),
        )

    def _again(self, request: Request, error: str, facts: Mapping[str, Any] | None = None) -> Step:
        """Wait and try again; unless the person may have been asked, or patience has ended."""
        facts = {**(facts or {}), "error": error}
        if after_interruption(request.state) is State.MANUAL_REVIEW:
            return _held(refused("interrupted", error), facts)
        waited = datetime.now(UTC) - request.created_at
        unsubmitted = request.state in (State.RECEIVED, State.PREPARED)
        if unsubmitted and waited > self._patience:
            return _failed(refused("gave-up", error), facts)
        attempts = request.attempts + 1
        return Step(
            request.state,
            facts,
            changes={"attempts": attempts},
            wait=_pause(attempts),
            reason=warning("try-again", error).sentence(),
        )


def _pause(attempts: int) -> float:
    """Full jitter; a person and an agency wait, so never longer than some minutes."""
    return random.uniform(0.5, min(2.0**attempts, LONGEST_PAUSE_SECONDS))


def _complete(request: Request) -> Step:
    facts = {"file": request.returned_file, "serial_number": request.serial_number}
    return Step(State.COMPLETED, facts)


def _failed(finding: Finding, facts: Mapping[str, Any] | None = None) -> Step:
    noted = {**(facts or {}), "finding": finding.body()}
    return Step(State.FAILED, noted, reason=finding.sentence())


def _held(finding: Finding, facts: Mapping[str, Any]) -> Step:
    noted = {**facts, "finding": finding.body()}
    return Step(State.MANUAL_REVIEW, noted, reason=finding.sentence())


def _written(credential: Credential) -> dict[str, str]:
    return {
        "certificate": credential.certificate.hex(),
        "serial_number": credential.serial_number,
        "transaction_id": credential.transaction_id,
    }
