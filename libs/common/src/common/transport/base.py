"""The protocol that every transport keeps; ``tests/contract`` holds each adapter to it."""

import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cache
from typing import Protocol


@cache
def topic(pattern: str) -> re.Pattern[str]:
    """A topic pattern (``*`` one word, ``#`` any number) as a regular expression.

    Each word brings the dot after it, so that ``#`` can stand for no word at all: what matches in
    full is a routing key with a dot at its end.
    """
    told = ""
    for word in pattern.split("."):
        told += {"*": r"[^.]*\.", "#": r"(?:[^.]*\.)*"}.get(word, re.escape(word) + r"\.")
    return re.compile(told)


@dataclass(frozen=True, slots=True)
class Message:
    """An event to publish: its routing key, its id and the envelope's bytes."""

    routing_key: str
    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Queue:
    """A consumer's queue: ``<service>.<purpose>``, bound to routing-key patterns (topic).

    Attributes:
        patience: seconds for which a message may wait for others, to be taken with them.
    """

    service: str
    purpose: str
    patterns: tuple[str, ...]
    patience: float = 0.0

    @property
    def name(self) -> str:
        """The name on the broker."""
        return f"{self.service}.{self.purpose}"

    def wants(self, routing_key: str) -> bool:
        """Whether one of its patterns matches."""
        return any(topic(pattern).fullmatch(routing_key + ".") for pattern in self.patterns)


Handler = Callable[[Sequence[bytes]], Awaitable[None]]
"""Takes a batch in the order of arrival. Returning means done for good, all of it; raising means
that nothing of it is done."""

Check = Callable[[], Awaitable[None]]
"""Raises while the consumer cannot work, such as while its database is away."""


Attaching = Callable[[bool], AbstractAsyncContextManager[None]]
"""Entered with whether a queue exists, before it is made (if it does not) and bound; left when it
is bound."""


class TransportDown(Exception):
    """The transport cannot be reached now."""


class Transport(Protocol):
    """Carries events from outboxes to consumers, at least once.

    Guarantees:
        * ``publish`` says True for a message only when every queue bound to it has it durably
          (or, within one process, when every consumer has finished with it). False means
          *not known*: publish it again.
        * A queue hands out messages in the order they were published, one batch at a time;
          a batch whose handler raised comes again, in order, before anything behind it. (After a
          crash of the broker what was not acknowledged may come behind what was not yet handed
          out, and several processes that read a queue share it: consumers keep order by position.)
        * Messages are acknowledged after the handler returned, never before.
        * After a lost connection both sides go on by themselves.
    """

    async def start(self) -> None:
        """Begin connecting; does not wait for the broker to be there."""

    async def publish(self, messages: Sequence[Message]) -> list[bool]:
        """Publish in order; for each message whether it is safe.

        Raises:
            TransportDown: nothing was published.
        """

    def consume(
        self,
        queue: Queue,
        handler: Handler,
        *,
        check: Check,
        batch: int,
        attaching: Attaching | None = None,
    ) -> None:
        """From now on hand this queue's messages to the handler, ``batch`` at the most at once.

        ``check`` is asked before the queue is taken up again after the handler failed. A
        queue is made nowhere but within ``attaching``, which was told that there is none: what
        was published until it is bound has not reached it.
        """

    async def ready(self) -> None:
        """Raise TransportDown unless events can be carried now."""

    async def stop_consuming(self, service: str | None = None) -> None:
        """Hand out no more (of this service's queues, or of any); return when no handler runs."""

    async def close(self) -> None:
        """Let go of everything."""
