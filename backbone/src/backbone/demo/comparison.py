"""Everybody's books held against the client's: what was sent, and what the outside systems hold.

Nothing here reads the backbone's own tables. Each difference is a sentence that names its dossier.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from backbone.assembly import Outside
from backbone.demo.client import Book
from backbone.demo.flags import AskFlags, Flags
from common.http import http_client

SIGNING = "signing requests, each asked once"


@dataclass
class Check:
    """One line of the final table.

    Attributes:
        doubtful: how many of them have an outcome that cannot be known, and are marked so: held for
            an operator, or flagged as maybe doubled.
    """

    what: str
    sent: int
    found: int
    doubtful: int = 0
    differences: list[str] = field(default_factory=list)


async def compare(
    book: Book, states: dict[str, str], held: set[str], outside: Outside, ask_flags: AskFlags
) -> list[Check]:
    """Hold the client's book against the gateway's answers and the simulators' books.

    Args:
        states: the state of each submission as the gateway told the client.
        held: dossiers whose signature is held for an operator, as the gateway told the client.
        ask_flags: what the services flagged as maybe doubled.
    """
    async with http_client(timeout=30.0) as http:
        portal = {
            row["MaHoSo"]: row async for row in _pages(http, outside.national_portal, "dossiers")
        }
        signing = [row async for row in _pages(http, outside.signing_gateway, "requests")]
        records = [row async for row in _pages(http, outside.emc, "records")]
        tracker = [row async for row in _pages(http, outside.emc, "tracker")]
    suspects = [code for code, row in portal.items() if row["steps_repeated"]]
    flags = await ask_flags(suspects)
    return [
        _submissions(book, states),
        *_portal(book, portal, flags),
        _signing(book, signing, held),
        _records(book, records, flags),
        _tracker(tracker),
    ]


async def settled(outside: Outside) -> tuple[int, int, int, int]:
    """Numbers that stand still once everything has arrived."""
    async with http_client(timeout=30.0) as http:
        portal = (await http.get(f"{outside.national_portal}/_books")).json()
        signing = (await http.get(f"{outside.signing_gateway}/_books")).json()
        emc = (await http.get(f"{outside.emc}/_books")).json()
    return (portal["dossiers"], portal["steps_kept"], signing["signed"], emc["records"])


async def complete(book: Book, outside: Outside) -> bool:
    """Whether everything has arrived that must; what arrived too much is the comparison's."""
    async with http_client(timeout=30.0) as http:
        statuses = {
            row["MaHoSo"]: row["status"]
            async for row in _pages(http, outside.national_portal, "dossiers", brief=True)
        }
    if any(statuses.get(code) != sent.life.status for code, sent in book.sent.items()):
        return False
    _, steps, _, records = await settled(outside)
    return steps >= sum(
        sent.steps_with_official for sent in book.sent.values()
    ) and records >= book.submissions + sum(sent.to_sign is not None for sent in book.sent.values())


async def _pages(
    http: httpx.AsyncClient, url: str, book: str, *, brief: bool = False
) -> AsyncIterator[dict[str, Any]]:
    after: int | None = 0
    while after is not None:
        answer = await http.get(
            f"{url}/_books/{book}", params={"after": after, "limit": 2000, "brief": int(brief)}
        )
        answer.raise_for_status()
        page = answer.json()
        for item in page["items"]:
            yield item
        after = page["next"]


def _submissions(book: Book, states: dict[str, str]) -> Check:
    check = Check("submissions, each with one outcome", book.submissions, 0)
    for code, sent in sorted(book.sent.items()):
        if len(set(sent.submissions)) != len(sent.life.steps) + 1:
            check.differences.append(f"{code}: not every step was taken in")
        for submission in sent.submissions:
            state = states.get(submission, "unknown to the gateway")
            if state == "applied":
                check.found += 1
            else:
                check.differences.append(f"{code}: submission {submission} is {state}")
    known = {submission for sent in book.sent.values() for submission in sent.submissions}
    check.differences += [
        f"submission {extra} is nothing that the client holds a 202 for"
        for extra in sorted(states.keys() - known)
    ]
    return check


def _portal(book: Book, portal: dict[str, dict[str, Any]], flags: Flags) -> Iterator[Check]:
    dossiers = Check("dossiers at the national portal", len(book.sent), len(portal))
    states = Check("… in their last state", len(book.sent), 0)
    wanted_steps = sum(sent.steps_with_official for sent in book.sent.values())
    steps = Check("progress steps, in order, once", wanted_steps, 0)
    for code, sent in sorted(book.sent.items()):
        held = portal.get(code)
        if held is None:
            dossiers.differences.append(f"{code}: the portal does not know it")
            continue
        if held["created"] != 1:
            dossiers.differences.append(f"{code}: created {held['created']} times")
        if held["status"] == sent.life.status:
            states.found += 1
        else:
            states.differences.append(
                f"{code}: status {held['status']} instead of {sent.life.status}"
            )
        steps.found += len(held["steps"])
        steps.differences += _step_differences(code, sent.life.steps, held["steps"])
        doubled = sum(entry["times"] > 1 for entry in held["steps"])
        if doubled <= flags.steps.get(code, 0):
            steps.doubtful += doubled
        else:
            steps.differences.append(f"{code}: {doubled} steps arrived more than once")
    dossiers.differences += [
        f"{code}: the portal has it, nobody sent it" for code in sorted(portal.keys() - book.sent)
    ]
    yield from (dossiers, states, steps)


def _step_differences(
    code: str, sent: tuple[dict[str, Any], ...], held: list[dict[str, Any]]
) -> Iterator[str]:
    wanted = [step["official"]["name"] for step in sent if "official" in step]
    found = [entry["step"]["NguoiXuLy"] for entry in held]
    moments = [entry["step"]["ThoiDiemXuLy"] for entry in held]
    if wanted != found:
        yield f"{code}: {len(found)} steps at the portal, {len(wanted)} sent, or other people"
    if moments != sorted(moments):
        yield f"{code}: steps arrived out of order"


def _signing(book: Book, requests: list[dict[str, Any]], held: set[str]) -> Check:
    wanted = {sent.to_sign: code for code, sent in book.sent.items() if sent.to_sign}
    check = Check(SIGNING, len(wanted), len(requests), len(held))
    seen: dict[str, int] = {}
    for request in requests:
        document = request["sha256"]
        seen[document] = seen.get(document, 0) + request["asked"]
        if document not in wanted:
            check.differences.append(f"{document}: nobody asked for this signature")
    for document, code in sorted(wanted.items()):
        asked = seen.get(document, 0)
        if asked == 0 and code not in held:
            check.differences.append(f"{code}: nobody was asked to sign")
        elif asked > 1:
            check.differences.append(f"{code}: the person was asked {asked} times")
    return check


def _records(book: Book, records: list[dict[str, Any]], flags: Flags) -> Check:
    # One for each fact: the submission, every step, and the end of a signing request.
    wanted = {
        code: 1 + len(sent.life.steps) + (sent.to_sign is not None)
        for code, sent in book.sent.items()
    }
    check = Check("records at the monitoring endpoint", sum(wanted.values()), 0)
    found: dict[str, int] = {}
    for record in records:
        check.found += 1
        found[record["MaHoSo"]] = found.get(record["MaHoSo"], 0) + 1
        if record["times"] > 1 and record["Data"] in flags.records:
            check.doubtful += 1
        elif record["times"] != 1:
            check.differences.append(
                f"{record['MaHoSo']}: record {record['Data']} came {record['times']} times"
            )
    for code in sorted(wanted.keys() | found.keys()):
        if wanted.get(code, 0) != found.get(code, 0):
            check.differences.append(
                f"{code}: {found.get(code, 0)} records, {wanted.get(code, 0)} expected"
            )
    return check


def _tracker(tracker: list[dict[str, Any]]) -> Check:
    """Usage measurements: how many there are is the services' business, that none comes twice is
    checked here."""
    check = Check("usage measurements, none twice", len(tracker), len(tracker))
    check.differences = [
        f"measurement came {row['times']} times" for row in tracker if row["times"] != 1
    ]
    if not tracker:
        check.differences.append("no service was measured")
    return check
