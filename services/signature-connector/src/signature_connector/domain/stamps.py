"""What a visible stamp says, in Vietnamese."""

from datetime import datetime, timedelta, timezone

VIETNAM = timezone(timedelta(hours=7), "Asia/Ho_Chi_Minh")
"""The zone's offset; there is no summer time."""
_KEPT = "\N{NO-BREAK SPACE}"


def stamp_lines(
    signer: str, at: datetime, *, agency: str | None = None, reason: str | None = None
) -> tuple[str, ...]:
    """The lines of a stamp, top to bottom.

    Time and zone are written as NĐ 30/2020/NĐ-CP wants the time of a digital signature: date,
    time, zone of Vietnam by ISO 8601.

    Args:
        signer: the person's or agency's name.
        at: when the signature claims to be made, with a zone.
        agency: for which the person signs.
        reason: why, in the person's words.
    """
    moment = at.astimezone(VIETNAM)
    lines = [f"Ký bởi: {signer}"]
    if agency:
        lines.append(f"Cơ quan: {agency}")
    lines.append(f"Thời gian ký: {moment:%d/%m/%Y}{_KEPT}{moment:%H:%M:%S}{_KEPT}+07:00")
    if reason:
        lines.append(f"Lý do: {reason}")
    return tuple(lines)
