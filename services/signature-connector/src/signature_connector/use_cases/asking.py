"""The person is asked, once; and the provider, as often as is allowed, how that went."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from common.errors import describe
from signature_connector.domain.findings import refused
from signature_connector.domain.provider import (
    Accepted,
    Declined,
    NeverSent,
    NotKnown,
    Order,
    Pending,
    Signed,
    Unavailable,
    Unclear,
)
from signature_connector.domain.requests import AT_REST, Request, State, Step
from signature_connector.domain.waiting import FIRST_SECONDS, Patience, pause
from signature_connector.use_cases.outcomes import held, pause_after, unclear
from signature_connector.use_cases.preparing import Files
from signature_connector.use_cases.providers import Choice, Gates

_KEEP_TRIES = 6
_KEEP_PAUSE_SECONDS = 0.5
_NO: Mapping[str, str] = {
    "rejected-by-user": "refused-by-person",
    "expired": "expired",
    "failed": "refused-by-provider",
}
Answer = Signed | Pending | Declined | NotKnown | Unavailable

log = structlog.get_logger()


@dataclass(frozen=True)
class Asking:
    """What follows from what a provider says of an order.

    Args:
        patience: how long the person, and news of an order, are waited for.
    """

    choice: Choice
    gates: Gates
    files: Files
    patience: Patience

    async def submit(self, requests: tuple[Request, ...], order: Order) -> list[Step]:
        """Give the order; for each of its requests the step that follows. Nothing is done twice."""
        name = requests[0].provider or ""
        gate = self.gates.of(name)
        outcome: bool | None = None
        try:
            provider = self.choice.provider(name, requests[0].agency)
            if provider is None:
                raise LookupError(f"no provider {name}")
            answer = await provider.submit(order)
            if isinstance(answer, NeverSent):
                outcome = True
            elif isinstance(answer, Unclear):
                # A person who lets time run out says nothing about the provider.
                outcome = None if answer.timed_out else True
            else:
                outcome = False
        finally:
            gate.record("submit", outcome, requests[0].agency)
        facts: dict[str, Any] = {"outgoing_id": str(order.outgoing_id)}
        return [await self._after_submit(one, answer, dict(facts)) for one in requests]

    async def _after_submit(
        self,
        request: Request,
        answer: Signed | Accepted | Declined | NeverSent | Unclear,
        facts: dict[str, Any],
    ) -> Step:
        match answer:
            case NeverSent():
                return self._never_sent(request, answer, facts)
            case Signed():
                return await self._signed(request, answer, facts)
            case Declined():
                return _declined(answer, facts)
            case Unclear():
                facts["reply"] = answer.reply.body()
                finding = refused("unclear-answer", answer.reason)
                return unclear(request, finding, facts, self.patience.news)
            case Accepted():
                facts["reply"] = answer.reply.body()
                asked_at = request.asked_at or datetime.now(UTC)
                deadline = self.patience.until(asked_at, answer.expires_at)
                facts["deadline"] = deadline.isoformat()
                if request.confirms == "nothing":
                    return held(refused("unclear-answer", "accepted"), facts)
                return Step(
                    State.AWAITING_USER,
                    facts,
                    changes={
                        "submission": answer.submission,
                        "deadline": deadline,
                        "attempts": 0,
                    },
                    wait=FIRST_SECONDS,
                )

    def _never_sent(self, request: Request, answer: NeverSent, facts: dict[str, Any]) -> Step:
        """Again later, or at once with another provider where there is one."""
        facts["error"] = answer.reason
        attempts = request.attempts + 1
        others = [
            one.name
            for one in self.choice.choose(request.agency, request.ca_name)
            if one.name != request.provider and not self.gates.of(one.name).closed("submit")
        ]
        finding = refused("never-sent", answer.reason).sentence()
        return Step(
            State.RECEIVED if others else State.PREPARED,
            facts,
            changes={"attempts": attempts, "avoid": request.provider},
            wait=pause_after(attempts) if not others or attempts > 1 else 0.0,
            reason=finding,
        )

    async def status(self, requests: tuple[Request, ...], order: Order) -> Answer:
        """Ask how an order went. Never raises but for a cancellation."""
        name = requests[0].provider or ""
        provider = self.choice.provider(name, requests[0].agency)
        if provider is None:
            return Unavailable("not configured any more")
        gate = self.gates.of(name)
        gate.admit("status")
        try:
            answer = await provider.status(order, requests[0].submission)
        except Exception as error:
            log.error("status call failed", provider=name, error=describe(error))
            answer = Unavailable(describe(error))
        except BaseException:
            gate.record("status", None)
            raise
        if isinstance(answer, Unavailable):
            gate.record("status", True, pause=answer.pause)
        else:
            gate.record("status", False)
        return answer

    async def after_status(self, request: Request, answer: Answer) -> Step | float:
        """The step that follows for one request; or the seconds until it is asked about again
        (negative: never)."""
        facts: dict[str, Any] = {
            "outgoing_id": str(request.outgoing_id),
            "reply": answer.reply.body(),
        }
        now = datetime.now(UTC)
        if request.state in AT_REST:
            return -1.0 if isinstance(answer, NotKnown | Pending) else self._late(request, answer)
        match answer:
            case Signed():
                return await self._signed(request, answer, facts)
            case Declined():
                return _declined(answer, facts)
            case NotKnown() | Pending() | Unavailable():
                return self._not_decided(request, answer, facts, now)

    def _not_decided(
        self,
        request: Request,
        answer: Pending | NotKnown | Unavailable,
        facts: dict[str, Any],
        now: datetime,
    ) -> Step | float:
        asked_at = request.asked_at or now
        deadline = request.deadline or now
        if request.state is State.UNKNOWN and isinstance(answer, Pending):
            deadline = self.patience.until(asked_at, None)
            if now < deadline:
                changes = {"deadline": deadline}
                wait = pause(asked_at, deadline, now)
                return Step(State.AWAITING_USER, facts, changes=changes, wait=wait)
        if now < deadline:
            wanted = 0.0 if isinstance(answer, NotKnown) else answer.pause or 0.0
            return max(pause(asked_at, deadline, now), min(wanted, 60.0))
        if isinstance(answer, Pending):
            finding = refused("expired")
            return Step(State.EXPIRED, facts, reason=finding.sentence())
        if request.state is State.UNKNOWN:
            return held(refused("no-news"), facts)
        return unclear(request, refused("no-news"), facts, self.patience.news)

    def _late(self, request: Request, answer: Answer) -> Step | float:
        """What a provider says of a request that has ended: for its evidence alone."""
        facts: dict[str, Any] = {"reply": answer.reply.body()}
        match answer:
            case Signed():
                content = answer.results.get(request.request_id)
                if isinstance(content, bytes):
                    facts["would_be"] = State.SIGNED_RAW
                    facts["returned_sha256"] = hashlib.sha256(content).hexdigest()
                    facts["returned_bytes"] = len(content)
                    return Step(request.state, facts)
            case Declined():
                facts["would_be"] = answer.outcome
                return Step(request.state, facts)
        return -1.0

    async def _signed(self, request: Request, answer: Signed, facts: dict[str, Any]) -> Step:
        """Store what came back before anything is thought about it."""
        facts["reply"] = answer.reply.body()
        content = answer.results.get(request.request_id)
        if isinstance(content, Declined):
            return _declined(content, facts)
        if content is None:
            return held(refused("unclear-answer", "no file"), facts)
        facts["returned_sha256"] = hashlib.sha256(content).hexdigest()
        facts["returned_bytes"] = len(content)
        returned_at = datetime.now(UTC)
        for attempt in range(_KEEP_TRIES):
            try:
                stored = await self.files.put(content)
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
        return held(refused("result-not-kept"), facts)


def _declined(answer: Declined, facts: dict[str, Any]) -> Step:
    facts["reply"] = answer.reply.body()
    finding = refused(_NO[answer.outcome], f"code {answer.reply.code}")
    return Step(State(answer.outcome), facts, reason=finding.sentence())
