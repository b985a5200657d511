"""Documents with an archive timestamp (B-LTA) outlive the certificates of those who made it, by the
whole service against simulated authorities, one of which has a certificate that ends soon."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from asn1crypto import pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from prometheus_client import CollectorRegistry
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.ades.report import AdESPassed
from pyhanko.sign.validation.ades import ades_lta_validation
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.policy_decl import (
    PdfSignatureValidationSpec,
    SignatureValidationSpec,
)
from pyhanko_certvalidator.context import CertValidationPolicySpec
from pyhanko_certvalidator.policy_decl import (
    REQUIRE_REVINFO,
    CertRevTrustPolicy,
)
from pyhanko_certvalidator.registry import SimpleTrustManager
from sqlalchemy import text

from common.contracts.signature import SignatureAugmented, SignatureCompleted
from signature_connector.clients.timestamps import timestamp_calls
from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.renewal import Schedule
from signature_connector.domain.verification import Material
from signature_connector.store import renewing as store
from signature_connector.use_cases.augmenting import Augmenting
from signature_connector.use_cases.finishing import Finishing
from signature_connector.use_cases.overdue import Overdue
from signature_connector.use_cases.renewing import Renewing
from signature_connector.use_cases.timestamps import Authorities
from signature_connector.verification.policies import read_policies
from signature_connector.verification.verification import verify
from tests.integration.test_signature_levels import Running
from tests.support.databases import Databases
from tests.support.signature_connector import (
    connector_database,
    running_connector,
    settings,
)
from tests.support.signing import draw, updated
from tests.support.signing_services import SigningGateway, SigningService, signing_service

DAY = timedelta(days=1)
SOON, MARGIN = 20, 30
"""Days until the first authority's certificate ends, and days before which documents are due."""


@dataclass(frozen=True)
class World:
    """A signing service, and authorities.

    Attributes:
        ending: its certificate ends soon.
        lasting: its does not.
        silent: where its certificate says that revocation is told nobody answers.
    """

    smartca: SigningService
    ending: SigningService
    lasting: SigningService
    silent: SigningService

    @property
    def all(self) -> tuple[SigningService, ...]:
        return (self.smartca, self.ending, self.lasting, self.silent)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with ExitStack() as stack:

        def started(name: str, program: str, *options: str, told: bool = True) -> SigningService:
            port, place = free_port(), folder / name  # known beforehand: certificates name it
            place.mkdir()
            at = port if told else 9
            crls = ("--port", str(port), "--crls", f"http://127.0.0.1:{at}/crls")
            return stack.enter_context(signing_service(place, program, *options, *crls))

        person = ("--person-ms", "30", "--keys", "ecdsa", "--account", "sp:s3cret")
        yield World(
            started("smartca", "smartca", *person),
            started("ending", "tsa", "--title", "TSA A", "--days", str(SOON)),
            started("lasting", "tsa", "--title", "TSA B", "--days", "3000"),
            started("silent", "tsa", "--title", "TSA C", "--days", str(SOON), told=False),
        )


@dataclass(frozen=True)
class Place:
    """Where a connector runs, more than once."""

    database: str
    folder: Path
    roots: Path
    world: World

    @asynccontextmanager
    async def running(self, *tsas: SigningService, **changed: Any) -> AsyncIterator[Running]:
        """The service; its own workers renew nothing after its start unless told otherwise."""
        given: dict[str, Any] = {
            "providers_file": self.folder / "providers.json",
            "timestamp_urls": tuple(one.url for one in tsas),
            "timestamp_seconds": 3.0,
            "augment_seconds": 3600.0,
            "renewal_days": MARGIN,
            "revocation_networks": ("127.0.0.0/8",),
        }
        configured = settings(
            self.database,
            self.folder,
            SigningGateway("http://127.0.0.1:9", self.roots),
            **{**given, **changed},
        )
        async with running_connector(configured) as connector:
            yield Running(connector, self.roots)


@pytest.fixture
async def place(databases: Databases, tmp_path: Path, world: World) -> Place:
    for one in world.all:
        one.reset()
    (tmp_path / "secret").write_text("s3cret")
    roots = tmp_path / "roots.pem"
    roots.write_bytes(b"".join(one.root.read_bytes() for one in world.all))
    provider = {
        "name": "smartca",
        "dialect": "smartca",
        "url": world.smartca.url,
        "ca_names": ["VNPT-CA"],
        "accounts": [{"agencies": ["*"], "client_id": "sp", "secret_file": "secret"}],
        "user_seconds": 20,
    }
    (tmp_path / "providers.json").write_text(json.dumps({"providers": [provider]}))
    return Place(await connector_database(databases), tmp_path, roots, world)


def end_of(tsa: SigningService) -> datetime:
    """When an authority's certificate ends."""
    own = (tsa.root.parent / "tsa.pem").read_bytes()
    return x509.load_pem_x509_certificate(own).not_valid_after_utc


def finishing_of(running: Running) -> Finishing:
    return cast("Finishing", running.connector.app.state.steps.finishing)


def worker(
    running: Running, finishing: Finishing | None = None, margin: float = MARGIN
) -> Renewing:
    """One more that renews, without a memory of what the others were given."""
    own = finishing_of(running)
    return Renewing(
        running.connector.core.outbox,
        finishing or own,
        cast("Any", own.examiner),
        CollectorRegistry(),
        schedule=Schedule(margin * DAY, timedelta(hours=1)),
        lease=120.0,
    )


async def set_row(running: Running, request_id: UUID, change: str) -> None:
    async with running.connector.core.database.transaction() as connection:
        await connection.execute(
            text(f"UPDATE signing_request SET {change} WHERE request_id = :id"),
            {"id": request_id},
        )


async def renewed(running: Running, request_id: UUID, by: Renewing | None = None) -> Any:
    """Let it be tried now; its row."""
    row = await running.connector.row(request_id)
    if row.renew_at is not None:
        await set_row(running, request_id, "renew_at = now()")
    assert await (by or worker(running)).renew_due() == 1
    return await running.connector.row(request_id)


async def last_facts(running: Running, request_id: UUID) -> dict[str, Any]:
    return dict((await running.evidence(request_id))[-1]["facts"])


def roots_of(place: Place) -> list[asn1_x509.Certificate]:
    blocks = pem.unarmor(place.roots.read_bytes(), multiple=True)
    return [asn1_x509.Certificate.load(der) for _, _, der in blocks]


async def level_at(place: Place, content: bytes, at: datetime) -> str | None:
    """What verification says of the level at a date; nothing is fetched."""
    material = Material("pdf", content, at)
    policies = read_policies(place.roots)
    report = await asyncio.to_thread(verify, material, policies, ValidationData())
    (signature,) = report.facts["signatures"]
    assert signature["intact"]
    level: str | None = signature["level"]
    return level


async def library_accepts(place: Place, content: bytes) -> bool:
    """What pyHanko says by its own rules (EN 319 102-1, 5.6.3), with revocation required and
    nothing fetched."""
    trust = SimpleTrustManager.build(trust_roots=roots_of(place))
    policy = CertValidationPolicySpec(trust, CertRevTrustPolicy(REQUIRE_REVINFO))
    strict = PdfSignatureValidationSpec(SignatureValidationSpec(policy))
    signature = PdfFileReader(BytesIO(content)).embedded_regular_signatures[-1]
    result = await ades_lta_validation(signature, strict)
    return bool(result.ades_subindic == AdESPassed.OK)


def store_of(content: bytes) -> DocumentSecurityStore:
    return DocumentSecurityStore.read_dss(PdfFileReader(BytesIO(content)))


def list_issuers(content: bytes) -> set[str]:
    """Whose lists of revocations a document carries."""
    found = (one.get_object().data for one in store_of(content).crls)
    return {x509.load_der_x509_crl(one).issuer.rfc4514_string() for one in found}


def root_name(service: SigningService) -> str:
    return x509.load_pem_x509_certificate(service.root.read_bytes()).subject.rfc4514_string()


async def test_an_archived_document_outlives_the_certificate_of_its_first_authority(
    place: Place, world: World
) -> None:
    end = end_of(world.ending)
    async with place.running(world.ending, augment_seconds=0.5) as running:
        connector = running.connector
        row = await running.ended(await running.asked("pades-b-lta", augment="required"))
        request_id = row.request_id
        (told,) = await connector.facts(request_id)
        assert isinstance(told.event, SignatureCompleted)
        assert row.sealed_certificate is None
        # Due already, but this authority has no other certificate yet.
        async with asyncio.timeout(60):
            while (row := await connector.row(request_id)).renewal_trouble is None:
                await asyncio.sleep(0.1)
        assert row.renewal_trouble == "authority-certificate-ends"
        assert row.proof_ends == end
        assert datetime.now(UTC) + timedelta(hours=23) < row.renew_at <= end
        assert row.result_file == told.event.file
        facts = await last_facts(running, request_id)
        assert facts["warning"]["code"] == "renewal-troubled"
        await set_row(running, request_id, "renew_at = now()")
    async with place.running(world.lasting, augment_seconds=0.5) as running:
        connector = running.connector
        (later,) = await connector.facts(request_id)
        assert isinstance(later.event, SignatureAugmented)
        assert (later.event.replaces, later.event.level) == (told.event.file, "b-lta")
        row = await connector.row(request_id)
        assert (row.result_file, row.renewal_trouble) == (later.event.file, None)
        assert row.sealed_certificate is None
        assert row.proof_ends == end_of(world.lasting)
        left = row.proof_ends - row.renew_at
        assert MARGIN * DAY <= left <= MARGIN * DAY * 4 / 3
        facts = await last_facts(running, request_id)
        assert facts["augmented_sha256"] == later.event.file
        assert facts["archive_timestamp"]
        assert facts["report"]["accepted"]
        before = await connector.blobs.get(told.event.file)
        after = await connector.blobs.get(later.event.file)
        shown = await connector.get(
            f"/v1/signing-requests/{request_id}", "signing:read", agencies=("*",)
        )
        assert shown.json()["signed_file"] == later.event.file
        value = connector.core.telemetry.registry.get_sample_value
        assert value("signature_renewals_total", {"outcome": "renewed"}) == 1
        assert value("signature_archive_seconds_left") == pytest.approx(SOON * 86400, abs=600)
    assert after.startswith(before)
    assert len(PdfFileReader(BytesIO(after)).embedded_timestamp_signatures) == 2
    assert await library_accepts(place, after)
    assert root_name(world.lasting) in list_issuers(after)
    past = end + 5 * DAY
    assert await level_at(place, before, past) != "B-LTA", "or the renewal proves nothing"
    assert await level_at(place, after, past) == "B-LTA"


@pytest.mark.parametrize("level", ["b-lt", "b-lta"])
async def test_revocation_data_of_the_authority_goes_into_the_document(
    place: Place, world: World, level: str
) -> None:
    async with place.running(world.lasting) as running:
        row = await running.ended(await running.asked(f"pades-{level}", augment="required"))
        content = await running.connector.blobs.get(row.result_file)
        steps = [one["facts"] for one in await running.evidence(row.request_id)]
        assert (row.renew_at, row.proof_ends) == (None, None)
    assert root_name(world.lasting) in list_issuers(content)
    carried = {one.dump() for one in store_of(content).load_certs()}
    for name in ("tsa.pem", "root.pem"):
        _, _, der = pem.unarmor((world.lasting.root.parent / name).read_bytes())
        assert der in carried
    assert "found" in {one.get("authority_status") for one in steps} or level == "b-lta"
    if level == "b-lta":
        assert await library_accepts(place, content)


async def test_the_data_of_another_authority_follows_its_archive_timestamp(
    place: Place, world: World
) -> None:
    async with place.running(world.ending, world.lasting) as running:
        world.ending.fault(on="timestamp", kind="rejection", after=1)
        row = await running.ended(await running.asked("pades-b-lta", augment="required"))
        content = await running.connector.blobs.get(row.result_file)
    names = {root_name(one) for one in (world.ending, world.lasting)}
    assert names <= list_issuers(content)
    assert await library_accepts(place, content)


async def test_an_authority_whose_status_nobody_tells_does_not_reach_long_term(
    place: Place, world: World
) -> None:
    async with place.running(world.silent) as running:
        row = await running.ended(await running.asked("pades-b-lt"))
        assert row.level == "b-t"
        assert row.augment_at is not None
        said = [one["facts"].get("not_augmented") for one in await running.evidence(row.request_id)]
        assert any("NoValidationData" in one for one in said if one)


async def stamped_over(running: Running, row: Any, tsa: SigningService) -> None:
    """A further archive timestamp, without any data of its authority."""
    own = finishing_of(running)
    assert own.assembler is not None
    content = await own.files.get(row.result_file)
    waiting = await own.assembler.archive_imprint(content, "pades")
    async with timestamp_calls(5.0) as calls:
        token = await Authorities(calls, cast("Any", own.examiner), [tsa.url]).token(waiting.digest)
    stored = await own.files.put(await own.assembler.archived(waiting, token))
    await set_row(running, row.request_id, f"result_file = '{stored}'")


async def test_data_of_the_newest_timestamp_is_put_under_the_one_that_renews_it(
    place: Place, world: World
) -> None:
    async with place.running(world.lasting) as running:
        row = await running.ended(await running.asked("pades-b-lta", augment="required"))
        await stamped_over(running, row, world.ending)
        row = await renewed(running, row.request_id)
        assert (row.renewal_trouble, row.proof_ends) == (None, end_of(world.lasting))
        content = await running.connector.blobs.get(row.result_file)
        facts = await last_facts(running, row.request_id)
    assert facts["authority_before"]["authority_status"] == "found"
    reader = PdfFileReader(BytesIO(content))
    *_, before, last = reader.embedded_timestamp_signatures
    covered = DocumentSecurityStore.read_dss(reader.get_historical_resolver(last.signed_revision))
    assert covered.sig_content_identifier(before.pkcs7_content) in covered.vri_entries
    assert root_name(world.ending) in list_issuers(content)
    assert await library_accepts(place, content)


async def test_data_that_nobody_tells_is_waited_for_until_little_time_is_left(
    place: Place, world: World
) -> None:
    async with place.running(world.lasting) as running:
        row = await running.ended(await running.asked("pades-b-lta", augment="required"))
        await stamped_over(running, row, world.silent)
        row = await renewed(running, row.request_id)
        assert row.renewal_trouble == "revocation-unchecked"
        assert row.proof_ends == end_of(world.silent)
        row = await renewed(running, row.request_id, worker(running, margin=4 * SOON))
        assert (row.renewal_trouble, row.proof_ends) == (None, end_of(world.lasting))
        facts = await last_facts(running, row.request_id)
        assert facts["authority_before"]["authority_status"] == "revocation-unchecked"


@dataclass
class Spoiling:
    """An assembler that changes the page while it adds what it was to add."""

    own: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)

    async def timestamped(self, *given: Any) -> bytes:
        return await asyncio.to_thread(updated, await self.own.timestamped(*given), draw)

    async def long_term(self, *given: Any) -> bytes:
        return await asyncio.to_thread(updated, await self.own.long_term(*given), draw)


async def test_a_document_that_got_worse_by_later_augmentation_is_never_given_out(
    place: Place, world: World
) -> None:
    async with place.running(world.lasting) as running:
        world.lasting.fault(on="timestamp", kind="rejection")
        connector = running.connector
        before = await running.ended(await running.asked("pades-b-t"))
        assert (before.level, before.augment_at is None) == ("b-b", False)
        world.lasting.reset()
        await set_row(running, before.request_id, "augment_at = now()")
        own = finishing_of(running)
        spoiled = replace(own, assembler=cast("Any", Spoiling(own.assembler)))
        hour = timedelta(hours=1)
        augmenting = Augmenting(connector.core.outbox, spoiled, hour, hour, lease=120.0)
        assert await augmenting.augment_due() == 1
        row = await connector.row(before.request_id)
        assert (row.state, row.level) == ("completed", "b-b")
        assert (row.result_file, row.returned_file) == (before.result_file, before.returned_file)
        assert (row.augment_at, row.sealed_certificate) == (None, None)
        last = (await running.evidence(before.request_id))[-1]
        assert last["to"] == "completed"
        refusal = last["facts"]["refused"]
        assert not refusal["accepted"]
        assert last["facts"]["not_augmented"] == "changed-after-signing"
        shown = await connector.get(
            f"/v1/signing-requests/{row.request_id}", "signing:read", agencies=("*",)
        )
        assert shown.json()["signed_file"] == before.result_file
        await connector.facts(before.request_id)
        assert len(connector.heard(before.request_id)) == 1


async def archived(running: Running, world: World) -> Any:
    """A document whose authority's certificate ends soon; the next token is the other's."""
    row = await running.ended(await running.asked("pades-b-lta", augment="required"))
    world.ending.fault(on="timestamp", kind="rejection")
    return row


async def test_a_document_that_got_worse_by_renewal_is_never_given_out(
    place: Place, world: World
) -> None:
    async with place.running(world.ending, world.lasting) as running:
        before = await archived(running, world)
        own = finishing_of(running)
        spoiled = replace(own, assembler=cast("Any", Spoiling(own.assembler)))
        # What is to be carried along has ended, so that there is something to be spoiled.
        row = await renewed(
            running,
            before.request_id,
            worker(running, replace(spoiled, revocations=cast("Any", Always(own.revocations)))),
        )
        assert row.result_file == before.result_file
        assert row.renewal_trouble == "changed-after-signing"
        assert datetime.now(UTC) + timedelta(hours=23) < row.renew_at <= row.proof_ends
        facts = await last_facts(running, before.request_id)
        assert not facts["refused"]["accepted"]
        assert len(await running.connector.facts(before.request_id)) == 1
        # The next try, with a sound assembler, goes well.
        row = await renewed(running, before.request_id)
        assert row.result_file != before.result_file
        assert row.renewal_trouble is None


@dataclass
class Always:
    """Brings data of the authority also where the document has it."""

    own: Any

    async def of_timestamp(self, content: bytes, moment: datetime) -> Any:
        found = await self.own.of_timestamp(content, moment)
        crls = tuple(one.get_object().data for one in store_of(content).crls)
        return replace(found, data=ValidationData((), (), crls))


async def test_a_renewal_that_fails_is_tried_until_the_end_and_says_so(
    place: Place, world: World
) -> None:
    async with place.running(world.ending, world.lasting) as running:
        before = await archived(running, world)
        world.lasting.fault(on="timestamp", kind="rejection")
        row = await renewed(running, before.request_id)
        assert row.renewal_trouble is not None
        assert row.result_file == before.result_file
        assert datetime.now(UTC) < row.renew_at <= row.proof_ends
        count = row.evidence_count
        facts = await last_facts(running, before.request_id)
        assert facts["warning"]["code"] == "renewal-troubled"
        # The same trouble again is not noted again.
        row = await renewed(running, before.request_id)
        assert row.evidence_count == count
        # An authority answers again, but too late.
        world.lasting.reset()
        await set_row(running, before.request_id, "proof_ends = now()")
        by = worker(running)
        row = await renewed(running, before.request_id, by)
        assert (row.renew_at, row.renewal_trouble) == (None, None)
        assert (row.result_file, row.level) == (before.result_file, "b-lta")
        facts = await last_facts(running, before.request_id)
        assert facts["warning"]["code"] == "renewal-lapsed"
        assert await worker(running).renew_due() == 0, "it is not taken for a new one"


async def test_one_worker_renews_and_nothing_is_written_where_the_request_was_erased(
    place: Place, world: World
) -> None:
    async with place.running(world.ending, world.lasting) as running:
        before = await archived(running, world)
        own = finishing_of(running)

        @dataclass
        class Erased:
            """Gives a token while the dossier's persons are erased."""

            tokens: int = 0

            async def token(self, imprint: bytes) -> bytes:
                self.tokens += 1
                await set_row(running, before.request_id, "renew_at = NULL, erased_at = now()")
                assert own.timestamps is not None
                return await own.timestamps.token(imprint)

        erased = Erased()
        spoiled = replace(own, timestamps=cast("Any", erased))
        workers = [worker(running, spoiled) for _ in range(3)]
        row = await running.connector.row(before.request_id)
        if row.renew_at is not None:
            await set_row(running, before.request_id, "renew_at = now()")
        assert sum(await asyncio.gather(*(one.renew_due() for one in workers))) == 1
        assert erased.tokens == 1
        row = await running.connector.row(before.request_id)
        assert (row.result_file, row.renew_at) == (before.result_file, None)
        assert await worker(running).renew_due() == 0
        assert len(await running.connector.facts(before.request_id)) == 1


async def test_whoever_watches_sees_what_is_overdue_and_how_much_time_is_left(
    place: Place, world: World
) -> None:
    async with place.running(world.lasting) as running:
        connector = running.connector
        registry = CollectorRegistry()
        watch = Overdue(connector.core.database, registry)

        async def seen() -> tuple[Any, ...]:
            await watch.measure()
            value = registry.get_sample_value
            return (
                value("signature_augmentations_overdue", {"kind": "level"}),
                value("signature_augmentations_overdue", {"kind": "renewal"}),
                value("signature_renewals_troubled"),
            )

        assert await seen() == (0, 0, 0)
        assert registry.get_sample_value("signature_archive_seconds_left") == float("inf")
        row = await running.ended(await running.asked("pades-b-b"))
        # Due, but not for long.
        due = "now() - interval '1 minute'"
        soon = f"augment_at = {due}, renew_at = {due}, proof_ends = now() + interval '9 days'"
        await set_row(running, row.request_id, soon)
        assert await seen() == (0, 0, 0)
        left = registry.get_sample_value("signature_archive_seconds_left")
        assert left == pytest.approx(9 * 86400, abs=60)
        late = "now() - interval '20 minutes'"
        await set_row(
            running,
            row.request_id,
            f"augment_at = {late}, renew_at = {late}, renewal_trouble = 'status 503'",
        )
        assert await seen() == (1, 1, 1)
        await set_row(running, row.request_id, "renewal_trouble = 'authority-certificate-ends'")
        assert (await seen())[2] == 0


async def test_what_is_due_in_years_costs_nothing_today(place: Place, world: World) -> None:
    """Every question of the workers has its index."""
    async with (
        place.running(world.lasting) as running,
        running.connector.core.database.transaction() as connection,
    ):
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        for statement, given, index in (
            (store._ENROL, {"most": 4}, "signing_request_archived"),
            (store._CLAIM, {"most": 4, "lease": 60.0}, "signing_request_renew"),
            (store._OVERDUE, {"late": 60.0, "not_yet": ""}, "signing_request_proof"),
            (store._OVERDUE, {"late": 60.0, "not_yet": ""}, "signing_request_trouble"),
        ):
            rows = await connection.execute(text(f"EXPLAIN {statement.text}"), given)
            plan = "\n".join(row[0] for row in rows)
            assert index in plan, plan
            assert "Seq Scan" not in plan, plan
