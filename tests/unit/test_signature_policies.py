"""Trust policies as data with dates: what was believed then is what counts for then."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import CollectorRegistry

from signature_connector.use_cases.trust import TrustRefresh
from signature_connector.verification.bundle import TrustError
from signature_connector.verification.policies import Policies, read_policies
from tests.support.signing import Holder, Usage, issue, root
from tests.support.verification import pades, report

NOW = datetime.now(UTC)


def bundle(folder: Path, *versions: dict) -> Path:
    """A folder of versions of a policy, each with the root of the tests."""
    folder.mkdir(exist_ok=True)
    (folder / "root.pem").write_bytes(_pem(root()))
    for number, given in enumerate(versions):
        root_given = {"file": "root.pem", "source": "tests", "confidence": "made up"}
        body = {
            "name": "vn-public",
            "version": f"2026-{number}",
            "effective_from": "2020-01-01",
            "source": "tests",
            "confidence": "made up",
            "roots": [{**root_given, **given.pop("root", {})}],
            **given,
        }
        (folder / f"{number}.json").write_text(json.dumps(body))
    return folder


def _pem(holder: Holder) -> bytes:
    return holder.certificate.public_bytes(Encoding.PEM)


def day(offset: int) -> str:
    return (NOW + timedelta(days=offset)).date().isoformat()


def test_the_version_of_the_day_counts(tmp_path: Path) -> None:
    policies = read_policies(
        bundle(tmp_path, {"effective_from": day(-100)}, {"effective_from": day(-10)})
    )
    for offset, version in ((0, "2026-1"), (-10, "2026-1"), (-11, "2026-0"), (-100, "2026-0")):
        found = policies.at(NOW + timedelta(days=offset))
        assert found
        assert found.version == version
    assert policies.at(NOW - timedelta(days=101)) is None
    assert policies.at(NOW, "another") is None


def test_a_root_counts_for_what_is_proven_to_be_of_its_days(tmp_path: Path) -> None:
    ended = read_policies(bundle(tmp_path / "a", {"root": {"to": day(-1)}}))
    assert report("pdf", pades(), trusted=ended).facts["sub_indication"] == (
        "NO_CERTIFICATE_CHAIN_FOUND"
    )
    running = read_policies(bundle(tmp_path / "b", {"root": {"from": day(-1), "to": day(0)}}))
    found = report("pdf", pades(), trusted=running)
    assert found.facts["indication"] == "TOTAL-PASSED"
    assert found.facts["policy"]["name"] == "vn-public"
    assert found.facts["policy"]["date"] == "2020-01-01"


@pytest.mark.parametrize(
    "change",
    [
        {"version": ""},
        {"effective_from": "soon"},
        {"roots": []},
        {"root": {"file": "../root.pem"}},
        {"root": {"file": "absent.pem"}},
        {"root": {"confidence": None}},
    ],
)
def test_a_broken_bundle_is_told_as_such(tmp_path: Path, change: dict) -> None:
    with pytest.raises(TrustError):
        read_policies(bundle(tmp_path, change))


def test_an_empty_folder_and_two_versions_of_one_day_are_broken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrustError):
        read_policies(tmp_path / "empty")
    with pytest.raises(TrustError):
        read_policies(bundle(tmp_path / "two", {}, {}))


async def test_the_last_good_bundle_counts_while_the_new_one_is_broken(tmp_path: Path) -> None:
    path = bundle(tmp_path / "trust", {})
    renewed: list[Policies] = []
    registry = CollectorRegistry()
    refresh = TrustRefresh(path, renewed.append, registry, seconds=1)
    assert not await refresh.look()  # nothing changed
    (path / "0.json").write_text("{")
    assert not await refresh.look()
    assert renewed == []
    assert registry.get_sample_value("trust_bundle_good") == 0
    assert registry.get_sample_value("trust_bundle_reads_total", {"outcome": "broken"}) == 1
    assert not await refresh.look()  # told once
    bundle(path, {"version": "2026-9"})
    assert await refresh.look()
    assert renewed[0].all[0].version == "2026-9"
    assert registry.get_sample_value("trust_bundle_good") == 1
    other = issue("Another", None, Usage(authority=True))
    (path / "root.pem").write_bytes(_pem(other))
    assert await refresh.look()  # a certificate beside it
