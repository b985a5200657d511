"""A national portal that only counts: what the reference pipelines deliver to.

    python -m benchmarks.peers.portal --port N [--delay 0.02]

``POST /push`` with ``{"data": [1..100 dossiers]}`` is answered after the delay of a call;
``GET /arrived`` tells how many codes have come, how many came again, and when the last one was
answered; ``GET /times`` when each was (seconds since 1970). Without a web framework: it runs on the
same processors as those it measures.
"""

import argparse
import asyncio
import time
from typing import Any

import httptools
import orjson
import uvloop

LARGEST_CALL = 100
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


class Books:
    """What has come."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self.again = 0
        self.last = 0.0

    def take(self, body: bytes) -> bytes:
        """Take a call once its delay is over; its answer."""
        data = orjson.loads(body)["data"]
        if not 1 <= len(data) <= LARGEST_CALL:
            return b'{"error_code":"1"}'
        self.last = time.time()
        for dossier in data:
            known = len(self.times)
            self.times.setdefault(dossier["code"], self.last)
            self.again += len(self.times) == known
        return b'{"error_code":"0"}'

    def told(self, path: bytes) -> bytes:
        """The answer to a question."""
        if path == b"/times":
            return orjson.dumps(self.times)
        return orjson.dumps({"arrived": len(self.times), "again": self.again, "last": self.last})


class Connection(asyncio.Protocol):
    """One caller's connection."""

    def __init__(self, books: Books, delay: float) -> None:
        self._books = books
        self._delay = delay
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._body = b"", b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path, self._body = url, b""

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        if self._path == b"/push":
            asyncio.get_running_loop().call_later(self._delay, self._push, self._body)
        else:
            self._answer(self._books.told(self._path))

    def _push(self, body: bytes) -> None:
        self._answer(self._books.take(body))

    def _answer(self, content: bytes) -> None:
        self._transport.write(_HEAD % (len(content), content))


async def main(port: int, delay: float) -> None:
    """Serve until told to stop."""
    books = Books()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(books, delay), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.02)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(options.port, options.delay))
