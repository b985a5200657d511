"""Verification as a service: foreign documents are judged, and nothing of them is kept."""

import asyncio

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Report
from signature_connector.domain.verification import Material
from signature_connector.use_cases.revocation import Revocation
from signature_connector.verification.isolation import NO_DATA, Examiner

_MOST_CHAINS = 20
"""Of one document that revocation is looked up for."""


class Verifications:
    """Verifies documents.

    Args:
        examiner: a pool of its own, so that no signing waits for it.
        revocation: where what a document does not bring along is looked up.
    """

    def __init__(self, examiner: Examiner, revocation: Revocation) -> None:
        self._examiner = examiner
        self._revocation = revocation

    async def verify(self, material: Material) -> Report:
        """Verify a document; see ``verification.verification.verify``."""
        report = await self._examiner.verification(material, NO_DATA)
        chains: list[list[bytes]] = report.facts.get("unchecked", [])
        if chains:
            found = await asyncio.gather(
                *(
                    self._revocation.data_for(chain, material.moment)
                    for chain in chains[:_MOST_CHAINS]
                )
            )
            data = ValidationData(
                (),
                tuple(dict.fromkeys(der for one in found for der in one.ocsps)),
                tuple(dict.fromkeys(der for one in found for der in one.crls)),
            )
            if data.ocsps or data.crls:
                report = await self._examiner.verification(material, data)
        return report
