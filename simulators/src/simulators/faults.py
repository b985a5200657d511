"""Misbehaviour on request: rules that are drawn per call, and the table of what they do.

A rule names the calls it is about (`on`, `match`) and when it strikes (`after`, `times`,
`share`); its kind is a function around the rest of the call, so several rules nest like
middleware in the order they were posted. A new kind is a function and one line in a table:
`KINDS` here for what happens on the wire, a program's own table for what only it can do.

All of this is the simulators' own choice: how the real systems fail is not documented.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from enum import Enum
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the caller; `drip_ms` > 0 sends it a byte at a time."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = b"application/json"
    drip_ms: float = 0


class Cut(Enum):
    """An answer that never comes."""

    DROP = "drop"  # the connection is closed
    RESET = "reset"  # closed with a TCP reset
    SILENCE = "silence"  # left open until the caller gives up


@dataclass(slots=True)
class Call:
    """One call as the fault kinds and the work see it.

    Parameters:
        names: what a rule's `on` may say: service name, path, "*".
        payload: the decoded body, or None when it is no JSON object.
        facts: values that a rule's `match` may look at, by field name.
        switches: set by kinds of a program, read by its work.
    """

    names: tuple[str, ...]
    payload: dict[str, Any] | None
    headers: Mapping[bytes, bytes]
    facts: Mapping[str, Sequence[str]]
    switches: dict[str, Any] = field(default_factory=dict)


Reply = Answer | Cut
Proceed = Callable[[], Awaitable[Reply]]
Strike = Callable[["Rule", Call, Proceed], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault: what it does, and its parameters with their defaults."""

    strike: Strike
    defaults: Mapping[str, Any] = field(default_factory=dict)


async def _delay(rule: "Rule", call: Call, proceed: Proceed) -> Reply:
    if not rule["after_work"]:
        await asyncio.sleep(rule["ms"] / 1000)
        return await proceed()
    reply = await proceed()
    await asyncio.sleep(rule["ms"] / 1000)
    return reply


async def _status(rule: "Rule", call: Call, proceed: Proceed) -> Reply:
    if rule["work"]:
        await proceed()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if (wait := rule["retry_after"]) is not None:
        told = formatdate(time.time() + float(wait), usegmt=True) if rule["as_date"] else str(wait)
        headers = ((b"retry-after", told.encode()),)
    return Answer(b"", status=rule["code"], headers=headers, content_type=b"text/plain")


async def _drop_before(rule: "Rule", call: Call, proceed: Proceed) -> Reply:
    return Cut.RESET if rule["reset"] else Cut.DROP


async def _drop_after(rule: "Rule", call: Call, proceed: Proceed) -> Reply:
    await proceed()
    return Cut.RESET if rule["reset"] else Cut.DROP


async def _half_open(rule: "Rule", call: Call, proceed: Proceed) -> Reply:
    await proceed()
    return Cut.SILENCE


async def _garbage(rule: "Rule", call: Call, proceed: Proceed) -> Reply:
    if rule["work"]:
        await proceed()
    return Answer(rule["text"].encode(), content_type=b"text/html; charset=utf-8")


async def _slow_drip(rule: "Rule", call: Call, proceed: Proceed) -> Reply:
    reply = await proceed()
    return replace(reply, drip_ms=rule["ms"]) if isinstance(reply, Answer) else reply


async def _forget(rule: "Rule", call: Call, proceed: Proceed) -> Reply:
    """Let the work acknowledge one dossier without keeping it; the first seen if none is named."""
    if rule["key"] is None and call.facts.get("MaHoSo"):
        rule.parameters["key"] = call.facts["MaHoSo"][0]
    call.switches["forget"] = (*call.switches.get("forget", ()), rule["key"])
    return await proceed()


KINDS: dict[str, Kind] = {
    "delay": Kind(_delay, {"ms": 1000, "after_work": False}),
    "status": Kind(_status, {"code": 503, "retry_after": None, "as_date": False, "work": False}),
    "drop_before": Kind(_drop_before, {"reset": False}),
    "drop_after": Kind(_drop_after, {"reset": False}),
    "half_open": Kind(_half_open),
    "garbage": Kind(
        _garbage,
        {"text": "<html><body>502 Bad Gateway</body></html>", "work": True},
    ),
    "slow_drip": Kind(_slow_drip, {"ms": 20}),
}
FORGET = Kind(_forget, {"key": None})  # for programs whose work reads the switch


@dataclass(slots=True)
class Rule:
    """A posted fault and how often it was seen and struck."""

    on: str
    kind: str
    times: int | None
    after: int
    share: float
    match: dict[str, str]
    parameters: dict[str, Any]
    chance: random.Random
    seen: int = 0
    struck: int = 0

    def __getitem__(self, parameter: str) -> Any:
        return self.parameters[parameter]

    def draws(self, call: Call) -> bool:
        """Whether this rule strikes the call; counts it either way."""
        if self.on not in call.names or not all(
            any(fnmatchcase(value, pattern) for value in call.facts.get(name, ()))
            for name, pattern in self.match.items()
        ):
            return False
        self.seen += 1
        if self.seen <= self.after or (self.times is not None and self.struck >= self.times):
            return False
        if self.share < 1 and self.chance.random() >= self.share:
            return False
        self.struck += 1
        return True

    def as_json(self) -> dict[str, Any]:
        return {
            "on": self.on,
            "kind": self.kind,
            "times": self.times,
            "after": self.after,
            "share": self.share,
            "match": self.match,
            **self.parameters,
            "seen": self.seen,
            "struck": self.struck,
        }


class BadFault(ValueError):
    """A posted fault that no kind understands."""


class Faults:
    """The rules in force.

    Parameters:
        kinds: table of the kinds this program knows.
        seed: the draws of `share` repeat with the same seed and order of posting.
    """

    def __init__(self, kinds: Mapping[str, Kind], seed: int) -> None:
        self._kinds = kinds
        self._seed = seed
        self._posted = 0
        self.rules: list[Rule] = []

    def post(self, posted: Sequence[Any]) -> None:
        """Add rules, all of them or none; raises BadFault."""
        rules = [self._rule(one, self._posted + i) for i, one in enumerate(posted)]
        self._posted += len(rules)
        self.rules = [*self.rules, *rules]

    def clear(self) -> None:
        self.rules = []
        self._posted = 0

    async def run(self, call: Call, work: Proceed) -> Reply:
        """The call's reply: its work inside all the rules that strike it."""
        rules = self.rules
        if not rules:
            return await work()

        async def proceed_from(position: int) -> Reply:
            for i in range(position, len(rules)):
                rule = rules[i]
                if rule.draws(call):
                    strike = self._kinds[rule.kind].strike
                    return await strike(rule, call, partial(proceed_from, i + 1))
            return await work()

        return await proceed_from(0)

    def _rule(self, posted: Any, number: int) -> Rule:
        try:
            asked = _Posted.model_validate(posted)
        except ValidationError as wrong:
            raise BadFault(str(wrong)) from None
        kind = self._kinds.get(asked.kind)
        if kind is None:
            raise BadFault(f"unknown kind {asked.kind!r}; known: {', '.join(sorted(self._kinds))}")
        given = asked.model_extra or {}
        wrong_ones = [
            name
            for name, value in given.items()
            if name not in kind.defaults or not _fits(value, kind.defaults[name])
        ]
        if wrong_ones:
            raise BadFault(f"{asked.kind} takes {dict(kind.defaults)}; wrong: {wrong_ones}")
        return Rule(
            on=asked.on,
            kind=asked.kind,
            times=asked.times,
            after=asked.after,
            share=asked.share,
            match=asked.match,
            parameters={**kind.defaults, **given},
            chance=random.Random(f"{self._seed}:{number}"),
        )


class _Posted(BaseModel):
    """A fault as it is posted; what is left over are the parameters of its kind."""

    model_config = ConfigDict(extra="allow", strict=True)

    kind: str
    on: str = "*"
    times: int | None = Field(None, ge=0)
    after: int = Field(0, ge=0)
    share: float = Field(1, ge=0, le=1)
    match: dict[str, str] = {}


def _fits(value: object, default: object) -> bool:
    if default is None:
        return value is None or isinstance(value, int | float | str)
    if isinstance(default, bool | str):
        return isinstance(value, type(default))
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
