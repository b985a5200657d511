"""A person's dossiers are found by a number that stands nowhere, and who searched is put down."""

import pytest
from structlog.testing import capture_logs

from tests.support.dossier_service import dossier_database
from tests.support.dossiers import AGENCY, code, command
from tests.support.personal import (
    INDEX,
    PERSON,
    READ,
    RING,
    SEARCH,
    WHY,
    bearer,
    dossier_http,
    secret,
)

PATH = "/v1/dossiers/search"
SOUGHT = {"identity": {"type": "citizen-id", "number": "012345678901"}}
OTHER = {**PERSON, "identity": {"type": "citizen-id", "number": "098765432109"}, "phone": None}
MAY = bearer(READ, SEARCH) | WHY


@pytest.fixture
async def http(databases):
    async with dossier_http(await dossier_database(databases)) as made:
        yield made


def problem(answer):
    return answer.json()["type"].rsplit(":", 1)[1]


async def searched(http, sought=SOUGHT, headers=MAY, **params):
    answer = await http.post(PATH, json=sought, headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_all_dossiers_of_a_person_and_no_others_are_found_in_pages(http):
    for number in range(1, 8):
        await http.submit(code(number))
    await http.submit(code(8), person=OTHER)
    found, after = [], None
    for _ in range(10):
        page = await searched(http, limit=3, **({"after": after} if after else {}))
        found += page["items"]
        after = page["next"]
        if after is None:
            break
    assert [one["code"] for one in found] == [code(number) for number in range(1, 8)]
    assert found[0]["applicant"]["name"] == "N. T. Á."
    assert found[0]["applicant"]["identity"]["number"] == "***901"
    assert "sealed" not in found[0]


WRITTEN = [
    {"identity": {"type": "citizen-id", "number": "012 345 678 901"}},
    {"identity": {"type": "citizen-id", "number": "0123.4567.8901"}},
    {"phone": "+84 912 345 678"},
    {"phone": "0912.345.678"},
    {"email": " ANH@example.vn"},
]


@pytest.mark.parametrize("sought", WRITTEN, ids=str)
async def test_another_way_of_writing_finds_the_same(http, sought):
    await http.submit(code(1))
    assert [one["code"] for one in (await searched(http, sought))["items"]] == [code(1)]


NOT_FOUND = [
    {"identity": {"type": "old-citizen-id", "number": "012345678901"}},
    {"identity": {"type": "citizen-id", "number": "012345678902"}},
    {"phone": "012345678901"},
]


@pytest.mark.parametrize("sought", NOT_FOUND, ids=str)
async def test_what_is_not_the_same_is_not_found(http, sought):
    await http.submit(code(1))
    assert (await searched(http, sought))["items"] == []


async def test_only_dossiers_of_the_clients_agencies_are_found(http):
    await http.submit(code(1))
    await http.submit(code(2, "H10.15.2"), agency="H10.15.2")
    await http.submit(code(3, "H10.150"), agency="H10.150")
    for agencies, expected in (
        ((AGENCY,), [code(1), code(2, "H10.15.2")]),
        (("H10.15.2",), [code(2, "H10.15.2")]),
        (("H11",), []),
        ((), []),
        (("*",), [code(1), code(2, "H10.15.2"), code(3, "H10.150")]),
    ):
        headers = bearer(SEARCH, agencies=agencies) | WHY
        found = [one["code"] for one in (await searched(http, headers=headers))["items"]]
        assert found == expected, agencies


async def test_a_search_is_put_down_with_who_why_and_how_much_but_not_what(http):
    await http.submit(code(1))
    await http.submit(code(2))
    with capture_logs() as logs:
        await searched(http, headers=MAY | {"X-Request-ID": "s-1"})
    (row,) = await http.rows("TABLE personal_read")
    assert (row.form, row.status, row.found) == ("POST /v1/dossiers/search", 200, 2)
    assert (row.client_id, row.client_agencies) == ("one-stop", [AGENCY])
    assert (row.purpose, row.asked, row.request_id) == ("Xac minh ho so", "citizen-id", "s-1")
    assert (row.dossier, row.agency, row.fields) == (None, None, [])
    assert "012345678901" not in str(row) + str(logs)


async def test_a_refused_search_is_put_down_too(http):
    without_scope = await http.post(PATH, json=SOUGHT, headers=bearer(READ) | WHY)
    assert (without_scope.status_code, problem(without_scope)) == (403, "forbidden")
    without_purpose = await http.post(PATH, json=SOUGHT, headers=bearer(SEARCH))
    assert (without_purpose.status_code, problem(without_purpose)) == (400, "purpose-missing")
    for purpose in ("", " ", "x" * 201, "a\u007fb"):
        headers = bearer(SEARCH) | {"X-Purpose": purpose}
        bad = await http.post(PATH, json=SOUGHT, headers=headers)
        assert (bad.status_code, problem(bad)) == (400, "purpose-missing"), purpose
    assert (await http.post(PATH, json=SOUGHT)).status_code == 401
    statuses = [row.status for row in await http.rows("TABLE personal_read ORDER BY id")]
    assert statuses == [403] + [400] * 5


BAD = [
    {},
    {"identity": {"type": "citizen-id"}},
    {"identity": {"type": "fingerprint", "number": "1"}},
    {"identity": {"type": "citizen-id", "number": "9" * 300}},
    {**SOUGHT, "phone": "0912345678"},
    {"name": "Nguyễn Thị Ánh"},
]


async def test_bad_questions_are_named_without_their_values(http):
    for body in BAD:
        answer = await http.post(PATH, json=body, headers=MAY)
        assert (answer.status_code, problem(answer)) == (422, "invalid-content"), body
        assert "0912345678" not in answer.text
        assert "99999" not in answer.text
        assert "Nguyễn" not in answer.text
    nothing_left = {"identity": {"type": "passport", "number": "- . -"}}
    assert (await http.post(PATH, json=nothing_left, headers=MAY)).status_code == 422


async def test_without_index_keys_a_search_says_so(databases):
    url = await dossier_database(databases)
    async with dossier_http(url, index_keys={}, index_key=None) as http:
        await http.submit(code(1))
        answer = await http.post(PATH, json=SOUGHT, headers=MAY)
        assert (answer.status_code, problem(answer)) == (409, "search-not-set-up")
        assert [row.status for row in await http.rows("TABLE personal_read")] == [409]
        assert await http.rows("TABLE dossier_person") == []
    # Set up later, what came before is entered in the background.
    async with dossier_http(url) as http:
        await http.app.state.rekeying.whole_pass()
        assert [one["code"] for one in (await searched(http))["items"]] == [code(1)]


async def test_the_index_tells_nothing_without_its_key_and_goes_with_the_submission(http):
    await http.submit(code(1))
    rows = await http.rows("TABLE dossier_person ORDER BY kind")
    assert [(row.kind, row.key_id, row.code) for row in rows] == [
        ("citizen-id", "i1", code(1)),
        ("email", "i1", code(1)),
        ("phone", "i1", code(1)),
    ]
    assert all(len(row.digest) == 32 for row in rows)
    assert len({row.digest for row in rows}) == 3
    assert [row.index_key for row in await http.rows("TABLE dossier")] == ["i1"]
    # A submission that is refused, since the dossier exists, enters nothing.
    again = command("submit", sealed=RING.seal(OTHER, code(1)))
    await http.take(code(1), again, first=2)
    assert len(await http.rows("TABLE dossier_person")) == 3


async def test_a_submission_that_does_not_open_is_taken_and_entered_nowhere(http):
    stranger = RING.seal(PERSON, "somebody else's dossier")
    await http.submit(code(1))
    await http.take(code(2), command("submit", sealed=stranger))
    assert [row.code for row in await http.rows("TABLE dossier ORDER BY code")] == [
        code(1),
        code(2),
    ]
    assert {row.code for row in await http.rows("TABLE dossier_person")} == {code(1)}
    indexed = await http.rows("SELECT index_key FROM dossier ORDER BY code")
    assert [row.index_key for row in indexed] == ["i1", ""]


async def test_a_new_index_key_takes_over_in_batches_while_everything_stays_findable(databases):
    url = await dossier_database(databases)
    async with dossier_http(url) as http:
        for number in range(1, 12):
            await http.submit(code(number))
    async with dossier_http(url, index_key="i2") as http:
        await http.execute("UPDATE dossier SET seal_key = '' WHERE code = :code", code=code(3))
        await http.submit(code(12))
        assert len((await searched(http))["items"]) == 12  # under both keys
        rekeying = http.app.state.rekeying
        await rekeying.whole_pass(batch=2)
        keys = {row.key_id for row in await http.rows("TABLE dossier_person")}
        assert keys == {"i2"}
        assert len(await http.rows("TABLE dossier_person")) == 36
        assert await rekeying.whole_pass(batch=2) == 0
        progress = await http.get("/v1/personal-data/keys", headers=bearer("operations"))
        assert progress.json()["entries_by_index_key"] == {"i2": 36}
    # The old key may go.
    only_new = {"i2": INDEX["i2"]}
    async with dossier_http(url, index_keys=only_new, index_key="i2") as http:
        assert len((await searched(http))["items"]) == 12


async def test_another_key_finds_nothing(databases):
    url = await dossier_database(databases)
    async with dossier_http(url) as http:
        await http.submit(code(1))
        await http.execute("UPDATE dossier SET index_key = 'i9'")  # as if done by somebody else
    async with dossier_http(url, index_keys={"i9": secret("q")}, index_key="i9") as http:
        assert (await searched(http))["items"] == []
