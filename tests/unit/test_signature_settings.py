"""Settings without which the signature connector must not start."""

from typing import Any

import pytest

from common.settings import SettingsError, load
from signature_connector.settings import Settings

GIVEN = {
    "DATABASE_URL": "postgresql+asyncpg://x@127.0.0.1/x",
    "BLOBS_URL": "file:///tmp/blobs",
    "ESIGN_URL": "http://esign",
    "TRUST_ROOTS": "roots.pem",
    "SEALING_KEYS": '{"k1": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="}',
    "SEALING_KEY": "k1",
}


def loaded(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> Settings:
    for name, value in {**GIVEN, **changed}.items():
        monkeypatch.setenv(f"SIGNATURE_CONNECTOR_{name}", value)
    return load(Settings)


def test_the_usual_settings_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    read = loaded(monkeypatch)
    assert (read.user_seconds, read.parallel, read.esign_token) == (330.0, 32, None)


@pytest.mark.parametrize("changed", [{"SEALING_KEY": "k2"}, {"SEALING_KEYS": "{}"}])
def test_without_a_key_to_seal_with_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    with pytest.raises(SettingsError, match="sealing_key must name one of sealing_keys") as refused:
        loaded(monkeypatch, **changed)
    assert "a2tra2" not in str(refused.value)
