"""The composition root."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

from common.blind import BlindIndex
from common.service import Core, Parts, Shared, create_service
from dossier import consumers
from dossier.api import ROUTERS, imports
from dossier.domain import calendar, retention, signing_rules, table
from dossier.domain.deadlines import Deadlines, Notice
from dossier.settings import Settings
from dossier.store.keeping import SEAL_PLACES
from dossier.use_cases.anonymising import Anonymising
from dossier.use_cases.auditing import forget_old_reads
from dossier.use_cases.deadlines import Watch
from dossier.use_cases.importing import Importing
from dossier.use_cases.indexing import Indexing
from dossier.use_cases.rekeying import Rekeying
from dossier.use_cases.searching import Search


def create_app(settings: Settings, shared: Shared = Shared()) -> FastAPI:  # noqa: B008 - frozen
    """The service as an application, built when it starts."""
    transitions = table.load()
    deadlines = Deadlines(
        calendar.load(settings.working_days),
        Notice(settings.notice_working_days, settings.notice_hours),
    )

    index = BlindIndex(settings.index_keys, settings.index_key)
    policy = retention.load(settings.retention_policy)
    rules = signing_rules.load(settings.signing_rules)
    if rules.rules and settings.sealing_key is None:
        raise ValueError("signing rules need a sealing_key: signers travel sealed")

    @asynccontextmanager
    async def assemble(core: Core) -> AsyncIterator[Parts]:
        indexing = Indexing(core.keys, index)
        rekeying = Rekeying(core.database, core.keys, indexing, core.telemetry.registry)
        yield Parts(
            subscriptions=consumers.subscriptions(
                transitions, deadlines, indexing, partial(rules.applied, seal=core.keys.seal)
            ),
            workers=(
                Watch(core.outbox, core.database, core.telemetry).run,
                rekeying.run,
                Anonymising(core.outbox, policy).run,
                partial(forget_old_reads, core.database, settings.audit_days),
            ),
            state={
                "table": transitions,
                "deadlines": deadlines,
                "search": Search(core.database, core.keys, index),
                "rekeying": rekeying,
                "importing": Importing(core.outbox, core.database, core.keys, indexing),
                "imports_running": set(),
                "seal_places": SEAL_PLACES,
            },
        )

    return create_service(
        "dossier",
        settings,
        assemble,
        routers=ROUTERS,
        body_limits={"/v1/imports": imports.LARGEST_FILE},
        shared=shared,
    )
