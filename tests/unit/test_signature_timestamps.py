"""Timestamps for signatures: only a token that may be kept is, from the first authority that gives
one; and validation data is whole or none."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import httpx
import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from signature_connector.clients.timestamps import LARGEST_REPLY, timestamp_calls
from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Report
from signature_connector.domain.timestamps import Query
from signature_connector.use_cases.finishing import NoTimestamp, NoValidationData
from signature_connector.use_cases.timestamps import Authorities
from signature_connector.use_cases.validation_data import ValidationSources
from signature_connector.verification.chains import examine_chain
from signature_connector.verification.policies import Policies
from signature_connector.verification.timestamps import examine_reply
from simulators.timestamps import POLICY
from simulators.tsa import TimestampAuthority
from tests.support.gateway import listening
from tests.support.signing import authority, root
from tests.support.verification import addressed, crl, der, ocsp_answer

IMPRINT = sha256(b"a signature").digest()


@dataclass
class Reading:
    """Examines here what the service examines in another process."""

    trusted: Sequence[bytes]

    async def timestamp(self, reply: bytes, query: Query, moment: datetime) -> Report:
        policy = Policies.of(self.trusted).at(moment)
        return await asyncio.to_thread(examine_reply, reply, query, policy, moment)

    async def chain(
        self,
        certificates: Sequence[bytes],
        moment: datetime,
        data: ValidationData = ValidationData(),  # noqa: B008 - frozen
    ) -> Report:
        policy = Policies.of(self.trusted).at(moment)
        return await asyncio.to_thread(examine_chain, certificates, policy, moment, data)

    async def newest_stamp(
        self,
        content: bytes,
        moment: datetime,
        data: ValidationData = ValidationData(),  # noqa: B008 - frozen
    ) -> Report:
        raise AssertionError("not of a document")


@asynccontextmanager
async def authorities(
    *programs: Any, policy: str | None = None, seconds: float = 5.0
) -> AsyncIterator[tuple[Authorities, list[str]]]:
    """Authorities that listen, and who asks them and trusts the roots of all."""
    trusted = [
        one.authority.root.public_bytes(Encoding.DER)
        for one in programs
        if isinstance(one, TimestampAuthority)
    ]
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(listening(one)) for one in programs]
        calls = await stack.enter_async_context(timestamp_calls(seconds))
        yield Authorities(calls, Reading(trusted), urls, policy), urls


def answering(answer: Any) -> FastAPI:
    app = FastAPI()
    app.add_api_route("/{path:path}", answer, methods=["POST"], response_model=None)
    return app


async def test_a_token_is_over_the_imprint_and_handed_on_as_it_came() -> None:
    program = TimestampAuthority()
    async with authorities(program) as (asked, _):
        token = await asked.token(IMPRINT)
    info = cms.ContentInfo.load(token)["content"]["encap_content_info"]["content"].parsed
    assert info["message_imprint"]["hashed_message"].native == IMPRINT
    assert [row.key for row in program.stamped.rows] == [IMPRINT.hex()]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "skewed"},
        {"kind": "skewed", "back": True},
        {"kind": "other_content"},
        {"kind": "other_nonce"},
        {"kind": "stranger"},
        {"kind": "rejection"},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
async def test_the_next_authority_is_asked_where_a_token_is_no_good(fault: dict[str, Any]) -> None:
    bad, good = TimestampAuthority(), TimestampAuthority()
    async with authorities(bad, good) as (asked, urls), httpx.AsyncClient() as http:
        (
            await http.post(f"{urls[0]}/_faults", json={"on": "timestamp", **fault})
        ).raise_for_status()
        await asked.token(IMPRINT)
    assert len(good.stamped.rows) == 1
    async with authorities(bad) as (asked, urls), httpx.AsyncClient() as http:
        (
            await http.post(f"{urls[0]}/_faults", json={"on": "timestamp", **fault})
        ).raise_for_status()
        with pytest.raises(NoTimestamp):
            await asked.token(IMPRINT)


async def test_a_policy_that_was_asked_for_is_the_tokens() -> None:
    async with authorities(TimestampAuthority(), policy=POLICY) as (asked, _):
        assert await asked.token(IMPRINT)
    async with authorities(TimestampAuthority(), policy="1.2.3.4") as (asked, _):
        with pytest.raises(NoTimestamp):
            await asked.token(IMPRINT)
    program = TimestampAuthority()
    query, now = Query(IMPRINT, 7, "1.2.3.4"), datetime.now(UTC)
    careless = await program_reply(program, Query(IMPRINT, 7))
    trusted = [program.authority.root.public_bytes(Encoding.DER)]
    report = await Reading(trusted).timestamp(careless, query, now)
    assert report.refusal
    assert report.refusal.detail == "policy"


async def program_reply(program: TimestampAuthority, query: Query) -> bytes:
    from signature_connector.clients.timestamps import encoded

    return program.authority.answer(encoded(query))


async def test_slow_large_and_foreign_answers_are_no_timestamps() -> None:
    async def slow(_: Request) -> Response:
        await asyncio.sleep(3)
        return Response(b"late")

    async def dripping(_: Request) -> Response:
        async def drops() -> AsyncIterator[bytes]:
            for _ in range(30):
                yield b"\x30"
                await asyncio.sleep(0.1)

        return StreamingResponse(drops())

    async def large(_: Request) -> Response:
        return Response(b"\x30" * (LARGEST_REPLY + 1))

    async def foreign(_: Request) -> Response:
        return Response(b"<html>")

    async def elsewhere(_: Request) -> Response:
        return Response(status_code=302, headers={"location": "http://127.0.0.1:1/"})

    for answer, why in (
        (slow, "Timeout"),
        (dripping, "Timeout"),
        (large, "too large"),
        (foreign, "timestamp-bad"),
        (elsewhere, "status 302"),
    ):
        async with authorities(answering(answer), seconds=0.3) as (asked, _):
            with pytest.raises(NoTimestamp, match=why):
                await asked.token(IMPRINT)


async def test_an_authority_that_keeps_failing_is_left_alone_and_the_others_are_not() -> None:
    calls: list[int] = []

    async def failing(_: Request) -> Response:
        calls.append(1)
        return Response(status_code=500)

    good = TimestampAuthority()
    async with authorities(answering(failing), good) as (asked, _):
        for _ in range(6):
            await asked.token(IMPRINT)
    assert len(calls) == 3
    assert len(good.stamped.rows) == 1
    assert good.stamped.rows[0].times == 6


async def test_an_authority_that_asks_to_be_left_alone_is() -> None:
    calls: list[int] = []

    async def busy(_: Request) -> Response:
        calls.append(1)
        return Response(status_code=503, headers={"retry-after": "30"})

    async with authorities(answering(busy)) as (asked, _):
        for why in ("status 503", "rest"):
            with pytest.raises(NoTimestamp, match=why):
                await asked.token(IMPRINT)
    assert len(calls) == 1


# Validation data.


@dataclass
class Looking:
    """Tells what it was given, and for which chain it was asked."""

    data: ValidationData
    chains: list[Sequence[bytes]] = field(default_factory=list)

    async def data_for(self, chain: Sequence[bytes], moment: datetime) -> ValidationData:
        self.chains.append(chain)
        return self.data


async def test_what_the_provider_left_out_of_the_chain_is_taken_from_the_bundle() -> None:
    holder = addressed("Người ký", authority())
    looking = Looking(ValidationData((), (ocsp_answer(holder, authority()),), (crl(root()),)))
    reading = Reading([der(root()), der(authority())])
    found = await ValidationSources(reading, looking).validation_data(
        [der(holder)], datetime.now(UTC)
    )
    assert looking.chains == [[der(holder), der(authority()), der(root())]]
    assert list(found.certificates) == looking.chains[0]
    assert (len(found.ocsps), len(found.crls)) == (1, 1)


@pytest.mark.parametrize("kind", ["nothing", "only the signer's", "revoked", "no chain"])
async def test_validation_data_is_whole_or_none(kind: str) -> None:
    holder, now = addressed("Người ký", authority()), datetime.now(UTC)
    good = ocsp_answer(holder, authority())
    bad = ocsp_answer(holder, authority(), revoked=datetime(2026, 1, 1, tzinfo=UTC))
    data = {
        "nothing": ValidationData(),
        "only the signer's": ValidationData((), (good,), ()),
        "revoked": ValidationData((), (bad,), (crl(root()),)),
        "no chain": ValidationData((), (good,), (crl(root()),)),
    }[kind]
    known = [der(root())] if kind == "no chain" else [der(root()), der(authority())]
    with pytest.raises(NoValidationData):
        await ValidationSources(Reading(known), Looking(data)).validation_data([der(holder)], now)
