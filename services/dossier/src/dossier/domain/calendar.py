"""Which days are worked in Vietnam, and time counted along them.

Two sources: the holidays that follow from the law (package ``holidays``), and the yearly decisions
that swap a working day for a Saturday, which are data (``data/working_days.json``) with source and
confidence. The package's own swaps are not used, so that there is one place to look at.

Working hours are not modelled, since no source says which hours an agency works: a working day
counts from midnight to midnight. What is left when all other days are taken out is one line, on
which time is added and counted; both are exact to the microsecond and undo each other. A moment
on a day that is not worked stands where the next working day begins.
"""

from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta, timezone
from importlib import resources
from pathlib import Path

from holidays import country_holidays
from pydantic import BaseModel, ConfigDict, model_validator

VIETNAM = timezone(timedelta(hours=7), "Asia/Ho_Chi_Minh")
"""Without daylight saving time as long as there have been dossiers."""

FIRST_YEAR, LAST_YEAR = 2000, 2099
"""Civil servants have worked five days a week since October 1999; the lunar tables of the package
end with the century."""

_DAY = 24 * 60 * 60 * 1_000_000
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=VIETNAM)
_EPOCH_DAY = _EPOCH.toordinal()
_WEEKEND = 5  # Saturday, counted from Monday
_SHAPE = ConfigDict(frozen=True, extra="forbid")


class OutsideCalendar(ValueError):
    """A moment before or after the years that the calendar has."""


class Decision(BaseModel):
    """A day off that would be worked, a day worked that would be off, or the two swapped."""

    model_config = _SHAPE

    off: date | None = None
    worked: date | None = None
    source: str
    confidence: str

    @model_validator(mode="after")
    def _names_a_day(self) -> "Decision":
        if self.off is None and self.worked is None:
            raise ValueError("a decision names a day off, a day worked, or both")
        return self


class Checked(BaseModel):
    """A year that was compared with the decision for it."""

    model_config = _SHAPE

    source: str
    confidence: str


class Decisions(BaseModel):
    """The yearly decisions; a year missing in ``years`` is only estimated."""

    model_config = _SHAPE

    version: str
    about: str
    years: dict[int, Checked]
    days: tuple[Decision, ...]


class Calendar:
    """The working days of Vietnam's public administration.

    Args:
        decisions: what the law alone does not say.
    """

    def __init__(self, decisions: Decisions) -> None:
        self.version = decisions.version
        self._checked = frozenset(decisions.years)
        off = _legal_holidays() | {one.off for one in decisions.days if one.off}
        worked = {one.worked for one in decisions.days if one.worked}
        first = date(FIRST_YEAR, 1, 1).toordinal()
        beyond = date(LAST_YEAR + 1, 1, 1).toordinal()
        off_days = {day.toordinal() for day in off - worked}
        worked_days = {day.toordinal() for day in worked}
        self._days = [
            day
            for day in range(first, beyond)
            if day in worked_days or ((day - 1) % 7 < _WEEKEND and day not in off_days)
        ]
        self._set = frozenset(self._days)
        self._bounds = (first, beyond)

    def works(self, day: date) -> bool:
        """Whether it is a working day.

        Raises:
            OutsideCalendar: it is not known.
        """
        return self._inside(day.toordinal()) in self._set

    def unusual(self, year: int) -> tuple[list[date], list[date]]:
        """The days from Monday to Friday that are off, and the weekend days that are worked.

        Raises:
            OutsideCalendar: the year is not known.
        """
        first, beyond = date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal() + 1
        self._inside(first)
        off: list[date] = []
        worked: list[date] = []
        for day in map(date.fromordinal, range(first, beyond)):
            if self.works(day) != (day.weekday() < _WEEKEND):
                (off if day.weekday() < _WEEKEND else worked).append(day)
        return off, worked

    def checked(self, year: int) -> bool:
        """Whether the year has been compared with the decision for it."""
        return year in self._checked

    def estimated(self, first: datetime, last: datetime) -> bool:
        """Whether any year between the two has not been checked against a decision."""
        years = range(_local(first).year, _local(last).year + 1)
        return not self._checked.issuperset(years)

    def add(self, start: datetime, days: float) -> datetime:
        """The moment so many working days (also fractions, or back) later.

        With a whole number the time of day of the start is kept, and the day of the start is not
        counted. The answer is always on a working day.

        Raises:
            OutsideCalendar: start or answer lie outside the calendar.
        """
        if not abs(days) <= len(self._days):  # also for what is not a number
            raise OutsideCalendar(f"{days} working days")
        return self._moment(self._place(start) + round(days * _DAY))

    def between(self, start: datetime, end: datetime) -> float:
        """How many working days pass from the one moment to the other; negative backwards.

        Raises:
            OutsideCalendar: one of them lies outside the calendar.
        """
        return (self._place(end) - self._place(start)) / _DAY

    def shifted(self, moment: datetime, start: datetime, end: datetime) -> datetime:
        """The moment put off by the working time between two others.

        Raises:
            OutsideCalendar: one of them, or the answer, lies outside the calendar.
        """
        return self._moment(self._place(moment) + self._place(end) - self._place(start))

    def working(self, moment: datetime) -> datetime:
        """The moment itself, or the same time of the next working day.

        Raises:
            OutsideCalendar: there is none in the calendar.
        """
        local = _local(moment)
        day = self._inside(local.toordinal())
        place = bisect_left(self._days, day)
        if place == len(self._days):
            raise OutsideCalendar(moment.isoformat())
        return local + timedelta(days=self._days[place] - day)

    def _place(self, moment: datetime) -> int:
        """Where the moment stands on the line of working time, in microseconds."""
        day, rest = divmod((moment - _EPOCH) // _MICROSECOND, _DAY)
        day = self._inside(day + _EPOCH_DAY)
        place = bisect_left(self._days, day)
        worked = place < len(self._days) and self._days[place] == day
        return place * _DAY + (rest if worked else 0)

    def _moment(self, place: int) -> datetime:
        day, rest = divmod(place, _DAY)
        if not 0 <= day < len(self._days):
            raise OutsideCalendar(f"working day {day}")
        since = timedelta(days=self._days[day] - _EPOCH_DAY, microseconds=rest)
        return _EPOCH + since

    def _inside(self, day: int) -> int:
        if not self._bounds[0] <= day < self._bounds[1]:
            raise OutsideCalendar(f"day {day}")
        return day


def load(file: Path | None = None) -> Calendar:
    """The calendar of this release, or with the decisions of another file of the same form.

    Raises:
        ValueError: the file is malformed.
        OSError: it cannot be read.
    """
    found = file or resources.files("dossier") / "data" / "working_days.json"
    return Calendar(Decisions.model_validate_json(found.read_bytes()))


def _legal_holidays() -> set[date]:
    """The holidays of the law, with the days off for those on a weekly rest, without swaps."""
    calendar = country_holidays("VN")
    calendar.has_special_holidays = False
    for year in range(FIRST_YEAR, LAST_YEAR + 1):
        calendar.get(date(year, 1, 1))  # asking for a day fills in its year
    return set(calendar)


def _local(moment: datetime) -> datetime:
    try:
        return moment.astimezone(VIETNAM)
    except OverflowError:
        raise OutsideCalendar(moment.replace(tzinfo=UTC).isoformat()) from None
