"""What services log, for tests that read it."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from common.telemetry import configure_logging


@contextmanager
def service_logs() -> Iterator[io.StringIO]:
    """The lines that services log, as they log them; afterwards logging is as it was.

    Loggers are not kept, as they are in a service: those of later tests would go on writing here.
    """
    before = structlog.get_config()
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    written = io.StringIO()
    configure_logging("DEBUG", written)
    structlog.configure(cache_logger_on_first_use=False)
    logging.getLogger().setLevel("INFO")
    try:
        yield written
    finally:
        structlog.configure(**before)
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
