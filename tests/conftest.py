"""The tests' servers and databases, markers by folder, and the account of what was not run."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from backbone.leash import die_with
from tests.support import applications, servers
from tests.support.databases import Databases, drop_run
from tests.support.rabbitmq import Broker, RabbitNode

applications.share()

_TESTS = Path(__file__).parent
_SUITES = ("unit", "contract", "integration", "e2e", "chaos")
_SERVERS = pytest.StashKey[servers.SharedServers]()
_DESK = pytest.StashKey[servers.ServerDesk]()
_RUN = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--not-run-file", help="file to name the tests in that could not run")


def pytest_configure(config: pytest.Config) -> None:
    for suite in _SUITES:
        config.addinivalue_line("markers", f"{suite}: everything in tests/{suite}")
    if worker := _worker_input(config):
        # A worker would finish its test first, and with it live all that the test started.
        die_with(worker["controller"])
        return
    config.stash[_RUN] = f"t{secrets.token_hex(4)}"
    config.stash[_SERVERS] = servers.SharedServers()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _SERVERS not in config.stash:
        return
    if _DESK in config.stash:
        config.stash[_DESK].close()
    if outside := os.environ.get("TEST_DATABASE_URL"):
        server = outside.replace("postgresql+asyncpg://", "postgresql://", 1)
        asyncio.run(drop_run(server, config.stash[_RUN]))
    config.stash[_SERVERS].stop()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """In the process that controls xdist's workers: tell a worker where to ask for servers."""
    stash = node.config.stash
    if _DESK not in stash:
        stash[_DESK] = servers.ServerDesk(stash[_SERVERS])
    node.workerinput["controller"] = os.getpid()
    node.workerinput["desk"] = (stash[_DESK].address, stash[_DESK].key, stash[_RUN])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        suite = item.path.relative_to(_TESTS).parts[0]
        if suite in _SUITES:
            item.add_marker(suite)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Modules and tests are all there."""
    applications.freeze()


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The services' own event loop."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name what could not run: a skip must never pass for a success."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section("gates not run")
    lines = [f"{report.nodeid}: {_reason(report)}" for report in skipped]
    for line in lines:
        terminalreporter.line(line)
    if record := config.getoption("not_run_file"):
        Path(record).write_text("".join(f"{line}\n" for line in lines))


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr
    return text[2].removeprefix("Skipped: ") if isinstance(text, tuple) else str(text)


def _worker_input(config: pytest.Config) -> dict[str, Any] | None:
    return getattr(config, "workerinput", None)


def _address(config: pytest.Config, which: servers.Which) -> tuple[str, ...]:
    worker = _worker_input(config)
    try:
        if worker is None:
            return config.stash[_SERVERS].address(which)
        address, key, _ = worker["desk"]
        return servers.ask(address, key, which)
    except servers.ServerUnavailable as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


def _run(config: pytest.Config) -> str:
    worker = _worker_input(config)
    return str(config.stash[_RUN] if worker is None else worker["desk"][2])


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> str:
    """The superuser's address (`postgresql://`) of the PostgreSQL all tests of this run share."""
    return _address(pytestconfig, "postgres")[0]


@pytest.fixture
async def databases(postgres: str, pytestconfig: pytest.Config) -> AsyncIterator[Databases]:
    """Makes databases of the test's own, with or without a prepared template."""
    made = Databases(postgres, _run(pytestconfig))
    yield made
    await made.drop()


@pytest.fixture
def database_url(databases: Databases) -> Callable[..., Awaitable[str]]:
    """`await database_url("dossier")`: the address of a fresh, empty database."""
    return databases.create


@pytest.fixture(scope="session")
def broker(pytestconfig: pytest.Config) -> Broker:
    """The RabbitMQ all tests of this run share."""
    return Broker(*_address(pytestconfig, "broker"))


@pytest.fixture
def amqp_url(broker: Broker) -> Iterator[str]:
    """A virtual host of the test's own on the shared RabbitMQ."""
    vhost = f"test-{secrets.token_hex(6)}"
    yield broker.create_vhost(vhost)
    broker.delete_vhost(vhost)


@pytest.fixture(scope="module")
def _own_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    node = RabbitNode(tmp_path_factory.mktemp("rabbitmq"))
    yield node
    node.kill()


@pytest.fixture
def rabbit_node(_own_node: RabbitNode) -> RabbitNode:
    """A RabbitMQ of the module's own, running, to be killed, frozen, stopped and started."""
    if not _own_node.running:
        _own_node.start()
    return _own_node
