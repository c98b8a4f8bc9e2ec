# strace: one test reads the system calls of a running Postrider and asserts that the event is synced
# to disk before its answer is sent.
# shellcheck shell=bash

need_strace() {
    if [[ $(uname -s) != Linux ]]; then
        note "no strace on $(uname -s): the system-call test runs on Linux only"
        return
    fi
    have strace || apt_install strace strace
    # Containers often forbid ptrace. Say so here, where the reason is known.
    strace -o /dev/null true 2>/dev/null ||
        warn "strace cannot trace here (a container needs --cap-add=SYS_PTRACE); the system-call test will fail"
}
