"""A national portal that only counts: what the least chain delivers to.

    python -m benchmarks.peers.portal --port N [--delay 0.02]

``POST /push`` with ``{"data": [1..100 dossiers]}`` is answered after the delay of a call;
``GET /arrived`` tells how many codes have come, and how many came again.
"""

import argparse
import asyncio
from collections import Counter
from typing import Any

import orjson
import uvicorn
import uvloop

from benchmarks.peers.asgi import answered, body_of

LARGEST_CALL = 100


class Portal:
    """The application (ASGI)."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._codes: Counter[str] = Counter()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Take one request."""
        body = await body_of(receive)
        if scope["path"] == "/push":
            data = orjson.loads(body)["data"]
            self._codes.update(dossier["code"] for dossier in data)
            await asyncio.sleep(self._delay)
            told = b'{"error_code":"%d"}' % (not 1 <= len(data) <= LARGEST_CALL)
        else:
            again = self._codes.total() - len(self._codes)
            told = orjson.dumps({"arrived": len(self._codes), "again": again})
        await answered(send, 200, told)


async def main(port: int, delay: float) -> None:
    """Serve until told to stop."""
    config = uvicorn.Config(
        Portal(delay), port=port, loop="none", lifespan="off", access_log=False, log_config=None
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.02)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(options.port, options.delay))
