"""Papers of a dossier: those handed in, and those that came out of it."""

from typing import TypeVar

from common.contracts.commands import Document
from common.contracts.dossier import ResultPaper

Paper = TypeVar("Paper", Document, ResultPaper)


def merged(old: tuple[Paper, ...], new: tuple[Paper, ...]) -> tuple[Paper, ...]:
    """A paper of a known id takes the place of the one before."""
    given = {paper.id for paper in new}
    return tuple(paper for paper in old if paper.id not in given) + new
