"""The REST side."""

from gateway.api import (
    bulk,
    catalogue,
    channels,
    docs,
    exchange,
    files,
    intake,
    log_export,
    log_state,
    oauth,
    personal,
    proxied,
    questions,
    refusals,
    submissions,
    uploads,
    verifications,
)

# Intake first: it is by far the most frequent, and routes are tried in this order.
ROUTERS = (
    intake.direct,
    intake.router,
    bulk.router,
    submissions.router,
    oauth.router,
    files.router,
    uploads.router,
    personal.router,
    proxied.router,
    verifications.router,
    catalogue.router,
    channels.router,
    exchange.router,
    questions.router,
    log_state.router,
    log_export.router,
    refusals.router,
    docs.router,
)
