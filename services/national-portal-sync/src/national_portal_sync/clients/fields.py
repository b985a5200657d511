"""Tables of wire fields: where each value comes from, in which form it is told, to whom.

A table is read at a glance and obeyed as it stands: a field whose source has no value is left out,
unless it is mandatory, when it is sent empty (as was seen with NgayHenTra). Nothing is filled in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from typing import Any, Literal, get_args

Wire = dict[str, Any]
Profile = Literal["basic", "2023", "2023-assumed"]
"""Which fields an installation of the portal takes: those that were always seen, with those seen
from 2023 on, and with those whose form no source tells (taken from a namesake that is known)."""
PROFILES: tuple[Profile, ...] = get_args(Profile)

VIETNAM = timezone(timedelta(hours=7))
"""Asia/Ho_Chi_Minh; without summer time since 1975."""

Form = Callable[[Any], Any]


def text(value: str | None) -> str | None:
    """As it is; every value on this wire is a string unless its field says otherwise."""
    return value


def flag(value: bool | None) -> Literal["0", "1"] | None:
    """A truth as "0" or "1"."""
    return None if value is None else "1" if value else "0"


def amount(value: int) -> str:
    """Whole đồng in digits."""
    return str(value)


def plain(value: int | bool | None) -> int | bool | None:
    """A number or truth of JSON: one of the few values that are no strings."""
    return value


def moment(value: datetime | None) -> str:
    """``yyyyMMddHHmmss`` in Vietnam's time; empty for none."""
    if value is None:
        return ""
    at = value.astimezone(VIETNAM)
    return f"{at.year:04}{at.month:02}{at.day:02}{at.hour:02}{at.minute:02}{at.second:02}"


def fixed(value: str) -> Form:
    """The same for every item."""
    return lambda _: value


@dataclass(frozen=True, slots=True)
class Each:
    """A list of objects, each by a table of its own."""

    table: "Table"


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a table.

    Attributes:
        name: on the wire.
        source: path from the table's subject to the value.
        mandatory: presumably; sent empty where there is no value.
        since: the first profile that has it.
        longest: characters, as seen in practice; what is longer is cut.
        personal: kept out of what operators read of a refusal.
        note: what is uncertain about it.
    """

    name: str
    source: str
    form: Form | Each = text
    mandatory: bool = False
    since: Profile = "basic"
    longest: int | None = None
    personal: bool = False
    note: str = ""


def required(name: str, source: str, form: Form | Each = text, **more: Any) -> Field:
    """R of the lists: presumably mandatory, or always seen."""
    return Field(name, source, form, mandatory=True, **more)


optional = Field
"""O of the lists."""


def newer(name: str, source: str, form: Form | Each = text, **more: Any) -> Field:
    """N of the lists: seen from 2023 on."""
    return Field(name, source, form, since="2023", **more)


def assumed(name: str, source: str, form: Form | Each = text, **more: Any) -> Field:
    """A field whose form no source tells."""
    return Field(name, source, form, since="2023-assumed", **more)


class Table:
    """The fields of an object, in the order of the lists."""

    def __init__(self, *fields: Field) -> None:
        self.fields = fields
        self._plans = {profile: self._plan(profile) for profile in PROFILES}

    def item(self, subject: Any, profile: Profile) -> Wire:
        """The object for a subject, with the fields of a profile that have a value."""
        item: Wire = {}
        for name, read, form, mandatory in self._plans[profile]:
            value = form(read(subject))
            if value is None or value in ("", []):
                if mandatory:
                    item[name] = ""
            else:
                item[name] = value
        return item

    def personal(self, item: Wire) -> list[str]:
        """The values of an item that are nobody else's business, at any depth."""
        values: list[str] = []
        for field in self.fields:
            value = item.get(field.name)
            if value is None:
                continue
            if isinstance(field.form, Each):
                for part in value:
                    values += field.form.table.personal(part)
            elif field.personal:
                values.append(value)
        return values

    def personal_names(self, item: Wire) -> list[str]:
        """The names of an item's personal fields that have a value; of nested ones the whole."""
        return [
            field.name
            for field in self.fields
            if item.get(field.name)
            and (
                any(map(field.form.table.personal, item[field.name]))
                if isinstance(field.form, Each)
                else field.personal
            )
        ]

    def _plan(self, profile: Profile) -> list[tuple[str, Callable[[Any], Any], Form, bool]]:
        taken = PROFILES[: PROFILES.index(profile) + 1]
        return [
            (field.name, attrgetter(field.source), _form(field, profile), field.mandatory)
            for field in self.fields
            if field.since in taken
        ]


def _form(field: Field, profile: Profile) -> Form:
    form, longest = field.form, field.longest
    if isinstance(form, Each):
        table = form.table

        def listed(subjects: Sequence[Any]) -> list[Wire]:
            return [table.item(subject, profile) for subject in subjects]

        return listed
    if longest is not None:
        return lambda value: value[:longest].rstrip() if value and len(value) > longest else value
    return form
