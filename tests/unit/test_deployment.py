"""What `make up` prepares fits what the services, the database and the broker expect."""

import base64
import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from backbone.assembly import MODULES
from backbone.deployment import password_hash, write_compose
from backbone.settings_example import example, settings_class
from common.settings import ServiceSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    assert write_compose(folder)
    return folder


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def read(kind: type[ServiceSettings], folder: Path) -> ServiceSettings:
    return kind(_secrets_dir=folder)


@pytest.mark.parametrize("service", MODULES)
def test_every_file_of_a_service_is_a_setting_and_every_required_setting_has_one(
    service: str, made: Path
) -> None:
    kind = settings_class(service)
    prefix = str(kind.model_config["env_prefix"])
    files = {path.name for path in (made / service).iterdir()}
    assert files <= {prefix + name.upper() for name in kind.model_fields}
    settings = read(kind, made / service)
    # Without a default only where services share a process; a container cannot do without.
    assert settings.amqp_url is not None
    assert settings.host == "0.0.0.0"


def test_a_service_finds_its_files_by_the_folder_that_is_named(made: Path) -> None:
    """In a process of its own, since settings look at the environment when they are imported."""
    script = (
        "from signature_connector.settings import Settings; from common.settings import load;"
        "print(load(Settings).client_id)"
    )
    environment = {**os.environ, "LIENTHONG_SECRETS_DIR": str(made / "signature-connector")}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "signature-connector"


def test_made_once_and_kept(made: Path) -> None:
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    assert not write_compose(made)
    assert before == {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}


def test_only_the_owner_reaches_the_secrets_and_every_container_can_read_them(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    for path in made.rglob("*"):
        assert path.is_dir() or stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_gateway_knows_every_service_by_its_secret(made: Path) -> None:
    clients = json.loads((made / "gateway" / "GATEWAY_CLIENTS").read_text())
    known = {client["client_id"]: client["secret"] for client in clients}
    for service in MODULES:
        secret = read(settings_class(service), made / service).client_secret
        assert secret is not None
        assert known[service] == secret.get_secret_value()


def test_passwords_are_those_that_the_database_server_sets(made: Path) -> None:
    script = (made / "postgres" / "databases.sql").read_text()
    for service in MODULES:
        url = read(settings_class(service), made / service).database_url.get_secret_value()
        parts = urlsplit(url)
        assert f"CREATE ROLE {parts.username} LOGIN PASSWORD '{parts.password}';" in script
        assert f"CREATE DATABASE {parts.path[1:]} OWNER {parts.username};" in script


def test_passwords_are_those_that_the_broker_imports(made: Path) -> None:
    told = json.loads((made / "rabbitmq" / "definitions.json").read_text())
    hashes = {user["name"]: user["password_hash"] for user in told["users"]}
    rights = {right["user"]: right for right in told["permissions"]}
    for service in MODULES:
        url = read(settings_class(service), made / service).amqp_url
        assert url is not None
        parts = urlsplit(url.get_secret_value())
        assert parts.username == service
        salt = base64.b64decode(hashes[service])[:4]
        assert hashes[service] == password_hash(str(parts.password), salt)
        for right in ("configure", "write", "read"):
            assert re.search(rights[service][right], f"{service}.dead")
            assert not re.search(rights[service][right], "another.dead")


def test_a_password_is_hashed_as_the_broker_documents() -> None:
    salt = bytes.fromhex("908dc60a")
    assert (
        password_hash("test12", salt)
        == base64.b64encode(salt + hashlib.sha256(salt + b"test12").digest()).decode()
    )


@pytest.mark.parametrize("service", MODULES)
def test_every_service_runs_as_a_container_with_its_own_files(
    service: str, compose: dict[str, Any]
) -> None:
    container = compose["services"][service]
    assert container["build"]["args"] == {"SERVICE": service}
    assert f"./.run/compose/{service}:/run/secrets:ro" in container["volumes"]
    assert container["environment"] == {"LIENTHONG_SECRETS_DIR": "/run/secrets"}
    # As process 1, Python would not hear a stop signal that comes before its handlers are set.
    assert container["init"] is True


def test_whatever_a_container_mounts_was_made(compose: dict[str, Any], made: Path) -> None:
    mounted = [
        volume.split(":")[0].removeprefix("./.run/compose/")
        for container in compose["services"].values()
        for volume in container.get("volumes", ())
        if volume.startswith("./.run/compose/")
    ]
    assert len(mounted) > len(MODULES)
    assert [place for place in mounted if not (made / place).exists()] == []


@pytest.mark.parametrize("service", MODULES)
def test_a_container_is_given_the_time_to_stop_in_order(
    service: str, compose: dict[str, Any], made: Path
) -> None:
    """Requests under way, then what the queues handed over, then the signatures in hand."""
    seconds = read(settings_class(service), made / service).shutdown_seconds
    grace = float(compose["services"][service]["stop_grace_period"].removesuffix("s"))
    assert 3 * seconds + 10 <= grace


def test_the_example_of_settings_is_current() -> None:
    """Written anew by `python -m backbone settings`."""
    assert (ROOT / ".env.example").read_text("utf-8") == example()


def test_the_example_names_every_setting_and_explains_it() -> None:
    text = example()
    for service in MODULES:
        kind = settings_class(service)
        for name in kind.model_fields:
            prefix = "EVERY_SERVICE_" if name in ServiceSettings.model_fields else None
            assert f"{prefix or kind.model_config['env_prefix']}{name.upper()}=" in text
    address = "# postgresql+asyncpg://role:password@host:port/database"
    assert f"{address}\nDOSSIER_DATABASE_URL=\n" in text
