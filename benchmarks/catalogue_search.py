"""Milliseconds of a search over the whole national catalogue, through the service's REST API.

    .venv/bin/python -m benchmarks.catalogue_search [--rounds 5]

The service runs in this process against an embedded PostgreSQL, called without a socket. Queries
are what people type: single words, phrases with and without diacritics, codes, word beginnings,
words that are nowhere, and filters.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import uvloop

from backbone.postgres import EmbeddedPostgres
from tests.support.catalog import Listener, running

QUERIES: dict[str, dict[str, str]] = {
    "one frequent word": {"q": "cấp"},
    "phrase": {"q": "cấp giấy phép xây dựng"},
    "without diacritics": {"q": "dang ky khai sinh"},
    "words in another order": {"q": "sinh khai ký đăng"},
    "beginning of a word": {"q": "doanh ngh"},
    "code": {"q": "1.000016"},
    "words of the field": {"q": "hộ tịch"},
    "nowhere": {"q": "không có thủ tục nào như thế"},
    "many words": {"q": "chấp thuận chủ trương đầu tư thuộc thẩm quyền của chủ tịch"},
    "filtered": {"q": "đất", "level": "commune", "active": "true"},
    "by agency": {"q": "đăng ký", "agency": "G15"},
    "no words": {},
}


async def measure(client: httpx.AsyncClient, rounds: int) -> None:
    """Ask everything several times and print the figures."""
    total: list[float] = []
    _say(f"{'':26}{'found':>7}{'p50 ms':>9}{'p95 ms':>9}")
    for name, query in QUERIES.items():
        params = {"limit": "50", **query}
        found = len((await client.get("/v1/procedures", params=params)).json()["items"])
        taken = []
        for _ in range(rounds * 10):
            started = time.perf_counter()
            answer = await client.get("/v1/procedures", params=params)
            taken.append((time.perf_counter() - started) * 1000)
            answer.raise_for_status()
        total += taken
        _say(f"{name:26}{found:7}{statistics.median(taken):9.1f}{_p95(taken):9.1f}")
    _say(f"{'all':26}{'':7}{statistics.median(total):9.1f}{_p95(total):9.1f}")
    await _pages(client)


async def _pages(client: httpx.AsyncClient) -> None:
    """The last page of a long list costs as much as the first."""
    taken, after, codes = [], "", 0
    while after is not None:
        started = time.perf_counter()
        params = {"q": "thủ tục", "limit": "200", "after": after}
        page = (await client.get("/v1/procedures", params=params)).json()
        taken.append((time.perf_counter() - started) * 1000)
        codes, after = codes + len(page["items"]), page["next"]
    _say(f"{codes} in {len(taken)} pages: first {taken[0]:.1f} ms, last {taken[-1]:.1f} ms")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _p95(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=20)[-1]


async def main(rounds: int) -> None:
    """Start everything and measure."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        url = await server.create_database("catalog", "catalog", "catalog")
        url = url.replace("postgresql://", "postgresql+asyncpg://", 1)
        async with running(url, Listener()) as client:
            await measure(client, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(chosen.rounds))
