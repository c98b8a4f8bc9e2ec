# cargo-deny: licences, bans and sources of the dependency tree, by deny.toml.
# shellcheck shell=bash

cargo_deny_version=0.20.2

need_cargo_deny() {
    cargo_deny_bin="$(cache_dir)/tools/cargo-deny-$cargo_deny_version/bin/cargo-deny"
    with_lock "$(cache_dir)/tools/.lock" install_cargo_deny || die "could not install cargo-deny $cargo_deny_version"
}

install_cargo_deny() {
    if [[ -x $cargo_deny_bin ]] && [[ $("$cargo_deny_bin" --version) == "cargo-deny $cargo_deny_version" ]]; then
        return
    fi
    note "installing cargo-deny $cargo_deny_version"
    # It reads some hundred manifests in a few seconds however it was compiled, so compile it fast: its
    # own release profile (fat LTO, one code generation unit) takes several times as long. Its build
    # directory is a temporary one, not ours.
    env -u CARGO_TARGET_DIR -u CARGO_BUILD_TARGET -u RUSTFLAGS \
        CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
        CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        cargo install --quiet --locked --force \
        --root "$(dirname "$(dirname "$cargo_deny_bin")")" \
        "cargo-deny@$cargo_deny_version"
}

# cargo_deny check …: duplicates are warnings; without their inclusion graphs the list stays readable.
cargo_deny() {
    local command=$1
    shift
    # `cargo deny` finds its subcommand on the PATH, where another version may lie in front.
    "$cargo_deny_bin" --locked "$command" --hide-inclusion-graph "$@"
}
