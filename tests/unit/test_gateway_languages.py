"""Which language leads in an answer."""

import pytest
from starlette.datastructures import Headers

from gateway.api.languages import english_first, language_of


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        (None, "vi"),
        ("", "vi"),
        ("en", "en"),
        ("EN-gb", "en"),
        ("vi-VN, en;q=0.9", "vi"),
        ("en-US,en;q=0.9,vi;q=0.8", "en"),
        ("en;q=0.5, vi", "vi"),
        ("en;q=0.9, vi;q=0.9", "en"),
        ("vi;q=0.9, en;q=0.9", "vi"),
        ("fr, en;q=0.1", "en"),
        ("fr", "vi"),
        ("*", "vi"),
        ("vi;q=0, *", "en"),
        ("en;q=0", "vi"),
        ("en;q=2", "vi"),
        ("en;level=1", "vi"),
        (";;;,,en", "en"),
        ("en" + " " * 500, "vi"),
        ("e" * 300, "vi"),
    ],
)
def test_the_language_that_is_preferred_leads(asked: str | None, language: str) -> None:
    headers = Headers({"accept-language": asked} if asked is not None else {})
    assert language_of(headers) == language


def test_every_text_that_exists_in_both_is_turned_and_none_is_lost() -> None:
    value = {
        "title": "Không tìm thấy",
        "title_en": "Not found",
        "status": 404,
        "errors": [{"pointer": "/a", "detail": "thiếu", "detail_en": "missing"}],
        "name": "Hà Nội",
        "name_en": None,
        "only_en": "alone",
    }
    assert english_first(value)
    assert value == {
        "title": "Not found",
        "title_en": "Not found",
        "title_vi": "Không tìm thấy",
        "status": 404,
        "errors": [
            {"pointer": "/a", "detail": "missing", "detail_en": "missing", "detail_vi": "thiếu"}
        ],
        "name": "Hà Nội",
        "name_en": None,
        "only_en": "alone",
    }
    assert not english_first({"name": "Hà Nội", "items": [1, None]})
