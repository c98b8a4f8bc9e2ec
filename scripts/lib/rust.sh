# Rust and a C compiler: what the workspace needs to build at all.
# shellcheck shell=bash

# The oldest toolchain that builds the workspace, as the root Cargo.toml has it.
rust_version_wanted() {
    sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$POSTRIDER_ROOT/Cargo.toml" | head -n 1
}

need_rust() {
    # A login shell would have it on the PATH; a CI job or `sudo` may not.
    if ! have cargo && [[ -x "${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo" ]]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
        export PATH
    fi
    local wanted found
    wanted=$(rust_version_wanted)
    have cargo || die "cargo is missing: install Rust $wanted or newer (https://rustup.rs)"
    have rustc || die "rustc is missing: install Rust $wanted or newer (https://rustup.rs)"
    found=$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
    if [[ $(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1) != "$wanted" ]]; then
        die "Rust $found is too old: Postrider needs $wanted or newer (rustup update stable)"
    fi
}

# Formatter and linter; only CI needs them.
need_rust_components() {
    local missing=()
    cargo fmt --version >/dev/null 2>&1 || missing+=(rustfmt)
    cargo clippy --version >/dev/null 2>&1 || missing+=(clippy)
    [[ ${#missing[@]} -eq 0 ]] && return
    have rustup || die "missing: ${missing[*]}, and no rustup to install them with"
    rustup component add "${missing[@]}" || die "could not install: ${missing[*]}"
}

# SQLite and ring are compiled from C.
need_c_compiler() {
    have "${CC:-cc}" && return
    [[ -z "${CC:-}" ]] || die "CC is set to '$CC', which is not a command"
    apt_install "a C compiler" gcc libc6-dev
    have cc || die "there is still no 'cc' after installing gcc"
}
