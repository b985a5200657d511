"""What a long-term signature carries along, looked up for the whole chain of its signer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Report
from signature_connector.use_cases.finishing import NoValidationData, OfTimestamp

_NOTHING = ValidationData()


class Reader(Protocol):
    """See ``verification.isolation.Examiner``."""

    async def chain(
        self, certificates: Sequence[bytes], moment: datetime, data: ValidationData = _NOTHING
    ) -> Report:
        """The chain of the first, and whether its revocation status is known."""

    async def newest_stamp(
        self, content: bytes, moment: datetime, data: ValidationData = _NOTHING
    ) -> Report:
        """The newest timestamp of a document, and whether its authority's status is known."""


class Looking(Protocol):
    """See ``use_cases.revocation.Revocation``."""

    async def data_for(self, chain: Sequence[bytes], moment: datetime) -> ValidationData:
        """What is known of the revocation of a chain."""


class ValidationSources:
    """Validation data that is enough to validate a chain, or none.

    Args:
        reader: builds chains with what the trust bundle knows, and judges them.
        revocation: looks up where certificates say.
    """

    def __init__(self, reader: Reader, revocation: Looking) -> None:
        self._reader = reader
        self._revocation = revocation

    async def validation_data(
        self, certificates: Sequence[bytes], moment: datetime
    ) -> ValidationData:
        """OCSP responses, CRLs and certificates of a chain.

        Args:
            certificates: DER, the signer's first; issuers as far as the provider gave them.

        Raises:
            NoValidationData: there is no chain, not all of it could be looked up, or a
                certificate was revoked.
        """
        report = await self._reader.chain(certificates, moment)
        if report.refusal:
            raise NoValidationData(report.refusal.code)
        chain: list[bytes] = report.facts["chain"]
        found = await self._revocation.data_for(chain, moment)
        judged = await self._reader.chain(chain, moment, found)
        if judged.refusal:
            raise NoValidationData(judged.refusal.code)
        if not any(one.code == "not-revoked" for one in judged.findings):
            raise NoValidationData("revocation-unchecked")
        return ValidationData(tuple(chain), found.ocsps, found.crls)

    async def of_timestamp(self, content: bytes, moment: datetime) -> OfTimestamp:
        """The same for the authority that made the newest timestamp of a document.

        Certificates that name nobody who would tell whether they were revoked are taken without:
        nobody could ever bring what is not published.

        Raises:
            NoValidationData: the timestamp is not good, somebody who is named does not tell, or a
                certificate was revoked.
        """
        report = await self._reader.newest_stamp(content, moment)
        if report.refusal:
            raise NoValidationData(report.refusal.code)
        if report.facts["embedded"]:
            return OfTimestamp(ValidationData(), "embedded")
        chain: list[bytes] = report.facts["chain"]
        found = await self._revocation.data_for(chain, moment)
        judged = await self._reader.newest_stamp(content, moment, found)
        if judged.refusal:
            raise NoValidationData(judged.refusal.code)
        codes = {one.code for one in judged.findings}
        data = ValidationData(tuple(chain), found.ocsps, found.crls)
        if "not-revoked" in codes:
            return OfTimestamp(data, "found")
        if "authority-status-unnamed" in codes:
            return OfTimestamp(data, "unnamed")
        raise NoValidationData("revocation-unchecked")
