#!/usr/bin/env bash
# A real Apptainer on Debian 12, for tests: installs it where it is missing. Run as root; `apt remove apptainer` undoes it.
#
# Debian 12 has none, and the package of a later suite (APPTAINER_SUITE, sid) is linked against a newer libc. So that package
# is unpacked, given the libraries of its own suite in a folder that nothing else looks into, and packed again; the
# machine's own libc and its apt sources stay as they are. APPTAINER_DEB_CACHE=FOLDER keeps the result for the next time.
set -euo pipefail

suite=${APPTAINER_SUITE:-sid}
cache=${APPTAINER_DEB_CACHE:-}
triplet=x86_64-linux-gnu
private=/usr/lib/$triplet/apptainer/private
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

apt() { apt-get -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=5 "$@"; }

# Where udev does not care for it only root may use FUSE, and every user's start of an image would unpack it first.
open_fuse() {
    [ -e /dev/fuse ] || mknod /dev/fuse c 10 229 || return 0
    chmod 0666 /dev/fuse
}

mirror() { # of the archive labelled Debian, as apt here has it
    # shellcheck disable=SC2016  # apt, not the shell, fills these in
    apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian|//p' | head -n 1
}

# The program and the libraries that it is linked with, fetched by an apt that has a configuration of its own.
fetch() { # FOLDER
    local url
    url=${DEBIAN_MIRROR:-$(mirror)}
    [ -n "$url" ] || fail "apt's configuration names no Debian mirror: set DEBIAN_MIRROR"
    mkdir -p "$1"/{lists/partial,archives/partial,sources,deb}
    : >"$1/status"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
        "$url" "$suite" /usr/share/keyrings/debian-archive-keyring.gpg >"$1/sources/suite.sources"
    cat >"$1/apt.conf" <<TEXT
Dir::State::lists "$1/lists";
Dir::State::status "$1/status";
Dir::Cache::archives "$1/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$1/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Check-Valid-Until "false"; # a mirror may lag behind the week for which sid's index is valid; signatures count
TEXT
    (
        cd "$1/deb"
        export APT_CONFIG=$1/apt.conf
        apt update >/dev/null
        apt download apptainer libc6 libseccomp2 libsqlite3-0 >/dev/null
    )
}

repack() { # FOLDER, prints the package
    local program version
    dpkg-deb -R "$1"/deb/apptainer_*.deb "$1/tree"
    for library in "$1"/deb/lib*.deb; do dpkg-deb -x "$library" "$1/libraries"; done
    mkdir -p "$1/tree$private"
    find "$1/libraries" -path "*/$triplet/*.so*" ! -path '*/gconv/*' ! -type d -exec cp -a -t "$1/tree$private" {} +
    for program in /usr/bin/apptainer "/usr/lib/$triplet/apptainer/bin/starter"; do
        # RPATH and not RUNPATH: the libraries themselves must find each other by it, with any LD_LIBRARY_PATH
        patchelf --set-interpreter "$private/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$private" "$1/tree$program"
    done
    version=$(dpkg-deb -f "$1"/deb/apptainer_*.deb Version)+private
    cat >"$1/tree/DEBIAN/control" <<TEXT
Package: apptainer
Version: $version
Architecture: amd64
Maintainer: tests <root@localhost>
Depends: ca-certificates, debootstrap, e2fsprogs, fakeroot, fuse-overlayfs, fuse2fs, fuse3, gocryptfs, squashfs-tools, squashfuse, uidmap
Description: Apptainer of Debian $suite with the libraries of that suite, packed again for tests
TEXT
    rm -f "$1/tree/DEBIAN/md5sums"
    dpkg-deb -Zgzip -z1 --root-owner-group -b "$1/tree" "$1/apptainer_${version#*:}_amd64.deb" >/dev/null
    echo "$1/apptainer_${version#*:}_amd64.deb"
}

[ "$(id -u)" = 0 ] || fail "must be run as root"
if apptainer --version 2>/dev/null; then
    open_fuse
    exit 0
fi
[ "$(dpkg --print-architecture)" = amd64 ] || fail "only for amd64"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
apt update >/dev/null
package=$([ -z "$cache" ] || find "$cache" -name 'apptainer_*+private_amd64.deb' 2>/dev/null | sort -V | tail -n 1)
if [ -z "$package" ]; then
    command -v patchelf >/dev/null || apt install -y --no-install-recommends patchelf >/dev/null
    fetch "$scratch"
    package=$(repack "$scratch")
    [ -z "$cache" ] || { mkdir -p "$cache" && cp "$package" "$cache/"; }
fi
# as root throughout: apt's own user cannot look into the folder
apt -o APT::Sandbox::User=root install -y --no-install-recommends "$package" >"$scratch/log" 2>&1 ||
    { cat "$scratch/log" >&2 && fail "apt did not install it"; }
open_fuse
apptainer --version
