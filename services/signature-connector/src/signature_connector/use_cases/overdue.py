"""How far behind augmentation and renewal are, for whoever watches."""

import asyncio
import math
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import CollectorRegistry, Gauge

from common.database import Database
from common.errors import describe
from signature_connector.store import renewing as store

LATE = timedelta(minutes=15)
"""What has been due for longer is overdue: workers take up what is due within half a minute."""
_SECONDS = 30.0

log = structlog.get_logger()


class Overdue:
    """Measures now and then."""

    def __init__(self, database: Database, registry: CollectorRegistry) -> None:
        self._database = database
        self._late = Gauge(
            "signature_augmentations_overdue",
            "Completed documents that should have been augmented or renewed long ago",
            ["kind"],
            registry=registry,
        )
        self._troubled = Gauge(
            "signature_renewals_troubled",
            "Documents whose archive timestamp could not be renewed the last time",
            registry=registry,
        )
        self._left = Gauge(
            "signature_archive_seconds_left",
            "Seconds until the first end of an authority's certificate that a document needs",
            registry=registry,
        )

    async def run(self) -> None:
        """Measure without end."""
        while True:
            try:
                await self.measure()
            except Exception as error:
                log.warning("overdue augmentations not counted", error=describe(error))
            await asyncio.sleep(_SECONDS)

    async def measure(self) -> None:
        """Measure once; without a document to be renewed its time left is endless."""
        async with self._database.reading() as connection:
            found = await store.overdue(connection, LATE.total_seconds())
        self._late.labels("level").set(found.levels)
        self._late.labels("renewal").set(found.renewals)
        self._troubled.set(found.troubled)
        left = (found.ends - datetime.now(UTC)).total_seconds() if found.ends else math.inf
        self._left.set(left)
