"""Steps that end a request, hold it, or put it off."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from signature_connector.domain.findings import Finding, refused, warning
from signature_connector.domain.provider import Order
from signature_connector.domain.requests import (
    UNSUBMITTED,
    Request,
    State,
    Step,
    after_interruption,
)

LONGEST_PAUSE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Next:
    """A step and, where it leads to the person, the order that may only be given after it.

    Attributes:
        step: None where nothing can be done now.
        put_off: seconds for which the request is left alone then, without a trace in its evidence.
    """

    step: Step | None = None
    order: Order | None = None
    put_off: float = 0.0


def pause_after(attempts: int) -> float:
    """Full jitter; a person and an agency wait, so never longer than some minutes."""
    return random.uniform(0.5, min(2.0**attempts, LONGEST_PAUSE_SECONDS))


def failed(finding: Finding, facts: Mapping[str, Any] | None = None) -> Step:
    """It ends without a signature."""
    noted = {**(facts or {}), "finding": finding.body()}
    return Step(State.FAILED, noted, reason=finding.sentence())


def held(finding: Finding, facts: Mapping[str, Any]) -> Step:
    """An operator has to find out."""
    noted = {**facts, "finding": finding.body()}
    return Step(State.MANUAL_REVIEW, noted, reason=finding.sentence())


def unclear(request: Request, finding: Finding, facts: Mapping[str, Any], news: timedelta) -> Step:
    """The person may have been asked: the provider is asked, if it can tell, else an operator.

    Args:
        news: for how long the provider is asked.
    """
    if request.confirms == "nothing" or (request.confirms != "any" and request.submission is None):
        return held(finding, facts)
    return Step(
        State.UNKNOWN,
        {**facts, "finding": finding.body()},
        changes={"deadline": datetime.now(UTC) + news},
        wait=1.0,
        reason=finding.sentence(),
    )


def again(
    request: Request,
    error: str,
    patience: timedelta,
    news: timedelta,
    facts: Mapping[str, Any] | None = None,
) -> Step:
    """Wait and try again; unless the person may have been asked, or patience has ended."""
    facts = {**(facts or {}), "error": error}
    if after_interruption(request) is not request.state:
        return unclear(request, refused("interrupted", error), facts, news)
    # What an operator has asked anew has the same patience again.
    waited = datetime.now(UTC) - max(request.created_at, request.asked_at or request.created_at)
    if request.state in UNSUBMITTED and waited > patience:
        return failed(refused("gave-up", error), facts)
    attempts = request.attempts + 1
    return Step(
        request.state,
        facts,
        changes={"attempts": attempts},
        wait=pause_after(attempts),
        reason=warning("try-again", error).sentence(),
    )
