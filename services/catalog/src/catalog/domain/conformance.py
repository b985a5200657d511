"""The rules of NĐ 42/2022 Điều 13.2 as dated data, and how evidence is judged by them.

Nothing is ``met`` without evidence of its own: what nobody has looked at, or nobody can look at by
machine, is ``unknown`` and says what is missing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from catalog.domain.channels import (
    Check,
    Exchanged,
    Found,
    GivenStatement,
    Kind,
    RegisteredChannel,
    State,
)
from catalog.domain.hostnames import readable
from catalog.domain.reasons import REASONS
from common.contracts.codes import within
from common.contracts.exchange import OutsideSystem

_WORST: tuple[State, ...] = ("not-met", "unknown", "met")


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PartRule(_Data):
    """One thing that a point asks for, and how it is judged.

    ``domain``: a registered channel's host has the form. ``checks``: the checks of every such
    channel are met. ``exchange``: the last success with the system is recent. ``statement``: no
    machine can tell; what the agency states is shown.
    """

    id: str
    name: str
    name_en: str
    judge: Literal["domain", "checks", "exchange", "statement"]
    channels: tuple[Kind, ...] = ()
    pattern: str | None = None
    checks: tuple[Check, ...] = ()
    system: OutsideSystem | None = None
    decides: bool = True
    """Whether the point's state depends on it."""


class PointRule(_Data):
    """A point of the rules."""

    id: str
    label: str
    name: str
    name_en: str
    parts: tuple[PartRule, ...]


class Measures(_Data):
    """After how many days evidence is too old, and where the numbers are from."""

    exchange_days: int
    check_days: int
    source: str


class RuleSet(_Data):
    """The rules of a time."""

    id: str
    instrument: str
    article: str
    effective_from: date
    effective_to: date | None
    basis: str
    confidence: str
    source: str
    note: str | None = None
    measures: Measures
    points: tuple[PointRule, ...]


class Notice(_Data):
    """Something said about the rules that is not applied."""

    instrument: str
    claimed_from: date
    basis: str
    confidence: str
    text: str
    text_en: str


class Rules(_Data):
    """All rules with their dates."""

    version: str
    sets: tuple[RuleSet, ...]
    notices: tuple[Notice, ...]

    def on(self, day: date) -> RuleSet | None:
        """The rules of a day; None where none are known for it."""
        for rules in self.sets:
            if rules.effective_from <= day and (
                rules.effective_to is None or day <= rules.effective_to
            ):
                return rules
        return None

    def parts_to_state(self) -> frozenset[str]:
        """The parts that an agency can make a statement about."""
        return frozenset(
            part.id
            for rules in self.sets
            for point in rules.points
            for part in point.parts
            if part.judge == "statement"
        )


class Evidence(_Data):
    """One thing that a state rests on."""

    kind: Literal["channel", "check", "exchange", "statement"]
    what: str
    target: str
    state: State
    reason: str
    reason_en: str
    at: datetime | None
    facts: dict[str, JsonValue] = {}


class PartReport(_Data):
    """How things stand with one part of a point."""

    id: str
    name: str
    name_en: str
    decides: bool
    state: State
    reason: str
    reason_en: str
    at: datetime | None
    """When the newest evidence was found."""
    evidence: tuple[Evidence, ...]


class PointReport(_Data):
    """How things stand with a point."""

    id: str
    label: str
    name: str
    name_en: str
    state: State
    parts: tuple[PartReport, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that is known of one agency.

    Attributes:
        exchanges: also those of agencies below it: a province exchanges through one system, for
            all of its departments and communes.
    """

    agency: str
    channels: Sequence[RegisteredChannel]
    found: Sequence[Found]
    exchanges: Sequence[Exchanged]
    statements: Sequence[GivenStatement]


def judge(rules: RuleSet, known: Known, now: datetime) -> tuple[PointReport, ...]:
    """The report of an agency, point by point."""
    return tuple(_point(point, rules.measures, known, now) for point in rules.points)


def worst(states: Iterable[State]) -> State:
    """Not met before unknown before met; of nothing, unknown."""
    given = set(states)
    return next((state for state in _WORST if state in given), "unknown")


def _point(rule: PointRule, measures: Measures, known: Known, now: datetime) -> PointReport:
    parts = []
    for part in rule.parts:
        match part.judge:
            case "domain":
                parts.append(_domain(part, known))
            case "checks":
                parts.append(_checks(part, measures, known, now))
            case "exchange":
                parts.append(_exchange(part, measures, known, now))
            case "statement":
                parts.append(_statement(part, known))
    return PointReport(
        id=rule.id,
        label=rule.label,
        name=rule.name,
        name_en=rule.name_en,
        state=worst(part.state for part in parts if part.decides),
        parts=tuple(parts),
    )


def _domain(rule: PartRule, known: Known) -> PartReport:
    """Met by one channel of the form: a portal may keep an older address beside it."""
    form = re.compile(rule.pattern or "")
    evidence = []
    for channel in _of_kinds(rule, known):
        fits = form.fullmatch(channel.host) is not None
        evidence.append(
            _evidence(
                "channel",
                channel.id,
                channel.host,
                "met" if fits else "not-met",
                "domain-fits" if fits else "domain-differs",
                channel.registered_at,
                {"registered_by": channel.registered_by, **_unicode_form(channel.host)},
            )
        )
    if not evidence:
        return _part(rule, "unknown", "not-registered")
    fits = any(one.state == "met" for one in evidence)
    state: State = "met" if fits else "not-met"
    return _part(rule, state, "domain-fits" if fits else "domain-differs", evidence)


def _checks(rule: PartRule, measures: Measures, known: Known, now: datetime) -> PartReport:
    """Met when every check of every channel is."""
    channels = _of_kinds(rule, known)
    if not channels:
        return _part(rule, "unknown", "not-registered")
    oldest = now - timedelta(days=measures.check_days)
    found = {(one.channel, one.target, one.check): one for one in known.found}
    evidence = []
    worst_reason: dict[State, str] = {}
    for channel in channels:
        for check in rule.checks:
            one = found.get((channel.id, channel.host, check))
            state: State = "unknown"
            if one is None:
                reason, at, facts = "not-checked", None, {}
            elif one.checked_at < oldest:
                reason, at, facts = "checked-long-ago", one.checked_at, one.facts
            else:
                state, reason, at, facts = one.state, one.reason, one.checked_at, one.facts
            worst_reason.setdefault(state, reason)
            evidence.append(_evidence("check", check, channel.host, state, reason, at, facts))
    state = worst(one.state for one in evidence)
    reason = "all-checks-met" if state == "met" else worst_reason[state]
    return _part(rule, state, reason, evidence)


def _exchange(rule: PartRule, measures: Measures, known: Known, now: datetime) -> PartReport:
    seen = [
        one
        for one in known.exchanges
        if one.system == rule.system and within(one.agency, known.agency)
    ]
    if not seen:
        return _part(rule, "unknown", "never-exchanged")
    last = max((one.last_success_at for one in seen if one.last_success_at), default=None)
    failure = max((one.last_failure_at for one in seen if one.last_failure_at), default=None)
    state: State = "not-met"
    if last is None:
        reason = "exchange-fails"
    elif last < now - timedelta(days=measures.exchange_days):
        reason = "exchanged-long-ago"
    else:
        state, reason = "met", "exchanged"
    of = next((one.agency for one in seen if last and one.last_success_at == last), None)
    facts: dict[str, JsonValue] = {
        "last_success_at": last.isoformat() if last else None,
        "last_success_of": of,
        "last_failure_at": failure.isoformat() if failure else None,
        "days": measures.exchange_days,
        "succeeded": sum(one.succeeded for one in seen),
        "failed": sum(one.failed for one in seen),
    }
    system = rule.system or ""
    evidence = _evidence("exchange", system, known.agency, state, reason, last or failure, facts)
    return _part(rule, state, reason, [evidence])


def _statement(rule: PartRule, known: Known) -> PartReport:
    """Unknown with or without a statement: it is evidence of what was said, not of what is."""
    given = next((one for one in known.statements if one.part == rule.id), None)
    if given is None:
        return _part(rule, "unknown", "not-declared")
    facts: dict[str, JsonValue] = {
        "text": given.text,
        "document": given.document,
        "dated": given.dated.isoformat() if given.dated else None,
        "given_by": given.given_by,
    }
    evidence = _evidence(
        "statement", rule.id, known.agency, "unknown", "declared", given.given_at, facts
    )
    return _part(rule, "unknown", "declared", [evidence])


def _of_kinds(rule: PartRule, known: Known) -> list[RegisteredChannel]:
    return [channel for channel in known.channels if channel.kind in rule.channels]


def _unicode_form(host: str) -> dict[str, JsonValue]:
    name = readable(host)
    return {} if name == host else {"readable": name}


def _evidence(
    kind: Literal["channel", "check", "exchange", "statement"],
    what: str,
    target: str,
    state: State,
    reason: str,
    at: datetime | None,
    facts: dict[str, JsonValue],
) -> Evidence:
    vietnamese, english = REASONS[reason]
    return Evidence(
        kind=kind,
        what=what,
        target=target,
        state=state,
        reason=vietnamese,
        reason_en=english,
        at=at,
        facts=facts,
    )


def _part(
    rule: PartRule, state: State, reason: str, evidence: Sequence[Evidence] = ()
) -> PartReport:
    vietnamese, english = REASONS[reason]
    return PartReport(
        id=rule.id,
        name=rule.name,
        name_en=rule.name_en,
        decides=rule.decides,
        state=state,
        reason=vietnamese,
        reason_en=english,
        at=max((one.at for one in evidence if one.at), default=None),
        evidence=tuple(evidence),
    )
