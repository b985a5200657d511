"""How the revisions of a schema are named."""

import re
from importlib import import_module, resources

import pytest

from backbone.assembly import MODULES
from common.database import newest_revision


@pytest.mark.parametrize("package", [name.replace("-", "_") for name in MODULES])
def test_a_revision_is_in_a_file_that_is_named_after_it_and_follows_the_one_before(
    package: str,
) -> None:
    """By that a service knows, without reading them, whether its schema is the newest."""
    versions = resources.files(package) / "migrations" / "versions"
    names = sorted(file.name for file in versions.iterdir() if re.match(r"\d{4}_", file.name))
    before = None
    for name in names:
        module = import_module(f"{package}.migrations.versions.{name.removesuffix('.py')}")
        assert (module.revision, module.down_revision) == (name[:4], before)
        before = name[:4]
    assert newest_revision(package) == before
