"""Settings: a missing or malformed one is named, and its value never told."""

import base64
from pathlib import Path

import pytest
from pydantic_settings import SettingsConfigDict

from common.settings import ServiceSettings, SettingsError, load, service_config

URL = "postgresql+asyncpg://role:password@127.0.0.1:5432/dossier"


class Settings(ServiceSettings):
    model_config = service_config("THING_")

    agency_url: str


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("THING_DATABASE_URL", URL)
    monkeypatch.setenv("THING_AGENCY_URL", "http://x")
    return monkeypatch


def test_settings_come_from_the_environment_under_the_services_prefix(
    environment: pytest.MonkeyPatch,
) -> None:
    key = base64.b64encode(bytes(32)).decode()
    environment.setenv("THING_SEALING_KEYS", f'{{"k1": "{key}"}}')
    environment.setenv("DATABASE_POOL", "99")
    environment.setenv("thing_port", "8123")
    settings = load(Settings)
    assert settings.database_url.get_secret_value() == URL
    assert settings.sealing_keys["k1"].get_secret_value() == key
    assert settings.database_pool == 8
    assert settings.port == 8123
    assert URL not in repr(settings)
    assert key not in repr(settings)


def test_every_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as raised:
        load(Settings)
    text = str(raised.value)
    assert "THING_DATABASE_URL: Field required" in text
    assert "THING_AGENCY_URL: Field required" in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "s3cr3t"),
        ("DATABASE_URL", "postgres://role:s3cr3t@host/db"),
        ("DATABASE_URL", "postgresql+asyncpg://role:s3cr3t@host:port/db"),
        ("AMQP_URL", "http://user:s3cr3t@host"),
        ("AMQP_URL", "amqp://user:s3cr3t@one,http://user:s3cr3t@two"),
        ("DATABASE_POOL", "s3cr3t"),
        ("DATABASE_POOL", "0"),
        ("PORT", "70000"),
        ("TRACE_SHARE", "s3cr3t"),
        ("BODY_LIMIT", "5"),
        ("SEALING_KEYS", "{s3cr3t"),
        ("SEALING_KEYS", '["s3cr3t"]'),
        ("HISTORY_URLS", "s3cr3t"),
    ],
)
def test_a_malformed_setting_is_named_without_its_value(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(f"THING_{name}", value)
    with pytest.raises(SettingsError) as raised:
        load(Settings)
    text = str(raised.value)
    assert f"THING_{name}: " in text
    assert "s3cr3t" not in text
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None  # a traceback would show it


def test_several_hosts_of_a_cluster(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("THING_AMQP_URL", "amqps://u:p@one:5671/v, amqps://u:p@two:5671/v")
    assert load(Settings).amqp_url is not None


def test_secrets_come_from_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("THING_DATABASE_URL")
    (tmp_path / "thing_database_url").write_text(URL + "\n")
    (tmp_path / "THING_CLIENT_SECRET").write_text("from a file\n")

    class FromFiles(Settings):
        model_config = SettingsConfigDict(
            **(service_config("THING_") | {"secrets_dir": str(tmp_path)})
        )

    settings = load(FromFiles)
    assert settings.database_url.get_secret_value() == URL
    assert settings.client_secret is not None
    assert settings.client_secret.get_secret_value() == "from a file"


def test_the_folder_of_secrets_is_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LIENTHONG_SECRETS_DIR", str(tmp_path))
    assert service_config("X_")["secrets_dir"] == str(tmp_path)
