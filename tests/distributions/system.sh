# Sourced by tests/distributions/run and tests/distributions/packages: a Debian in a directory, and what runs in it.

# read_arguments [--root DIRECTORY] bookworm|trixie [TESTS]: sets `root` (a new directory in $TMPDIR unless one is named), `keeps` (not
# empty if it is to stay), `release` and `tests`. Nothing is made before all of them are right.
read_arguments() {
    root='' keeps=''
    if [ "${1-}" = --root ]; then
        [ -n "${2-}" ] || die "--root needs a directory"
        root=$2 keeps=yes
        shift 2
    fi
    release=${1-}
    tests=${2-}
    case $release in bookworm | trixie) ;; *) die "name a release: bookworm or trixie (--help says more)" ;; esac
    need_tools
    root=${root:-$(mktemp -d "${TMPDIR:-/tmp}/nbdstack-$release.XXXXXX")}
    mkdir -p "$root"
    root=$(cd "$root" && pwd)
}

# need_tools: what makes systems is there; sets `mirror`, that of this machine's apt, and exports its proxy.
need_tools() {
    [ "$(id -u)" = 0 ] || die "only root can make a system in a directory"
    command -v debootstrap >/dev/null || die "debootstrap was not found: apt-get install debootstrap"
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
    [ -n "$mirror" ] || die "no Debian mirror stands in apt's sources on this machine"
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    if [ -n "${proxy-}" ]; then export http_proxy=$proxy; fi
}

# make_system RELEASE DIRECTORY: a bare one, unless one is there. debootstrap removes its own directory when it has finished.
make_system() {
    mkdir -p "$2"
    chmod 755 "$2"  # the tests have servers that run as other users
    if [ ! -e "$2/usr/bin/apt-get" ] || [ -e "$2/debootstrap" ]; then
        say "Making a bare $1 in $2"
        log=$(debootstrap --variant=minbase "$1" "$2" "$mirror" 2>&1) ||
            { tail -n 20 <<<"$log" >&2; die "debootstrap failed"; }
        printf '127.0.0.1 localhost\n::1 localhost\n' >"$2/etc/hosts"  # as an installed system has it
    fi
}

# copy_tree DIRECTORY: the committed tree to /root/nbdstack there, unless this commit is there already.
copy_tree() {
    commit=$(git -C "$source_directory" rev-parse HEAD)
    tree=$1/root/nbdstack
    if [ "$(cat "$tree.commit" 2>/dev/null)" != "$commit" ]; then
        rm -rf "$tree" "$tree.commit"
        mkdir "$tree"
        git -C "$source_directory" archive HEAD | tar -x -C "$tree"
        echo "$commit" >"$tree.commit"
    fi
}

# run_in DIRECTORY COMMAND...: in the system there. Mounts, servers and whatever else it leaves end with its namespaces, also if
# this script is killed. `inside` is its process, for end_inside.
inside=''
run_in() {
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child \
        "$source_directory/tests/distributions/enter" "$@" &
    inside=$!
    status=0
    wait "$inside" || status=$?
    inside=''
    return $status
}

end_inside() {
    if [ -n "$inside" ] && kill -KILL "$inside" 2>/dev/null; then wait "$inside" || true; fi
}

# remove_system DIRECTORY: nothing is mounted there, since mounts were in a namespace that has ended. Its last processes may take
# a moment longer.
remove_system() {
    rm -rf --one-file-system "$1" 2>/dev/null || { sleep 1; rm -rf --one-file-system "$1"; }
}
