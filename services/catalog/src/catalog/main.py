"""The catalogue, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from catalog.api import ROUTERS
from catalog.api.imports import LARGEST_IMPORT
from catalog.clients.portal import Account, Portal
from catalog.clients.probes import Prober, SocketCaller
from catalog.consumers import subscriptions
from catalog.settings import Settings
from catalog.store import catalogue as store
from catalog.use_cases.checks import Checks
from catalog.use_cases.loading import keep_loaded
from catalog.use_cases.sync import Sync
from common.addresses import Reach, Resolver, SystemResolver
from common.service import Core, Parts, Shared, create_service


def create_app(
    settings: Settings,
    shared: Shared = Shared(),  # noqa: B008 - frozen
    resolver: Resolver | None = None,
) -> FastAPI:
    """The service's application.

    Args:
        resolver: tells the addresses of hosts, in place of the machine's own.
    """

    @asynccontextmanager
    async def assemble(core: Core) -> AsyncIterator[Parts]:
        checks = _checks(core, settings, resolver)
        sync = _sync(core, settings) if settings.portal_url else None
        yield Parts(
            subscriptions=subscriptions(),
            workers=(
                partial(keep_loaded, core.outbox, core.database),
                checks.run,
                *([sync.run] if sync else []),
            ),
            state={"conformance_checks": checks, "portal_sync": sync},
            checks={"catalogue": partial(store.check_loaded, core.database)},
        )

    return create_service(
        "catalog",
        settings,
        assemble,
        routers=ROUTERS,
        body_limits={"/v1/imports": LARGEST_IMPORT},
        shared=shared,
    )


def _sync(core: Core, settings: Settings) -> Sync:
    url = settings.portal_url.rstrip("/")
    account = Account(
        login_url=url + settings.portal_login_path,
        call_url=url + settings.portal_call_path,
        username=settings.portal_username,
        password=settings.portal_password,
        unit=settings.portal_unit,
        dstcode=settings.portal_dstcode,
    )
    return Sync(
        core.outbox,
        core.database,
        Portal(core.http, account, seconds=settings.portal_call_seconds),
        every=settings.portal_sync_hours * 3600,
        parallel=settings.portal_parallel,
    )


def _checks(core: Core, settings: Settings, resolver: Resolver | None) -> Checks:
    prober = Prober(
        resolver or SystemResolver(settings.probe_seconds),
        SocketCaller(settings.probe_seconds),
        Reach(settings.probe_networks),
        trust=str(settings.probe_trust) if settings.probe_trust else None,
        ports=(settings.probe_https_port, settings.probe_http_port),
    )
    return Checks(
        core.database,
        prober.check,
        hours=settings.check_hours,
        parallel=settings.check_parallel,
        keep_days=settings.check_keep_days,
    )
