"""Documents and certificates are examined in isolated processes; the answer is always a report."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Refusal, Report
from signature_connector.domain.profiles import Profile
from signature_connector.domain.revocation import Lookup
from signature_connector.domain.timestamps import Query
from signature_connector.domain.verification import Material
from signature_connector.isolation import Cells, Unfinished
from signature_connector.verification.policies import Policies

NO_DATA = ValidationData()
PDF = Profile("pades", "b-b")


class Examiner:
    """Examines documents and certificates, several at a time.

    Args:
        trust: the trust bundle: policies, or DER certificates of one without dates.
        processes: how many examine at the same time; each is started when first needed.
        seconds: how long one examination may take.
        memory: address space of one process, in bytes.
    """

    def __init__(
        self,
        trust: "Sequence[bytes] | Policies",
        *,
        processes: int,
        seconds: float,
        memory: int,
    ) -> None:
        policies = trust if isinstance(trust, Policies) else Policies.of(trust)
        self.cells = Cells(
            processes=processes,
            seconds=seconds,
            memory=memory,
            begin=_begin,
            material=(policies,),
        )

    async def document(self, content: bytes) -> Report:
        """Whether a document can be signed."""
        return await self._examine(_document, content)

    async def certificate(
        self,
        der: bytes,
        serial: str,
        moment: datetime,
        chain: Sequence[bytes] = (),
        data: ValidationData = NO_DATA,
        user: str | None = None,
    ) -> Report:
        """Whether a certificate, named by this serial number, may sign at a moment.

        Args:
            chain: DER certificates above it, as far as the provider gave them.
            data: revocation data, see ``use_cases.revocation``.
            user: the number of the person who is asked; None: the holder is not compared.
        """
        return await self._examine(_certificate, der, serial, moment, tuple(chain), data, user)

    async def verification(self, material: Material, data: ValidationData) -> Report:
        """What is to be said of the signatures of a document."""
        return await self._examine(_verification, material, data)

    async def lookups(self, chain: Sequence[bytes]) -> Sequence[Sequence[Lookup]]:
        """Where the revocation of each certificate of a chain could be looked up."""
        report = await self._examine(_lookups, tuple(chain))
        found: Sequence[Sequence[Lookup]] = report.facts.get("lookups", ())
        return found

    async def good_until(self, kind: str, content: bytes) -> datetime | None:
        """Until when an answer may be used again; None: it is no answer."""
        report = await self._examine(_good_until, kind, content)
        until: datetime | None = report.facts.get("until")
        return until

    async def chain(
        self, certificates: Sequence[bytes], moment: datetime, data: ValidationData = NO_DATA
    ) -> Report:
        """The chain of the first of these certificates; see ``chains.examine_chain``."""
        return await self._examine(_chain, tuple(certificates), moment, data)

    async def timestamp(self, reply: bytes, query: Query, moment: datetime) -> Report:
        """Whether an authority's answer may be kept; see ``timestamps.examine_reply``."""
        return await self._examine(_timestamp, reply, query, moment)

    async def newest_stamp(
        self, content: bytes, moment: datetime, data: ValidationData = NO_DATA
    ) -> Report:
        """The newest timestamp of a signed PDF; see ``archive.examine_newest_stamp``."""
        return await self._examine(_newest_stamp, content, moment, data)

    def renew(self, trust: Policies) -> None:
        """Judge by other policies from now on; what is being examined ends by the old ones."""
        self.cells.renew(trust)

    async def verdict(
        self,
        sent: bytes,
        content: bytes,
        certificate: bytes,
        moment: datetime,
        profile: Profile = PDF,
    ) -> Report:
        """Whether a document came back with the signature by this certificate and nothing else.

        Args:
            profile: its format and the level that it is said to have (of a PDF the level is not
                judged here).
        """
        return await self._examine(_verdict, sent, content, certificate, moment, profile)

    async def _examine(self, work: Callable[..., Report], *material: Any) -> Report:
        try:
            return await self.cells.run(work, *material)
        except Unfinished as error:
            return Report((Refusal("not-examinable", str(error)).finding,))

    async def close(self) -> None:
        """End every process and wait until it has."""
        await self.cells.close()


# What follows runs in the isolated process.

_loaded: dict[str, Any] = {}


def _begin(policies: Policies) -> None:
    _loaded["policies"] = policies


def _document(content: bytes) -> Report:
    from signature_connector.verification.documents import examine_document

    return examine_document(content)


def _certificate(
    der: bytes,
    serial: str,
    moment: datetime,
    chain: tuple[bytes, ...],
    data: ValidationData,
    user: str | None,
) -> Report:
    from signature_connector.verification.certificates import Trust, examine_certificate

    trust = Trust.at(_loaded["policies"], moment)
    return examine_certificate(der, serial, moment, trust, chain=chain, data=data, user=user)


def _verdict(
    sent: bytes, content: bytes, certificate: bytes, moment: datetime, profile: Profile
) -> Report:
    from signature_connector.verification import judgement, messages
    from signature_connector.verification.certificates import Trust

    trust = Trust.at(_loaded["policies"], moment)
    returned = judgement.Returned(sent, content, certificate, moment)
    if profile.format == "pades":
        return judgement.judge(returned, trust)
    return messages.judge(returned, trust, profile)


def _verification(material: Material, data: ValidationData) -> Report:
    from signature_connector.verification.verification import verify

    return verify(material, _loaded["policies"], data)


def _lookups(chain: tuple[bytes, ...]) -> Report:
    from signature_connector.verification.lookups import completed, lookups

    known = _loaded["policies"].certificates()
    return Report((), {"lookups": lookups(completed(chain, known))})


def _good_until(kind: str, content: bytes) -> Report:
    from signature_connector.verification.lookups import good_until

    return Report((), {"until": good_until(kind, content)})


def _chain(certificates: tuple[bytes, ...], moment: datetime, data: ValidationData) -> Report:
    from signature_connector.verification.chains import examine_chain

    return examine_chain(certificates, _loaded["policies"].at(moment), moment, data)


def _timestamp(reply: bytes, query: Query, moment: datetime) -> Report:
    from signature_connector.verification.timestamps import examine_reply

    return examine_reply(reply, query, _loaded["policies"].at(moment), moment)


def _newest_stamp(content: bytes, moment: datetime, data: ValidationData) -> Report:
    from signature_connector.verification.archive import examine_newest_stamp

    return examine_newest_stamp(content, _loaded["policies"].at(moment), moment, data)
