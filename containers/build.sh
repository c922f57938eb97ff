#!/usr/bin/env bash
# Builds the image of this checkout, as an ordinary user, and checks that it trains: see containers/README.md.
set -euo pipefail
umask 022 # every user of the image has to read what is in it
PATH=$PATH:/usr/sbin:/sbin # debootstrap is there, and ordinary users often do not look there
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
lock=$here/requirements.lock

usage() {
    cat <<'TEXT'
usage: containers/build.sh [options]
  -o FILE             the image (default: containers/anlp.sif)
  --cpu               torch for CPUs only: a tenth of the size
  --torch WHEELS      with --cpu: CPU builds in place of the locked ones, such as 'torch==2.13.0+cpu torchvision==0.28.0+cpu'
                      (what is not named is left out), or `any`: the locked ones where pip finds them, else its newest torch
  --from HOW          docker (default: the slim Python image of a hub), or debootstrap (Debian from the host's own mirror)
  --base IMAGE        with docker: another one with Python 3.11, such as registry.site.org/python:3.11-slim-bookworm
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
torch="" stage="" staged="" base=""
while [ $# -gt 0 ]; do
    case $1 in
        -o | --torch | --from | --base | --stage | --staged) [ $# -ge 2 ] || fail "$1 needs a value" 2 ;;
    esac
    case $1 in
        -o) out=$2 && shift ;;
        --cpu) variant=cpu ;;
        --torch) torch=$2 && shift ;;
        --from) from=$2 && shift ;;
        --base) base=$2 && shift ;;
        --stage) stage=$2 task=stage && shift ;;
        --staged) staged=$2 && shift ;;
        --lock) task=lock ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
    esac
    shift
done
case $from in docker | debootstrap) ;; *) fail "--from: expected docker or debootstrap, got '$from'" 2 ;; esac
[ -z "$base" ] || [ "$from" = docker ] || fail "--base: names an image of a hub; leave out --from $from" 2
[ -z "$torch" ] || [ "$variant" = cpu ] || fail "--torch: CPU builds go with --cpu; the GPU image holds what is locked" 2
for word in ${torch/#any/}; do
    [[ $word =~ ^(torch|torchvision|torchaudio)==[0-9A-Za-z.+]+$ ]] || fail "--torch: expected 'any' or torch==VERSION+cpu, got '$word'" 2
done

# --- what goes in

write_lock() {
    local head
    head=$(grep '^#' "$lock")
    cd "$root"
    uv pip compile setup.cfg --extra train --extra boost --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --generate-hashes --no-header --no-annotate --quiet -o "$lock"
    printf '%s\n%s\n' "$head" "$(cat "$lock")" >"$lock"
}

locked() { sed -n "s/^$1==\([^ ]*\).*/\1/p" "$lock"; } # PACKAGE

# The lock without what only analysis imports, which no node does; for CPUs without what only GPUs need as well.
packages() {
    local unused='pandas|pyarrow|matplotlib|contourpy|cycler|fonttools|kiwisolver|pyparsing|python-dateutil|tzdata'
    [ "$variant" = gpu ] || unused="$unused|torch|torchaudio|torchvision|triton|nvidia-[a-z0-9-]*|cuda-[a-z-]*"
    awk -v unused="^($unused)==" '/^[a-z]/ { skip = $0 ~ unused } !skip' "$lock"
}

find_pip() {
    for python in ${PYTHON:-} "$root/.venv/bin/python" python3; do
        # 21.2 has `index`; releases before 20.3 take one platform only
        if "$python" -m pip index --help >/dev/null 2>&1; then return; fi
    done
    fail "no Python with pip 21.2 or newer here (tried: ${PYTHON:+$PYTHON, }.venv, python3); \
run 'make setup', or name one: PYTHON=/path/to/python3"
}

# Wheels of the image's Python, for any Python of this machine; where they come from is pip's configuration.
for_image() { # PIP-COMMAND ...
    local target=(--only-binary :all: --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none) level
    for level in {28..5}; do target+=(--platform "manylinux_2_${level}_x86_64"); done # pip infers none from another
    for level in 2014 2010 1; do target+=(--platform "manylinux${level}_x86_64"); done
    "$python" -m pip "$1" --disable-pip-version-check "${target[@]}" "${@:2}"
}

download() { for_image download -qq --no-deps --dest "$stage/wheels" "$@"; }

versions() { # PACKAGE, prints what pip finds for the image, newest first; asked once
    [ -e "$scratch/$1.versions" ] ||
        for_image index versions "$1" 2>/dev/null | sed -n 's/^Available versions: //p' | tr -d ' ' | tr ',' '\n' >"$scratch/$1.versions"
    cat "$scratch/$1.versions"
}

# Into `family`: the CPU builds that take the place of torch's own family in the lock.
choose_family() {
    local found name locked_ones=()
    for name in torch torchvision torchaudio; do locked_ones+=("$name==$(locked $name)+cpu"); done
    [ -n "$torch" ] || torch=${locked_ones[*]}
    found=$(versions torch | grep '+cpu$' | head -n 5 || true)
    [ -n "$found" ] || fail "pip finds no CPU build of torch (+cpu) for Python 3.11: name a place that has them with \
PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS, or leave out --cpu: the GPU image runs on CPUs, too"
    if [ "$torch" = any ] && [ -z "$(missing "${locked_ones[@]}")" ]; then torch=${locked_ones[*]}; fi
    if [ "$torch" = any ]; then
        torch=torch==${found%%$'\n'*}
        say "note: pip does not find all of ${locked_ones[*]}; taking $torch alone"
    fi
    read -r -a family <<<"$torch"
    found=$(missing "${family[@]}")
    [ -z "$found" ] || fail "pip does not find $found for Python 3.11; CPU builds of torch that it finds: \
$(versions torch | grep '+cpu$' | head -n 5 | paste -s -d ' '). Name one with --torch (--torch any takes the newest), or a place that \
has the others with PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS"
}

missing() { # NAME==VERSION ..., prints those that pip does not find
    local spec absent=()
    for spec in "$@"; do
        [[ " $(versions "${spec%%==*}" | paste -s -d ' ') " = *" ${spec#*==} "* ]] || absent+=("$spec")
    done
    echo "${absent[*]}"
}

# Of torch's own family, what the image will not have.
without() {
    local name absent=()
    for name in torchvision torchaudio; do
        [ "$variant" = gpu ] || [[ " ${family[*]}" = *" $name=="* ]] || absent+=("$name")
    done
    echo "${absent[*]:-none}"
}

download_all() {
    find_pip
    say "downloading wheels ($variant) by the configuration of pip ..."
    packages >"$stage/packages"
    if [ "$variant" = cpu ]; then
        choose_family
        download "${family[@]}"
    fi
    download --require-hashes -r "$stage/packages"
}

collect() { # into $stage, which then is all that a build needs
    local parts=(anlp jobs analysis profiles containers setup.cfg pyproject.toml) family=()
    local version
    mkdir -p "$stage/wheels" "$stage/source"
    cd "$root"
    version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' anlp/core/version.py)
    [ -n "$version" ] || fail "anlp/core/version.py: no line __version__ = \"...\""
    commit=unknown
    if [ "$(git rev-parse --show-prefix 2>/dev/null)|$?" = "|0" ] && commit=$(git rev-parse HEAD 2>/dev/null); then
        # what is not in git yet goes into the image as well
        [ -z "$(git status --porcelain -- "${parts[@]}")" ] || commit=$commit+dirty
        git ls-files -z --cached --others --exclude-standard -- "${parts[@]}" |
            while IFS= read -r -d '' file; do [ ! -e "$file" ] || cp --parents -t "$stage/source" "$file"; done
    else
        cp -r "${parts[@]}" "$stage/source"
    fi
    cp README.md LICENSE "$stage/source"
    download_all
    cat >"$stage/labels" <<TEXT
VARIANT=$variant
TORCH=${family[*]:-none}
WITHOUT=$(without)
COMMIT=$commit
VERSION=$version
LOCK=$(sha256sum <"$lock" | cut -c 1-16)
TEXT
}

# --- whether it can be built here

check_rights() {
    local user full said file
    user=$(id -un)
    full=$(printf '%016x' $(((1 << ($(cat /proc/sys/kernel/cap_last_cap) + 1)) - 1)))
    if [ "$(id -u)" = 0 ]; then
        grep -q "^CapEff:.$full$" /proc/self/status ||
            fail "root has fewer rights here than apptainer asks for (a container?): build as an ordinary user"
        return
    fi
    # by namespaces or by setuid: whether it may, Apptainer knows best
    echo 'Bootstrap: scratch' >"$scratch/probe.def"
    if ! said=$(apptainer -q build --fakeroot "$scratch/probe.sif" "$scratch/probe.def" 2>&1); then
        unshare --user --map-root-user true 2>/dev/null ||
            fail "this machine does not let users make user namespaces (kernel.unprivileged_userns_clone, \
user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns); build on a machine that does, a laptop or a virtual machine, and copy the image"
        fail "apptainer cannot build here: ${said##*$'\n'}"
    fi
    for file in /etc/subuid /etc/subgid; do
        grep -q -E "^($user|$(id -u)):" "$file" 2>/dev/null && continue
        said="no range for $user in $file"
        if [ "$from" = docker ] && command -v fakeroot >/dev/null; then
            say "note: $said, which a base from a hub can do without"
            return
        fi
        fail "$said: ask for 'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $user', \
use --from docker (with the command fakeroot), or build on a machine of your own and copy the image (running it needs no range)"
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

note_space() { # FOLDER GB
    local free
    free=$(df --output=avail -B 1G "$1" 2>/dev/null | tail -n 1 | tr -d ' ')
    [ "${free:-$2}" -ge "$2" ] || say "note: $1 has $free GB left, and a build ($variant) takes about $2"
}

# --- the build

build() {
    local args=() line options=(--force --notest)
    while read -r line; do args+=(--build-arg "$line"); done <"$stage/labels"
    [ -z "$base" ] || args+=(--build-arg "BASE=$base")
    [ "$from" = docker ] || args+=(--build-arg BOOTSTRAP=debootstrap --build-arg "MIRROR=$(debian_mirror)")
    [ "$(id -u)" = 0 ] || options+=(--fakeroot)
    if [[ $(mksquashfs -help 2>&1) = *zstd* ]]; then # a seventh of gzip's time, as small, and faster to import from
        options+=(--mksquashfs-args "-comp zstd -Xcompression-level 3")
    fi
    say "building $out from $from, some minutes ..."
    cd "$stage"
    apptainer build "${options[@]}" --bind "$PWD/wheels:/media" "${args[@]}" "$new" source/containers/anlp.def ||
        fail "apptainer did not build it (above: why); what was at $out is as it was"
    say "testing it ..."
    apptainer test "$new" || fail "the new image does not pass its test; what was at $out is as it was"
    (cd "$(dirname "$out")" && sha256sum "$(basename "$new")" | sed "s|  .*|  $(basename "$out")|" >"$new.sha256")
    mv "$new" "$out" # in one step: two builds at once, or one that is interrupted, leave a whole image
    mv "$new.sha256" "$out.sha256"
    say "$out: $(($(stat -c %s "$out") / 1000000)) MB, sha256 $(cut -c 1-12 "$out.sha256")..."
}

tidy() { # an apptainer that is interrupted leaves its unpacked tree, some GB
    rm -rf "$scratch" "$APPTAINER_TMPDIR" ${new:+"$new" "$new.sha256"} 2>/dev/null || say "note: could not remove $APPTAINER_TMPDIR"
}
space=${APPTAINER_TMPDIR:-${TMPDIR:-/tmp}} new=""
scratch=$(mktemp -d)
APPTAINER_TMPDIR=$(mktemp -d "$space/anlp-build-XXXXXX") || fail "$space cannot be written: APPTAINER_TMPDIR=/scratch/\$USER" 2
export APPTAINER_TMPDIR
trap tidy EXIT
case $task in
    lock) write_lock ;;
    stage)
        [ ! -e "$stage/source" ] || [ -e "$stage/labels" ] || fail "--stage: $stage/source is not of a --stage; name another folder" 2
        mkdir -p "$stage"
        stage=$(cd "$stage" && pwd)
        rm -rf "$stage/source" "$stage/labels"
        collect
        say "staged: containers/build.sh --staged $stage"
        ;;
    build)
        check_machine
        mkdir -p "$(dirname "$out")" 2>/dev/null || fail "-o: $(dirname "$out") cannot be made" 2
        out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
        new=$(dirname "$out")/.$$-$(basename "$out" .sif).sif
        touch "$new" 2>/dev/null || fail "-o: $(dirname "$out") cannot be written" 2
        if [ -n "$staged" ]; then
            [ -r "$staged/labels" ] || fail "--staged: $staged was not written by --stage" 2
            stage=$(cd "$staged" && pwd)
            variant=$(sed -n 's/^VARIANT=//p' "$stage/labels")
        else
            stage=$scratch
        fi
        note_space "$space" "$([ "$variant" = cpu ] && echo 3 || echo 15)"
        [ "$stage" != "$scratch" ] || collect
        build
        ;;
esac
