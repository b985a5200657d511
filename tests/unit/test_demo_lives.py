"""Made-up lives of dossiers, as far as others rely on them."""

from datetime import UTC, datetime

import pytest

from backbone.demo.lives import morning


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-11-22T16:59:59Z", "2026-11-22"),
        ("2026-11-22T17:00:00Z", "2026-11-23"),
        ("2026-11-22T23:59:59Z", "2026-11-23"),
        ("2026-11-23T00:00:00Z", "2026-11-23"),
    ],
)
def test_the_day_is_the_one_in_vietnam(now: str, day: str) -> None:
    assert morning(datetime.fromisoformat(now)) == datetime.fromisoformat(f"{day}T08:00:00+07:00")
    assert morning(datetime.fromisoformat(now)).tzinfo is UTC
