# Running cargo test, and one line at the end that sums it up.
# shellcheck shell=bash

# sum_test_results LOG: cargo test prints a summary for each test binary; this adds them up. Prints
# nothing when there was none (nothing compiled, so nothing ran).
sum_test_results() {
    sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
        /^test result: (ok|FAILED)\. [0-9]+ passed; [0-9]+ failed; [0-9]+ ignored;/ {
            seen = 1; passed += $4; failed += $6; ignored += $8
        }
        END {
            if (!seen) exit
            line = (passed + 0) " passed, " (failed + 0) " failed"
            if (ignored) line = line ", " ignored " skipped"
            print line
        }'
}

# build_postrider PYTHON: builds the binary as users get it (default features) and sets POSTRIDER_BIN
# to a copy of it. A copy, because `cargo test --all-features` may build another one over it.
build_postrider() {
    build_copy "$1" dev || return 1
    export POSTRIDER_BIN=$copy
}

# build_release PYTHON: the same with optimisations, in POSTRIDER_RELEASE_BIN.
build_release() {
    build_copy "$1" release || return 1
    export POSTRIDER_RELEASE_BIN=$copy
}

# build_copy PYTHON PROFILE: sets `copy` to the path of the binary's copy.
build_copy() {
    local python=$1 profile=$2 built messages
    messages=$(mktemp)
    if ! cargo build --locked -p postrider --bin postrider --profile "$profile" \
        --message-format=json-render-diagnostics >"$messages" </dev/null; then
        rm -f "$messages"
        return 1
    fi
    # Cargo knows where it put the binary; CARGO_TARGET_DIR and configuration files move it about.
    built=$("$python" -c '
import json, sys
for line in sys.stdin:
    try:
        message = json.loads(line)
    except ValueError:
        continue
    if message.get("reason") == "compiler-artifact" and message.get("executable") and message["target"]["name"] == "postrider":
        print(message["executable"])
' <"$messages" | tail -n 1)
    rm -f "$messages"
    [[ -x "$built" ]] || return 1
    copy="$(dirname "$(dirname "$built")")/e2e/postrider-$profile"
    mkdir -p "$(dirname "$copy")"
    # By rename, so that a Postrider still running from the old file does not block the new one.
    cp -f "$built" "$copy.new"
    mv -f "$copy.new" "$copy"
}

# test_scope ARGUMENT…: sets `scope` to the whole workspace, unless packages are chosen: --workspace
# would win over them.
test_scope() {
    local argument
    scope=(--workspace)
    for argument in "$@"; do
        case $argument in
        --) break ;;
        -p | -p?* | --package | --package=*) scope=() ;;
        esac
    done
}

# compile_tests ARGUMENT…: what run_cargo_test would compile first, for the time in which servers
# boot. Whether it failed is left to run_cargo_test to say.
compile_tests() {
    local argument arguments=() scope
    for argument in "$@"; do
        case $argument in
        --) break ;;
        # Cargo cannot compile documentation tests beforehand.
        --doc | --help | -h) return ;;
        esac
        arguments+=("$argument")
    done
    test_scope "$@"
    cargo test "${scope[@]}" --locked --all-features --no-run "${arguments[@]}" 2>&1 </dev/null |
        sed '/^ *Executable /d' || true
}

# run_cargo_test ARGUMENT…: returns cargo's exit code; the summed line is the last thing printed.
run_cargo_test() {
    local log status=0 color=() fail_fast=(--no-fail-fast) scope argument sum
    for argument in "$@"; do
        case $argument in
        --) break ;;
        --no-fail-fast) fail_fast=() ;;
        esac
    done
    test_scope "$@"
    [[ -t 1 ]] && color=(--color always)
    log=$(mktemp)
    # One stream, so that the order of what is printed is the order in which it happened; what counts
    # is the exit code of cargo, not of tee.
    cargo test "${color[@]}" "${scope[@]}" --locked --all-features "${fail_fast[@]}" "$@" 2>&1 </dev/null | tee "$log" || status=${PIPESTATUS[0]}
    sum=$(sum_test_results "$log")
    rm -f "$log"
    if [[ $status -ne 0 ]]; then
        printf '\ncargo test exited with %s\n' "$status"
    fi
    if [[ -n $sum ]]; then
        printf '\n%s\n' "$sum"
    fi
    return "$status"
}
