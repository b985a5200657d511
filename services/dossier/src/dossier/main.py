"""The composition root."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from common.service import Core, Parts, Shared, create_service
from dossier import api, consumers
from dossier.domain import table
from dossier.settings import Settings


def create_app(settings: Settings, shared: Shared = Shared()) -> FastAPI:  # noqa: B008 - frozen
    """The service as an application, built when it starts."""
    transitions = table.load()

    @asynccontextmanager
    async def assemble(core: Core) -> AsyncIterator[Parts]:
        yield Parts(
            subscriptions=consumers.subscriptions(transitions),
            state={"table": transitions},
        )

    return create_service("dossier", settings, assemble, routers=(api.router,), shared=shared)
