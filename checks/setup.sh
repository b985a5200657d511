#!/bin/sh
# Makes .venv hold exactly what the lock files say and the workspace's own packages, editable.
# Run by make. Needs Python >= 3.11 with the venv module; nothing else, no rights, no HOME.
set -eu
cd "$(dirname "$0")/.."

complain() {
    printf '%s\n' "$@" >&2
    exit 1
}

for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        found=$python
        break
    fi
done
[ -n "${found:-}" ] || complain "Python 3.11 or newer is needed (tried: ${PYTHON:-python3 and python3.11 to 3.14})." \
    "Install it, or name it: make PYTHON=/path/to/python3.12"
"$found" -c 'import venv, ensurepip' 2>/dev/null || complain \
    "$("$found" --version) lacks the venv module, which Debian and Ubuntu package apart. Install it:" \
    "    sudo apt-get install python3-venv"

# A folder that was moved or copied, or whose Python is gone, is no use: its paths are absolute.
if ! .venv/bin/python -c "import sys; sys.exit(sys.prefix != '$PWD/.venv')" 2>/dev/null; then
    "$found" -m venv --clear .venv
fi
quietly=$(.venv/bin/python -m pip install --quiet --require-hashes -r bootstrap.lock 2>&1) ||
    complain "$quietly" "uv could not be installed from the package index: see above."
.venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock
set --
for project in libs/*/ services/*/ simulators/ backbone/; do
    [ -f "$project/pyproject.toml" ] && set -- "$@" -e "./$project"
done
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps "$@"
