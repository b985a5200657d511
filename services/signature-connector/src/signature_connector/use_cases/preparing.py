"""Before the person is asked: document, provider and certificate. All of it may be repeated."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from common.blobs import BlobDamaged, BlobMissing
from common.sealing import KeyRing
from signature_connector.domain.assembly import (
    Assembler,
    Prepared,
    Stamp,
    Unfit,
    ValidationData,
    Wish,
)
from signature_connector.domain.findings import Finding, Report, refused, warning
from signature_connector.domain.profiles import Options, Profile
from signature_connector.domain.provider import (
    Credential,
    Credentials,
    Declined,
    Order,
    Paper,
    Provider,
    Unavailable,
)
from signature_connector.domain.requests import Request, State, Step, outgoing_id
from signature_connector.use_cases.outcomes import Next, again, failed
from signature_connector.use_cases.providers import Choice, Gates
from signature_connector.use_cases.stamps import stamp_lines

_ATTRIBUTES_SHOWN = ("pades", "cades")
"""Of these what is signed holds digests and names of the CA; a JWS would hold the certificate."""
FRESH_SECONDS = 120.0
"""How old a certificate and its transaction may be when the person is asked."""


class Files(Protocol):
    """The file store, as far as it is needed here."""

    async def get(self, digest: str) -> bytes:
        """The content; BlobMissing, BlobDamaged."""

    async def put(self, content: bytes) -> str:
        """Store; the digest."""


class Examination(Protocol):
    """See ``verification.isolation.Examiner``."""

    async def document(self, content: bytes) -> Report:
        """Whether it can be signed."""

    async def certificate(
        self,
        der: bytes,
        serial: str,
        moment: datetime,
        chain: Sequence[bytes],
        data: ValidationData,
        user: str,
    ) -> Report:
        """Whether it may sign, and is the person's who is asked."""

    async def verdict(
        self, sent: bytes, content: bytes, certificate: bytes, moment: datetime
    ) -> Report:
        """Whether it came back as it should."""


class Revocation(Protocol):
    """See ``use_cases.revocation.Revocation``."""

    async def data_for(self, chain: Sequence[bytes], moment: datetime) -> ValidationData:
        """What can be learned of a chain's revocation; empty where nothing can."""


@dataclass(frozen=True)
class Preparing:
    """Brings a request to the point where the person can be asked.

    Args:
        assembler: prepares documents for providers that sign hashes; None where all sign files.
        timestamps: whether there is any authority to ask for them.
        revocation: asks whether certificates were revoked; None: nobody can be asked.
        file_limit: largest document, in bytes.
        patience: for how long a request is tried again that could not be submitted.
        person: how long the person may take.
        news: how long a provider is asked about an order whose fate is unknown.
    """

    choice: Choice
    gates: Gates
    files: Files
    examiner: Examination
    keys: KeyRing
    assembler: Assembler | None
    file_limit: int
    patience: timedelta
    person: timedelta
    news: timedelta
    timestamps: bool = False
    revocation: Revocation | None = None

    async def prepare(self, request: Request) -> Next:
        """Examine the document, find a provider that answers, choose a certificate."""
        candidates = [
            one
            for one in self.choice.choose(request.agency, request.ca_name)
            if _serves(one, request, self.assembler)
        ]
        if not candidates:
            return Next(failed(refused("no-provider", request.ca_name)))
        if _out_of_reach(request, self.timestamps):
            return Next(failed(refused("level-not-reached", request.profile)))
        # The one that could not be reached last goes last.
        candidates.sort(key=lambda one: one.name == request.avoid)
        waits = [self._closed(one) for one in candidates]
        if min(waits) > 0:
            return Next(put_off=min(waits))
        try:
            content = await self.files.get(request.document)
        except BlobMissing:
            return Next(failed(refused("file-missing")))
        except BlobDamaged:
            return Next(failed(refused("file-damaged")))
        if len(content) > self.file_limit:
            return Next(failed(refused("too-large", f"{len(content)} bytes")))
        facts: dict[str, Any] = {}
        if Profile.of(request.profile).format == "pades":
            document = await self.examiner.document(content)
            facts["document"] = document.body()
            if document.refusal:
                return Next(failed(document.refusal, facts))
        return Next(await self._first_that_serves(request, candidates, facts))

    def _closed(self, provider: Provider) -> float:
        gate = self.gates.of(provider.name)
        return max(gate.closed("credentials"), gate.closed("submit"))

    async def _first_that_serves(
        self, request: Request, candidates: list[Provider], facts: dict[str, Any]
    ) -> Step:
        user = self.keys.open(request.sealed_user, request.owner)
        no: Step | None = None
        away: Step | None = None
        passed_over: list[dict[str, Any]] = []
        for provider in candidates:
            gate = self.gates.of(provider.name)
            if self._closed(provider) > 0 or gate.admit("credentials") > 0:
                passed_over.append({"provider": provider.name, "why": "resting"})
                continue
            noted = {
                **facts,
                "provider": {"name": provider.name, "confirms": provider.abilities.confirms},
            }
            if passed_over:
                noted["passed_over"] = list(passed_over)
            try:
                answer = await provider.credentials(user, request.ca_name)
            except BaseException:
                gate.record("credentials", None)
                raise
            noted["reply"] = answer.reply.body()
            match answer:
                case Unavailable():
                    gate.record("credentials", True, request.agency, pause=answer.pause)
                    away = again(request, answer.reason, self.patience, self.news, noted)
                    passed_over.append({"provider": provider.name, "why": answer.reason})
                case Declined():
                    gate.record("credentials", False, request.agency)
                    code = answer.reply.code
                    no = no or failed(refused("refused-by-provider", f"code {code}"), noted)
                    passed_over.append({"provider": provider.name, "why": f"code {code}"})
                case Credentials():
                    gate.record("credentials", False, request.agency)
                    step = await self._choose(request, user, provider, answer, noted)
                    if step.to is State.PREPARED:
                        return step
                    no = no or step
                    passed_over.append({"provider": provider.name, "why": "no certificate"})
        return away or no or again(request, "resting", self.patience, self.news, facts)

    async def _choose(
        self,
        request: Request,
        user: str,
        provider: Provider,
        answer: Credentials,
        facts: dict[str, Any],
    ) -> Step:
        """Of the person's certificates that may sign the one that is valid longest."""
        now = datetime.now(UTC)
        usable: list[tuple[str, Credential, Report, ValidationData]] = []
        refusals: list[Finding] = []
        for credential in answer.found:
            data = await self._revocation_of(credential, now)
            report = await self.examiner.certificate(
                credential.certificate,
                credential.serial_number,
                now,
                credential.chain,
                data,
                user,
            )
            if report.refusal:
                refusals.append(report.refusal)
            else:
                until = report.facts["certificate"]["not_after"]
                usable.append((until, credential, report, data))
        facts["refused_certificates"] = [finding.body() for finding in refusals]
        if not usable:
            only = refusals[0] if len(refusals) == 1 else refused("no-certificate")
            return failed(only, facts)
        _, chosen, report, data = max(usable, key=lambda one: one[0])
        sealed = self.keys.seal(_written(chosen, _mechanism(provider, report)), request.owner)
        waits = provider.abilities.waits
        return Step(
            State.PREPARED,
            {**facts, "certificate": report.body(), "revocation": _digests(data)},
            changes={
                "prepared_at": now,
                "provider": provider.name,
                "confirms": provider.abilities.confirms,
                "waits": waits,
                "transaction_id": _told_openly(chosen, answer),
                "serial_number": report.facts["certificate"]["serial_number"],
                "sealed_certificate": sealed,
            },
            # Those who wait with the provider have a pool of their own.
            wait=None if waits == request.waits else 0.0,
        )

    async def _revocation_of(self, credential: Credential, now: datetime) -> ValidationData:
        if self.revocation is None:
            return ValidationData()
        return await self.revocation.data_for((credential.certificate, *credential.chain), now)

    async def order(self, request: Request, order_id: UUID | None = None) -> Next:
        """Lay everything ready, so that nothing but the call itself follows the commit.

        Args:
            order_id: of the order that several requests share.
        """
        age = datetime.now(UTC) - (request.prepared_at or request.created_at)
        provider = self.choice.provider(request.provider or "", request.agency)
        if age.total_seconds() > FRESH_SECONDS or not request.sealed_certificate or not provider:
            return Next(Step(State.RECEIVED, reason=warning("prepared-long-ago").sentence()))
        gate = self.gates.of(provider.name)
        if (wait := gate.admit("submit")) > 0:
            return Next(put_off=wait)
        try:
            order_id = order_id or outgoing_id(request.request_id, request.submissions + 1)
            step, paper = await self._laid_ready(request, provider, order_id)
            order = self._order(request, (paper,), order_id) if paper is not None else None
        except BaseException:
            gate.record("submit", None)
            raise
        if order is None:
            gate.record("submit", None)
        return Next(step, order=order)

    def _order(self, request: Request, papers: tuple[Paper, ...], order_id: UUID) -> Order:
        opened = self.opened(request)
        return Order(
            outgoing_id=order_id,
            user=self.keys.open(request.sealed_user, request.owner),
            ca_name=request.ca_name,
            credential=credential_of(opened),
            papers=papers,
            mechanism=opened["mechanism"],
            expires_at=datetime.now(UTC) + self.person,
        )

    async def _laid_ready(
        self, request: Request, provider: Provider, order_id: UUID
    ) -> tuple[Step, Paper | None]:
        """The step into ``submitting``, and what the person is asked to sign; no paper: the
        document does not allow it."""
        content = await self.files.get(request.document)
        number = request.submissions + 1
        facts: dict[str, Any] = {
            "provider": provider.name,
            "outgoing_id": str(order_id),
            "doc_id": str(request.request_id),
            "transaction_id": request.transaction_id,
            "serial_number": request.serial_number,
            "sent_sha256": request.document,
        }
        changes: dict[str, Any] = {
            "submissions": number,
            "order_id": order_id,
            "submission": None,
            "asked_at": datetime.now(UTC),
            "deadline": None,
        }
        if provider.abilities.signs == "files":
            paper = Paper(request.request_id, request.document_name, content=content)
            return Step(State.SUBMITTING, facts, changes=changes), paper
        try:
            prepared = await self._prepared(request, content)
        except Unfit as unfit:
            return failed(refused(unfit.code, unfit.detail), facts), None
        changes["prepared_file"] = await self.files.put(prepared.content)
        changes["sealed_preparation"] = self.keys.seal(_kept(prepared), request.owner)
        facts["prepared_sha256"] = changes["prepared_file"]
        facts["hash_sent"] = prepared.digest.hex()
        if prepared.format in _ATTRIBUTES_SHOWN:
            facts["signed_attributes"] = prepared.to_sign.hex()
        paper = Paper(request.request_id, request.document_name, digest=prepared.digest)
        return Step(State.SUBMITTING, facts, changes=changes), paper

    async def _prepared(self, request: Request, content: bytes) -> Prepared:
        if self.assembler is None:
            raise Unfit("not-examinable", "no assembler")
        opened = self.opened(request)
        credential = credential_of(opened)
        options = Options.read(request.options)
        now = datetime.now(UTC)
        stamp = None
        if options.stamp is not None:
            mark = options.stamp
            lines = stamp_lines(credential.certificate, options, now)
            stamp = Stamp(lines, mark.anchor, mark.page, mark.box)
        wish = Wish(
            format=Profile.of(request.profile).format,
            certificate=credential.certificate,
            chain=credential.chain,
            digest_algorithm="sha256",
            mechanism=opened["mechanism"],
            claimed_at=now,
            reason=options.reason,
            location=options.location,
            stamp=stamp,
            final=options.final,
        )
        return await self.assembler.prepare(content, wish)

    def opened(self, request: Request) -> dict[str, Any]:
        """The chosen certificate and what goes with it."""
        opened: dict[str, Any] = self.keys.open(request.sealed_certificate or "", request.owner)
        return opened

    def asked(self, request: Request, papers: tuple[Request, ...]) -> Order:
        """The order of a submission again, to ask about it: without what was to be signed."""
        if request.sealed_certificate:
            return self._order(
                request,
                tuple(Paper(one.request_id, one.document_name) for one in papers),
                request.outgoing_id,
            )
        return Order(
            outgoing_id=request.outgoing_id,
            user=self.keys.open(request.sealed_user, request.owner),
            ca_name=request.ca_name,
            credential=Credential(b"", request.serial_number or "", request.transaction_id or ""),
            papers=tuple(Paper(one.request_id, one.document_name) for one in papers),
        )


def _serves(provider: Provider, request: Request, assembler: Assembler | None) -> bool:
    """Whether a provider can give what is wished: one that signs files knows PDF alone, and puts
    its own mark where it will."""
    if provider.abilities.signs == "hashes":
        return assembler is not None
    return Profile.of(request.profile).format == "pades"


def _out_of_reach(request: Request, timestamps: bool) -> bool:
    """Whether a level is demanded that nobody can be asked for here: said before a person is."""
    demanded = Options.read(request.options).augment == "required"
    return demanded and not timestamps and Profile.of(request.profile).level != "b-b"


def _mechanism(provider: Provider, report: Report) -> str:
    """How the key signs: what the provider prefers of what the key is fit for."""
    key = str(report.facts["certificate"].get("key", "rsa"))
    elliptic = key.startswith(("ec", "ecdsa"))
    for mechanism in provider.abilities.mechanisms:
        if (mechanism == "ecdsa") == elliptic:
            return mechanism
    return "ecdsa" if elliptic else "rsassa_pss"


def _told_openly(chosen: Credential, answer: Credentials) -> str | None:
    """The provider's transaction where it is no more than that: a credential's name can hold the
    person's number, and stays sealed with the certificate."""
    told = answer.reply.transaction_id
    return told if told == chosen.transaction_id else None


def _written(credential: Credential, mechanism: str) -> dict[str, Any]:
    return {
        "certificate": credential.certificate.hex(),
        "serial_number": credential.serial_number,
        "transaction_id": credential.transaction_id,
        "chain": [one.hex() for one in credential.chain],
        "mechanism": mechanism,
    }


def credential_of(opened: dict[str, Any]) -> Credential:
    """The certificate as the provider listed it."""
    return Credential(
        certificate=bytes.fromhex(opened["certificate"]),
        serial_number=opened["serial_number"],
        transaction_id=opened["transaction_id"],
        chain=tuple(bytes.fromhex(one) for one in opened.get("chain", ())),
    )


def _kept(prepared: Prepared) -> dict[str, Any]:
    return {
        "format": prepared.format,
        "to_sign": prepared.to_sign.hex(),
        "digest": prepared.digest.hex(),
        "facts": dict(prepared.facts),
    }


def prepared_of(kept: dict[str, Any], content: bytes) -> Prepared:
    """What was prepared, from its sealed part and the document in the file store."""
    return Prepared(
        format=kept["format"],
        content=content,
        to_sign=bytes.fromhex(kept["to_sign"]),
        digest=bytes.fromhex(kept["digest"]),
        facts=kept["facts"],
    )


def _digests(data: ValidationData) -> dict[str, list[str]]:
    """SHA-256 of what was said about revocation, for the evidence."""
    told = {"ocsps": data.ocsps, "crls": data.crls}
    return {name: [hashlib.sha256(one).hexdigest() for one in of] for name, of in told.items()}
