# Receivers' side of the signature: the `standardwebhooks` packages that other people's services
# verify with, from PyPI and npm. A test signs with Postrider and lets them judge.
#
# Pinned in clients/; installed once into the cache, in directories named after the pins, so that two
# checkouts with different pins do not undo each other's work.
# shellcheck shell=bash

clients_pins="$POSTRIDER_ROOT/scripts/lib/clients"

# A Python that can make virtual environments (Debian splits `venv` off), new enough for Schemathesis.
python_ok() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }

need_python() {
    local python
    for python in ${POSTRIDER_PYTHON:+"$POSTRIDER_PYTHON"} python3 /usr/bin/python3; do
        if python_ok "$python"; then
            python_found=$python
            return
        fi
    done
    apt_install "Python with venv" python3 python3-venv
    python_ok /usr/bin/python3 || die "python3 still cannot make a virtual environment after installing python3-venv"
    python_found=/usr/bin/python3
}

need_node() {
    if ! have node; then
        apt_install Node.js nodejs
    fi
    have node || die "there is still no 'node' after installing nodejs"
    POSTRIDER_TEST_NODE=$(command -v node)
    export POSTRIDER_TEST_NODE
}

# npm is needed for the first installation only.
need_npm() {
    have npm || apt_install npm npm
    have npm || die "there is still no 'npm' after installing it"
}

pins_hash() { cat "$@" | cksum | tr -d ' \n'; }

# Both are called with `||` behind them, where bash ignores `set -e`: hence the chains of `&&`. The
# file `complete` is made last, and so tells a finished installation from one that was broken off.
install_python_client() {
    local dir=$1
    # The import fails, too, when the Python that made the environment is gone.
    [[ -e "$dir/complete" ]] && "$dir/bin/python" -c 'import standardwebhooks' >/dev/null 2>&1 && return
    note "installing standardwebhooks for Python into $dir"
    rm -rf "$dir" &&
        "$python_found" -m venv "$dir" &&
        "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
            --only-binary :all: --requirement "$clients_pins/requirements.txt" </dev/null &&
        "$dir/bin/python" -c 'import standardwebhooks' &&
        touch "$dir/complete"
}

# Schemathesis makes requests of the API's OpenAPI document; it is no receiver, but comes the same way.
install_schemathesis() {
    local dir=$1
    [[ -e "$dir/complete" ]] && "$dir/bin/python" -c 'import schemathesis' >/dev/null 2>&1 && return
    note "installing Schemathesis into $dir"
    rm -rf "$dir" &&
        "$python_found" -m venv "$dir" &&
        "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
            --only-binary :all: --requirement "$clients_pins/schemathesis.txt" </dev/null &&
        "$dir/bin/python" -c 'import schemathesis' &&
        touch "$dir/complete"
}

need_schemathesis() {
    need_python
    local base dir
    base="$(cache_dir)/test-clients"
    dir="$base/schemathesis-$(pins_hash "$clients_pins/schemathesis.txt")"
    with_lock "$base/.lock" install_schemathesis "$dir" || die "could not install Schemathesis from PyPI"
    export POSTRIDER_TEST_SCHEMATHESIS="$dir/bin/schemathesis"
}

install_node_client() {
    local dir=$1
    [[ -e "$dir/complete" && -d "$dir/node_modules/standardwebhooks" ]] && return
    need_npm
    note "installing standardwebhooks for Node.js into $dir"
    rm -rf "$dir" &&
        mkdir -p "$dir" &&
        cp "$clients_pins/package.json" "$clients_pins/package-lock.json" "$dir/" &&
        (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error </dev/null >/dev/null) &&
        NODE_PATH="$dir/node_modules" "$POSTRIDER_TEST_NODE" -e 'require("standardwebhooks")' &&
        touch "$dir/complete"
}

need_signature_clients() {
    need_python
    need_node
    local base python_dir node_dir
    base="$(cache_dir)/test-clients"
    python_dir="$base/python-$(pins_hash "$clients_pins/requirements.txt")"
    node_dir="$base/node-$(pins_hash "$clients_pins/package.json" "$clients_pins/package-lock.json")"
    with_lock "$base/.lock" install_python_client "$python_dir" || die "could not install standardwebhooks from PyPI"
    with_lock "$base/.lock" install_node_client "$node_dir" || die "could not install standardwebhooks from npm"
    export POSTRIDER_TEST_PYTHON="$python_dir/bin/python"
    export POSTRIDER_TEST_NODE_PATH="$node_dir/node_modules"
}
