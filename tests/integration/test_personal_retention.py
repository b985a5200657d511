"""Personal data is erased when its period has ended, everywhere, and what statistics need stays."""

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from common.contracts.dossier import DossierAnonymised
from common.envelope import decode
from dossier.domain.retention import load
from dossier.use_cases.anonymising import Anonymising
from tests.support.dossier_service import dossier_database
from tests.support.dossiers import AGENCY, code, command, envelope, result, submission
from tests.support.personal import (
    PERSON,
    PERSONAL,
    READ,
    RING,
    SEARCH,
    WHY,
    bearer,
    dossier_http,
)

OFFICIAL = {"name": "Lê Văn Bình", "title": "Chuyên viên", "department": "Một cửa"}
TELLING: dict[str, Any] = {
    "summary": "Khai sinh cho Trần Tí",
    "remark": "Mẹ là Nguyễn Thị Ánh",
    "documents": [
        {
            "id": "1",
            "name": "Giấy chứng sinh Trần Tí.pdf",
            "component": "TP1",
            "url": "https://portal.example/tran-ti",
            "file": "c" * 64,
            "digitised": True,
        }
    ],
    "other_papers": [{"name": "Ảnh Trần Tí", "quantity": 2}],
    "note": "Bà Ánh gọi 0912345678",
    "official": OFFICIAL,
}
PERSONAL_WORDS = ("Trần Tí", "tran-ti", "Ánh", "0912345678", "v1.k1.", "c" * 64)


def policy(tmp_path, *rules):
    path = tmp_path / "retention.json"
    path.write_text(
        json.dumps(
            {
                "name": "test",
                "version": "3",
                "source": "this test",
                "confidence": "operator",
                "rules": list(rules),
            }
        )
    )
    return path


RULE = {"statuses": ["3", "7", "10"], "keep": {"years": 5}, "basis": "this test"}


@pytest.fixture
async def http(databases, tmp_path):
    url = await dossier_database(databases)
    async with dossier_http(url, retention_policy=policy(tmp_path, RULE)) as made:
        yield made


async def ended(http, number, agency=AGENCY, **fields):
    """A dossier whose result was handed over."""
    name = code(number, agency)
    sealed = RING.seal(PERSON, name)
    steps = [
        command("submit", sealed=sealed, **TELLING, **fields),
        command("receive", 1, official=OFFICIAL, receipt_number="BN-1"),
        command("request-supplement", 2, content="Bổ sung giấy của Trần Tí", official=OFFICIAL),
        command("give-supplement", 3, documents=TELLING["documents"], note="Trần Tí"),
        command("complete", 4, results=[{**result(), "name": "Khai sinh Trần Tí"}]),
        command("return", 5, note="Bà Ánh nhận"),
    ]
    await http.take(name, *steps, agency=agency)
    return name


async def grow_old(http, years, dossier=None):
    """As if everything had happened so many years ago."""
    await http.execute(
        "UPDATE dossier SET status_at = status_at - make_interval(years => :years), "
        "updated_at = updated_at - make_interval(years => :years) "
        "WHERE CAST(:code AS text) IS NULL OR code = :code",
        years=years,
        code=dossier,
    )


async def anonymise(http, path=None, **given):
    core = http.app.state.core
    loaded = load(path or core.settings.retention_policy)
    return await Anonymising(core.outbox, loaded).whole_pass(**given)


async def events(http):
    rows = await http.rows(
        "SELECT body FROM event_log WHERE type = 'dossier.anonymised.v1' ORDER BY event_id"
    )
    return [decode(row.body) for row in rows]


async def test_what_is_due_is_erased_and_told_once(http):
    name = await ended(http, 1)
    young = await ended(http, 2)
    await grow_old(http, 6, name)
    await grow_old(http, 4, young)
    assert await anonymise(http) == 1
    assert await anonymise(http) == 0
    (event,) = await events(http)
    assert isinstance(event.event, DossierAnonymised)
    assert (event.event.dossier_code, event.event.agency) == (name, AGENCY)
    assert event.event.policy == "test 3"
    assert (event.subject, event.stream) == (name, None)
    tables = {
        "dossier": f"SELECT body FROM dossier WHERE code = '{name}'",
        "dossier_step": f"SELECT body FROM dossier_step WHERE code = '{name}'",
        "dossier_person": f"SELECT * FROM dossier_person WHERE code = '{name}'",
    }
    for table, query in tables.items():
        written = b"".join(bytes(row[0]) for row in await http.rows(query)).decode()
        for word in PERSONAL_WORDS:
            assert word not in written, (table, word)
    left = orjson.loads((await http.rows(tables["dossier"]))[0].body)["state"]
    assert left["procedure"]["code"] == "1.000016"
    assert (left["status"], left["channel"], left["applicant_kind"]) == ("10", "2", "1")
    assert (left["documents"][0]["component"], left["documents"][0]["digitised"]) == ("TP1", True)
    assert left["supplements"][0]["requested_by"] == OFFICIAL["name"]
    assert len(left["results"]) == len(left["supplements"]) == 1
    times = ("submitted_at", "received_at", "finished_at", "returned_at")
    assert all(left[field] is not None for field in times)
    # The young one is as it was.
    kept = await http.get(f"/v1/dossiers/{young}", headers=bearer(READ, PERSONAL) | WHY)
    assert kept.json()["applicant"]["name"] == PERSON["name"]
    assert len(await http.rows("TABLE dossier_person")) == 3


async def test_an_anonymised_dossier_says_so_and_takes_no_further_step(http):
    name = await ended(http, 1)
    tag = (await http.get(f"/v1/dossiers/{name}", headers=bearer(READ))).headers["etag"]
    await grow_old(http, 6)
    await anonymise(http)
    headers = bearer(READ) | {"If-None-Match": tag}
    answer = await http.get(f"/v1/dossiers/{name}", headers=headers)
    assert answer.status_code == 200
    assert answer.json()["applicant"] is None
    assert datetime.fromisoformat(answer.json()["anonymised_at"]) <= datetime.now(UTC)
    full = await http.get(f"/v1/dossiers/{name}", headers=bearer(READ, PERSONAL) | WHY)
    assert (full.status_code, full.json()["applicant"]) == (200, None)
    (row,) = await http.rows("TABLE personal_read")
    assert (row.dossier, row.fields, row.status) == (name, [], 200)
    sought = {"identity": PERSON["identity"]}
    found = await http.post("/v1/dossiers/search", json=sought, headers=bearer(SEARCH) | WHY)
    assert found.json()["items"] == []
    rating = command("rate", 9, satisfaction="satisfied", source="survey")
    await http.take(name, rating, command("submit", 10), first=7)
    refused = await http.rows("SELECT body FROM event_log WHERE type = 'submission.refused.v1'")
    slugs = [orjson.loads(row.body)["data"]["problem"]["type"].rsplit(":", 1)[1] for row in refused]
    assert sorted(slugs) == ["dossier-anonymised", "dossier-exists"]


async def test_what_was_written_to_lately_waits_until_its_events_have_arrived(http):
    await ended(http, 1)
    await http.execute("UPDATE dossier SET status_at = status_at - interval '9 years'")
    assert await anonymise(http) == 0
    await http.execute("UPDATE dossier SET updated_at = now() - interval '31 days'")
    assert await anonymise(http) == 1


async def test_the_clock_starts_when_the_dossier_comes_into_its_status(http):
    name = await ended(http, 1)
    (row,) = await http.rows("SELECT status_at FROM dossier")
    assert row.status_at == command("return", 5).at
    rating = command("rate", 9000, satisfaction="satisfied", source="survey")
    await http.take(name, rating, first=7)
    (row,) = await http.rows("SELECT status_at, version FROM dossier")
    assert (row.status_at, row.version) == (command("return", 5).at, 7)


async def test_without_rules_everything_is_kept(databases):
    async with dossier_http(await dossier_database(databases)) as http:
        await ended(http, 1)
        await grow_old(http, 150)
        assert load().rules == ()
        core = http.app.state.core
        assert await Anonymising(core.outbox, load()).whole_pass() == 0
        assert await events(http) == []


async def test_rules_by_status_and_procedure(http, tmp_path):
    special = {"code": "1.000099", "name": "X", "field": {"code": None, "name": "Y"}}
    long_kept = await ended(http, 1, procedure=special)
    usual = await ended(http, 2)
    refused = code(3)
    await http.submit(refused)
    await http.take(refused, command("refuse", 5), first=2)
    open_one = code(4)
    await http.submit(open_one)
    await grow_old(http, 6)
    path = policy(
        tmp_path,
        {"statuses": ["10"], "procedures": ["1.000099"], "keep": {"years": 70}, "basis": "x"},
        {"statuses": ["10"], "keep": {"years": 5}, "basis": "x"},
    )
    assert await anonymise(http, path) == 1
    erased = await http.rows("SELECT code FROM dossier WHERE erased_at IS NOT NULL")
    assert [row.code for row in erased] == [usual]
    assert {long_kept, refused, open_one} == {
        row.code for row in await http.rows("SELECT code FROM dossier WHERE erased_at IS NULL")
    }


async def test_many_are_erased_in_bounded_batches_each_whole(http):
    for number in range(1, 8):
        await ended(http, number)
    await grow_old(http, 6)
    core = http.app.state.core
    told = (await http.rows("SELECT count(*) FROM event_log"))[0][0]
    made = Anonymising(core.outbox, load(core.settings.retention_policy))
    selection = made._policy.selections()[-1]
    assert await made._batch(selection, 3) == 3
    counted = await http.rows("SELECT count(*) FROM dossier WHERE erased_at IS NOT NULL")
    assert counted[0][0] == 3
    assert await made.whole_pass(batch=3) == 4
    assert (await http.rows("SELECT count(*) FROM event_log"))[0][0] == told + 7
    assert {one.event.dossier_code for one in await events(http)} == {
        code(number) for number in range(1, 8)
    }


async def test_a_batch_that_is_cut_off_leaves_nothing_half_erased(http, monkeypatch):
    await ended(http, 1)
    await grow_old(http, 6)

    async def cut_off(*_):
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr("dossier.use_cases.anonymising.persons.forget", cut_off)
        with pytest.raises(ConnectionError):
            await anonymise(http)
    (row,) = await http.rows("SELECT erased_at, body FROM dossier")
    assert row.erased_at is None
    assert b"v1.k1." in bytes(row.body)
    assert await events(http) == []
    assert await anonymise(http) == 1


async def test_what_is_parked_about_it_here_is_erased_too(http):
    name = await ended(http, 1)
    other = code(2)
    for dossier in (name, other):  # from the future: early, and so parked
        late = submission(dossier, command("submit", sealed=RING.seal(PERSON, dossier)))
        (consumer,) = [one for one in http.app.state.core.consumers if one.name == "submissions"]
        await consumer.take([envelope(late, 90, aggregate=dossier)])
    assert len(await http.rows("TABLE parked")) == 2
    await grow_old(http, 6)
    await anonymise(http)
    (row,) = await http.rows("SELECT stream FROM parked")
    assert row.stream == f"gateway/1/{other}"
