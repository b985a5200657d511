"""Codes in paths, where a few words in the same place are addresses of their own."""

from typing import ClassVar

from starlette.convertors import Convertor, register_url_convertor


class _DossierCode(Convertor[str]):
    """``{code:dossier}``: without it ``GET /v1/dossiers/bulk`` would ask for a dossier of this
    code, instead of being told that the address has no such method."""

    regex: ClassVar[str] = r"(?!(?:bulk|search)(?:/|$))[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("dossier", _DossierCode())
ONE_DOSSIER = "/v1/dossiers/{code:dossier}"
