"""The queues of the service."""

from functools import partial

from common.inbox import Subscription
from dossier.domain.table import Table
from dossier.use_cases import obey_submissions, record_signatures


def subscriptions(table: Table) -> tuple[Subscription, ...]:
    """Submissions by dossier, and the outcomes of signatures by request."""
    return (
        Subscription("submissions", ("submission.received.v1",), partial(obey_submissions, table)),
        Subscription("signatures", ("signature.#",), record_signatures),
    )
