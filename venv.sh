#!/bin/sh
# Makes .venv with the project and its extras `train` and `dev`; called by `make setup`.
set -eu
cd "$(dirname "$0")"
# The first that runs and is new enough: a name on PATH may be a version manager's shim for nothing.
python=
for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        python=$name
        break
    fi
done
[ -n "$python" ] || {
    echo "setup: found no Python 3.10 or newer (tried: ${PYTHON:-python3, python3.13 ... python3.10}); name one: make PYTHON=/path/to/python3" >&2
    exit 2
}

# Debian and Ubuntu keep ensurepip in a package of its own.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -qq -y python3-venv >/dev/null
    else
        echo "setup: $python cannot make virtual environments; install them first: sudo apt-get install python3-venv" >&2
        exit 2
    fi
fi

[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "setup: installing into .venv (torch with its CUDA libraries needs about 6 GB of disk) ..."
.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
# uv takes seconds where pip takes minutes; pip is the second try where a site allows only pip's configuration
VIRTUAL_ENV="$PWD/.venv" .venv/bin/uv pip install --quiet --editable '.[train,dev]' ||
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[train,dev]'
echo "setup: ready"
