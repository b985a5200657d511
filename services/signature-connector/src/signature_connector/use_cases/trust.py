"""The trust bundle is read again when it changes, without a restart."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from common.errors import describe
from signature_connector.verification.bundle import TrustError
from signature_connector.verification.policies import Policies, read_policies

_CHUNK = 1024 * 1024

log = structlog.get_logger()


class TrustRefresh:
    """Watches the bundle; mounted files change under Kubernetes.

    A bundle that cannot be used changes nothing: the last good one counts until there is another,
    and the gauge ``trust_bundle_good`` says 0.

    Args:
        path: the bundle.
        renew: what has to know of another one.
        seconds: pause between two looks.
    """

    def __init__(
        self,
        path: Path,
        renew: Callable[[Policies], None],
        registry: CollectorRegistry,
        *,
        seconds: float,
    ) -> None:
        self._path = path
        self._renew = renew
        self._seconds = seconds
        self._seen = fingerprint(path)
        self._good = Gauge(
            "trust_bundle_good", "Whether the trust bundle as it stands is used", registry=registry
        )
        self._read = Counter(
            "trust_bundle_reads", "Changed trust bundles read", ["outcome"], registry=registry
        )
        self._good.set(1)

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.look()

    async def look(self) -> bool:
        """Read the bundle if it changed; whether another one counts now."""
        seen = await asyncio.to_thread(fingerprint, self._path)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            policies = await asyncio.to_thread(read_policies, self._path)
        except TrustError as error:
            self._good.set(0)
            self._read.labels("broken").inc()
            log.error("trust bundle not usable, the last good one counts", error=str(error))
            return False
        except Exception as error:
            self._good.set(0)
            self._read.labels("broken").inc()
            log.error("trust bundle not usable, the last good one counts", error=describe(error))
            return False
        self._renew(policies)
        self._good.set(1)
        self._read.labels("used").inc()
        versions = [f"{one.name} {one.version}" for one in policies.all]
        log.info("trust bundle renewed", policies=versions)
        return True


def fingerprint(path: Path) -> str:
    """Over names and contents of the bundle's files; of what cannot be read, that it cannot."""
    digest = hashlib.sha256()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for one in files:
        if one.name.startswith(".") or one.is_dir():
            continue
        digest.update(one.name.encode() + b"\0")
        try:
            with one.open("rb") as content:
                while part := content.read(_CHUNK):
                    digest.update(hashlib.sha256(part).digest())
        except OSError:
            digest.update(b"unreadable")
    return digest.hexdigest()
