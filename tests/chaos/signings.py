"""What became of every result that was to be signed: by the books of the providers, by the
connector, at the gateway and at the national portal."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import httpx

from backbone.demo.client import Book, ClientSystem
from signature_connector.domain.evidence import Record, first_break
from signature_connector.domain.requests import AT_REST, State
from signature_connector.domain.sentences import SENTENCES
from tests.chaos.providers import PROVIDERS, signer_of
from tests.chaos.signatures import complaint
from tests.chaos.system import System

_PAGE = 2000
_AT_ONCE = 8
_REPLAYED_SECONDS = 1.0
ENDS = frozenset(state.value for state in AT_REST)


@dataclass(frozen=True)
class Asked:
    """A row of a provider's books: what a person was asked, and what came of it.

    Attributes:
        program: the provider.
        asked: how often; 0 where the person was turned away before.
        flaw: what is wrong with the signature that was given out; empty for nothing.
    """

    program: str
    asked: int
    outcome: str
    flaw: str
    serial: str


@dataclass(frozen=True)
class Kept:
    """A request as the connector keeps it.

    Attributes:
        finding: what its evidence names as the reason of its end; None for none.
        ends: how often its evidence says that it came to rest.
        broken: the first record of its evidence that does not fit; None for none.
        records: how many there are.
    """

    request_id: UUID
    state: str
    provider: str | None
    file: str | None
    finding: str | None
    ends: int
    broken: int | None
    records: int
    order_id: UUID | None = None
    submission: str | None = None


@dataclass(frozen=True)
class Signing:
    """One result that was to be signed.

    Attributes:
        program: the provider of the person's CA.
        asked: what the providers' books have of the person.
        requests: what the connector has of the dossier.
        signing, file: what the gateway tells of the result.
        addresses: of the results that the national portal holds.
        complaint: what is wrong with the file at the portal's address; None for nothing.
    """

    code: str
    person: str
    program: str
    asked: tuple[Asked, ...]
    requests: tuple[Kept, ...]
    signing: str
    file: str | None
    addresses: tuple[str, ...] = ()
    complaint: str | None = None

    @property
    def times(self) -> int:
        """How often the person was asked, by whomever."""
        return sum(one.asked for one in self.asked)


@dataclass(frozen=True)
class Signings:
    """All of them.

    Attributes:
        unmet: faults at providers that nobody met.
        callbacks: how many of each provider the connector took.
        replayed: how many callbacks came again when all was over.
        moved: what changed by that.
    """

    all: tuple[Signing, ...] = ()
    unmet: tuple[str, ...] = ()
    callbacks: Mapping[str, int] = field(default_factory=dict)
    replayed: int = 0
    moved: tuple[str, ...] = ()

    def told(self) -> dict[str, dict[str, int]]:
        """How many ended how, by provider."""
        counts: dict[str, Counter[str]] = {}
        for one in self.all:
            for row in one.asked:
                end = f"signed, {row.flaw.replace('_', ' ')}" if row.flaw else row.outcome
                counts.setdefault(row.program, Counter())[end] += 1
        return {program: dict(sorted(found.items())) for program, found in sorted(counts.items())}


async def under_way(system: System) -> int:
    """How many requests have not come to rest."""
    connection = await _connector(system)
    try:
        return int(
            await connection.fetchval(
                "SELECT count(*) FROM signing_request WHERE state <> ALL($1)", sorted(ENDS)
            )
        )
    finally:
        await connection.close()


async def signings(
    system: System, load: ClientSystem, unmet: Sequence[tuple[str, Mapping[str, Any]]]
) -> Signings:
    """Everything that is known, once all is at rest; then every callback comes once more."""
    async with httpx.AsyncClient(trust_env=False, timeout=30.0) as http:
        asked = await _asked(system, http)
        portal = await _portal(system, http)
        kept = await _kept(system)
        callbacks = await _callbacks(system, http)
        replayed = await _replay(system, http, kept)
        moved = _moved(kept, await _kept(system))
        turn = asyncio.Semaphore(_AT_ONCE)
        headers = await load.authorization(http)

        async def one(code: str, signer: tuple[str, str]) -> Signing:
            person, program = signer
            rows, item = asked.get(person, ()), portal.get(code, {})
            async with turn:
                answer = await http.get(f"{_gateway(system)}/v1/dossiers/{code}", headers=headers)
                (result,) = answer.raise_for_status().json()["results"] or [{}]
                addresses = tuple(
                    paper.get("DuongDanTepTinKetQua", "")
                    for paper in item.get("DanhSachGiayToKetQua") or ()
                )
                wrong = None
                if addresses:
                    to_sign = load.book.sent[code].to_sign or ""
                    serial = next((row.serial for row in rows if row.outcome == "signed"), "")
                    content = (await http.get(addresses[0])).raise_for_status().content
                    wrong = complaint(content, to_sign, person, serial)
            told, file = result.get("signing", ""), result.get("file")
            requests = kept.get(code, ())
            return Signing(code, person, program, rows, requests, told, file, addresses, wrong)

        signers = _signers(load.book)
        found = await asyncio.gather(*(one(code, signers[code]) for code in sorted(signers)))
    never = tuple(f"{program}: {rule['kind']} on {rule['on']}" for program, rule in unmet)
    return Signings(tuple(found), never, callbacks, replayed, moved)


def _signers(book: Book) -> dict[str, tuple[str, str]]:
    """Who is to sign, of dossiers whose result was handed in for it."""
    sent = {code: signer_of(one.life) for code, one in book.sent.items() if one.to_sign}
    return {code: signer for code, signer in sent.items() if signer is not None}


def _gateway(system: System) -> str:
    return system.stack.plan.url("gateway")


async def _asked(system: System, http: httpx.AsyncClient) -> dict[str, tuple[Asked, ...]]:
    found: dict[str, tuple[Asked, ...]] = {}
    for program in PROVIDERS:
        for row in await _rows(http, system.outside(program), "requests"):
            one = Asked(
                program, row["asked"], row["outcome"], row["flaw"], row["serial_number"].lower()
            )
            found[row["user_id"]] = (*found.get(row["user_id"], ()), one)
    return found


async def _portal(system: System, http: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    rows = await _rows(http, system.outside("national-portal"), "dossiers")
    return {row["MaHoSo"]: row["item"] for row in rows}


async def _callbacks(system: System, http: httpx.AsyncClient) -> dict[str, int]:
    taken = {}
    for program, one in PROVIDERS.items():
        if one.calls_back:
            books = (await http.get(f"{system.outside(program)}/_books")).json()
            taken[program] = books["by_service"].get("callback", {}).get("202", 0)
    return taken


async def _rows(http: httpx.AsyncClient, url: str, book: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        answer = await http.get(f"{url}/_books/{book}", params={"after": after, "limit": _PAGE})
        page = answer.raise_for_status().json()
        rows += page["items"]
        after = page["next"]
    return rows


async def _replay(
    system: System, http: httpx.AsyncClient, kept: Mapping[str, tuple[Kept, ...]]
) -> int:
    """Every callback once more, to the connector itself; how many it took."""
    address = f"{system.stack.plan.url('signature-connector')}/v1/signing-callbacks"
    bodies = []
    for one in (request for requests in kept.values() for request in requests):
        if one.provider == "smartca" and one.order_id:
            told = {"sp_id": "storm", "transaction_id": str(one.order_id), "status_code": 200}
            bodies.append((one.provider, told))
        elif one.provider == "mysign" and one.submission:
            about = {"transaction_id": one.submission, "status": "1"}
            bodies.append((one.provider, {"meta_data": about}))
    taken = 0
    for provider, body in bodies:
        answer = await http.post(f"{address}/{provider}", json=body)
        taken += answer.status_code == 202
    await asyncio.sleep(_REPLAYED_SECONDS)
    return taken


def _moved(
    before: Mapping[str, tuple[Kept, ...]], after: Mapping[str, tuple[Kept, ...]]
) -> tuple[str, ...]:
    """What is otherwise than before. A held request may learn more for its evidence."""
    return tuple(
        f"{code}: {was.state} became {now.state}, {was.records} records {now.records}"
        for code in sorted(before)
        for was, now in zip(before[code], after.get(code, ()), strict=True)
        if (was.state, was.file, was.ends) != (now.state, now.file, now.ends)
        or (was.records != now.records and was.state not in (State.MANUAL_REVIEW, State.EXPIRED))
    )


async def _connector(system: System) -> Any:
    dsn = system.stack.postgres.dsn.rsplit("/", 1)[0]
    return await asyncpg.connect(f"{dsn}/signature_connector")


async def _kept(system: System) -> dict[str, tuple[Kept, ...]]:
    connection = await _connector(system)
    try:
        rows = await connection.fetch(
            "SELECT request_id, dossier_code, state, provider, order_id, submission,"
            " coalesce(result_file, returned_file) AS file, evidence_count, evidence_head"
            " FROM signing_request WHERE dossier_code IS NOT NULL ORDER BY request_id"
        )
        links = await connection.fetch(
            "SELECT request_id, number, body, digest FROM signing_evidence"
            " ORDER BY request_id, number"
        )
    finally:
        await connection.close()
    chains: dict[UUID, list[Record]] = {}
    for link in links:
        record = Record(link["request_id"], link["number"], link["body"], link["digest"])
        chains.setdefault(link["request_id"], []).append(record)
    found: dict[str, tuple[Kept, ...]] = {}
    for row in rows:
        chain = chains.get(row["request_id"], [])
        one = Kept(
            request_id=row["request_id"],
            state=row["state"],
            provider=row["provider"],
            file=row["file"],
            finding=_finding(chain),
            ends=sum(_rests(record) for record in chain),
            broken=first_break(chain, row["evidence_count"], row["evidence_head"]),
            records=len(chain),
            order_id=row["order_id"],
            submission=row["submission"],
        )
        code = row["dossier_code"]
        found[code] = (*found.get(code, ()), one)
    return found


def _finding(chain: Sequence[Record]) -> str | None:
    """What the evidence names as the reason of the end."""
    for record in reversed(chain):
        if _rests(record):
            body = json.loads(record.body)
            named = body["facts"].get("finding", {}).get("code")
            return named or finding_of(body["reason"])
    return None


def _rests(record: Record) -> bool:
    """Whether a record is of the step that ended a request: what is noted later changes nothing."""
    body = json.loads(record.body)
    return body["to"] in ENDS and body["from"] != body["to"]


def finding_of(sentence: str | None) -> str | None:
    """The code of a sentence in both languages, with or without a detail behind it."""
    if not sentence:
        return None
    whole = {f"{vietnamese} / {english}": code for code, (vietnamese, english) in SENTENCES.items()}
    return whole.get(sentence) or whole.get(sentence.rpartition(" (")[0])


def file_of(address: str) -> str:
    """The digest in a link to a file."""
    return urlsplit(address).path.rpartition("/")[2]
