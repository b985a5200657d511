"""Parts that submissions and steps have in common: officials, papers, fees."""

from typing import Annotated, Literal

from pydantic import Field

from common.contracts import commands
from gateway.api.fields import STRICT, Code, Digest, Name, Url, text


class Official(commands.Official):
    """Who handled a step on the agency's side."""

    model_config = STRICT

    name: Name
    title: Name | None = None
    department: Name | None = None


class Document(commands.Document):
    """A paper handed in with the dossier."""

    model_config = STRICT

    id: Code
    name: Annotated[str, text(500)]
    component: Code | None = None
    url: Url | None = None
    file: Digest | None = None
    digitised: bool | None = None
    reused: Literal["0", "1", "2"] | None = None
    from_data_store: bool | None = None
    replaced_by: Code | None = None


class OtherPaper(commands.OtherPaper):
    """A paper that is only counted."""

    model_config = STRICT

    name: Annotated[str, text(500)]
    quantity: Annotated[int, Field(ge=0, le=10_000)]
    kind: Annotated[int, Field(ge=0, le=10_000)] | None = None


class Fee(commands.Fee):
    """A fee or charge; the amount in whole đồng."""

    model_config = STRICT

    code: Code | None = None
    name: Name
    amount: Annotated[int, Field(ge=0, le=10**13)]
    kind: Code | None = None
    method: Code | None = None


Documents = Annotated[tuple[Document, ...], Field(max_length=200)]
OtherPapers = Annotated[tuple[OtherPaper, ...], Field(max_length=200)]
Fees = Annotated[tuple[Fee, ...], Field(max_length=100)]


def files_of(documents: tuple[Document, ...]) -> list[tuple[str, str]]:
    """Files that documents refer to, by digest, each with the JSON pointer to where."""
    return [
        (document.file, f"/documents/{number}/file")
        for number, document in enumerate(documents)
        if document.file is not None
    ]
