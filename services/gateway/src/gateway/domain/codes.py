"""Dossier codes that are issued here."""

from datetime import date, datetime, timedelta, timezone

from common.contracts.codes import canonical_agency

_VIETNAM = timezone(timedelta(hours=7))
_NO_LEVEL = ("", "00", "00", "000")
"""What stands for a level that an agency does not have, by level."""


def vietnam_day(moment: datetime) -> date:
    """The day of a moment in Vietnam."""
    return moment.astimezone(_VIETNAM).date()


def day_of_issue(moment: datetime) -> date:
    """The day that stands in a code issued at a moment: Vietnam's."""
    return moment.astimezone(_VIETNAM).date()


def issued_code(agency: str, day: date, number: int) -> str:
    """A dossier code in the legal form, ``000.00.15.H10-220101-0001`` (TT 01/2018/TT-VPCP Điều 19).

    Args:
        agency: new form. Where the old form (four levels, QCVN 102:2016) cannot name it, the new
            one stands in the code, which is taken everywhere too.
        day: of issue, in Vietnam.
        number: from 1; four digits, and more after 9999.
    """
    levels = agency.split(".")
    padded = [*levels, *_NO_LEVEL[len(levels) :]]
    old = ".".join(reversed(padded))
    part = old if len(padded) == len(_NO_LEVEL) and canonical_agency(old) == agency else agency
    return f"{part}-{day:%y%m%d}-{number:04d}"
