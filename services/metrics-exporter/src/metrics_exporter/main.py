"""The metrics exporter, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from common.delivery import Breaker, Deliverer
from common.exchanges import Exchanges
from common.http import http_transport
from common.service import Core, Parts, Shared, create_service
from metrics_exporter import store
from metrics_exporter.api import router
from metrics_exporter.clients import Emc, Pseudonyms, Tracker, Wire
from metrics_exporter.consumers import subscriptions
from metrics_exporter.settings import Settings
from metrics_exporter.use_cases import Gaps, forget_old


def create_app(settings: Settings, shared: Shared = Shared()) -> FastAPI:  # noqa: B008 - frozen
    """The service's application."""

    @asynccontextmanager
    async def assemble(core: Core) -> AsyncIterator[Parts]:
        seconds = settings.call_seconds
        async with (
            http_transport(connections=settings.parallel) as http,
            Exchanges("monitoring", core.outbox, seconds=settings.usage_seconds) as exchanges,
        ):
            gaps = Gaps(core.telemetry.registry)
            emc = Emc(http, settings.emc_url, settings.parallel, seconds, store.note_records)
            tracker = Tracker(http, settings.tracker_url, seconds, gaps.note)
            records = Deliverer(
                core.database, emc, core.telemetry, Breaker(), settled=exchanges.settled
            )
            usage = Deliverer(core.database, tracker, core.telemetry, Breaker())
            wire = Wire(settings.site_id, Pseudonyms(settings.pseudonym_key))
            yield Parts(
                subscriptions=subscriptions(wire, records, usage),
                workers=(
                    records.run,
                    usage.run,
                    exchanges.run,
                    partial(forget_old, core.database, settings.keep_days),
                ),
            )

    return create_service("metrics-exporter", settings, assemble, routers=(router,), shared=shared)
