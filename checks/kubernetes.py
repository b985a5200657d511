"""Renders every kustomization of a folder and validates each object strictly.

`kubernetes-validate` on the command line exits with 0 on a kind it does not know, which would let
a misspelt kind pass: here it is an error like an unknown field.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

KUSTOMIZATION = "kustomization.yaml"


def main(folder: str) -> int:
    """Validate `folder`/base and its overlays; prints each problem."""
    found = []
    for kustomization in sorted(Path(folder).rglob(KUSTOMIZATION)):
        where = kustomization.parent
        objects = _rendered(where)
        if objects is None:
            print(f"not run: rendering {where}: neither kustomize nor kubectl is installed")
            objects = list(_unrendered(where))
        found += [f"{where}: {problem}" for problem in problems(objects)]
    print("\n".join(found))
    return 1 if found else 0


def problems(objects: list[dict[str, Any]]) -> list[str]:
    """What is wrong with Kubernetes objects, against the newest schemas."""
    found = [] if objects else ["it renders to nothing"]
    for item in objects:
        name = f"{item.get('kind')}/{item.get('metadata', {}).get('name')}"
        try:
            kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            found.append(f"{name}: {path}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            found.append(f"{name}: no such kind in {item.get('apiVersion')}")
        except KeyError as error:
            found.append(f"{name}: it has no {error}")
    return found


def _rendered(folder: Path) -> list[dict[str, Any]] | None:
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            done = subprocess.run(
                [*command, str(folder)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"{folder}: {done.stderr.strip()}")
            return _objects(done.stdout)
    return None


def _unrendered(folder: Path) -> Iterator[dict[str, Any]]:
    for resource in yaml.safe_load((folder / KUSTOMIZATION).read_text()).get("resources", []):
        path = folder / resource
        if path.is_dir():
            yield from _unrendered(path)
        else:
            yield from _objects(path.read_text())


def _objects(text: str) -> list[dict[str, Any]]:
    return [item for item in yaml.safe_load_all(text) if item]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
