"""What tests of the whole connector before one signing gateway begin with.

A module takes what it needs by name, ``gateway = signature_fixtures.gateway``; its tests then share
the gateway's process, and each has a connector and a database of its own.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.signature_connector import (
    Connector,
    connector_database,
    running_connector,
    settings,
)
from tests.support.signing_services import SigningGateway, signing_gateway


def gateway_process(*options: str) -> Any:
    """The fixture ``the_gateway``: the process, with these options of its command line."""

    @pytest.fixture(scope="module", name="the_gateway")
    def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SigningGateway]:
        with signing_gateway(tmp_path_factory.mktemp("esign"), *options) as running:
            yield running

    return started


@pytest.fixture
def gateway(the_gateway: SigningGateway) -> SigningGateway:
    """The gateway, which behaves and was asked nothing yet."""
    the_gateway.reset()
    return the_gateway


@pytest.fixture
async def connector(
    databases: Databases, tmp_path: Path, gateway: SigningGateway
) -> AsyncIterator[Connector]:
    """A connector before it."""
    url = await connector_database(databases)
    async with running_connector(settings(url, tmp_path, gateway)) as running:
        yield running
