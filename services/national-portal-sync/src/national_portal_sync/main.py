"""The service, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from common.delivery import Breaker, Deliverer
from common.http import http_client
from common.service import Core, Parts, Shared, create_service
from national_portal_sync.api import Desk, router
from national_portal_sync.clients.portal import Account, NationalPortal
from national_portal_sync.consumers import subscriptions
from national_portal_sync.settings import Settings
from national_portal_sync.use_cases import ASKED_AT_ONCE, Synchronisation

NAME = "national-portal-sync"


def create_app(settings: Settings, shared: Shared = Shared()) -> FastAPI:  # noqa: B008 - frozen
    """The service's application. The portal being away does not make it unready."""

    @asynccontextmanager
    async def assemble(core: Core) -> AsyncIterator[Parts]:
        async with http_client(
            timeout=settings.call_seconds, connections=settings.parallel * ASKED_AT_ONCE
        ) as http:
            account = Account(
                login_url=settings.portal_url.rstrip("/") + settings.portal_login_path,
                call_url=settings.portal_url.rstrip("/") + settings.portal_call_path,
                username=settings.portal_username,
                password=settings.portal_password,
                unit=settings.portal_unit,
                dstcode=settings.portal_dstcode,
            )
            synchronisation = Synchronisation(
                NationalPortal(http, account, seconds=settings.call_seconds),
                core.keys,
                batch=settings.batch,
                parallel=settings.parallel,
            )
            breaker = Breaker()
            deliverer = Deliverer(
                core.database,
                synchronisation,
                core.telemetry,
                breaker,
                prepare=synchronisation.prepare,
            )
            yield Parts(
                subscriptions=subscriptions(deliverer.wake),
                workers=[deliverer.run],
                state={"desk": Desk(breaker, deliverer.wake)},
            )

    return create_service(NAME, settings, assemble, routers=[router], shared=shared)
