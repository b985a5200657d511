"""What the pipelines on frameworks share: the dossier as pydantic reads it, and two tables.

They run in a virtual environment of their own, which holds nothing of the product.
"""

import os
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field
from sqlalchemy import DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

QUEUE = "benchmark-frameworks"
INTAKE, STORE = os.environ["PEER_INTAKE"], os.environ["PEER_STORE"]
AMQP, PORTAL = os.environ["PEER_AMQP"], os.environ["PEER_PORTAL"]


class Identity(BaseModel):
    """A person's number."""

    type: Literal["citizen-id", "old-citizen-id", "passport", "tax-code"]
    number: str = Field(min_length=5, max_length=20)


class Applicant(BaseModel):
    """Who hands the dossier in."""

    kind: str
    name: str = Field(min_length=1, max_length=200)
    identity: Identity | None = None
    email: str | None = None
    phone: str | None = None
    address: str | None = None


class Paper(BaseModel):
    """A document that belongs to the dossier."""

    id: str
    name: str
    digitised: bool = False
    url: str | None = None


class Fee(BaseModel):
    """What is to be paid, in đồng."""

    code: str
    name: str
    amount: int = Field(ge=0)


class Dossier(BaseModel):
    """What is handed in."""

    code: str = Field(max_length=64)
    procedure: str
    channel: str
    applicant: Applicant
    summary: str
    submitted_at: datetime
    documents: list[Paper]
    fees: list[Fee]


class Base(DeclarativeBase):
    """Tables of both databases."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dict[str, Any]: JSONB,
        datetime: DateTime(timezone=True),
    }


class Taken(Base):
    """A dossier as it was taken in."""

    __tablename__ = "taken"
    code: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[dict[str, Any]]


class Stored(Base):
    """A dossier that is told to the portal, and since when it is known there."""

    __tablename__ = "stored"
    code: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[dict[str, Any]]
    known_at: Mapped[datetime | None]


def driver(dsn: str, name: str) -> str:
    """The address as SQLAlchemy wants it."""
    return dsn.replace("postgresql://", f"postgresql+{name}://", 1)
