"""A person's values stand nowhere in clear but in the one answer that may hold them."""

from typing import Any

import orjson
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.exc import ProgrammingError

from common.sealing import KeyRing
from tests.support.dossier_service import dossier_database
from tests.support.dossiers import code, command, envelope, submission
from tests.support.logs import service_logs
from tests.support.personal import (
    PERSONAL,
    READ,
    RING,
    SEALING,
    SEARCH,
    WHY,
    bearer,
    dossier_http,
)

PERSON: dict[str, Any] = {
    "name": "Quách Thị Zúy",
    "identity": {"type": "citizen-id", "number": "079304958671"},
    "phone": "0987610243",
    "email": "zuy.quach@example.vn",
    "address": "Hẻm 77 đường Zơ Râm",
    "portal_account": "tk-zuy-8812",
}
WORDS = ("Quách", "Zúy", "079304958671", "0987610243", "zuy.quach", "Hẻm 77", "Zơ Râm", "tk-zuy")
MAY = bearer(READ, PERSONAL, SEARCH, "audit", "operations") | WHY


@pytest.fixture
def logs():
    with service_logs() as written:
        yield written


def clean(text, where):
    for word in WORDS:
        assert word not in text, (word, where)


def traced(dossier, sequence):
    """A submission whose trace is followed."""
    begun = submission(dossier, command("submit", sealed=RING.seal(PERSON, dossier)))
    members = orjson.loads(envelope(begun, sequence, aggregate=dossier))
    return orjson.dumps({**members, "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})


async def everything_in(http):
    """All that the service's database holds, as texts, by table."""
    names = await http.rows(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    found = {}
    for (name,) in names:
        parts = [
            bytes(value).decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            for row in await http.rows(f"TABLE {name}")
            for value in row
        ]
        found[name] = "\n".join(parts)
    return found


async def test_a_submission_that_succeeds_and_ones_that_fail_leave_no_trace(databases, logs):
    spans = InMemorySpanExporter()
    url = await dossier_database(databases)
    told = []
    async with dossier_http(url, spans=SimpleSpanProcessor(spans), trace_share=1.0) as http:
        (consumer,) = [one for one in http.app.state.core.consumers if one.name == "submissions"]

        async def asked(*answers):
            told.extend([(await answer).text for answer in answers])

        await consumer.take([traced(code(1), 1), traced(code(9), 1)])
        # Refused: the dossier exists. Unreadable: sealed for another, or no JSON of ours.
        await consumer.take([traced(code(1), 2)])
        await http.take(code(2), command("submit", sealed=RING.seal(PERSON, "somebody else")))
        odd = RING.seal({"name": {"of": PERSON["name"]}}, code(3))
        await http.take(code(3), command("submit", sealed=odd))
        # Undecodable: in clear where the contract wants it sealed.
        body = envelope(submission(code(4), command("submit")), 1, aggregate=code(4))
        in_clear = body.replace(b'"sealed":"v1.k1.c2VhbGVk"', str({**PERSON}).encode())
        assert in_clear != body
        await consumer.take([in_clear])
        found = await http.get(f"/v1/dossiers/{code(1)}", headers=MAY)
        assert found.json()["applicant"] == PERSON  # the one place
        path = f"/v1/dossiers/{code(1)}"
        number = PERSON["identity"]["number"]
        search = "/v1/dossiers/search"
        await asked(
            http.get(path, headers=bearer(READ)),
            http.get("/v1/dossiers", headers=MAY),
            http.get(path + "/steps", headers=MAY),
            http.get(f"/v1/dossiers/{code(2)}", headers=MAY),
            http.get(f"/v1/dossiers/{code(3)}", headers=MAY),
            http.post(search, json={"identity": PERSON["identity"]}, headers=MAY),
            http.post(search, json={"identity": {"type": "x", "number": number}}, headers=MAY),
            http.post(search, json={"identity": number, "phone": PERSON["phone"]}, headers=MAY),
            http.post(search, content=f"{{{number}".encode(), headers=MAY),
            http.post(search, json={"email": PERSON["email"]}, headers=bearer(READ)),
            http.get("/v1/personal-reads", headers=MAY),
            http.get("/internal/seals", headers=MAY),
            http.get("/metrics"),
        )
        # Faults of our own: while it searches, while it takes in, while it seals anew.
        await http.execute("ALTER TABLE dossier_person RENAME TO gone")
        await asked(http.post(search, json={"identity": PERSON["identity"]}, headers=MAY))
        await consumer.take([traced(code(5), 1)])
        rekeying = http.app.state.rekeying
        rekeying._keys = KeyRing(SEALING, "k2")
        with pytest.raises(ProgrammingError):
            await rekeying.whole_pass()
        await http.execute("ALTER TABLE gone RENAME TO dossier_person")
        tables = await everything_in(http)
        told.append((await http.get("/metrics")).text)
    parked = tables.pop("parked")
    for name, text in tables.items():
        clean(text, name)
    # Bytes that somebody sent in clear are kept as they came, for an operator; nothing else is.
    assert parked.count("079304958671") == 1
    for answer in told:
        clean(answer, "answer")
    assert any('"internal-error"' in answer or ":internal-error" in answer for answer in told)
    written = logs.getvalue()
    assert "undecodable event parked" in written
    assert "request failed" in written
    assert "event parked" in written
    clean(written, "log")
    followed = [span.to_json() for span in spans.get_finished_spans()]
    assert any("search" in one for one in followed)
    assert any("submissions" in one and "ERROR" in one for one in followed)
    clean("\n".join(followed), "trace")
