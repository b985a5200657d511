"""The rows of ``delivery``: how they are queued, claimed, settled and taken over.

A row is ``due`` (to be sent), ``sending`` (a worker has it), ``unknown`` (to be asked about, or
sent again) or ``held`` (for an operator); it is deleted when the partner has the item. Only ``due``
and ``unknown`` rows whose ``next_at`` has come are ever looked at, and of each agency only a few of
the first, so that claiming costs the same whatever waits.

A queue that was empty when PostgreSQL counted it passes for empty until it is counted again, and in
an empty table every way is as short as any: an index by partner, read from end to end for each item
that is looked up, seems as good as that of its subject. So each lookup leaves the planner a single
index, whatever it believes: what ``(…) IS TRUE`` is checked, not looked up.
"""

from common.delivery.rows.claiming import Found, Turn, claim, defer, let_go, release, turns
from common.delivery.rows.queueing import queue, waits
from common.delivery.rows.settling import settle
from common.delivery.rows.workers import alive, leave

__all__ = [
    "Found",
    "Turn",
    "alive",
    "claim",
    "defer",
    "leave",
    "let_go",
    "queue",
    "release",
    "settle",
    "turns",
    "waits",
]
