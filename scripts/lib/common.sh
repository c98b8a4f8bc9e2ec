# Shared by scripts/test, scripts/services and .ci/run: messages, the cache directory, installing with apt.
# Sourced by bash with `set -euo pipefail` on.
# shellcheck shell=bash

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
    echo "error: bash 4.4 or newer is needed, this is $BASH_VERSION (on macOS: brew install bash)" >&2
    exit 2
fi

say() { printf '\n==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# Exit code 2: something is missing that this script cannot or may not install. 1 is a failed check.
die() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

have() { command -v "$1" >/dev/null 2>&1; }

# Seconds since this script began, for the stage times.
now() { printf '%s' "$SECONDS"; }

# Where downloads, tools and the CI build are kept between runs, away from the checkout. Everything
# in it can be deleted at any time.
cache_dir() {
    if [[ -n "${POSTRIDER_CACHE:-}" ]]; then
        printf '%s' "$POSTRIDER_CACHE"
    elif [[ -n "${XDG_CACHE_HOME:-}" ]]; then
        printf '%s' "$XDG_CACHE_HOME/postrider"
    elif [[ -n "${HOME:-}" ]]; then
        printf '%s' "$HOME/.cache/postrider"
    else
        printf '%s' "$POSTRIDER_ROOT/target/cache"
    fi
}

# with_lock FILE COMMAND…: one at a time, so that two runs do not fill one directory together.
# Without flock (not Linux) it just runs.
with_lock() {
    local file=$1
    shift
    if ! have flock; then
        "$@"
        return
    fi
    mkdir -p "$(dirname "$file")"
    local fd status=0
    exec {fd}>"$file"
    flock "$fd"
    "$@" || status=$?
    exec {fd}>&-
    return "$status"
}

# as_root COMMAND…: directly, or by sudo; without a terminal only where sudo asks for no password.
as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif have sudo && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
        sudo "$@"
    else
        return 1
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -qq "$@" </dev/null
}

# For the message to those who cannot become root, so that they are told once.
apt_everything=(gcc libc6-dev strace python3 python3-venv nodejs npm golang-go default-jdk-headless maven rabbitmq-server redis-server)

apt_updated=""

# apt_install WHAT-FOR PACKAGE…
apt_install() {
    local what=$1
    shift
    have apt-get || die "$what is missing. Install it with your package manager (on Debian: $*)."
    if [[ $EUID -ne 0 ]] && ! as_root true; then
        die "$what is missing, and installing it takes root. All that this may ask for: apt-get install ${apt_everything[*]}"
    fi
    note "installing $what: $*"
    if [[ -z $apt_updated ]]; then
        # An old package list names files that are gone from the mirrors; a stale one may still do.
        apt_get update || warn "apt-get update failed; going on with the package lists there are"
        apt_updated=yes
    fi
    apt_get install --no-install-recommends "$@" >/dev/null || die "could not install $what: apt-get install $*"
    hash -r
}
