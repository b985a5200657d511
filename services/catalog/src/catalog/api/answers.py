"""Answers that are not sent twice: ETag and Last-Modified (RFC 9110 section 13)."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from fastapi import Request, Response

_SETTLED = timedelta(seconds=10)
"""Last-Modified counts in seconds and a commit comes a little after its moment: a change that is
younger could be followed by another one with the same Last-Modified."""

_CACHING = "max-age=0, stale-if-error=86400"
"""Asked for again each time; for a day it may stand in while this service fails (RFC 5861)."""

_PROBLEM: dict[str, Any] = {"content": {"application/problem+json": {}}}
READ: dict[int | str, dict[str, Any]] = {
    304: {"description": "Unchanged since the ETag of If-None-Match, or since If-Modified-Since"},
    422: {"description": "A parameter is not valid", **_PROBLEM},
}
READ_ONE = {**READ, 404: {"description": "There is none", **_PROBLEM}}


def latest(moments: Iterable[datetime]) -> datetime | None:
    """The last of some moments; None of none."""
    return max(moments, default=None)


def answer(request: Request, text: str, changed_at: datetime | None = None) -> Response:
    """A JSON answer, or 304 for a client that has this content.

    Args:
        changed_at: when the content last changed; None where that is not known, as of lists that
            something can drop out of.
    """
    body = text.encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": etag, "cache-control": _CACHING}
    modified = _modified(changed_at)
    if modified:
        headers["last-modified"] = format_datetime(modified, usegmt=True)
    if _has_it(request, etag, modified):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def _modified(changed_at: datetime | None) -> datetime | None:
    if changed_at is None or datetime.now(UTC) - changed_at < _SETTLED:
        return None
    return changed_at.astimezone(UTC).replace(microsecond=0)


def _has_it(request: Request, etag: str, modified: datetime | None) -> bool:
    """If-None-Match decides alone where it is given; If-Modified-Since otherwise."""
    tags = ",".join(request.headers.getlist("if-none-match"))
    if tags:
        known = [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        return etag in known or "*" in known
    since = request.headers.get("if-modified-since")
    if not since or modified is None:
        return False
    try:
        moment = parsedate_to_datetime(since)
    except ValueError:
        return False  # a date that is none is ignored
    return modified <= (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
