# Sourced by quickstart and check: installs the Debian packages that are missing, and says what takes time.

BUILD_PACKAGES="cmake ninja-build g++ pkg-config perl nbdkit nbdkit-plugin-dev libcurl4-openssl-dev libssl-dev
    libfmt-dev libnbd-dev libpugixml-dev libxxhash-dev libzstd-dev nlohmann-json3-dev zlib1g-dev libmicrohttpd-dev ca-certificates"
CLIENT_PACKAGES="file libnbd-bin qemu-utils"
TEST_PACKAGES="libgmock-dev libgtest-dev clang clang-format clang-tidy libclang-rt-dev python3 python3-libnbd nbdkit-plugin-python python3-boto3
    radosgw ceph-mon ceph-osd ceph-common s3backer openssl e2fsprogs fuse3 iproute2 mount procps sqlite3 systemd util-linux
    swift swift-proxy swift-account swift-container swift-object memcached nginx haproxy squid prometheus"
# Services of the tests come from npm: Node.js with it, in whatever way it is installed.
command -v npm >/dev/null && command -v node >/dev/null || TEST_PACKAGES="$TEST_PACKAGES nodejs npm"

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# help_only FILE ARGUMENTS...: prints the comment that the script begins with, and ends it, if the first argument is --help.
help_only() {
    case ${2-} in
        -h | --help)
            sed -n '2,/^[^#]/ { s/^# \{0,1\}//p }' "$1"
            exit 0 ;;
    esac
}

# need_packages NAME...: nothing to do and nothing asked for when all are there.
need_packages() {
    missing=
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || die "install by hand what is missing:$missing"
    [ "$(id -u)" = 0 ] || die "packages are missing, and only root can install them. Run once, as root:
    apt-get update && apt-get install --no-install-recommends$missing"
    say "Installing:$missing"
    # Services that the packages bring (a Ceph cluster of one's own, say) are not wanted: only their programs are.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap 'rm -f '$policy EXIT
    fi
    apt-get update -q || die "apt-get update failed: is a Debian mirror reachable?"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing ||
        die "these packages could not be installed:$missing"
    if [ "$(trap -p EXIT 2>/dev/null)" ]; then rm -f $policy; trap - EXIT; fi
}
