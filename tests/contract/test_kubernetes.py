"""The manifests: every setting there is a need for, nothing the services do not know, no flow that
nobody uses, and pods that may do nothing but their work."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from backbone.assembly import MODULES
from backbone.deployment import write_compose
from backbone.settings_example import settings_class

ROOT = Path(__file__).parents[2]
NAME, COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
Objects = dict[tuple[str, str], dict[str, Any]]


def rendered(folder: str) -> Objects:
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            done = subprocess.run(
                [*command, str(ROOT / "k8s" / folder)], capture_output=True, text=True, check=True
            )
            objects = [item for item in yaml.safe_load_all(done.stdout) if item]
            return {(item["kind"], item["metadata"]["name"]): item for item in objects}
    pytest.skip("neither kustomize nor kubectl is installed")


@pytest.fixture(scope="module")
def base() -> Objects:
    return rendered("base")


@pytest.fixture(scope="module")
def single_node() -> Objects:
    return rendered("overlays/single-node")


@pytest.fixture(scope="module", params=["base", "overlays/single-node"])
def either(request: pytest.FixtureRequest) -> Objects:
    return rendered(request.param)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Values for every Secret: those of the containers of docker-compose.yml."""
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    write_compose(folder)
    return folder


def pods(objects: Objects) -> Iterator[tuple[str, dict[str, Any]]]:
    for (_, name), item in objects.items():
        if spec := item.get("spec", {}).get("template", {}).get("spec"):
            yield name, spec


def container(objects: Objects, service: str) -> dict[str, Any]:
    return dict(objects["Deployment", service]["spec"]["template"]["spec"]["containers"][0])


def environment(objects: Objects, service: str) -> dict[str, str]:
    [name] = [
        source["configMapRef"]["name"]
        for source in container(objects, service)["envFrom"]
        if "configMapRef" in source
    ]
    return dict(objects["ConfigMap", name]["data"])


def secret_files(objects: Objects, service: str, *, optional: bool = False) -> set[str]:
    """The keys of the service's Secret that its pod asks for; they are its documented names."""
    volumes = objects["Deployment", service]["spec"]["template"]["spec"]["volumes"]
    [volume] = [volume for volume in volumes if volume["name"] == "secrets"]
    sources = [source["secret"] for source in volume.get("projected", {}).get("sources", ())]
    if "secret" in volume:
        sources.append({**volume["secret"], "name": volume["secret"]["secretName"]})
    found = set()
    for source in sources:
        assert source["name"] == service
        if source.get("optional", False) is optional:
            found |= {item["key"] for item in source["items"]}
            assert all(item["key"] == item["path"] for item in source["items"])
    return found


@pytest.mark.parametrize("service", MODULES)
def test_what_is_set_is_known_and_set_once(service: str, either: Objects) -> None:
    kind = settings_class(service)
    known = {f"{kind.model_config['env_prefix']}{name.upper()}" for name in kind.model_fields}
    plain = set(environment(either, service))
    secret = secret_files(either, service) | secret_files(either, service, optional=True)
    assert plain | secret <= known
    assert not plain & secret


@pytest.mark.parametrize("service", MODULES)
def test_secrets_are_never_plain(service: str, either: Objects) -> None:
    plain = set(environment(either, service))
    kind = settings_class(service)
    for name, field in kind.model_fields.items():
        if "SecretStr" in str(field.annotation):
            assert f"{kind.model_config['env_prefix']}{name.upper()}" not in plain


READ_SETTINGS = """
import json, os, sys
from importlib import import_module
from common.settings import load
for package, environment in json.load(sys.stdin).items():
    os.environ.update(environment)
    assert load(import_module(f"{package}.settings").Settings).amqp_url, package
"""


def test_services_read_their_settings_from_what_their_pods_mount(
    either: Objects, made: Path, tmp_path: Path
) -> None:
    """Laid out as a kubelet does it: links into a folder that is exchanged as a whole."""
    environments = {}
    for service in MODULES:
        data = tmp_path / service / "..2025_01_01"
        data.mkdir(parents=True)
        (data.parent / "..data").symlink_to(data.name)
        for key in secret_files(either, service):
            (data / key).write_bytes((made / service / key).read_bytes())
            (data.parent / key).symlink_to(Path("..data", key))
        environments[MODULES[service].__name__.partition(".")[0]] = {
            **environment(either, service),
            **{item["name"]: item["value"] for item in container(either, service)["env"]},
            "LIENTHONG_SECRETS_DIR": str(data.parent),
        }
    done = subprocess.run(
        [sys.executable, "-c", READ_SETTINGS],
        input=json.dumps(environments),
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("service", MODULES)
def test_what_a_service_cannot_start_without_is_given_to_it(service: str, base: Objects) -> None:
    kind = settings_class(service)
    prefix = str(kind.model_config["env_prefix"])
    required = {
        prefix + name.upper() for name, field in kind.model_fields.items() if field.is_required()
    }
    assert required <= secret_files(base, service) | set(environment(base, service))
    assert {f"{prefix}DATABASE_URL", f"{prefix}AMQP_URL"} <= secret_files(base, service)


@pytest.mark.parametrize("service", MODULES)
def test_operators_are_told_the_key_of_every_secret(service: str, base: Objects) -> None:
    told = (ROOT / "docs" / "operations.md").read_text("utf-8")
    prefix = str(settings_class(service).model_config["env_prefix"])
    for key in secret_files(base, service) | secret_files(base, service, optional=True):
        assert re.search(rf"(<SERVICE>|…|{prefix[:-1]})_{key.removeprefix(prefix)}`", told), key


def test_every_pod_is_confined(either: Objects) -> None:
    for name, spec in pods(either):
        assert spec["automountServiceAccountToken"] is False, name
        # GATEWAY_PORT=tcp://10.0.0.1:8000 would be taken for the setting of that name.
        assert spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for one in spec["containers"]:
            assert one["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert {"cpu", "memory"} <= one["resources"]["requests"].keys(), name
            assert "memory" in one["resources"]["limits"], name
            assert re.search(r":[\w.-]+$", one["image"]), name
            assert not one["image"].endswith(":latest"), name


@pytest.mark.parametrize("service", MODULES)
def test_a_service_is_run_with_care(service: str, base: Objects) -> None:
    deployment = base["Deployment", service]["spec"]
    one = container(base, service)
    assert deployment["replicas"] >= 2
    # As process 1, Python would not hear a stop signal that comes before its handlers are set.
    assert deployment["template"]["spec"]["shareProcessNamespace"] is True
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert base["PodDisruptionBudget", service]["spec"]["maxUnavailable"] == 1
    assert one["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= one.keys()
    account = deployment["template"]["spec"]["serviceAccountName"]
    assert base["ServiceAccount", account]["automountServiceAccountToken"] is False
    labels = deployment["template"]["metadata"]["labels"]
    for kind, selector in (
        ("Service", base["Service", service]["spec"]["selector"]),
        ("PodDisruptionBudget", base["PodDisruptionBudget", service]["spec"]["selector"]),
        ("Deployment", deployment["selector"]),
    ):
        assert selects(selector if "matchLabels" in selector else {"matchLabels": selector}, labels)
        assert service in str(selector), kind


@pytest.mark.parametrize("service", MODULES)
def test_a_pod_is_given_the_time_to_stop_in_order(service: str, base: Objects) -> None:
    """After preStop: requests under way, then what the queues handed over, then signatures."""
    template = base["Deployment", service]["spec"]["template"]["spec"]
    prefix = settings_class(service).model_config["env_prefix"]
    seconds = float(environment(base, service)[f"{prefix}SHUTDOWN_SECONDS"])
    pause = int(container(base, service)["lifecycle"]["preStop"]["exec"]["command"][1])
    needed = pause + 2 * seconds
    if service == "signature-connector":
        patience = settings_class(service).model_fields["user_seconds"].default
        assert seconds > patience
        needed = pause + 3 * seconds + 10
    assert needed <= template["terminationGracePeriodSeconds"]


def test_memory_suffices_for_documents_and_the_processes_that_read_them(base: Objects) -> None:
    """What PARALLEL and both VERIFIERS say of themselves, beside the service's own 200 MiB."""
    defaults = {
        name: field.default
        for name, field in settings_class("signature-connector").model_fields.items()
    }
    documents = 2.4 * defaults["parallel"] * defaults["file_limit"]
    examining = defaults["verifiers"] + defaults["service_verifiers"]
    processes = examining * defaults["verification_memory"]
    limit = container(base, "signature-connector")["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Mi")) >= 200 + (documents + processes) / 2**20


def test_a_broker_that_is_down_does_not_close_the_gateway(base: Objects) -> None:
    probes = {
        service: container(base, service)["readinessProbe"]["httpGet"]["path"]
        for service in MODULES
    }
    assert probes.pop("gateway") == "/healthz"
    assert set(probes.values()) == {"/readyz"}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", ())
    )


def allowed(objects: Objects, direction: str) -> set[tuple[str, str]]:
    """(caller, called) pairs of services whose port 8000 the policies open on one side."""
    labels = {service: {NAME: service, COMPONENT: "service"} for service in MODULES}
    peer, found = {"ingress": "from", "egress": "to"}[direction], set()
    for (kind, _), policy in objects.items():
        if kind != "NetworkPolicy":
            continue
        for rule in policy["spec"].get(direction, ()):
            if all(port["port"] != 8000 for port in rule["ports"]):
                continue
            for mine in MODULES:
                for theirs in MODULES:
                    if selects(policy["spec"]["podSelector"], labels[mine]) and any(
                        selects(side["podSelector"], labels[theirs])
                        for side in rule[peer]
                        if "podSelector" in side and "namespaceSelector" not in side
                    ):
                        found.add((theirs, mine) if direction == "ingress" else (mine, theirs))
    return found


def addressed(objects: Objects) -> set[tuple[str, str]]:
    """(caller, called) pairs of services, by the addresses in their settings."""
    return {
        (service, str(urlsplit(url).hostname))
        for service in MODULES
        for value in environment(objects, service).values()
        for url in re.findall(r'http://[^"]+', value)
    }


def test_a_service_may_reach_those_it_has_the_address_of_and_nobody_else(either: Objects) -> None:
    flows = addressed(either)
    assert ("gateway", "dossier") in flows
    assert allowed(either, "egress") == flows
    # The gateway's door is open to every service, which has a token to get there.
    assert {flow for flow in allowed(either, "ingress") if flow[1] != "gateway"} == {
        flow for flow in flows if flow[1] != "gateway"
    }
    assert {flow for flow in flows if flow[1] == "gateway"} <= allowed(either, "ingress")


def test_nothing_is_allowed_that_no_policy_names(either: Objects) -> None:
    spec = either["NetworkPolicy", "nothing-else"]["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_only_those_with_partners_or_files_get_out(base: Objects) -> None:
    labels = {service: {NAME: service, COMPONENT: "service"} for service in MODULES}
    outside = {
        service
        for (kind, _), policy in base.items()
        if kind == "NetworkPolicy"
        for rule in policy["spec"].get("egress", ())
        if any("ipBlock" in peer for peer in rule["to"])
        for service in MODULES
        if selects(policy["spec"]["podSelector"], labels[service])
    }
    assert outside == set(MODULES) - {"dossier"}


def test_secrets_made_for_containers_do_for_one_node(single_node: Objects, made: Path) -> None:
    """`kubectl create secret generic NAME --from-file=.run/compose/NAME` for each of them."""
    for service in MODULES:
        assert secret_files(single_node, service) <= {
            path.name for path in (made / service).iterdir()
        }
    for name in ("postgres", "rabbitmq", "demo"):
        mounted = json.dumps(
            single_node["Job" if name == "demo" else "StatefulSet", name]["spec"]["template"]
        )
        assert f'"secretName": "{name}"' in mounted
    for program, file in (
        ("postgres", "databases.sql"),
        ("postgres", "superuser_password"),
        ("rabbitmq", "definitions.json"),
        ("rabbitmq", "10-backbone.conf"),
    ):
        assert file in json.dumps(single_node["StatefulSet", program])
        assert (made / program / file).exists()
    for service in (*MODULES, "postgres", "rabbitmq", "simulators"):
        assert ("Service", service) in single_node
