"""Large files in parts: gone on with after a break, checked as a whole, over replicas."""

import asyncio
import base64
import hashlib
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from gateway.use_cases import partial_uploads
from tests.support.databases import Databases
from tests.support.gateway import RunningGateway, gateway_database, running_gateway, step

MIB = 1024 * 1024
FILE = b"%PDF-1.7\n" + random.Random(5).randbytes(12 * MIB)
DIGEST = hashlib.sha256(FILE).hexdigest()
SMALL = b"%PDF-1.7\n" + random.Random(6).randbytes(200 * 1024)
PART = 5 * MIB


@pytest.fixture
async def gateway(databases: Databases, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(
        await gateway_database(databases), tmp_path, largest_upload=16 * MIB, open_uploads=3
    ) as running:
        yield running


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["type"]).removeprefix("urn:lienthong:problem:")


async def begun(
    gateway: RunningGateway, content: bytes = FILE, client: str = "one-stop", **changed: Any
) -> httpx.Response:
    body = {
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "media_type": "application/pdf",
        **changed,
    }
    return await gateway.http.post("/v1/uploads", json=body, headers=gateway.bearer(client))


async def sent(
    gateway: RunningGateway,
    location: str,
    start: int,
    content: Any,
    client: str = "one-stop",
    **headers: str,
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {
        "content-type": "application/partial-upload",
        "upload-offset": str(start),
        **gateway.bearer(client),
        **named,
    }
    return await gateway.http.patch(location, content=content, headers=given)


async def place(gateway: RunningGateway, location: str) -> tuple[str, str]:
    answer = await gateway.http.head(location, headers=gateway.bearer())
    assert answer.status_code == 204
    return answer.headers["upload-offset"], answer.headers["upload-complete"]


def parts_kept(folder: Path) -> list[Path]:
    return [path for path in (folder / "blobs" / "parts").rglob("*") if path.is_file()]


async def test_a_file_above_the_limit_of_one_request_comes_in_parts(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    made = await begun(gateway)
    assert made.status_code == 201
    assert made.headers["upload-offset"] == "0"
    assert made.headers["upload-limit"].startswith("max-size=16777216, max-append-size=10485760")
    location = made.headers["location"]
    first = await sent(gateway, location, 0, FILE[:PART])
    assert (first.status_code, first.json()["offset"], first.json()["complete"]) == (
        200,
        PART,
        False,
    )
    assert await place(gateway, location) == (str(PART), "?0")
    assert (await sent(gateway, location, PART, FILE[PART : 2 * PART])).status_code == 200
    last = await sent(gateway, location, 2 * PART, FILE[2 * PART :])
    assert (last.status_code, last.json()["complete"]) == (200, True)
    assert last.json()["sha256"] == DIGEST
    assert await place(gateway, location) == (str(len(FILE)), "?1")
    got = await gateway.get(f"/v1/files/{DIGEST}")
    assert (got.status_code, got.content == FILE) == (200, True)
    assert parts_kept(tmp_path) == []
    assert await gateway.rows("SELECT 1 FROM upload_part") == []


async def test_a_dossier_can_name_the_file_once_it_is_complete_and_not_before(
    gateway: RunningGateway,
) -> None:
    await gateway.submit()
    results = [{"id": "kq1", "name": "Giấy phép", "file": hashlib.sha256(SMALL).hexdigest()}]
    location = (await begun(gateway, SMALL)).headers["location"]
    await sent(gateway, location, 0, SMALL[: 100 * 1024])
    early = await gateway.take_step(step("complete", results=results))
    assert (early.status_code, slug(early)) == (422, "unknown-file")
    await sent(gateway, location, 100 * 1024, SMALL[100 * 1024 :])
    assert (await gateway.take_step(step("complete", results=results))).status_code == 202


async def test_who_lost_everything_but_the_file_goes_on_where_it_was(
    gateway: RunningGateway,
) -> None:
    location = (await begun(gateway)).headers["location"]
    await sent(gateway, location, 0, FILE[:PART])
    again = await begun(gateway)
    assert (again.status_code, again.headers["location"]) == (200, location)
    assert again.json()["offset"] == PART


async def test_a_part_that_breaks_off_counts_as_far_as_it_came(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial_uploads, "_IDLE_SECONDS", 0.3)

    async def stalling() -> AsyncIterator[bytes]:
        yield SMALL[: 70 * 1024]
        await asyncio.sleep(30)

    location = (await begun(gateway, SMALL)).headers["location"]
    broken = await sent(gateway, location, 0, stalling())
    assert (broken.status_code, slug(broken)) == (408, "upload-too-slow")
    assert await place(gateway, location) == (str(70 * 1024), "?0")
    rest = await sent(gateway, location, 70 * 1024, SMALL[70 * 1024 :])
    assert rest.json()["complete"] is True


async def test_a_part_that_comes_drop_by_drop_counts_as_far_as_it_came(
    databases: Databases, tmp_path: Path
) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield SMALL[: 70 * 1024]
        await asyncio.sleep(30)

    async with running_gateway(
        await gateway_database(databases),
        tmp_path,
        body_grace_seconds=0.5,
        body_least_rate=10**9,
    ) as gateway:
        location = (await begun(gateway, SMALL)).headers["location"]
        broken = await sent(gateway, location, 0, stalling())
        assert (broken.status_code, slug(broken)) == (408, "body-too-slow")
        assert await place(gateway, location) == (str(70 * 1024), "?0")


async def test_a_part_with_a_digest_counts_as_a_whole_or_not_at_all(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    location = (await begun(gateway, SMALL)).headers["location"]
    part = SMALL[: 100 * 1024]
    for name, size in (("sha-256", "sha256"), ("sha-512", "sha512")):
        wrong = base64.b64encode(hashlib.new(size, b"other").digest()).decode()
        answer = await sent(gateway, location, 0, part, content_digest=f"{name}=:{wrong}:")
        assert (answer.status_code, slug(answer)) == (422, "upload-digest-mismatch")
    assert await place(gateway, location) == ("0", "?0")
    assert parts_kept(tmp_path) == []
    right = base64.b64encode(hashlib.sha256(part).digest()).decode()
    answer = await sent(gateway, location, 0, part, content_digest=f"sha-256=:{right}:")
    assert answer.json()["offset"] == len(part)


async def test_a_file_that_is_not_what_was_declared_is_not_kept(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    location = (await begun(gateway, SMALL, sha256="0" * 64)).headers["location"]
    answer = await sent(gateway, location, 0, SMALL)
    assert (answer.status_code, slug(answer)) == (422, "upload-digest-mismatch")
    assert (await gateway.get(location)).status_code == 404
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


async def test_a_file_of_another_type_is_refused_with_its_first_part(
    gateway: RunningGateway,
) -> None:
    content = b"<html>" + bytes(300 * 1024)
    location = (await begun(gateway, content)).headers["location"]
    answer = await sent(gateway, location, 0, content[: 100 * 1024])
    assert (answer.status_code, slug(answer)) == (422, "not-a-pdf")
    assert await place(gateway, location) == ("0", "?0")
    other = await begun(gateway, SMALL, media_type="text/html")
    assert (other.status_code, slug(other)) == (415, "unsupported-media-type")


async def test_a_part_at_another_place_is_told_where_to_begin(gateway: RunningGateway) -> None:
    location = (await begun(gateway, SMALL)).headers["location"]
    await sent(gateway, location, 0, SMALL[: 100 * 1024])
    for start in (0, 99, 150 * 1024):
        answer = await sent(gateway, location, start, SMALL[: 100 * 1024])
        assert (answer.status_code, slug(answer)) == (409, "upload-offset-mismatch")
        assert answer.headers["upload-offset"] == str(100 * 1024)
    too_long = await sent(gateway, location, 100 * 1024, SMALL)
    assert (too_long.status_code, slug(too_long)) == (422, "upload-part-too-long")
    too_short = await sent(gateway, location, 100 * 1024, b"x" * 1000)
    assert (too_short.status_code, slug(too_short)) == (422, "upload-part-too-short")
    done = await sent(gateway, location, 100 * 1024, SMALL[100 * 1024 :])
    assert done.json()["complete"] is True
    over = await sent(gateway, location, len(SMALL), b"more")
    assert (over.status_code, slug(over)) == (409, "upload-complete")


async def test_two_replicas_take_one_part_at_a_time(databases: Databases, tmp_path: Path) -> None:
    url = await gateway_database(databases)
    async with running_gateway(url, tmp_path) as one, running_gateway(url, tmp_path) as two:
        location = (await begun(one, SMALL)).headers["location"]
        going_on = asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield SMALL[: 70 * 1024]
            await going_on.wait()
            yield SMALL[70 * 1024 : 140 * 1024]

        first = asyncio.ensure_future(sent(one, location, 0, slowly()))
        async with asyncio.timeout(30):
            while not await one.rows("SELECT 1 FROM upload WHERE holder IS NOT NULL"):
                await asyncio.sleep(0.01)
        twin = await sent(two, location, 0, SMALL[: 140 * 1024])
        assert (twin.status_code, slug(twin)) == (409, "upload-part-under-way")
        assert int(twin.headers["retry-after"]) >= 1
        cancelled = await two.http.delete(location, headers=two.bearer())
        assert (cancelled.status_code, slug(cancelled)) == (409, "upload-part-under-way")
        going_on.set()
        assert (await first).json()["offset"] == 140 * 1024
        # The other replica goes on with it, and has the whole file.
        last = await sent(two, location, 140 * 1024, SMALL[140 * 1024 :])
        assert last.json()["complete"] is True
        digest = hashlib.sha256(SMALL).hexdigest()
        assert (await one.get(f"/v1/files/{digest}")).content == SMALL


async def test_a_replica_that_died_in_the_middle_keeps_nobody_from_going_on(
    gateway: RunningGateway,
) -> None:
    location = (await begun(gateway, SMALL)).headers["location"]
    identifier = UUID(location.rsplit("/", 1)[1])
    await hold(gateway, identifier, seconds=30)
    held = await sent(gateway, location, 0, SMALL)
    assert (held.status_code, slug(held)) == (409, "upload-part-under-way")
    await hold(gateway, identifier, seconds=-1)
    assert (await sent(gateway, location, 0, SMALL)).json()["complete"] is True


async def hold(gateway: RunningGateway, identifier: UUID, *, seconds: float) -> None:
    """As another replica has left it."""
    async with gateway.core.database.transaction() as connection:
        await connection.exec_driver_sql(
            "UPDATE upload SET holder = gen_random_uuid(), "
            f"held_until = now() + interval '{seconds} seconds' WHERE id = '{identifier}'"
        )


async def test_who_was_taken_for_dead_appends_nothing(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    location = (await begun(gateway, SMALL)).headers["location"]
    identifier = UUID(location.rsplit("/", 1)[1])

    async def slowly() -> AsyncIterator[bytes]:
        yield SMALL[: 70 * 1024]
        await hold(gateway, identifier, seconds=30)  # somebody else has it by now
        yield SMALL[70 * 1024 : 140 * 1024]

    late = await sent(gateway, location, 0, slowly())
    assert (late.status_code, slug(late)) == (409, "upload-part-under-way")
    assert await place(gateway, location) == ("0", "?0")
    assert parts_kept(tmp_path) == []


async def test_a_check_that_was_interrupted_is_made_again(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = (await begun(gateway, SMALL)).headers["location"]

    async def breaking(*_: Any) -> None:
        raise RuntimeError("the process died here")

    with monkeypatch.context() as patched:
        patched.setattr(partial_uploads.PartialUploads, "_finish", breaking)
        assert (await sent(gateway, location, 0, SMALL)).status_code == 500
    assert await place(gateway, location) == (str(len(SMALL)), "?0")
    again = await sent(gateway, location, len(SMALL), b"")
    assert (again.status_code, again.json()["complete"]) == (200, True)


async def test_a_client_has_a_limited_number_of_open_uploads(gateway: RunningGateway) -> None:
    contents = [b"%PDF-" + bytes([number]) for number in range(4)]
    answers = await asyncio.gather(*(begun(gateway, content) for content in contents))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201, 201, 201, 429]
    (refused,) = [answer for answer in answers if answer.status_code == 429]
    assert (slug(refused), refused.headers["retry-after"]) == ("too-many-uploads", "60")
    assert (await begun(gateway, contents[3], client="other")).status_code == 201
    opened = next(answer for answer in answers if answer.status_code == 201)
    gone = await gateway.http.delete(opened.headers["location"], headers=gateway.bearer())
    assert gone.status_code == 204
    refused_content = contents[answers.index(refused)]
    assert (await begun(gateway, refused_content)).status_code == 201
    too_large = await begun(gateway, SMALL, size=16 * MIB + 1)
    assert (too_large.status_code, slug(too_large)) == (413, "upload-too-large")


async def test_an_upload_is_its_clients_alone(gateway: RunningGateway) -> None:
    location = (await begun(gateway, SMALL)).headers["location"]
    for method in ("GET", "HEAD", "DELETE"):
        answer = await gateway.http.request(method, location, headers=gateway.bearer("other"))
        assert answer.status_code == 404
    assert (await sent(gateway, location, 0, SMALL, client="other")).status_code == 404
    theirs = await begun(gateway, SMALL, client="other")
    assert theirs.status_code == 201
    assert theirs.headers["location"] != location
    assert (await gateway.http.get(location)).status_code == 401
    reader = gateway.bearer("reader")
    assert (await gateway.http.get(location, headers=reader)).status_code == 403


async def test_what_was_given_up_is_removed_with_its_parts(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    uploads = gateway.app.state.gateway.partial_uploads
    location = (await begun(gateway, SMALL)).headers["location"]
    await sent(gateway, location, 0, SMALL[: 100 * 1024])
    assert await uploads.remove_expired() == 0
    assert len(parts_kept(tmp_path)) == 1
    async with gateway.core.database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE upload SET expires_at = now() - interval '1 s'")
    assert (await gateway.get(location)).status_code == 404
    assert await uploads.remove_expired() == 1
    assert parts_kept(tmp_path) == []
    assert await gateway.rows("SELECT 1 FROM upload") == []


async def test_parts_that_nothing_knows_of_are_removed(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    uploads = gateway.app.state.gateway.partial_uploads
    locations = [
        (await begun(gateway, content)).headers["location"] for content in (SMALL, SMALL + b"x")
    ]
    for location in locations:
        await sent(gateway, location, 0, SMALL[: 100 * 1024])
    async with gateway.core.database.transaction() as connection:
        await connection.exec_driver_sql(
            f"DELETE FROM upload WHERE id = '{locations[0].rsplit('/', 1)[1]}'"
        )
    assert await uploads.remove_orphans(datetime.now(UTC) - timedelta(hours=2)) == 0
    assert await uploads.remove_orphans(datetime.now(UTC) + timedelta(minutes=1)) == 1
    assert len(parts_kept(tmp_path)) == 1


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ({"upload_offset": "-1"}, 400, "upload-header-malformed"),
        ({"upload_offset": "1e3"}, 400, "upload-header-malformed"),
        ({"content_digest": "md5=:aaaa:"}, 400, "upload-header-malformed"),
        ({"content_digest": "sha-256=:aaaa:"}, 400, "upload-header-malformed"),
        ({"content_type": "application/pdf"}, 415, "unsupported-media-type"),
        ({"content_encoding": "gzip"}, 415, "unsupported-media-type"),
    ],
)
async def test_a_part_says_what_it_is(
    gateway: RunningGateway, headers: dict[str, str], status: int, told: str
) -> None:
    location = (await begun(gateway, SMALL)).headers["location"]
    answer = await sent(gateway, location, 0, SMALL, **headers)
    assert (answer.status_code, slug(answer)) == (status, told)


async def test_a_single_part_is_limited_too(gateway: RunningGateway) -> None:
    location = (await begun(gateway)).headers["location"]
    answer = await sent(gateway, location, 0, FILE[: 11 * MIB])
    assert (answer.status_code, slug(answer)) == (413, "body-too-large")
    assert await place(gateway, location) == ("0", "?0")
