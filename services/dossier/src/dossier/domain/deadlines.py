"""When a dossier is due, and when that is to be told.

Bộ luật Dân sự 2015 Điều 147, 148 (read on public pages that quote them; whether a special law says
otherwise for a procedure was not found): terms in days do not count the day they begin on, a month
ends on the same day of a later month or on its last one, and a term that would end on a weekend or
holiday ends on the next working day. By Điều 148 a term in days runs until midnight; here the due
moment keeps the time of day of the reception, so it is on that last day and never after the law's.
"""

import math
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from common.contracts.catalog import ProcessingTime
from common.contracts.commands import Command, GiveSupplement, Receive
from common.contracts.dossier import DossierState, Supplement
from dossier.domain.calendar import VIETNAM, Calendar, OutsideCalendar
from dossier.domain.model import Dossier
from dossier.domain.moves import stayed

_HOURS = 24
_DAYS_OF_A_MONTH = 30  # of a part of one: Điều 146.1.c
_ENDED = frozenset({"3", "7", "8", "10"})
_FINISHED = _ENDED | {"9"}
_WAITING = "5"


@dataclass(frozen=True, slots=True)
class Notice:
    """How long before the due date its approach is told. No source prescribes it.

    Attributes:
        working_days: for terms in days, working days or months, and where the term is not known.
        hours: for terms in hours.
        share: never before this share of the term has passed.
    """

    working_days: float = 2.0
    hours: float = 2.0
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class Entry:
    """What the schedule knows of a dossier.

    Attributes:
        warn_at: when the approach of the due date is to be told.
        running: False while the time stands still: papers are waited for, or it is finished.
        ended: nothing will ever be told of it again.
    """

    code: str
    due_at: datetime
    warn_at: datetime
    running: bool
    ended: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """How a dossier stands to its due date.

    Attributes:
        at: the moment this is true of: now, or when the time stopped.
        days_left: working days; negative where it is overdue by so many.
        estimated: the calendar has not been checked against the decisions of all years concerned.
    """

    due_at: datetime
    at: datetime
    running: bool
    days_left: float | None
    estimated: bool


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The rules of due dates.

    Attributes:
        calendar: the working days they are counted in.
        notice: when their approach is told.
    """

    calendar: Calendar
    notice: Notice = Notice()

    def due(self, start: datetime, time: ProcessingTime | None) -> datetime | None:
        """The end of a term; None where it has no length, or leaves the calendar.

        Hours pass on working days only, all 24 of them; days and months pass always, but do not
        end on a day that is not worked.

        Args:
            start: the moment of reception.
            time: how long processing may take.
        """
        if time is None or not (math.isfinite(time.quantity) and time.quantity > 0):
            return None
        try:
            match time.unit:
                case "working-day":
                    return self.calendar.add(start, time.quantity)
                case "hour":
                    return self.calendar.add(start, time.quantity / _HOURS)
                case "day":
                    return self.calendar.working(start + timedelta(days=time.quantity))
                case "month":
                    return self.calendar.working(_months_later(start, time.quantity))
        except (OutsideCalendar, OverflowError):
            return None

    def put_off(
        self, due_at: datetime, asked: datetime, given: datetime, time: ProcessingTime | None
    ) -> datetime:
        """The due date without the time that the applicant took, in the measure of the term.

        Where the term is not known (the agency named a date), working days are counted. It stays
        where the calendar does not reach.
        """
        if given <= asked:
            return due_at
        try:
            if time is not None and time.unit in ("day", "month"):
                return self.calendar.working(due_at + (given - asked))
            return self.calendar.shifted(due_at, asked, given)
        except (OutsideCalendar, OverflowError):
            return due_at

    def settled(self, before: Dossier, after: Dossier, command: Command) -> Dossier:
        """The dossier with the due date that follows from the step; one that was given stands."""
        match command:
            case Receive(due_at=None):
                return self._received(after)
            case GiveSupplement(due_at=None):
                return self._answered(before, after, command.at)
            case Receive() | GiveSupplement() if after.state.due_computed:
                return stayed(after, due_computed=False)
        return after

    def _received(self, after: Dossier) -> Dossier:
        state = after.state
        if state.due_at is not None or state.received_at is None:
            return after
        due_at = self.due(state.received_at, state.procedure.time)
        if due_at is None:
            return after
        return stayed(after, due_at=due_at.astimezone(UTC), due_computed=True)

    def _answered(self, before: Dossier, after: Dossier, given: datetime) -> Dossier:
        """Every request that this answers is counted once, from the first of them on: also a
        second request puts the due date off, whatever a measure makes of it."""
        state = after.state
        asked = asked_since(before)
        if asked is None or state.due_at is None:
            return after
        due_at = self.put_off(state.due_at, asked, given, state.procedure.time).astimezone(UTC)
        supplements = tuple(
            now.model_copy(update={"due_after": due_at}) if was.given_at is None else now
            for was, now in zip(before.state.supplements, state.supplements, strict=True)
        )
        return stayed(after, due_at=due_at, supplements=supplements)

    def entry(self, dossier: Dossier) -> Entry | None:
        """What the schedule is to know; None for a dossier without due date, or a historic one."""
        state = dossier.state
        if state.due_at is None or state.historic:
            return None
        return Entry(
            code=state.code,
            due_at=state.due_at,
            warn_at=self._warned(state, state.due_at),
            running=_running(dossier),
            ended=state.status in _ENDED,
        )

    def _warned(self, state: DossierState, due_at: datetime) -> datetime:
        time = state.procedure.time
        hours = time is not None and time.unit == "hour"
        before = self.notice.hours / _HOURS if hours else self.notice.working_days
        start = state.received_at or state.submitted_at
        try:
            least = self.calendar.between(start, due_at) * self.notice.share
            return min(
                due_at, max(self.calendar.add(due_at, -before), self.calendar.add(start, least))
            )
        except OutsideCalendar:
            return due_at

    def standing(self, dossier: Dossier, now: datetime) -> Standing | None:
        """How it stands to its due date; None where it has none."""
        state = dossier.state
        if state.due_at is None:
            return None
        running = _running(dossier)
        at = now if running else _stopped(dossier) or now
        try:
            left = round(self.calendar.between(at, state.due_at), 2)
        except OutsideCalendar:
            left = None
        start = state.received_at or state.submitted_at
        return Standing(
            due_at=state.due_at,
            at=at,
            running=running,
            days_left=left,
            estimated=left is None
            or self.calendar.estimated(start, max(state.due_at, at, key=datetime.timestamp)),
        )


def asked_since(dossier: Dossier) -> datetime | None:
    """Since when papers have been waited for while the term ran; None where none are open."""
    asked = min((one.requested_at for one in _open(dossier.state.supplements)), default=None)
    received = dossier.state.received_at
    return max(asked, received) if asked is not None and received is not None else asked


def _open(supplements: Sequence[Supplement]) -> list[Supplement]:
    return [one for one in supplements if one.given_at is None]


def _running(dossier: Dossier) -> bool:
    status = dossier.state.status
    return status not in _FINISHED and _WAITING not in (*dossier.interrupted, status)


def _stopped(dossier: Dossier) -> datetime | None:
    state = dossier.state
    if state.status in _FINISHED:
        return state.finished_at or state.refused_at or state.returned_at
    return asked_since(dossier)


def _months_later(start: datetime, months: float) -> datetime:
    """The same day and time so many months on, or the last day of that month; a part of a month
    is so many thirtieths."""
    whole = int(months)
    local = start.astimezone(VIETNAM)
    year, month = divmod(local.year * 12 + local.month - 1 + whole, 12)
    if not 1 <= year <= 9999:
        raise OutsideCalendar(f"{months} months")
    day = min(local.day, monthrange(year, month + 1)[1])
    moment = local.replace(year=year, month=month + 1, day=day)
    return moment + timedelta(days=(months - whole) * _DAYS_OF_A_MONTH)
