"""The service, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

from fastapi import FastAPI
from pydantic import SecretStr

from common.delivery import Deliverer
from common.exchanges import Exchanges
from common.file_links import links_of
from common.http import http_client
from common.service import Core, Parts, Shared, create_service
from national_portal_sync.api import ROUTERS
from national_portal_sync.api.sync import Desk
from national_portal_sync.clients.accounts import AccountFiles
from national_portal_sync.clients.checking import FIELDS, Checking
from national_portal_sync.clients.items import VIETNAM
from national_portal_sync.clients.portal import Account
from national_portal_sync.clients.portals import Portals, Watch
from national_portal_sync.consumers import subscriptions
from national_portal_sync.domain.keys import STEP
from national_portal_sync.settings import Settings
from national_portal_sync.store import accounts as store
from national_portal_sync.store.erasure import SEAL_PLACES
from national_portal_sync.use_cases.disclosures import forget_old_disclosures
from national_portal_sync.use_cases.questions import Questions
from national_portal_sync.use_cases.reconciliation import Limits, Reconciliation
from national_portal_sync.use_cases.synchronisation import ASKED_AT_ONCE, Synchronisation

NAME = "national-portal-sync"


def create_app(settings: Settings, shared: Shared = Shared()) -> FastAPI:  # noqa: B008 - frozen
    """The service's application. The portal being away does not make it unready."""

    links = links_of(settings)

    @asynccontextmanager
    async def assemble(core: Core) -> AsyncIterator[Parts]:
        async with (
            http_client(
                timeout=settings.call_seconds,
                connections=settings.parallel_in_all * ASKED_AT_ONCE,
            ) as http,
            Exchanges("national-portal", core.outbox, seconds=settings.usage_seconds) as exchanges,
        ):
            portals = Portals(http, _accounts(settings), seconds=settings.call_seconds)
            questions = Questions(
                core.outbox,
                core.keys,
                portals.units,
                lambda: deliverer.wake(),  # noqa: PLW0108 - made below
                settings.questions_seconds,
            )
            synchronisation = Synchronisation(
                portals,
                core.keys,
                batch=settings.batch,
                parallel=settings.parallel_in_all,
                link=links.url if links is not None else None,
                answered=questions.answered,
            )
            breaker = portals.breaker
            deliverer = Deliverer(
                core.database,
                synchronisation,
                core.telemetry,
                breaker,
                prepare=synchronisation.prepare,
                settled=exchanges.settled,
                lines=portals.line,
                sizes={STEP: settings.progress_batch},
            )
            watch = Watch(
                portals,
                core.telemetry.registry,
                partial(_waiting, core),
                deliverer.wake,
                settings.accounts_seconds,
            )
            reconciliation = Reconciliation(
                core.database,
                Checking(portals.portal, lists=settings.reconciliation_lists),
                FIELDS,
                synchronisation.wire,
                breaker,
                deliverer.wake,
                Limits(
                    per_second=settings.reconciliation_per_second,
                    heal_most=settings.reconciliation_heal_most,
                    lease_seconds=max(150.0, 2 * settings.call_seconds),
                    hour=settings.reconciliation_hour,
                    days_back=settings.reconciliation_days_back,
                ),
                lambda: datetime.now(VIETNAM),
            )
            yield Parts(
                subscriptions=subscriptions(deliverer.wake),
                workers=[
                    deliverer.run,
                    exchanges.run,
                    reconciliation.run,
                    questions.run,
                    watch.run,
                    partial(forget_old_disclosures, core.database, settings.log_days),
                ],
                state={
                    "desk": Desk(breaker, deliverer.wake, portals.why_waiting),
                    "portals": portals,
                    "reconciliation": reconciliation,
                    "questions": questions,
                    "seal_places": SEAL_PLACES,
                },
            )

    return create_service(NAME, settings, assemble, routers=ROUTERS, shared=shared)


def _accounts(settings: Settings) -> AccountFiles:
    """Where accounts come from; the default one speaks for whom no other does."""
    url = settings.portal_url.rstrip("/")
    model = Account(
        login_url=url + settings.portal_login_path,
        call_url=url + settings.portal_call_path,
        username=settings.portal_username or "",
        password=settings.portal_password or SecretStr(""),
        unit=settings.portal_unit or "",
        dstcode=settings.portal_dstcode or "",
        profile=settings.portal_profile,
        calls_per_second=settings.calls_per_second,
        parallel=settings.parallel,
    )
    default = model if settings.portal_username is not None else None
    return AccountFiles(settings.accounts_file, settings.accounts_passwords, default, model)


async def _waiting(core: Core) -> list[str]:
    async with core.database.reading() as connection:
        return await store.waiting(connection)
