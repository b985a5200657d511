"""What came back is put into the document, augmented, judged, and handed out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

import structlog

from common.errors import describe
from signature_connector.domain.assembly import Assembler, Format, Level, Unfit, ValidationData
from signature_connector.domain.findings import Report, refused, warning
from signature_connector.domain.profiles import Options, Profile
from signature_connector.domain.requests import Request, State, Step
from signature_connector.use_cases.outcomes import failed
from signature_connector.use_cases.preparing import (
    Examination,
    Files,
    Preparing,
    credential_of,
    prepared_of,
)

_CLOCKS_APART = timedelta(minutes=1)
"""By how much an authority's clock may be ahead of ours."""

log = structlog.get_logger()


class NoTimestamp(Exception):
    """No authority gave a timestamp."""


class NoValidationData(Exception):
    """Revocation data of the chain could not be had; the message is a finding's code."""

    @property
    def untold(self) -> bool:
        """Whether only nobody told; else something speaks against the chain."""
        return str(self) == "revocation-unchecked"


@dataclass(frozen=True, slots=True)
class OfTimestamp:
    """Validation data of the authority that made a timestamp.

    Attributes:
        data: what is to be added to the document.
        status: "found"; "embedded": the document carries all of it; "unnamed": some certificate
            names nobody who would tell whether it was revoked.
    """

    data: ValidationData
    status: Literal["found", "embedded", "unnamed"]

    def note(self, facts: dict[str, Any]) -> None:
        """Say in the evidence what is not known."""
        facts["authority_status"] = self.status
        if self.status == "unnamed":
            facts["authority_warning"] = warning("authority-status-unnamed").body()


class Timestamps(Protocol):
    """Time-stamping authorities (RFC 3161), with failover among them."""

    async def token(self, imprint: bytes) -> bytes:
        """A verified token (DER of a CMS ContentInfo) for a SHA-256 imprint.

        Raises:
            NoTimestamp: no authority gave one.
        """


class Revocations(Protocol):
    """Where validation data of long-term signatures comes from."""

    async def validation_data(
        self, certificates: Sequence[bytes], moment: datetime
    ) -> ValidationData:
        """OCSP responses, CRLs and certificates of these chains.

        Raises:
            NoValidationData: not all could be had.
        """

    async def of_timestamp(self, content: bytes, moment: datetime) -> OfTimestamp:
        """The same of the authority that made the newest timestamp of a PDF.

        Raises:
            NoValidationData: not all that certificates name could be had.
        """


class Judging(Examination, Protocol):
    """See ``verification.isolation.Examiner``."""

    async def verdict(
        self,
        sent: bytes,
        content: bytes,
        certificate: bytes,
        moment: datetime,
        profile: Profile = ...,
    ) -> Report:
        """Whether it came back as it should, in its format and at its level."""


@dataclass(frozen=True)
class Augmented:
    """A document and the level it has.

    Attributes:
        missing: why it has not the level wished; None: it has.
    """

    content: bytes
    level: str
    facts: dict[str, Any]
    missing: Exception | None = None


@dataclass(frozen=True)
class Finishing:
    """From the raw result to the signed document.

    Args:
        assembler: None where all providers sign whole files.
        timestamps, revocations: None where there are none to be had.
        augment_after: when augmentation that did not work is tried again.
    """

    files: Files
    examiner: Judging
    preparing: Preparing
    assembler: Assembler | None = None
    timestamps: Timestamps | None = None
    revocations: Revocations | None = None
    augment_after: timedelta = timedelta(minutes=1)

    async def raw(self, request: Request) -> Step:
        """Put a raw signature into its document; a whole file is judged as it came."""
        if request.sealed_preparation is None:
            return await self.judge(request)
        assert self.assembler is not None  # noqa: S101 - what it prepared it can finish
        kept = self.preparing.keys.open(request.sealed_preparation, request.owner)
        content = await self.files.get(request.prepared_file or "")
        signature = await self.files.get(request.returned_file or "")
        facts: dict[str, Any] = {
            "prepared_sha256": request.prepared_file,
            "signature_sha256": request.returned_file,
            "signature": signature.hex(),
        }
        try:
            signed = await self.assembler.finish(prepared_of(kept, content), signature)
        except Unfit as unfit:
            return failed(refused(unfit.code, unfit.detail), facts)
        stored = await self.files.put(signed)
        facts["assembled_sha256"] = stored
        return Step(State.ASSEMBLED, facts, changes={"result_file": stored, "level": "b-b"})

    async def assembled(self, request: Request) -> Step:
        """Augment to the level wished, or go on at B-B where that is allowed."""
        profile = Profile.of(request.profile)
        if profile.level == "b-b":
            return await self.judge(request)
        reached = await self.augmented(request, profile)
        if reached.missing is not None:
            if Options.read(request.options).augment == "required":
                raise reached.missing
            reached.facts["not_augmented"] = describe(reached.missing)
        if reached.level == (request.level or "b-b"):
            step = await self.judge(request)
            note = {**step.facts, **reached.facts}
            return Step(step.to, note, changes=step.changes, reason=step.reason)
        stored = await self.files.put(reached.content)
        facts = {**reached.facts, "level": reached.level, "augmented_sha256": stored}
        changes = {"result_file": stored, "level": reached.level}
        return Step(State.AUGMENTED, facts, changes=changes)

    async def augmented(self, request: Request, profile: Profile) -> Augmented:
        """The document at its level, or at the highest that could be reached now."""
        facts: dict[str, Any] = {"from_sha256": request.signed_file}
        content = await self.files.get(request.signed_file or "")
        level = request.level or "b-b"
        try:
            while level != profile.level:
                content, level = await self._raised(request, content, level, facts)
        except (NoTimestamp, NoValidationData, Unfit) as missing:
            return Augmented(content, level, facts, missing)
        return Augmented(content, level, facts)

    async def _raised(
        self, request: Request, content: bytes, level: str, facts: dict[str, Any]
    ) -> tuple[bytes, str]:
        """The document at the next level."""
        form: Format = Profile.of(request.profile).format
        if self.assembler is None or self.timestamps is None:
            raise NoTimestamp("no authority is configured")
        match level:
            case "b-b":
                imprint = await self.assembler.imprint(content, form)
                token = await self.timestamps.token(imprint)
                content = await self.assembler.timestamped(content, form, token)
                facts["timestamp"] = token.hex()
                return content, "b-t"
            case "b-t":
                return await self._long_term(request, content, form, facts), "b-lt"
            case _:
                prepared = await self.assembler.archive_imprint(content, form)
                token = await self.timestamps.token(prepared.digest)
                content = await self.assembler.archived(prepared, token)
                facts["archive_timestamp"] = token.hex()
                return await self.with_authority(content, form, facts), "b-lta"

    async def _long_term(
        self, request: Request, content: bytes, form: Format, facts: dict[str, Any]
    ) -> bytes:
        if self.assembler is None or self.revocations is None:
            raise NoValidationData("no source is configured")
        credential = credential_of(self.preparing.opened(request))
        chain = (credential.certificate, *credential.chain)
        now = datetime.now(UTC)
        data = await self.revocations.validation_data(chain, now)
        authority = await self.revocations.of_timestamp(content, now)
        authority.note(facts)
        data = data.joined(authority.data)
        facts["validation_data"] = counted(data)
        return await self.assembler.long_term(content, form, data)

    async def with_authority(self, content: bytes, form: Format, facts: dict[str, Any]) -> bytes:
        """The document with validation data of its archive timestamp, where it can be had.

        The level does not depend on it: a renewal brings it at the latest, and until then the
        authority's certificate is valid.

        Raises:
            NoValidationData: the authority cannot be trusted (any more).
        """
        if self.assembler is None or self.revocations is None:
            return content
        facts.pop("authority_warning", None)
        try:
            authority = await self.revocations.of_timestamp(content, datetime.now(UTC))
        except NoValidationData as missing:
            if not missing.untold:
                raise
            facts["authority_status"] = str(missing)
            return content
        authority.note(facts)
        if not (authority.data.ocsps or authority.data.crls):
            return content
        return await self.assembler.long_term(content, form, authority.data)

    async def judge(self, request: Request) -> Step:
        """The verdict: nothing is handed out without it."""
        report = await self.verdict(request)
        facts = {
            "sent_sha256": request.document,
            "returned_sha256": request.signed_file,
            "report": report.body(),
        }
        if report.refusal:
            return failed(report.refusal, facts)
        told = report.facts["signature"]["signed_at"]
        signed_at = datetime.fromisoformat(told) if told else None
        return Step(State.VALIDATED, facts, changes={"signed_at": signed_at})

    async def verdict(self, request: Request, certificate: bytes | None = None) -> Report:
        """What is to be said of the document that came back, or was assembled.

        Args:
            certificate: DER of the one that was to sign; None: the one that the request keeps.
        """
        sent = await self.files.get(request.document)
        content = await self.files.get(request.signed_file or "")
        if certificate is None:
            certificate = credential_of(self.preparing.opened(request)).certificate
        form: Format = Profile.of(request.profile).format
        level: Level = request.level or "b-b"  # type: ignore[assignment]  # one of them
        moment = request.returned_at or datetime.now(UTC)
        if form != "pades" and level != "b-b":
            # Timestamps are younger than what came back, and prove when it was there.
            moment = datetime.now(UTC) + _CLOCKS_APART
        return await self.examiner.verdict(sent, content, certificate, moment, Profile(form, level))

    def completed(self, request: Request) -> Step:
        """It is handed out; what its level lacks is tried for later, where there is any hope."""
        facts: dict[str, Any] = {
            "file": request.signed_file,
            "serial_number": request.serial_number,
        }
        changes: dict[str, Any] = {}
        wanted = Profile.of(request.profile).level
        if request.level is not None and request.level != wanted:
            facts["level"] = request.level
            facts["warning"] = warning("level-not-reached", wanted).body()
            if self.timestamps is not None:
                changes["augment_at"] = datetime.now(UTC) + self.augment_after
        return Step(State.COMPLETED, facts, changes=changes)


def counted(data: ValidationData) -> dict[str, int]:
    """How much there is, for the evidence."""
    return {
        "ocsps": len(data.ocsps),
        "crls": len(data.crls),
        "certificates": len(data.certificates),
    }
