"""Foreign documents are read in processes of their own, bounded in time and memory.

Parsers of such formats can be made to loop, to eat memory and to crash. Whatever happens there,
the service's event loop goes on, and the answer is a finding. Each process has an executor of its
own, so that one that crashes takes nobody else's work with it.
"""

import asyncio
import logging
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from datetime import datetime
from multiprocessing.connection import wait
from typing import Any

import structlog

from signature_connector.domain.assembly import ValidationData
from signature_connector.domain.findings import Refusal, Report
from signature_connector.domain.revocation import Lookup
from signature_connector.domain.verification import Material
from signature_connector.verification.policies import Policies

START_SECONDS = 60.0
NO_DATA = ValidationData()
_TRIES = 2
_JUDGEMENT = "signature_connector.verification.judgement"

log = structlog.get_logger()


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
        self._trust = trust if isinstance(trust, Policies) else Policies.of(trust)
        self._seconds = seconds
        self._memory = memory
        self._idle: list[_Cell] = []
        self._busy: set[_Cell] = set()
        self._free = asyncio.Semaphore(processes)

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

    def renew(self, trust: Policies) -> None:
        """Judge by other policies from now on; what is being examined ends by the old ones."""
        self._trust = trust
        while self._idle:
            self._idle.pop().end()

    async def verdict(
        self, sent: bytes, content: bytes, certificate: bytes, moment: datetime
    ) -> Report:
        """Whether a document came back with the signature by this certificate and nothing else."""
        return await self._examine(_verdict, sent, content, certificate, moment)

    async def _examine(self, work: Callable[..., Report], *material: Any) -> Report:
        """Run in a process; one that fails is replaced, and the work tried once more.

        A second chance, because a process can be killed for reasons that lie outside of the
        document, and the document may be one that a person has just signed.
        """
        reason = ""
        async with self._free:
            for _ in range(_TRIES):
                cell = self._idle.pop() if self._idle else self._cell()
                self._busy.add(cell)
                try:
                    report = await cell.run(self._seconds, work, *material)
                    if cell.trust is self._trust:
                        self._idle.append(cell)
                    else:
                        cell.end()
                    return report
                except (TimeoutError, MemoryError, BrokenProcessPool) as error:
                    reason = type(error).__name__
                    log.warning("examination failed", error=reason)
                    cell.end()
                except BaseException:
                    cell.end()
                    raise
                finally:
                    self._busy.discard(cell)
        return Report((Refusal("not-examinable", reason).finding,))

    def _cell(self) -> "_Cell":
        return _Cell(self._trust, self._memory)

    async def close(self) -> None:
        """End every process and wait until it has."""
        for cell in (*self._idle, *self._busy):
            await asyncio.to_thread(cell.end, wait=True)
        self._idle.clear()


class _Cell:
    """One process behind an executor of one."""

    def __init__(self, trust: Policies, memory: int) -> None:
        self.trust = trust
        # Not forked from the service: a copy of a process with threads is unsafe, and the child
        # has no business with its connections and keys. The fork server has neither; it loads
        # what examines once, so that a process is replaced within milliseconds.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_JUDGEMENT])
        self._executor = ProcessPoolExecutor(
            max_workers=1,
            mp_context=context,
            initializer=_confine,
            initargs=(trust, memory),
        )
        self._process: int | None = None

    async def run(self, seconds: float, work: Callable[..., Report], *material: Any) -> Report:
        if self._process is None:
            starting = await asyncio.to_thread(self._executor.submit, os.getpid)
            async with asyncio.timeout(START_SECONDS):
                self._process = await asyncio.wrap_future(starting)
        doing: Future[Report] = self._executor.submit(work, *material)
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(doing)

    def end(self, *, wait: bool = False) -> None:
        """Kill the process: one that hangs would not hear a request."""
        known = self._process is not None
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)
        self._executor.shutdown(wait=wait and known, cancel_futures=True)


# What follows runs in the isolated process.

_loaded: dict[str, Any] = {}


def _confine(trust: Policies, memory: int) -> None:
    """Take the limits, then load what examines.

    Logging is off: the verifying library's messages name people.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    logging.disable(logging.CRITICAL)
    _loaded["policies"] = trust


def _end_with_parent() -> None:
    """A parent that was killed cannot end its executor."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)


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


def _verdict(sent: bytes, content: bytes, certificate: bytes, moment: datetime) -> Report:
    from signature_connector.verification.certificates import Trust
    from signature_connector.verification.judgement import Returned, judge

    trust = Trust.at(_loaded["policies"], moment)
    return judge(Returned(sent, content, certificate, moment), trust)


def _verification(material: Material, data: ValidationData) -> Report:
    from signature_connector.verification.verification import verify

    return verify(material, _loaded["policies"], data)


def _lookups(chain: tuple[bytes, ...]) -> Report:
    from signature_connector.verification.lookups import lookups

    return Report((), {"lookups": lookups(chain)})


def _good_until(kind: str, content: bytes) -> Report:
    from signature_connector.verification.lookups import good_until

    return Report((), {"until": good_until(kind, content)})
