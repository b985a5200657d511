"""What the message log costs intake: with sealing, without it, and without the log at all.

    .venv/bin/python -m benchmarks.sealing [--rounds 4] [--seconds 3] [--connections 48]

Three gateways, the same but for that, take turns, each time in another order (see
``benchmarks/intake.py``). A block is sealed every second, twice as often as by default. CPU time
counts until what came in is sealed.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path
from statistics import median

import uvloop

from backbone.postgres import EmbeddedPostgres
from benchmarks.intake import MEMORY, Bench, told
from benchmarks.peers.clients import Load
from benchmarks.peers.served import SEAL_SECONDS

LOGS = ("sealed", "unsealed", "off")


def cost(of: list[Load], beside: list[Load]) -> tuple[float, float]:
    """Share of the rate that is lost, and of the CPU time that is added."""
    pairs = list(zip(of, beside, strict=True))
    return (
        1 - median(one.rate / other.rate for one, other in pairs),
        median(sum(one.cpu.values()) / sum(other.cpu.values()) for one, other in pairs) - 1,
    )


async def main(rounds: int, seconds: float, connections: int) -> None:
    """Measure, and take everything away again."""
    with (
        tempfile.TemporaryDirectory() as place,
        EmbeddedPostgres(Path(place) / "pg", settings=MEMORY) as server,
    ):
        bench = Bench(Path(place), server)
        loads: dict[str, list[Load]] = {log: [] for log in LOGS}
        warm = Load()
        try:
            for log in LOGS:
                await bench.gateway(log, "--log", log)
                await bench.round(log, 300, connections=connections)
                warm = await bench.round(log, 1000, connections=connections)
            dossiers = max(int(warm.rate * seconds), 300)
            for _ in range(rounds):
                for log in random.sample(LOGS, len(LOGS)):
                    found = await bench.round(
                        log, dossiers, connections=connections, settle=SEAL_SECONDS * 1.2
                    )
                    loads[log].append(found)
        finally:
            bench.stop()
    for log, rounds_of in loads.items():
        sys.stdout.write(told(log, rounds_of))
    for what, of, beside in (
        ("sealing", "sealed", "unsealed"),
        ("writing records", "unsealed", "off"),
    ):
        rate, cpu = cost(loads[of], loads[beside])
        sys.stdout.write(f"{what} costs {rate:.1%} of the rate and {cpu:.1%} more CPU time\n")
    sys.stdout.write("(aim: sealing 5 % of the rate at the most)\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=48)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(options.rounds, options.seconds, options.connections))
