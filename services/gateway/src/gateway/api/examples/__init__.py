"""Examples and Vietnamese words of the OpenAPI document, by operation."""

from collections.abc import Mapping

from gateway.api.examples import (
    access,
    bulk,
    catalogue,
    channels,
    dossiers,
    refusals,
    uploads,
    verifications,
)
from gateway.api.examples.form import Told

TOLD: Mapping[str, Told] = {
    **dossiers.TOLD,
    **bulk.TOLD,
    **catalogue.TOLD,
    **channels.TOLD,
    **access.TOLD,
    **refusals.TOLD,
    **uploads.TOLD,
    **verifications.TOLD,
}
"""By the operation's id. A test names every route that is missing here."""
