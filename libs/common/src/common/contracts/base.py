"""What every event declares about itself."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

TYPE_PREFIX = "vn.gov.dvc."

DATA = ConfigDict(frozen=True, extra="ignore")
"""Contracts are read tolerantly: a field added later does not break an older reader."""


class Data(BaseModel):
    """A part of an event's data."""

    model_config = DATA


class Event(Data):
    """A fact told to other services.

    ``TYPE`` is ``<domain>.<event>.v<major>``: the routing key, and with the prefix
    ``vn.gov.dvc.`` the CloudEvents type. It never follows the name of the class, so that a
    rename in the code does not change the wire.
    """

    TYPE: ClassVar[str]
    PRODUCER: ClassVar[str]
    """The service that tells it; ``*`` where every service does."""
    ORDERED: ClassVar[bool] = True
    """Numbered within its aggregate's stream, or on its own and told apart by its id."""
