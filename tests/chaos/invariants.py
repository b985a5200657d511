"""What must hold after every storm. A new one is a function with ``@invariant`` that names every
violation in a sentence; none means that it holds."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backbone.demo.client import Book
from backbone.demo.comparison import Check


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
    """

    book: Book
    checks: list[Check]
    parked: dict[str, list[str]]
    waiting: dict[str, int]
    undelivered: dict[str, int]
    unpublished: dict[str, int]
    published: Counter[str]


Invariant = Callable[[Evidence], Iterator[str]]
INVARIANTS: list[Invariant] = []


def invariant(check: Invariant) -> Invariant:
    """Enter an invariant in the table."""
    INVARIANTS.append(check)
    return check


@invariant
def every_book_agrees_with_the_client(evidence: Evidence) -> Iterator[str]:
    """One outcome for every 202; each dossier created once and in its last state; steps in order,
    once or flagged; nobody asked twice to sign; every measurement once."""
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
