"""The message log taken out of a running gateway, and judged by who has nothing of it."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from sqlalchemy import text

from backbone.log_verification.archive import Refused
from backbone.log_verification.judge import Expected, verify
from backbone.log_verification.report import Report
from backbone.log_verification.trust import Trust
from gateway.domain.log_export import MANIFEST
from simulators.tsa import TimestampAuthority
from tests.support import message_log
from tests.support.databases import Databases
from tests.support.gateway import (
    RunningGateway,
    dossier_code,
    gateway_database,
    listening,
    running_gateway,
    settings,
    signing_key,
    submission,
)
from tests.support.made_log import Key, files_of, needs, written

EXPORT = "/internal/message-log/export"
TODAY = datetime.now(timezone(timedelta(hours=7))).date()


@dataclass
class Desk:
    """A gateway whose log is sealed when the test says so, and an auditor beside it."""

    gateway: RunningGateway
    tsa: TimestampAuthority
    key: Key
    person: Key
    """Whose certificate signs containers."""
    folder: Path
    url: str

    async def take(self, *numbers: int, client: str = "one-stop") -> list[str]:
        """Submit dossiers and seal them in one block of each partition; the submissions' ids."""
        answers = [
            await self.gateway.submit(submission(dossier_code(number)), client=client)
            for number in numbers
        ]
        await message_log.seal(self.gateway)
        return [answer.json()["submission_id"] for answer in answers]

    async def stamp(self) -> None:
        """Have all blocks stamped."""
        while await self.gateway.app.state.gateway.log_works.stamper.stamp_next():
            pass

    async def ask(
        self,
        path: str = EXPORT,
        *,
        scope: str = "operations",
        changed: Mapping[str, list[str]] = MappingProxyType({}),
        **query: Any,
    ):
        rights: dict[str, Any] = {
            "scopes": [scope],
            "agencies": ["*"],
            "procedures": ["*"],
        }
        headers = self.gateway.bearer(**{**rights, **changed})
        return await self.gateway.http.get(path, params=query, headers=headers)

    async def export(self, **query: Any) -> bytes:
        answer = await self.ask(**query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/zip"
        return bytes(answer.content)

    @property
    def trust(self) -> Trust:
        trusted = self.tsa.authority.root_pem + self.key.certificate_pem
        return Trust([written(self.folder, "trusted.pem", trusted)])

    def judged(self, *exports: bytes, expected: tuple[Expected, ...] = ()) -> Report:
        paths = [
            written(self.folder, f"{number}.zip", content) for number, content in enumerate(exports)
        ]
        return verify(paths, self.trust, expected)


@pytest.fixture
async def desk(databases: Databases, tmp_path: Path) -> AsyncIterator[Desk]:
    url = await gateway_database(databases)
    key = load_pem_private_key(signing_key().encode(), None)
    async with message_log.authority() as (address, tsa):
        options: dict[str, Any] = {
            "message_log_seconds": 60,
            "message_log_partitions": 1,
            "tsa_urls": (address,),
            "tsa_certificates": tsa.authority.root_pem.decode(),
        }
        person = Key()
        options["evidence_key"] = person.pem
        options["evidence_certificate"] = person.certificate_pem.decode()
        async with running_gateway(url, tmp_path, **options) as gateway:
            yield Desk(gateway, tsa, Key(key), person, tmp_path, url)  # type: ignore[arg-type]


def ranges(report: Report) -> list[tuple[int, int, bool]]:
    return [(run.first, run.last, run.anchored) for run in report.runs if run.partition == 0]


async def test_a_day_s_export_is_intact_and_says_what_is_not_stamped_yet(desk: Desk) -> None:
    await desk.take(1, 2, 3)
    await desk.stamp()
    report = desk.judged(await desk.export(day=TODAY))
    assert (report.exit_code, ranges(report)) == (0, [(1, 3, True)]), list(report.lines())
    await desk.take(4)
    report = desk.judged(await desk.export(day=TODAY, last_day=TODAY))
    assert (report.exit_code, ranges(report)) == (3, [(1, 3, True), (4, 4, False)])
    yesterday = TODAY - timedelta(days=1)
    assert (await desk.ask(day=yesterday)).status_code == 404


async def test_exports_by_number_are_cut_at_blocks_and_join(desk: Desk) -> None:
    for numbers in ((1, 2), (3, 4), (5,)):
        await desk.take(*numbers)
    await desk.stamp()
    first = await desk.export(partition=0, first=1, last=1)
    rest = await desk.export(partition=0, first=4, last=5)
    assert ranges(desk.judged(first)) == [(1, 2, True)]
    assert ranges(desk.judged(rest)) == [(3, 5, True)]
    expected = (Expected(0, 1, 5),)
    assert desk.judged(rest, first, expected=expected).exit_code == 0
    assert desk.judged(first, expected=expected).exit_code == 1
    assert (await desk.ask(partition=0, first=6, last=9)).status_code == 404


async def test_whoever_changes_the_table_is_found_out(desk: Desk) -> None:
    await desk.take(1, 2, 3)
    await desk.stamp()
    async with desk.gateway.core.database.transaction() as connection:
        await connection.execute(text("ALTER TABLE message_log DISABLE TRIGGER USER"))
        for table in await message_log.rows(
            desk.gateway.core.database,
            "SELECT inhrelid::regclass AS name FROM pg_inherits"
            " WHERE inhparent = 'message_log'::regclass",
        ):
            await connection.execute(text(f"ALTER TABLE {table.name} DISABLE TRIGGER USER"))
        await connection.execute(text("UPDATE message_log SET client_id = 'x' WHERE number = 2"))
    report = desk.judged(await desk.export(partition=0, first=1, last=3))
    assert report.exit_code == 1
    assert {finding.code for finding in report.findings} == {"record-link", "block-records"}


async def test_single_exchanges_are_proven(desk: Desk) -> None:
    ids = await desk.take(1, 2)
    await desk.take(3, client="other")
    await desk.gateway.apply(ids[0])
    await desk.take(4)
    await desk.stamp()

    async def shown(**query: Any) -> list[tuple[int, str]]:
        report = desk.judged(await desk.export(**query))
        assert report.exit_code == 0, list(report.lines())
        return [(one.number, one.subject) for one in report.shown]

    by_dossier = await shown(dossier=dossier_code(1))
    assert by_dossier[0] == (1, dossier_code(1))
    assert [subject for _, subject in by_dossier[1:]] == [ids[0]]  # what became of it
    assert await shown(submission=ids[0]) == by_dossier
    assert await shown(client="other") == [(3, dossier_code(3))]
    assert await shown(subject=dossier_code(2)) == [(2, dossier_code(2))]
    now = datetime.now(UTC)
    assert len(await shown(client="one-stop", since=now - timedelta(hours=1), until=now)) >= 3
    assert (await desk.ask(client="one-stop", until=now - timedelta(hours=1))).status_code == 404
    assert (await desk.ask(dossier=dossier_code(9))).status_code == 404


async def test_evidence_of_one_exchange_stands_alone(desk: Desk, tmp_path: Path) -> None:
    needs("unzip", "openssl")
    (submission_id,) = await desk.take(1)
    path = f"/internal/message-log/exchanges/{submission_id}/evidence"
    early = await desk.ask(path)
    assert (early.status_code, early.json()["type"]) == (
        409,
        "urn:lienthong:problem:not-anchored-yet",
    )
    await desk.stamp()
    answer = await desk.ask(path, scope="audit")
    assert answer.headers["content-type"] == "application/vnd.etsi.asic-e+zip"
    archive = written(tmp_path, "evidence.asice", answer.content)
    place = tmp_path / "unpacked"
    subprocess.run(["unzip", "-q", archive, "-d", place], check=True)
    root = written(tmp_path, "tsa.pem", desk.tsa.authority.root_pem)
    command: list[str | Path] = [
        *("openssl", "ts", "-verify", "-token_in", "-CAfile", root),
        *("-data", "META-INF/ASiCManifest002.xml", "-in", "META-INF/timestamp002.tst"),
    ]
    assert subprocess.run(command, cwd=place, capture_output=True, check=False).returncode == 0
    assert subprocess.run([sys.executable, "kiem-tra.py"], cwd=place, check=False).returncode == 0
    assert json.loads((place / "record.json").read_bytes())["id"] == submission_id
    unknown = await desk.ask(path.replace(submission_id, str(UUID(int=7))))
    assert unknown.status_code == 404


async def test_only_operators_and_auditors_take_the_log_out(desk: Desk) -> None:
    (submission_id,) = await desk.take(1)
    await desk.stamp()
    evidence = f"/internal/message-log/exchanges/{submission_id}/evidence"
    asked: list[tuple[str, dict[str, Any]]] = [(EXPORT, {"day": TODAY}), (evidence, {})]
    for path, query in asked:
        assert (await desk.ask(path, scope="audit", **query)).status_code == 200
        for scope in ("dossiers:read", "dossiers:write", "events:history"):
            assert (await desk.ask(path, scope=scope, **query)).status_code == 403
        for narrower in ({"agencies": ["H56"]}, {"procedures": ["1.000016"]}):
            assert (await desk.ask(path, changed=narrower, **query)).status_code == 403
        assert (await desk.gateway.http.get(path, params=query)).status_code == 401


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"first": 1, "last": 2},
        {"partition": 0, "first": 3, "last": 2},
        {"day": "2026-11-02", "last_day": "2026-11-01"},
        {"day": "9999-12-31"},
        {"day": "2026-11-02", "client": "one-stop"},
        {"since": "2026-11-02T00:00:00Z"},
        {"client": "one-stop", "partition": 0},
        {"client": "one-stop", "since": "2026-11-02"},
        {"partition": 99999, "first": 1, "last": 2},
        {"surprise": "1", "day": "2026-11-02"},
        {"subject": "a\x00b"},
    ],
)
async def test_a_selection_that_says_nothing_clear_is_refused(desk: Desk, query) -> None:
    answer = await desk.ask(**query)
    assert (answer.status_code, answer.headers["content-type"]) == (
        422,
        "application/problem+json",
    )


async def test_a_large_log_is_exported_in_parts(desk: Desk, monkeypatch) -> None:
    monkeypatch.setattr("gateway.use_cases.log_export._PAGE_RECORDS", 2)
    monkeypatch.setattr("gateway.use_cases.log_export._PAGE_BLOCKS", 1)
    for number in range(1, 8, 2):
        await desk.take(number, number + 1)
    await desk.take(9, 10, 11)
    await desk.stamp()
    report = desk.judged(await desk.export(partition=0, first=1, last=11))
    assert (report.exit_code, ranges(report)) == (0, [(1, 11, True)])
    report = desk.judged(await desk.export(client="one-stop"))
    assert [one.number for one in report.shown] == list(range(1, 12))


async def test_what_is_archived_is_said_to_be(desk: Desk) -> None:
    await desk.take(1)
    await desk.stamp()
    async with desk.gateway.core.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE message_block SET archive = 'a.zip', archived_at = now(),"
                " dropped_at = now()"
            )
        )
    answer = await desk.ask(partition=0, first=1, last=1)
    assert answer.status_code == 404
    assert "archived as a.zip" in answer.json()["detail_en"]


async def test_the_command_writes_what_the_route_answers(desk: Desk, tmp_path: Path) -> None:
    await desk.take(1, 2)
    await desk.stamp()
    out = tmp_path / "day.zip"

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        given = settings(desk.url, tmp_path)
        environment = {
            "GATEWAY_DATABASE_URL": desk.url,
            "GATEWAY_BLOBS_URL": given.blobs_url,
            "GATEWAY_DOSSIER_URL": given.dossier_url,
            "GATEWAY_CATALOG_URL": given.catalog_url,
            "GATEWAY_SIGNATURE_URL": given.signature_url,
            "GATEWAY_SIGNING_KEY": signing_key(),
            "GATEWAY_SEALING_KEYS": '{"k1": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}',
            "GATEWAY_SEALING_KEY": "k1",
        }
        return subprocess.run(
            [sys.executable, "-m", "gateway", "export-log", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )

    done = await asyncio.to_thread(command, "--day", str(TODAY), "--out", str(out))
    assert done.returncode == 0, done.stderr
    by_command = files_of(out.read_bytes())
    answered = files_of(await desk.export(day=TODAY))
    assert set(by_command) == set(answered)
    for name in ("records/0.ndjson", "blocks/0.ndjson", "keys.json"):
        assert by_command[name] == answered[name]
    assert desk.judged(out.read_bytes()).exit_code == 0
    assert json.loads(by_command[MANIFEST])["selection"]["day"] == str(TODAY)
    nothing = await asyncio.to_thread(
        command, "--dossier", dossier_code(9), "--out", str(tmp_path / "none.zip")
    )
    assert nothing.returncode == 1
    assert not [name for name in os.listdir(tmp_path) if name.startswith("none")]  # noqa: PTH208


async def test_an_export_that_breaks_off_is_no_export(desk: Desk, monkeypatch) -> None:
    await desk.take(1, 2)
    await desk.stamp()

    async def broken(*_: object) -> list[object]:
        raise RuntimeError("the database is away")

    monkeypatch.setattr("gateway.store.log_export.SealedLog.records", broken)
    with pytest.raises((httpx.HTTPError, RuntimeError, Refused, AssertionError)):
        desk.judged(await desk.export(day=TODAY))


async def test_an_auditor_can_follow_the_page(desk: Desk, tmp_path: Path) -> None:
    """Every command of docs/proof/message-log.md, as it stands there, in its order."""
    needs("bash", "curl", "openssl", "python3", "sed", "unzip")
    ids = await desk.take(1, 2, 3)
    await desk.stamp()
    page = Path(__file__).parents[2].joinpath("docs/proof/message-log.md").read_text("utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    again = await desk.gateway.submit(submission(dossier_code(3)), prefer="receipt")
    written(tmp_path, "receipt.jws", again.headers["exchange-receipt"].encode())
    written(tmp_path, "tsa.pem", desk.tsa.authority.root_pem)
    written(tmp_path, "ky.pem", desk.person.certificate_pem)
    written(tmp_path, "trusted.pem", desk.tsa.authority.root_pem + desk.key.certificate_pem)
    bearer = desk.gateway.bearer(scopes=["audit"], agencies=["*"], procedures=["*"])
    async with listening(desk.gateway.app) as url:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "GATEWAY": url,
            "TOKEN": bearer["Authorization"].removeprefix("Bearer "),
            "DAY": str(TODAY),
            "DOSSIER": dossier_code(1),
            "EXCHANGE": ids[0],
            "PYTHONIOENCODING": "utf-8",
        }
        said = []
        for block in blocks:
            done = await asyncio.to_thread(
                subprocess.run,
                ["bash", "-euc", block],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, block + done.stdout + done.stderr
            said.append(done.stdout + done.stderr)
    fetched, verified, expected, receipt, failed, single, evidence = said
    assert "✓  receipt.jws" in receipt
    assert fetched == ""
    anchored = "VERDICT: intact and anchored"
    assert all(anchored in text for text in (verified, expected, single))
    assert "✓  phân vùng 0, bản ghi 1–3: nguyên vẹn, đã neo" in verified
    for words in ("record 2: bản ghi đã bị sửa", "[block-records]", "exit code 1"):
        assert words in failed
    for words in ("AGREES", "Verified OK", "Verification: OK", "CMS Verification successful"):
        assert words in page
        assert words in evidence
