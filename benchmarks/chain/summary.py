"""A round as plain figures, for the JSON file that the table is made from."""

from typing import Any

from benchmarks.chain.rounds import Round, shares

_MIB = 2**20


def summary(one: Round) -> dict[str, Any]:
    """Figures of a round: CPU in seconds for 1,000 requests, memory in MiB, what was written in
    bytes for each request, times in ms; and the share of the machine that others took."""
    count = one.load.accepted
    return {
        "count": count,
        "rate": one.rate,
        "intake_rate": one.load.rate,
        "elsewhere": one.elsewhere,
        "cpu": one.cpu_per_1000,
        "cpu_by_role": {role: spent / count * 1000 for role, spent in one.cpu.items()},
        "cpu_beside": {role: spent / count * 1000 for role, spent in one.beside.items()},
        "memory": {
            role: {"resident": held.resident / _MIB, "private": held.private / _MIB}
            for role, held in one.memory.items()
        },
        "written": {
            "log": one.written.log / count,
            "size": one.written.size / count,
            "broker": one.written.broker / count,
            "transactions": one.written.transactions / count,
        },
        "stages": {stage: shares(seconds) for stage, seconds in one.stages.items()},
    }
