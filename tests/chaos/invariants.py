"""What must hold after every storm. A new one is a function with ``@invariant`` that names every
violation in a sentence; none means that it holds."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backbone.demo.client import Book
from backbone.demo.comparison import Check
from tests.chaos.providers import GATEWAY, PROVIDERS
from tests.chaos.signings import Asked, Kept, Signing, Signings, file_of


@dataclass(frozen=True)
class Evidence:
    """What is known when the storm is over and everything has come to rest.

    Attributes:
        book: what the client sent, and for what it holds a 202.
        checks: the client's book held against the books of the simulators.
        parked: for each service, why events are parked, without those that nothing could read.
        waiting: messages in each queue of the broker.
        undelivered: deliveries that are not made and not held for an operator, by service.
        unpublished: events in the outbox, by service.
        published: how often each event was published, by its id.
        signings: what became of the results that were to be signed.
    """

    book: Book
    checks: list[Check]
    parked: dict[str, list[str]]
    waiting: dict[str, int]
    undelivered: dict[str, int]
    unpublished: dict[str, int]
    published: Counter[str]
    signings: Signings


Invariant = Callable[[Evidence], Iterator[str]]
INVARIANTS: list[Invariant] = []


def invariant(check: Invariant) -> Invariant:
    """Enter an invariant in the table."""
    INVARIANTS.append(check)
    return check


@invariant
def every_book_agrees_with_the_client(evidence: Evidence) -> Iterator[str]:
    """One outcome for every 202; each dossier created once and in its last state; steps in order,
    once or flagged; every measurement once."""
    for check in evidence.checks:
        yield from check.differences


@invariant
def every_dossier_was_sent_to_its_end(evidence: Evidence) -> Iterator[str]:
    for code, sent in evidence.book.sent.items():
        if not sent.done:
            yield f"{code}: the client did not come to the end"


@invariant
def nothing_is_parked_that_a_retry_would_heal(evidence: Evidence) -> Iterator[str]:
    for service, reasons in evidence.parked.items():
        for reason in reasons:
            yield f"{service}: parked, {reason}"


@invariant
def the_backlog_has_drained(evidence: Evidence) -> Iterator[str]:
    for queue, waiting in evidence.waiting.items():
        if waiting:
            yield f"{waiting} messages wait in {queue}"
    for service, items in evidence.undelivered.items():
        if items:
            yield f"{items} deliveries of {service} are not made"
    for service, events in evidence.unpublished.items():
        if events:
            yield f"{events} events of {service} are not published"


MOST_AGAIN = 0.1


@invariant
def relays_publish_the_same_event_again_only_after_a_fault(evidence: Evidence) -> Iterator[str]:
    """What was not confirmed is published again; two relays never work on the same events."""
    again = sum(times > 1 for times in evidence.published.values())
    share = again / max(len(evidence.published), 1)
    if share > MOST_AGAIN:
        yield f"{share:.0%} of {len(evidence.published)} events were published more than once"


# Signing. What must follow is read from the books of who was asked; nothing is assumed.

_REFUSALS = {
    "refused": ("rejected-by-user", "refused-by-person"),
    "expired": ("expired", "expired"),
    "quota": ("failed", "refused-by-provider"),
}
_FLAWS = {
    "wrong_certificate": "wrong-certificate",
    "bad_signature": "bad-signature",
    "altered_document": "changed-after-signing",
    "other_document": "other-document",
}
"""Of whole files; a raw signature that is not the person's over the hash that was sent is bad,
whatever is wrong with it."""
_NOT_HEARD = frozenset({"unclear-answer", "interrupted"})
_AT_THE_GATEWAY = {
    "completed": "signed",
    "manual-review": "held",
    "rejected-by-user": "failed",
    "expired": "failed",
    "failed": "failed",
}
MOST_HELD = 0.5


def _end_of(row: Asked) -> tuple[str, str | None]:
    """How a request ends whose provider was heard, and the finding that its evidence names."""
    if row.outcome in _REFUSALS:
        return _REFUSALS[row.outcome]
    if row.outcome == "signed" and row.flaw:
        return "failed", _FLAWS[row.flaw] if row.program == GATEWAY else "bad-signature"
    return ("completed", None) if row.outcome == "signed" else ("no end", row.outcome)


def _may_be_held(one: Signing, request: Kept) -> bool:
    """Whether an operator's help is right: an answer was lost, and nobody can be asked about it."""
    reached = {row.program for row in one.asked}
    if request.finding == "no-news":  # asked again and again, of an order that never arrived
        return not reached
    later = any(PROVIDERS[program].asked_later for program in reached)
    return request.finding in _NOT_HEARD and not later


@invariant
def nobody_is_asked_twice_to_sign(evidence: Evidence) -> Iterator[str]:
    """Whatever was lost: an order is given once, to one provider."""
    for one in evidence.signings.all:
        if one.times > 1:
            by = ", ".join(row.program for row in one.asked)
            yield f"{one.code}: the person was asked {one.times} times, by {by}"


@invariant
def every_signing_ends_as_the_books_say(evidence: Evidence) -> Iterator[str]:
    """One request, one end, its reason in whole evidence; the dossier's result stands so, too."""
    for one in evidence.signings.all:
        if len(one.requests) != 1:
            yield f"{one.code}: {len(one.requests)} requests"
            continue
        (request,) = one.requests
        ended = (request.state, request.finding)
        expected = [_end_of(row) for row in one.asked]
        held = request.state == "manual-review" and _may_be_held(one, request)
        if not held and expected != [ended]:
            said = [f"{row.program} {row.outcome} {row.flaw}".strip() for row in one.asked]
            yield f"{one.code}: {ended}, by the books {said or 'nobody was asked'}"
        if request.ends != 1 or request.broken is not None:
            yield f"{one.code}: {request.ends} ends, evidence broken at {request.broken}"
        if one.signing != _AT_THE_GATEWAY.get(request.state):
            yield f"{one.code}: {request.state}, and {one.signing} at the gateway"


@invariant
def a_flawed_result_is_no_result(evidence: Evidence) -> Iterator[str]:
    """Neither completed, nor a dossier's at the gateway, nor the portal's."""
    for one in evidence.signings.all:
        for row in one.asked:
            if not row.flaw:
                continue
            if any(request.state == "completed" for request in one.requests):
                yield f"{one.code}: completed with {row.flaw} of {row.program}"
            if one.signing == "signed" or one.addresses:
                yield f"{one.code}: {row.flaw} of {row.program} was handed out"


@invariant
def what_was_signed_is_what_the_portal_has(evidence: Evidence) -> Iterator[str]:
    """The file of every completed request, once, by the person asked and over all of it; of no
    other anything."""
    for one in evidence.signings.all:
        files = [request.file for request in one.requests if request.state == "completed"]
        if [file_of(address) for address in one.addresses] != files:
            yield f"{one.code}: {len(one.addresses)} results at the portal, {len(files)} completed"
        elif files and one.file != files[0]:
            yield f"{one.code}: another file at the gateway"
        if one.complaint is not None:
            yield f"{one.code}: of the portal's file {one.complaint}"


def _soundly(one: Signing, program: str) -> bool:
    sound = (program, "signed", "")
    return any((row.program, row.outcome, row.flaw) == sound for row in one.asked)


@invariant
def every_provider_had_results_signed(evidence: Evidence) -> Iterator[str]:
    """Nothing wrong where nothing was done is nothing; and held are few."""
    for program, provider in PROVIDERS.items():
        signed = [
            one
            for one in evidence.signings.all
            if any(
                (row.program, row.outcome, row.flaw) == (program, "signed", "") for row in one.asked
            )
        ]
        completed = sum(one.signing == "signed" for one in signed)
        if not completed:
            yield f"nothing of {program} was completed"
        elif completed < MOST_HELD * len(signed):
            yield f"{completed} of {len(signed)} signed by {program} were completed"
        if provider.calls_back and not evidence.signings.callbacks.get(program):
            yield f"no callback of {program} was taken"


@invariant
def every_fault_of_a_provider_was_met(evidence: Evidence) -> Iterator[str]:
    for rule in evidence.signings.unmet:
        yield f"nobody met {rule}"


@invariant
def a_callback_that_comes_again_changes_nothing(evidence: Evidence) -> Iterator[str]:
    yield from evidence.signings.moved
    if not evidence.signings.replayed:
        yield "no callback came again"
