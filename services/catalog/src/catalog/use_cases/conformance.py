"""The conformance report: what is known of agencies, judged by the rules of a day."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from importlib import resources

import orjson
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.domain.channels import State
from catalog.domain.conformance import (
    Known,
    Notice,
    PointReport,
    Rules,
    RuleSet,
    judge,
)
from catalog.errors import NoRules, NoSuchAgency
from catalog.store import channels, evidence
from common.contracts.exchange import ExchangeObserved

VIETNAM = timezone(timedelta(hours=7))


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AgencyName(_Data):
    """Whose report it is."""

    code: str
    name: str
    active: bool


class Basis(_Data):
    """The rules that were applied."""

    id: str
    instrument: str
    article: str
    effective_from: date
    effective_to: date | None
    basis: str
    confidence: str
    source: str
    note: str | None
    exchange_days: int
    check_days: int
    measures_source: str


class Report(_Data):
    """An agency's report."""

    agency: AgencyName
    on: date
    """The day whose rules were applied; the evidence is that of now."""
    generated_at: datetime
    rules: Basis
    notices: tuple[Notice, ...]
    points: tuple[PointReport, ...]


class Brief(_Data):
    """An agency in the list: the state of each point."""

    agency: AgencyName
    states: dict[str, State]


@cache
def rules() -> Rules:
    """The rules that come with this version of the service."""
    source = resources.files("catalog") / "data" / "conformance_rules.json"
    return Rules.model_validate_json(source.read_bytes())


def rules_of(day: date) -> RuleSet:
    """The rules of a day.

    Raises:
        NoRules: none are known for it.
    """
    found = rules().on(day)
    if found is None:
        raise NoRules(
            "Không có quy định nào được biết cho ngày này", "No rules are known for this day"
        )
    return found


def today() -> date:
    """The day it is in Việt Nam."""
    return datetime.now(VIETNAM).date()


async def report(connection: AsyncConnection, agency: str, day: date) -> Report:
    """The report of an agency by the rules of a day.

    Raises:
        NoSuchAgency, NoRules
    """
    applied = rules_of(day)
    named = await channels.named_agencies(connection, [agency])
    if not named:
        raise NoSuchAgency(
            "Danh mục không có cơ quan với mã này", "The catalogue has no agency of this code"
        )
    now = datetime.now(UTC)
    (known,) = await _known(connection, [agency], applied)
    return Report(
        agency=_name(*named[0]),
        on=day,
        generated_at=now,
        rules=_basis(applied),
        notices=tuple(one for one in rules().notices if one.claimed_from <= day),
        points=judge(applied, known, now),
    )


async def list_states(
    connection: AsyncConnection, day: date, after: str, limit: int
) -> list[Brief]:
    """The states of the agencies that exist, by code, beginning behind one.

    Raises:
        NoRules
    """
    applied = rules_of(day)
    named = await channels.active_agencies(connection, after, limit)
    now = datetime.now(UTC)
    found = await _known(connection, [code for code, _, _ in named], applied)
    return [
        Brief(
            agency=_name(*name),
            states={point.id: point.state for point in judge(applied, known, now)},
        )
        for name, known in zip(named, found, strict=True)
    ]


async def note_exchanges(connection: AsyncConnection, observed: Sequence[ExchangeObserved]) -> None:
    """Keep what other services tell of their exchanges."""
    await evidence.note_exchanges(
        connection,
        [
            evidence.Tally(
                agency=one.agency,
                system=one.system,
                day=one.ended_at.astimezone(VIETNAM).date(),
                succeeded=one.succeeded,
                failed=one.failed,
                last_success_at=one.last_success_at,
                last_failure_at=one.ended_at if one.failed else None,
            )
            for one in observed
        ],
    )


async def _known(
    connection: AsyncConnection, agencies: Sequence[str], applied: RuleSet
) -> list[Known]:
    registered = await channels.channels(connection, agencies)
    found = await evidence.latest(connection, agencies)
    exchanged = await evidence.exchanges(connection, agencies, applied.measures.exchange_days)
    stated = await channels.statements(connection, agencies)
    return [
        Known(
            agency=agency,
            channels=registered.get(agency, []),
            found=found.get(agency, []),
            exchanges=exchanged.get(agency, []),
            statements=stated.get(agency, []),
        )
        for agency in agencies
    ]


def _name(code: str, active: bool, body: str) -> AgencyName:
    return AgencyName(code=code, active=active, name=orjson.loads(body)["name"])


def _basis(applied: RuleSet) -> Basis:
    return Basis(
        **applied.model_dump(include=_OF_RULES),
        exchange_days=applied.measures.exchange_days,
        check_days=applied.measures.check_days,
        measures_source=applied.measures.source,
    )


_OF_RULES = set(Basis.model_fields) & set(RuleSet.model_fields)
