# The build directory of CI: outside the clone, so that the next clone finds its dependencies compiled.
# shellcheck shell=bash

# Above this it is thrown away: Cargo never deletes what an older lock file left behind.
ci_cache_limit_mb=12288

use_ci_build_cache() {
    if [[ -n "${CARGO_TARGET_DIR:-}" ]]; then
        note "CARGO_TARGET_DIR is set: building in $CARGO_TARGET_DIR"
        return
    fi
    if [[ "${CI:-}" != true ]]; then
        note "not in CI: building in the checkout's target directory"
        return
    fi
    local base target stamp
    base=$(cache_dir)
    target="$base/target"
    mkdir -p "$base"

    # Held until this run ends (the descriptor outlives `exec`). A second run at the same time builds
    # in its own clone, for it would find files deleted under it.
    if have flock; then
        exec {ci_cache_lock}>"$base/target.lock"
        if ! flock -n "$ci_cache_lock"; then
            note "another run holds $target: building in the checkout's target directory"
            return
        fi
    fi

    stamp=$(rustc -vV)
    if [[ -d $target && "$(cat "$target/.rustc-version" 2>/dev/null)" != "$stamp" ]]; then
        note "another compiler filled $target: starting afresh"
        rm -rf "$target"
    elif [[ -d $target ]] && (($(du -sm "$target" | cut -f 1) > ci_cache_limit_mb)); then
        note "$target has outgrown $ci_cache_limit_mb MB: starting afresh"
        rm -rf "$target"
    fi
    mkdir -p "$target"
    printf '%s\n' "$stamp" >"$target/.rustc-version"
    export CARGO_TARGET_DIR="$target"
    # Incremental state helps the second build of one checkout; a clone is built once.
    export CARGO_INCREMENTAL=0

    # Cargo takes a workspace crate for fresh by the times of its files, and knows it by its path inside
    # the workspace. A clone older than the one that was built last would get the other's code. So
    # dependencies are kept (their sources never change), our own crates never.
    if ! cargo clean --quiet --workspace --locked; then
        note "this cargo cannot delete the workspace's crates alone: starting afresh"
        rm -rf "$target"
    fi
    note "building in $target"
}
