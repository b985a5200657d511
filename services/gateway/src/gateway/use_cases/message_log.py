"""The message log, writing side: what was exchanged, put down with the transaction that answers.

A record is written unchained (see ``gateway.use_cases.sealing``), so that it costs an exchange one
row of an insert that is made anyway.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from common.batching import GroupCommit
from common.database import Database
from common.identifiers import new_id
from gateway.domain.proof import Record
from gateway.domain.submissions import Submission
from gateway.store import message_log as store
from gateway.store.message_log import Placed
from gateway.use_cases.log_key import LogKey
from gateway.use_cases.patience import committed

Render: TypeAlias = Callable[[Submission], bytes]
"""Makes the content that answers a submission."""

RECEIPT_TYPE = "exchange-receipt+jwt"
NOTHING = hashlib.sha256().hexdigest()
"""The digest of a request without content."""


@dataclass(slots=True)
class Exchange:
    """A write from its request to its answer.

    Attributes:
        form: method and route template.
        request: its content as it was received.
        status: of the answer to a submission that was taken in.
        render: makes that answer's content.
        at: when the request had come.
        content: the answer's content, once the submission was taken in.
        record: what was put down of it, likewise.
    """

    form: str
    request: bytes = field(repr=False)
    status: int
    render: Render
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    content: bytes = field(default=b"", init=False)
    record: Record | None = field(default=None, init=False)

    def taken(self, submission: Submission) -> Record:
        """Answer a submission that was taken in now; what is to be put down of it."""
        self.content = self.render(submission)
        self.record = Record(
            id=submission.id,
            at=self.at,
            client_id=submission.client_id,
            agency=submission.agency,
            form=self.form,
            digest=hashlib.sha256(self.request).hexdigest(),
            size=len(self.request),
            status=self.status,
            answer_digest=hashlib.sha256(self.content).hexdigest(),
            subject=submission.dossier_code,
        )
        return self.record


class MessageLog:
    """Puts records down, and gives receipts for them.

    Args:
        database: the gateway's own.
        key: signs receipts.
        issuer: who gives them.
        partitions: how many chains records are spread over.
    """

    def __init__(self, database: Database, key: LogKey, issuer: str, partitions: int) -> None:
        self._database = database
        self._key = key
        self._issuer = issuer
        self._partitions = partitions
        self._group: GroupCommit[Record, None] = GroupCommit(self._write)

    def _partition(self, identifier: UUID) -> int:
        return identifier.int % self._partitions

    async def add(self, connection: AsyncConnection, records: Sequence[Record]) -> None:
        """Put records down with a transaction that somebody else commits."""
        if records:
            await store.write(
                connection, [Placed(self._partition(record.id), record) for record in records]
            )

    async def note(
        self,
        form: str,
        *,
        client_id: str,
        answer_digest: str,
        agency: str = "",
        subject: str = "",
        digest: str = NOTHING,
        size: int = 0,
        status: int = 200,
    ) -> Record:
        """Put an exchange down in a transaction of its own, committed when this returns.

        Args:
            answer_digest: SHA-256 (hexadecimal) of the answer's content.
            digest: of the request's content, likewise; ``size`` in bytes.

        Raises:
            Busy, NotReady: see ``gateway.use_cases.patience``; then nothing is to be answered.
        """
        record = Record(
            id=new_id(),
            at=datetime.now(UTC),
            client_id=client_id,
            agency=agency,
            form=form,
            digest=digest,
            size=size,
            status=status,
            answer_digest=answer_digest,
            subject=subject,
        )
        await committed(self._group, record)
        return record

    async def _write(self, records: Sequence[Record]) -> list[None]:
        async with self._database.transaction() as connection:
            await self.add(connection, records)
        return [None] * len(records)

    async def receipt(self, submission: Submission, exchange: Exchange) -> str | None:
        """A signed receipt for the record of a submission (compact JWS, ES256).

        For one that was taken in before, it is the receipt of then; None where its record has
        been archived.
        """
        if exchange.record is not None:
            return self.signed(Placed(self._partition(exchange.record.id), exchange.record))
        async with self._database.reading() as connection:
            found = await store.find(connection, submission.id)
        return self.signed(found) if found else None

    def signed(self, placed: Placed) -> str:
        """The receipt of a record: what is sealed of it, by whom it was promised, and when."""
        record = placed.record
        told = {
            "iss": self._issuer,
            "iat": int(time.time()),
            "partition": placed.partition,
            "hash": record.hash().hex(),
            "record": record.members(),
        }
        return self._key.token(told, RECEIPT_TYPE)


def outcome_record(submission: Submission, event: bytes, render: Render) -> Record:
    """What is put down of an outcome: from then on it is what the client is answered.

    Args:
        event: what decided the submission, as it was received.
        render: the content that tells a client of its submission.
    """
    content = render(submission)
    status = (submission.problem or {}).get("status")
    return Record(
        id=new_id(),
        at=submission.decided_at or datetime.now(UTC),
        client_id=submission.client_id,
        agency=submission.agency,
        form=f"outcome {submission.kind}",
        digest=hashlib.sha256(event).hexdigest(),
        size=len(event),
        status=status if isinstance(status, int) and 400 <= status < 500 else 200,
        answer_digest=hashlib.sha256(content).hexdigest(),
        subject=str(submission.id),
    )
