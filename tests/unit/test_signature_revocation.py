"""Revocation is looked up where certificates say, within rules; what it means before signing."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI, Request, Response

from common.addresses import Address, Reach
from common.http import Guard, http_client
from signature_connector.clients.revocation import Responders, responders
from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Refusal, Report, passed
from signature_connector.domain.revocation import Lookup
from signature_connector.use_cases.revocation import Revocation
from signature_connector.verification.certificates import Trust, examine_certificate
from signature_connector.verification.chains import Chains
from signature_connector.verification.lookups import completed, good_until, lookups
from tests.support.gateway import listening
from tests.support.signing import Holder, authority, root, signer
from tests.support.verification import (
    CRL_URL,
    OCSP_URL,
    addressed,
    crl,
    der,
    good_data,
    ocsp_answer,
    policies,
    revoked_data,
)

HERE = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
NUMBER = "001099000077"
NOTHING = ValidationData()


def chain(holder: Holder) -> list[bytes]:
    return [der(holder), der(authority()), der(root())]


class Reading:
    """Reads in this process what the examiner reads in another."""

    async def lookups(self, chain: Sequence[bytes]) -> Sequence[Sequence[Lookup]]:
        return lookups(chain)

    async def good_until(self, kind: str, content: bytes) -> datetime | None:
        return good_until(kind, content)


class Answering:
    """Answers by kind, and counts."""

    def __init__(self, **answers: bytes | None) -> None:
        self.answers = answers
        self.asked: list[Lookup] = []

    async def ask(self, lookup: Lookup) -> bytes | None:
        self.asked.append(lookup)
        await asyncio.sleep(0.01)
        return self.answers.get(lookup.kind)


# Where to look, and for how long an answer counts.


def test_ocsp_is_asked_before_crls_are_fetched() -> None:
    holder = addressed("Người ký", authority())
    (calls,) = [one for one in lookups(chain(holder)) if one]
    assert [(one.kind, one.url) for one in calls] == [("ocsp", OCSP_URL), ("crl", CRL_URL)]
    assert calls[0].body
    assert calls[1].body is None


def test_a_chain_is_led_on_by_what_the_trust_bundle_holds() -> None:
    above = [one.public_bytes(Encoding.DER) for one in signer().chain]
    assert completed([signer().der], above) == [signer().der, *above]
    assert completed([signer().der, above[0]], above[1:]) == [signer().der, *above]
    assert completed([signer().der], above[1:]) == [signer().der]
    assert completed([], above) == []


async def test_an_answer_is_used_again_until_there_is_a_newer_one() -> None:
    holder = addressed("Người ký", authority())
    asking = Answering(ocsp=ocsp_answer(holder, authority()))
    now = datetime.now(UTC)
    clock = [now]
    revocation = Revocation(Reading(), asking, lambda: clock[0])
    found = await asyncio.gather(*(revocation.data_for(chain(holder), now) for _ in range(5)))
    assert len(asking.asked) == 1  # one flight for all of them
    assert all(one.ocsps and not one.crls for one in found)
    clock[0] = now + timedelta(minutes=50)
    await revocation.data_for(chain(holder), clock[0])
    assert len(asking.asked) == 1
    clock[0] = now + timedelta(minutes=70)
    await revocation.data_for(chain(holder), clock[0])
    assert len(asking.asked) == 2


async def test_a_responder_that_does_not_tell_is_left_alone_and_the_crl_counts() -> None:
    holder = addressed("Người ký", authority())
    asking = Answering(ocsp=b"<html>502</html>", crl=crl(authority()))
    revocation = Revocation(Reading(), asking)
    for _ in range(2):
        found = await revocation.data_for(chain(holder), datetime.now(UTC))
        assert (len(found.ocsps), len(found.crls)) == (0, 1)
    assert [one.kind for one in asking.asked] == ["ocsp", "crl"]


async def test_a_caller_that_gives_up_takes_no_answer_from_the_others() -> None:
    holder = addressed("Người ký", authority())
    asking = Answering(ocsp=ocsp_answer(holder, authority()))
    revocation = Revocation(Reading(), asking)
    now = datetime.now(UTC)
    first = asyncio.create_task(revocation.data_for(chain(holder), now))
    second = asyncio.create_task(revocation.data_for(chain(holder), now))
    await asyncio.sleep(0.005)
    first.cancel()
    assert (await second).ocsps
    assert len(asking.asked) == 1


# Whom to ask.


@asynccontextmanager
async def server(answer: Callable[[Request], Any]) -> AsyncIterator[str]:
    app = FastAPI()
    app.add_api_route("/{path:path}", answer, methods=["GET", "POST"], response_model=None)
    async with listening(app) as url:
        yield url


def inside(_: Request) -> Response:
    return Response(b"inside")


class Names:
    """Tells addresses, another one each time."""

    def __init__(self, *addresses: str) -> None:
        self._left = [ipaddress.ip_address(one) for one in addresses]

    async def addresses(self, host: str, family: str) -> list[Address]:
        return [self._left.pop(0)] if family == "ipv4" and self._left else []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f000001:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://169.254.169.254/latest/meta-data",
        "http://user:secret@127.0.0.1:{port}/",
        "file:///etc/passwd",
        "ldap://127.0.0.1/",
    ],
)
async def test_addresses_inside_are_not_asked_unless_they_are_named(url: str) -> None:
    asked: list[str] = []

    def answer(request: Request) -> Response:
        asked.append(str(request.url))
        return Response(b"inside")

    async with server(answer) as own, responders(seconds=3, most_crl=1000) as guarded:
        place = url.format(port=httpx.URL(own).port)
        assert await guarded.ask(Lookup("crl", place)) is None
    assert asked == []


async def test_a_network_that_is_named_is_asked() -> None:
    async with (
        server(inside) as own,
        responders(seconds=3, most_crl=1000, networks=HERE) as open_,
    ):
        assert await open_.ask(Lookup("crl", own)) == b"inside"


async def test_a_name_that_points_inside_is_not_asked() -> None:
    async with server(inside) as own:
        port = httpx.URL(own).port
        guard = Guard(Names("127.0.0.1"), Reach())
        async with http_client(timeout=3, guard=guard) as http:
            asking = Responders(http, seconds=3, most_crl=1000)
            assert await asking.ask(Lookup("crl", f"http://rebind.example:{port}/")) is None


async def test_redirections_large_answers_and_slow_ones_are_no_answers() -> None:
    async def slow(_: Request) -> Response:
        await asyncio.sleep(2)
        return Response(b"late")

    async def elsewhere(_: Request) -> Response:
        return Response(status_code=302, headers={"location": "http://127.0.0.1/"})

    async def large(_: Request) -> Response:
        return Response(b"x" * 2000)

    async def failing(_: Request) -> Response:
        return Response(b"x", status_code=500)

    async with responders(seconds=0.5, most_crl=1000, networks=HERE) as asking:
        for answer in (elsewhere, large, failing, slow):
            async with server(answer) as own:
                assert await asking.ask(Lookup("crl", own)) is None


# What it means before anybody is asked to sign.


def examined(holder: Holder, data: ValidationData = NOTHING, user: str | None = None) -> Report:
    trust = Trust.of([der(root()), der(authority())])
    now = datetime.now(UTC)
    return examine_certificate(der(holder), holder.serial, now, trust, data=data, user=user)


def test_what_was_looked_up_decides_whether_a_certificate_may_sign() -> None:
    holder = addressed("Người ký", authority())
    roots = (crl(root()),)
    good = ValidationData((), (ocsp_answer(holder, authority()),), roots)
    assert [one.code for one in examined(holder, good).findings] == [
        "certificate-usable",
        "trusted",
        "not-revoked",
    ]
    since, number = datetime.now(UTC) - timedelta(hours=2), holder.certificate.serial_number
    for data in (
        ValidationData((), (ocsp_answer(holder, authority(), revoked=since),), roots),
        ValidationData((), (), (*roots, crl(authority(), {number: since}))),
    ):
        report = examined(holder, data)
        assert report.refusal
        assert report.refusal.code == "certificate-revoked"
    assert [one.code for one in examined(holder).findings][-1] == "revocation-unchecked"


def test_the_chain_that_the_provider_gives_is_enough() -> None:
    holder = addressed("Người ký", authority())
    trust = Trust.of([der(root())])
    now = datetime.now(UTC)
    alone = examine_certificate(der(holder), holder.serial, now, trust)
    assert "issuer-unknown" in [one.code for one in alone.findings]
    given = examine_certificate(
        der(holder), holder.serial, now, trust, chain=[der(authority()), der(root())]
    )
    assert [one.code for one in given.findings][:2] == ["certificate-usable", "trusted"]


# The holder.


@pytest.mark.parametrize(
    ("subject", "user", "code"),
    [
        (f"CCCD:{NUMBER}", NUMBER, "holder-matches"),
        (f"cccd: {NUMBER}", NUMBER, "holder-matches"),
        (f"CMND:{NUMBER}", NUMBER, "holder-matches"),
        (f"MST:{NUMBER}", NUMBER, "holder-matches"),
        (f"PNOVN-{NUMBER}", NUMBER, "holder-matches"),
        (NUMBER, NUMBER, "holder-matches"),
        ("MST:0100109106-001", "0100109106-001", "holder-matches"),
        ("MST:0100109106001", "0100109106-001", "holder-matches"),
        ("HC:B1234567", "b1234567", "holder-matches"),
        ("CMND:012345678", "012345678", "holder-matches"),
        ("CCCD:001099000002", NUMBER, "holder-differs"),
        ("CCCD:0010990000771", NUMBER, "holder-unknown"),
        ("CMND:012345678", NUMBER, "holder-unknown"),
        ("MST:0100109106", NUMBER, "holder-unknown"),
        ("Nguyễn Văn Ký", NUMBER, "holder-unknown"),
        (f"CCCD:{NUMBER}", "somebody", "holder-unknown"),
    ],
)
def test_the_holder_is_compared_with_the_person_who_is_asked(subject, user, code) -> None:
    report = examined(addressed("x", authority(), subject=subject), user=user)
    assert report.findings[-1].code == code
    assert (report.refusal is not None) == (code == "holder-differs")
    assert user not in str(report.body())
    assert subject not in str(report.body())


def test_what_a_document_brought_along_does_not_hide_that_its_signer_was_revoked_since() -> None:
    now = datetime.now(UTC)
    policy = policies().all[0]
    holder = asn1_x509.Certificate.load(signer().der)
    above = [asn1_x509.Certificate.load(der(authority()))]
    brought, looked_up = good_data(), revoked_data(now - timedelta(hours=1))

    alone = Chains(policy, NOTHING, now)
    assert alone.judge(holder, above, now, brought).findings == [passed("not-revoked")]
    assert alone.unchecked == [chain(signer())]  # and is asked for

    with pytest.raises(Refusal, match="certificate-revoked"):
        Chains(policy, looked_up, now).judge(holder, above, now, brought)


def test_what_a_document_brought_along_counts_for_a_time_that_is_proven() -> None:
    now = datetime.now(UTC)
    holder = asn1_x509.Certificate.load(signer().der)
    above = [asn1_x509.Certificate.load(der(authority()))]
    chains = Chains(policies().all[0], revoked_data(now), now + timedelta(hours=1))
    judged = chains.judge(holder, above, now - timedelta(minutes=1), good_data())
    assert (judged.findings, judged.embedded) == ([passed("not-revoked")], True)
    assert chains.unchecked == []
