"""Our gateway as one process, with everything on that it does before it answers 202.

    python -m benchmarks.peers.served --database postgresql+asyncpg://… --folder DIR --key PEM
        --port N [--log sealed|unsealed|off] [--shares FILE]

Events stay in the outbox: no broker is there, as none is behind the floor. ``--shares`` writes at
the end in which part of the code CPU time was spent, from a sample every millisecond of it.
"""

import argparse
import asyncio
import json
import signal
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop

from common.command import server
from common.database import Database, migrate
from common.service import Shared
from common.telemetry import configure_logging
from common.transport.base import TransportDown
from common.transport.local import LocalTransport
from gateway.main import create_app
from gateway.use_cases.message_log import MessageLog
from gateway.use_cases.sealing import Sealer
from tests.support.gateway import catalogue, running_gateway, settings

SEAL_SECONDS = 1.0
PARTS = (
    (
        "message log",
        ("gateway/use_cases/message_log", "gateway/store/message", "sealing.py", "domain/proof"),
    ),
    ("sealing personal data", ("common/sealing",)),
    ("tokens and rights", ("common/auth", "jwt/", "use_cases/limits", "use_cases/revo")),
    (
        "JSON and schema",
        ("api/reading", "api/bodies", "api/strict_json", "api/fields", "api/papers", "pydantic"),
    ),
    (
        "checks and wish",
        ("use_cases/reference", "api/wishes", "domain/submissions", "contracts/codes"),
    ),
    ("event and outbox", ("common/outbox", "common/envelope", "common/contracts")),
    ("database driver", ("asyncpg/", "sqlalchemy/", "common/database")),
    (
        "intake",
        (
            "use_cases/intake",
            "store/submissions",
            "common/batching",
            "api/intake",
            "api/submissions",
        ),
    ),
    (
        "middleware and telemetry",
        (
            "common/middleware",
            "common/telemetry",
            "opentelemetry",
            "prometheus",
            "gateway/api/",
            "gateway/use_cases/",
        ),
    ),
    ("web framework", ("fastapi/", "starlette/", "uvicorn/")),
)


class Shares:
    """In which part of the code the process spends its CPU time."""

    def __init__(self) -> None:
        self.samples: Counter[str] = Counter()

    def start(self) -> None:
        """Sample from now on."""
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)

    def _sample(self, _: int, frame: FrameType | None) -> None:
        while frame is not None:
            file = frame.f_code.co_filename
            for part, places in PARTS:
                if any(place in file for place in places):
                    self.samples[part] += 1
                    return
            frame = frame.f_back
        self.samples["event loop and the rest"] += 1


class NoBroker(LocalTransport):
    """A broker that cannot be reached."""

    async def ready(self) -> None:
        """Raise, always."""
        raise TransportDown("no broker")


async def prepare(url: str, folder: Path, clients: str) -> None:
    """A database with the clients and the small catalogue of the tests."""
    async with running_gateway(url, folder, clients=clients) as gateway:
        await gateway.hear(*catalogue())


async def main(given: argparse.Namespace) -> None:
    """Serve until told to stop."""
    chosen = settings(
        given.database,
        given.folder,
        signing_key=given.key.read_text(),
        port=given.port,
        host="127.0.0.1",
        message_log_seconds=SEAL_SECONDS,
        trace_share=0.01,
    )
    configure_logging("WARNING")
    database = Database(chosen, name="gateway")
    await migrate(database, "gateway")
    await database.close()
    shares = Shares()
    # The server sends itself the signal that ended it once more; there is something left to do.
    signal.signal(signal.SIGTERM, lambda *_: None)
    if given.shares:
        shares.start()
    await server(create_app(chosen, Shared(transport=NoBroker())), chosen).serve()
    if given.shares:
        signal.setitimer(signal.ITIMER_PROF, 0)
        given.shares.write_text(json.dumps(shares.samples))


async def _never(*_: Any) -> int:
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", choices=("sealed", "unsealed", "off"), default="sealed")
    parser.add_argument("--shares", type=Path)
    options = parser.parse_args()
    if options.log != "sealed":
        Sealer.seal_all = _never  # type: ignore[method-assign,assignment]  # only here, to know what it costs
    if options.log == "off":
        MessageLog.add = _never  # type: ignore[method-assign,assignment]  # the same
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(options))
