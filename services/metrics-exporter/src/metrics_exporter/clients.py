"""The monitoring system (EMC) on the wire: a record for each dossier event, and a page tracker.

No official interface was found. What is known was seen in one public code base (confidence
medium): the call ``TrackingMCDT`` with the field names and code lists below, judged by the HTTP
status alone and without authentication, and a tracker like Matomo's, whose bulk HTTP API is
publicly documented. Neither can be asked what it has. That a page for people is no answer is our
own choice.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.dossier import DossierFact
from common.contracts.usage import UsageMeasured
from common.delivery import Ability, Claimed, Outcome, Result
from common.http import never_sent, retry_after

CODES_VERSION = "2026-11-21"
"""When the codes below were collected."""

STATUS = MappingProxyType(
    {
        "1": "1",  # Mới đăng ký → Tiếp nhận
        "2": "1",  # Được tiếp nhận → Tiếp nhận
        "3": "0",  # Không được tiếp nhận → Khác
        "4": "2",  # Đang xử lý → Đang xử lý
        "5": "0",
        "6": "0",
        "7": "0",
        "8": "0",
        "9": "3",  # Đã xử lý xong → Trả kết quả
        "10": "3",  # Đã trả kết quả → Trả kết quả
    }
)
"""TrangThaiHoSo → Status (0 khác, 1 tiếp nhận, 2 đang xử lý, 3 trả kết quả; 4 phân công is not
used: no status of a dossier says that it was assigned)."""

FORMS_RECEPTION = MappingProxyType({"1": "2", "2": "1", "3": "2"})
"""KenhThucHien → FormsReception (1 trực tuyến, 2 trực tiếp). What comes by post did not come
online, and the list knows nothing third."""

IS_DVCBC = MappingProxyType({"1": "0", "2": "0", "3": "2"})
"""KenhThucHien → IsDVCBC (0 trực tiếp, 1 VNPost, 2 khác). A dossier that came by post does not say
which carrier brought it, so it is not said to have been VNPost."""

FORMS_PAYMENTS = MappingProxyType({None: "0", True: "1", False: "2"})
"""How fees were paid → FormsPayments (0 không, 1 online, 2 trực tiếp); 0 as long as none were."""

NOT_FROM_PORTAL = "0"
"""IsFromDVCQG: no dossier reaches this backbone through the national portal."""

USER_TYPE_OTHER = "2"
"""User.TYPE (1 tax code of ten characters, 2 other): a pseudonym is no tax code."""

_PAUSE_SECONDS = 5.0
_FAILURES_TO_STOP = 3
_CONNECT_SECONDS = 5.0
_BODY_SECONDS = 2.0
_MOST_BODY = 16 * 1024
_MOST_REASON = 200
_PAGE_BEGINS = 20
# Refusals that speak of the address or of access, not of what was sent.
_NOT_ABOUT_THE_ITEM = frozenset({401, 403, 404, 405, 407, 408, 425})
_HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}
_TIMES = {"timeout": httpx.Timeout(None, connect=_CONNECT_SECONDS).as_dict()}
_NOT_TRIED = Outcome(
    Result.RETRY, "not tried: the partner, or an earlier record of the dossier, failed", pause=0.0
)

Note = Callable[[AsyncConnection, Sequence[tuple[Claimed, Outcome]]], Awaitable[None]]


class Pseudonyms:
    """Stand-ins for applicants, from a key that only this service holds (HMAC-SHA-256).

    They are made from the dossier code, because that is all this service knows of an applicant: it
    holds no key to the sealed fields. So one dossier keeps one pseudonym through its life, two
    dossiers of one person have nothing in common, and no identity number can be found by trying.
    """

    def __init__(self, key: SecretStr) -> None:
        self._key = key.get_secret_value().encode()

    def of(self, dossier_code: str) -> str:
        """The pseudonym of a dossier's applicant."""
        digest = hmac.digest(self._key, b"applicant\0" + dossier_code.encode(), "sha256")
        return f"p1.{digest.hex()[:40]}"


@dataclass(frozen=True)
class Wire:
    """Our facts in the receiver's forms.

    Attributes:
        site_id: this site's number there.
    """

    site_id: int
    pseudonyms: Pseudonyms

    def record(self, fact: DossierFact) -> bytes:
        """The TrackingMCDT record of a fact.

        ``Level`` (service level) is left out: a dossier does not carry it, and national sources
        name it for few procedures. ``Data`` holds the record's natural key, by which the receiver
        can tell a repeat. Of ``User`` only the pseudonym is known; the rest is empty.
        """
        dossier = fact.dossier
        user = {
            "ID_local": self.pseudonyms.of(dossier.code),
            "ID_QG": "",
            "TYPE": USER_TYPE_OTHER,
            "LOCATION": "",
        }
        return orjson.dumps(
            {
                "CodeProfile": dossier.code,
                "SiteId": self.site_id,
                "CodeTTHC": dossier.procedure.code,
                "NameTTHC": dossier.procedure.name,
                "MaHoSo": dossier.code,
                "Status": STATUS[fact.step.status],
                "FormsReception": FORMS_RECEPTION[dossier.channel],
                "FormsPayments": FORMS_PAYMENTS[dossier.paid_online],
                "IsFromDVCQG": NOT_FROM_PORTAL,
                "IsDVCBC": IS_DVCBC[dossier.channel],
                "Data": record_key(fact),
                "User": orjson.dumps(user).decode(),
            }
        )

    def counts(self, measured: UsageMeasured) -> bytes:
        """The tracker's bulk request of a measurement: an event for each count."""
        name = f"{measured.instance}/{measured.boot}/{measured.interval}"
        requests = [
            "?"
            + urlencode(
                {
                    "idsite": self.site_id,
                    "rec": 1,
                    "e_c": measured.service,
                    "e_a": count.name,
                    "e_n": name,
                    "e_v": count.value,
                }
            )
            for count in measured.counts
        ]
        return orjson.dumps({"requests": requests})


def record_key(fact: DossierFact) -> str:
    """The natural key of a fact's record: dossier code and number of the step."""
    return f"{fact.dossier.code}/{fact.step.number}"


class Emc:
    """Takes one record a call, so a batch goes out in several calls at a time.

    Records of one dossier go out one after the other: where one of them fails, those behind it
    wait with it. Batches are not large, because a process that is killed leaves all of its batches
    in doubt, also what was answered already.

    Args:
        url: base address.
        parallel: calls at the same time, over all batches.
        seconds: how long to wait for an answer.
        note: notes outcomes in this service's own tables.
    """

    name = "emc"
    batch = 32

    def __init__(
        self, http: httpx.AsyncBaseTransport, url: str, parallel: int, seconds: float, note: Note
    ) -> None:
        self._http = http
        self._url = httpx.URL(f"{url.rstrip('/')}/TrackingMCDT")
        self._seconds = seconds
        self._slots = asyncio.Semaphore(parallel)
        self.parallel = max(2, 2 * parallel // self.batch)
        self._note = note

    def ability(self, kind: str) -> Ability:
        """It cannot be asked."""
        return Ability.NONE

    def group(self, item: Claimed) -> Hashable:
        """Any records may share a batch."""
        return None

    async def send(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        """One call for each record; none any more once the partner asks for patience or is down."""
        outcomes = [_NOT_TRIED] * len(items)
        dossiers: dict[str, list[int]] = {}
        for place, item in enumerate(items):
            dossiers.setdefault(item.subject, []).append(place)
        course = _Course()

        async def in_turn(places: Sequence[int]) -> None:
            for place in places:
                async with self._slots:
                    if course.stopped:
                        return
                    outcome = await self._send(items[place])
                course.note(outcome)
                outcomes[place] = outcome
                if outcome.result is not Result.DONE:
                    return

        await asyncio.gather(*(in_turn(places) for places in dossiers.values()))
        if course.taken:  # so what failed is about the record, not about the partner
            return [replace(outcome, partner_down=False) for outcome in outcomes]
        return outcomes

    async def _send(self, item: Claimed) -> Outcome:
        reply = await _post(self._http, self._url, item.body, self._seconds)
        if isinstance(reply, Outcome):
            return reply
        if not 200 <= reply.status < 300:
            return _refusal(reply)
        if _is_page(reply.body):
            return Outcome(Result.UNKNOWN, "a page in place of an answer", partner_down=True)
        return Outcome(Result.DONE)

    async def ask(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        """Never called: it cannot be asked."""
        return [Outcome(Result.UNKNOWN, "cannot be asked")] * len(items)

    async def settled(
        self, connection: AsyncConnection, outcomes: Sequence[tuple[Claimed, Outcome]]
    ) -> None:
        """Note outcomes in this service's own tables."""
        await self._note(connection, outcomes)


class Tracker:
    """Takes the counts of one measurement a call, at most once.

    A call whose outcome is unknown is not repeated: twice the counts would be worse than none, and
    the gap is on record. ``DONE`` with a reason means exactly that.

    Args:
        url: base address.
        seconds: how long to wait for an answer.
        note: notes what was sent and what is a gap.
    """

    name = "tracker"
    batch = 1
    parallel = 2

    def __init__(
        self, http: httpx.AsyncBaseTransport, url: str, seconds: float, note: Note
    ) -> None:
        self._http = http
        self._url = httpx.URL(f"{url.rstrip('/')}/matomo.php")
        self._seconds = seconds
        self._note = note

    def ability(self, kind: str) -> Ability:
        """It cannot be asked."""
        return Ability.NONE

    def group(self, item: Claimed) -> Hashable:
        """Each measurement is a call of its own, so that a lost answer costs no other."""
        return item.id

    async def send(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        """One bulk call for each measurement that certainly never arrived."""
        return [await self._send(item) for item in items]

    async def _send(self, item: Claimed) -> Outcome:
        if item.maybe_doubled:  # it would be now: an earlier call was cut off
            return Outcome(Result.DONE, "the process ended in the middle of the call")
        reply = await _post(self._http, self._url, item.body, self._seconds)
        if isinstance(reply, Outcome):
            outcome = reply
        else:
            tracked, invalid = _bulk_answer(reply.body)
            if 200 <= reply.status < 300:
                outcome = Outcome(Result.DONE, "not all counts were taken" if invalid else None)
            elif reply.status == 400 and tracked != 0:
                outcome = Outcome(Result.UNKNOWN, _reason(reply))
            else:
                outcome = _refusal(reply)
        if outcome.result is Result.UNKNOWN:
            return replace(outcome, result=Result.DONE)
        return outcome

    async def ask(self, items: Sequence[Claimed]) -> Sequence[Outcome]:
        """Never called: it cannot be asked."""
        return [Outcome(Result.UNKNOWN, "cannot be asked")] * len(items)

    async def settled(
        self, connection: AsyncConnection, outcomes: Sequence[tuple[Claimed, Outcome]]
    ) -> None:
        """Note outcomes in this service's own tables."""
        await self._note(connection, outcomes)


@dataclass
class _Course:
    """How a batch goes."""

    taken: int = 0
    failed: int = 0
    paused: bool = False

    @property
    def stopped(self) -> bool:
        return self.paused or (self.failed >= _FAILURES_TO_STOP and not self.taken)

    def note(self, outcome: Outcome) -> None:
        self.taken += outcome.result is Result.DONE
        self.failed += outcome.partner_down
        self.paused |= outcome.pause is not None


@dataclass(frozen=True, slots=True)
class _Reply:
    response: httpx.Response
    body: bytes

    @property
    def status(self) -> int:
        return self.response.status_code


async def _post(
    http: httpx.AsyncBaseTransport, url: httpx.URL, body: bytes, seconds: float
) -> _Reply | Outcome:
    """The partner's answer, or what it means that there is none."""
    request = httpx.Request("POST", url, content=body, headers=_HEADERS, extensions=_TIMES)
    try:
        async with asyncio.timeout(seconds):
            response = await http.handle_async_request(request)
    except TimeoutError:
        return Outcome(Result.UNKNOWN, "no answer in time", partner_down=True)
    except httpx.HTTPError as error:
        result = Result.RETRY if never_sent(error) else Result.UNKNOWN
        return Outcome(result, type(error).__name__, partner_down=True)
    # The status is the answer. A body that never ends changes nothing about it.
    told = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in response.aiter_bytes():
                told += part
                if len(told) >= _MOST_BODY:
                    break
    except (TimeoutError, httpx.HTTPError):
        pass
    finally:
        await response.aclose()
    return _Reply(response, told)


def _is_page(body: bytes) -> bool:
    """Whether a page for people was answered: by something that stands in front of the receiver, so
    that the record may never have reached it. Whatever else comes with success is taken for it."""
    return body.lstrip()[:_PAGE_BEGINS].lower().startswith((b"<!doctype html", b"<html"))


def _refusal(reply: _Reply) -> Outcome:
    """What an answer means that is no success."""
    status, reason = reply.status, _reason(reply)
    if status == 429:
        pause = retry_after(reply.response)
        return Outcome(Result.RETRY, reason, pause=_PAUSE_SECONDS if pause is None else pause)
    if status == 503:
        return Outcome(Result.RETRY, reason, pause=retry_after(reply.response), partner_down=True)
    if status >= 500:
        return Outcome(Result.UNKNOWN, reason, partner_down=True)
    if status < 400 or status in _NOT_ABOUT_THE_ITEM:
        return Outcome(Result.RETRY, reason, partner_down=True)
    return Outcome(Result.REFUSED, reason)


def _reason(reply: _Reply) -> str:
    """The status and the beginning of what was said; nothing personal was sent to be repeated."""
    said = " ".join(reply.body.decode("utf-8", "replace").split())
    printable = "".join(letter for letter in said if letter.isprintable())
    return f"HTTP {reply.status} {printable[:_MOST_REASON]}".rstrip()


def _bulk_answer(body: bytes) -> tuple[int | None, int]:
    """How many counts the tracker says it took (None: it does not say), and how many it did not."""
    try:
        told: Any = orjson.loads(body)
        return int(told["tracked"]), int(told.get("invalid", 0))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None, 0
