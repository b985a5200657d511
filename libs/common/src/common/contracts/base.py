"""What every event declares about itself."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

TYPE_PREFIX = "vn.gov.dvc."

DATA = ConfigDict(frozen=True, extra="ignore")
"""Contracts are read tolerantly: a field added later does not break an older reader."""


class Data(BaseModel):
    """A part of an event's data."""

    model_config = DATA

    def told(self) -> bytes:
        """The JSON that is published and kept: what is null is left out, unless the schema requires
        it. Of a dossier with ten papers that is a quarter of its bytes."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


class RequiredNulls(BaseModel):
    """For parts with members that may be null and that their published schema requires."""

    # The type of what it returns is not named: it would be published in the schema's place.
    @model_serializer(mode="wrap")
    def _with_nulls(self, dump: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]
        required = (name for name, field in type(self).model_fields.items() if field.is_required())
        return {name: None for name in required if getattr(self, name) is None} | dump(self)


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
