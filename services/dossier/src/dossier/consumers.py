"""The queues of the service."""

from functools import partial

from common.inbox import Subscription
from dossier.domain.deadlines import Deadlines
from dossier.domain.table import Table
from dossier.use_cases.indexing import Indexing
from dossier.use_cases.submissions import obey_submissions, record_signatures


def subscriptions(
    table: Table, deadlines: Deadlines, indexing: Indexing | None = None
) -> tuple[Subscription, ...]:
    """Submissions by dossier, and the outcomes of signatures by request."""
    obey = partial(obey_submissions, table, deadlines, indexing=indexing)
    return (
        Subscription("submissions", ("submission.received.v1",), obey),
        Subscription("signatures", ("signature.#",), record_signatures),
    )
