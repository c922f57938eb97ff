#!/usr/bin/env bash
# Builds the image of this checkout, as an ordinary user, and checks that it trains: see containers/README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
lock=$here/requirements.lock

usage() {
    cat <<'TEXT'
usage: containers/build.sh [options]
  -o FILE             the image (default: containers/anlp.sif)
  --cpu               torch for CPUs only: a tenth of the size
  --torch WHEEL       with --cpu: which one (default: torch==<as locked>+cpu)
  --from HOW          docker (default: the slim Python image of a hub), or debootstrap (Debian from the host's own mirror)
  --stage FOLDER      only collect sources and wheels there, by the pip configuration of this machine
  --staged FOLDER     build from such a folder, on a machine that needs no package index
  --lock              only write requirements.lock anew from setup.cfg (needs uv)
TEXT
}
say() { echo "build.sh: $*" >&2; }
fail() {
    say "$1"
    exit "${2:-1}"
}

out=$here/anlp.sif variant=gpu from=docker task=build
torch="" stage="" staged=""
while [ $# -gt 0 ]; do
    case $1 in
        -o | --torch | --from | --stage | --staged) [ $# -ge 2 ] || fail "$1 needs a value" 2 ;;
    esac
    case $1 in
        -o) out=$2 && shift ;;
        --cpu) variant=cpu ;;
        --torch) torch=$2 && shift ;;
        --from) from=$2 && shift ;;
        --stage) stage=$2 task=stage && shift ;;
        --staged) staged=$2 && shift ;;
        --lock) task=lock ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done
case $from in docker | debootstrap) ;; *) fail "--from: expected docker or debootstrap, got '$from'" 2 ;; esac

# --- what goes in

write_lock() {
    local head
    head=$(grep '^#' "$lock")
    cd "$root"
    uv pip compile setup.cfg --extra train --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --generate-hashes --no-header --no-annotate --quiet -o "$lock"
    printf '%s\n%s\n' "$head" "$(cat "$lock")" >"$lock"
}

cpu_torch() {
    echo "${torch:-torch==$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' "$lock")+cpu}"
}

# The lock without what only analysis imports, which no node does; for CPUs without torch's own family as well.
packages() {
    local unused='pandas|matplotlib|contourpy|cycler|fonttools|kiwisolver|pyparsing|python-dateutil|tzdata'
    local family='torch|torchaudio|torchvision|pillow|triton|nvidia-[a-z0-9-]*|cuda-[a-z-]*'
    [ "$variant" = gpu ] || unused="$unused|$family"
    awk -v unused="^($unused)==" '/^[a-z]/ { skip = $0 ~ unused } !skip' "$lock"
}

find_pip() {
    for python in ${PYTHON:-} "$root/.venv/bin/python" python3; do
        if "$python" -m pip --version >/dev/null 2>&1; then return; fi
    done
    fail "no Python with pip here (tried: .venv, python3); run 'make setup', or name one: PYTHON=/path/to/python3"
}

# Wheels of the image's Python, whatever Python this machine has; where they come from is pip's configuration.
download() {
    local platforms=() level
    for level in 2_28 2_27 2_26 2_24 2_17 2_12 2_5; do platforms+=(--platform "manylinux_${level}_x86_64"); done
    for level in 2014 2010 1; do platforms+=(--platform "manylinux${level}_x86_64"); done
    "$python" -m pip download -qq --disable-pip-version-check --no-deps --only-binary :all: --dest "$stage/wheels" \
        --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none "${platforms[@]}" "$@"
}

download_all() {
    find_pip
    say "downloading wheels ($variant) by the configuration of pip ..."
    packages >"$stage/packages"
    if [ "$variant" = cpu ]; then
        download "$(cpu_torch)" || fail "pip finds no $(cpu_torch) (above: the versions that it finds); \
name one that ends in +cpu with --torch, or a place that has it with PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL"
    fi
    download --require-hashes -r "$stage/packages"
}

collect() { # into $stage, which then is all that a build needs
    mkdir -p "$stage/wheels" "$stage/source"
    cd "$root"
    commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
    if [ "$commit" != unknown ]; then
        [ -z "$(git status --porcelain --untracked-files=no)" ] || commit=$commit+dirty
        git ls-files -z --cached --others --exclude-standard -- anlp jobs analysis profiles containers setup.cfg pyproject.toml README.md LICENSE |
            xargs -0 cp --parents -t "$stage/source"
    else
        cp -r anlp jobs analysis profiles containers setup.cfg pyproject.toml README.md LICENSE "$stage/source"
    fi
    download_all
    cat >"$stage/labels" <<TEXT
VARIANT=$variant
TORCH=$([ "$variant" = cpu ] && cpu_torch || echo none)
COMMIT=$commit
VERSION=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' anlp/__init__.py)
LOCK=$(sha256sum <"$lock" | cut -c 1-16)
TEXT
}

# --- whether it can be built here

check_rights() {
    local user full
    user=$(id -un)
    full=$(printf '%016x' $(((1 << ($(cat /proc/sys/kernel/cap_last_cap) + 1)) - 1)))
    if [ "$(id -u)" = 0 ]; then
        grep -q "^CapEff:.$full$" /proc/self/status ||
            fail "root has fewer rights here than apptainer asks for (a container?): build as an ordinary user"
        return
    fi
    unshare --user --map-root-user true 2>/dev/null ||
        fail "this machine does not let users make user namespaces (kernel.unprivileged_userns_clone, user.max_user_namespaces); \
build on a machine that does, a laptop or a virtual machine, and copy the image"
    for file in /etc/subuid /etc/subgid; do
        grep -q -E "^($user|$(id -u)):" "$file" 2>/dev/null ||
            fail "no range for $user in $file: ask for 'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $user', \
or build on a machine of your own and copy the image (running it needs no range)"
    done
}

check_machine() {
    command -v apptainer >/dev/null ||
        fail "no apptainer here: https://apptainer.org/docs/admin/latest/installation.html, or 'module load apptainer'"
    check_rights
    if [ "$from" = debootstrap ] && ! command -v debootstrap >/dev/null; then
        fail "--from debootstrap needs debootstrap: sudo apt-get install debootstrap"
    fi
    if [ ! -w /dev/fuse ]; then
        say "note: /dev/fuse is missing or closed to users, so every start of the image unpacks it first (seconds)"
    fi
}

# The archive labelled Debian in apt's configuration; before its lists are there, the first that is not for security.
debian_mirror() {
    local found
    # shellcheck disable=SC2016  # apt, not the shell, fills these in
    found=$(apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | sed -n 's/^Debian|//p')
    [ -n "$found" ] || found=$(apt-get --print-uris update 2>/dev/null | sed -n "s|^'\(.*\)/dists/.*|\1|p" | grep -v security)
    found=${DEBIAN_MIRROR:-${found%%$'\n'*}}
    [ -n "$found" ] || fail "apt's configuration names no Debian mirror: set DEBIAN_MIRROR, or use --from docker"
    echo "${found%/}"
}

# --- the build

build() {
    local args=() line fakeroot=()
    while read -r line; do args+=(--build-arg "$line"); done <"$stage/labels"
    [ "$from" = docker ] || args+=(--build-arg BOOTSTRAP=debootstrap --build-arg "MIRROR=$(debian_mirror)")
    [ "$(id -u)" = 0 ] || fakeroot=(--fakeroot)
    mkdir -p "$(dirname "$out")"
    out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
    say "building $out from $from, some minutes ..."
    cd "$stage"
    # zstd: a seventh of gzip's time, as small, and faster to import from
    apptainer build --force --notest "${fakeroot[@]}" --mksquashfs-args "-comp zstd -Xcompression-level 3" \
        --bind "$PWD/wheels:/media" "${args[@]}" "$out.new" source/containers/anlp.def
    say "testing it ..."
    apptainer test "$out.new"
    mv "$out.new" "$out"
    (cd "$(dirname "$out")" && sha256sum "$(basename "$out")" >"$(basename "$out").sha256")
    say "$out: $(($(stat -c %s "$out") / 1000000)) MB, sha256 $(cut -c 1-12 "$out.sha256")..."
}

case $task in
    lock) write_lock ;;
    stage)
        mkdir -p "$stage"
        stage=$(cd "$stage" && pwd)
        collect
        say "staged: containers/build.sh --staged $stage"
        ;;
    build)
        check_machine
        if [ -n "$staged" ]; then
            [ -r "$staged/labels" ] || fail "--staged: $staged was not written by --stage" 2
            stage=$(cd "$staged" && pwd)
        else
            stage=$(mktemp -d)
            trap 'rm -rf "$stage"' EXIT
            collect
        fi
        build
        ;;
esac
