"""Documents and certificates are examined in isolated processes; the answer is always a report."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from signature_connector.domain.findings import Refusal, Report
from signature_connector.isolation import Cells, Unfinished


class Examiner:
    """Examines documents and certificates, several at a time.

    Args:
        trust: the trust bundle: DER certificates.
        processes: how many examine at the same time; each is started when first needed.
        seconds: how long one examination may take.
        memory: address space of one process, in bytes.
    """

    def __init__(
        self, trust: Sequence[bytes], *, processes: int, seconds: float, memory: int
    ) -> None:
        self.cells = Cells(
            processes=processes,
            seconds=seconds,
            memory=memory,
            begin=_begin,
            material=(tuple(trust),),
        )

    async def document(self, content: bytes) -> Report:
        """Whether a document can be signed."""
        return await self._examine(_document, content)

    async def certificate(self, der: bytes, serial: str, moment: datetime) -> Report:
        """Whether a certificate, named by this serial number, may sign at a moment."""
        return await self._examine(_certificate, der, serial, moment)

    async def verdict(
        self, sent: bytes, content: bytes, certificate: bytes, moment: datetime
    ) -> Report:
        """Whether a document came back with the signature by this certificate and nothing else."""
        return await self._examine(_verdict, sent, content, certificate, moment)

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


def _begin(trust: Sequence[bytes]) -> None:
    from signature_connector.verification.certificates import Trust

    _loaded["trust"] = Trust.of(trust)


def _document(content: bytes) -> Report:
    from signature_connector.verification.documents import examine_document

    return examine_document(content)


def _certificate(der: bytes, serial: str, moment: datetime) -> Report:
    from signature_connector.verification.certificates import examine_certificate

    return examine_certificate(der, serial, moment, _loaded["trust"])


def _verdict(sent: bytes, content: bytes, certificate: bytes, moment: datetime) -> Report:
    from signature_connector.verification.judgement import Returned, judge

    return judge(Returned(sent, content, certificate, moment), _loaded["trust"])
