# RabbitMQ and Redis of our own: starting, finding again and stopping them. Used by scripts/services
# (for developers) and scripts/test; what is particular to one server is in rabbitmq.sh and redis.sh.
#
# Nothing here touches a RabbitMQ or Redis of the system, nor is touched by it: ports, node names, the
# Erlang port mapper (epmd), cookies, configuration, data and logs are all our own, and everything
# that belongs to one set of servers lies in one directory, its *instance*:
#
#   ports             name=number, as they were chosen
#   NAME.pid          the process of the service NAME (epmd, rabbitmq, redis, …)
#   NAME/             its configuration and data
#   log/              what it wrote
#   home/             its home directory, so that no file of the user's home is read or written
#   rabbitmqctl       runs rabbitmqctl against this RabbitMQ
#   exports           what its users need in their environment
#   owner             only in test runs: who will remove it
#
# A process is known as ours by a variable in its environment that names the instance. A number in a
# file alone proves nothing: the process may be gone and its number be somebody else's.
# shellcheck shell=bash

services_mark=POSTRIDER_SERVICES_INSTANCE

# Ports of the instance at hand, by name.
declare -A ports=()

# shellcheck disable=SC2034 # used by scripts/services
services_for_dev=(epmd rabbitmq redis)
services_for_tests=(epmd rabbitmq redis redis-log redis-cluster-1 redis-cluster-2 redis-cluster-3)

# ---- installing ----------------------------------------------------------------------------------

need_services() {
    local missing=()
    find_rabbitmq || missing+=(rabbitmq-server)
    redis_installed || missing+=(redis-server)
    if [[ ${#missing[@]} -gt 0 ]]; then
        if [[ $(uname -s) != Linux ]]; then
            die "missing: ${missing[*]}. Install RabbitMQ 3.10 or newer and Redis 7 or newer (on macOS: brew install rabbitmq redis)."
        fi
        install_without_starting "a RabbitMQ or Redis server" "${missing[@]}"
    fi
    find_rabbitmq || die "RabbitMQ is installed, but not where it was looked for: set POSTRIDER_RABBITMQ_SBIN to the directory of its rabbitmq-server"
    redis_installed || die "there are still no 'redis-server' and 'redis-cli' after installing redis-server"
    check_rabbitmq_version
    check_redis_version
    have epmd || die "'epmd', a part of Erlang, is not on the PATH"
}

# Debian starts what it installs. These servers are wanted as programs, not as services of the
# machine, so a policy forbids that for as long as this script lives: should it be killed before it
# removes the file, the file itself notices.
install_without_starting() {
    local policy=/usr/sbin/policy-rc.d status=0 ours=""
    if have apt-get && [[ ! -e $policy ]] && as_root true; then
        ours=yes
        as_root tee "$policy" >/dev/null <<POLICY
#!/bin/sh
# Written by Postrider's scripts/services while it installs packages; has no effect afterwards.
[ -d /proc/$$ ] && exit 101
exit 0
POLICY
        as_root chmod 755 "$policy"
    fi
    # In a subshell, because it may exit and the policy has to go.
    (apt_install "$@") || status=$?
    [[ -z $ours ]] || as_root rm -f "$policy"
    [[ $status -eq 0 ]] || exit "$status"
    if [[ -d /run/systemd/system ]]; then
        note "They were not started, but will be at the next boot. To prevent it: systemctl disable rabbitmq-server redis-server"
    fi
    hash -r
}

# ---- processes -----------------------------------------------------------------------------------

# is_of_instance DIR PID. The same path below another root (a chroot, a container that shows its
# processes to its host) is another directory.
is_of_instance() {
    if [[ -d /proc/self ]]; then
        grep -qzFx -- "$services_mark=$1" "/proc/$2/environ" 2>/dev/null && [[ /proc/$2/root -ef / ]]
    else
        ps eww -o command= -p "$2" 2>/dev/null | grep -qF -- "$services_mark=$1"
    fi
}

# pid_of DIR NAME: prints the process number if it runs and is ours.
pid_of() {
    local pid=""
    read -r pid 2>/dev/null <"$1/$2.pid" || return 1
    [[ $pid =~ ^[0-9]+$ ]] && is_of_instance "$1" "$pid" && printf '%s' "$pid"
}

is_running() { pid_of "$1" "$2" >/dev/null; }

# Every process of the instance, those without a file included: helpers of Erlang, and what was
# started a moment before its starter was killed.
pids_of_instance() {
    local name pid
    if [[ ! -d /proc/self ]]; then
        for name in "${services_for_tests[@]}"; do pid_of "$1" "$name" && echo; done
        return 0
    fi
    # One grep for all, then a closer look at the few that it finds.
    { grep -lzFx -- "$services_mark=$1" /proc/[0-9]*/environ 2>/dev/null || true; } |
        while IFS=/ read -r _ _ pid _; do
            if is_of_instance "$1" "$pid"; then printf '%s\n' "$pid"; fi
        done
}

# spawn DIR NAME VARIABLE=VALUE… -- COMMAND…
#
# In a session of its own, so that Ctrl-C in the terminal does not reach it; as nobody's child, since
# bash, when a signal ends it, may wait for all of its children; with a clean environment, since both
# servers read many variables; without our open files, or it would hold our locks.
spawn() {
    local dir=$1 name=$2 variables=() detach=() try
    shift 2
    while [[ $1 != -- ]]; do
        variables+=("$1")
        shift
    done
    shift
    have setsid && detach=(setsid)
    rm -f "$dir/$name.pid"
    # shellcheck disable=SC2016 # expanded by the inner bash
    ("${detach[@]}" env -i "PATH=$PATH" "HOME=$dir/home" LC_ALL=C.UTF-8 "$services_mark=$dir" "${variables[@]}" \
        bash -c '
            for ((fd = 3; fd < 64; fd++)); do eval "exec $fd>&-"; done
            trap "" HUP
            # Not the hard limit whatever it is: Erlang prepares for as many as it may open.
            files=$(ulimit -H -n)
            if [[ $files == unlimited ]] || ((files > 65536)); then files=65536; fi
            ulimit -n "$files"
            cd "$1" && echo $$ >"$2.pid" && shift 2 && exec "$@"
        ' spawn "$dir" "$name" "$@" </dev/null >>"$dir/log/$name.out" 2>&1 &)
    for ((try = 0; try < 200; try++)); do
        [[ -s $dir/$name.pid ]] && return
        sleep 0.05
    done
    warn "$name was not started within 10 s"
    return 1
}

# await DIR NAME SECONDS CONDITION…: polls the condition, as long as the service NAME lives.
await() {
    local dir=$1 name=$2 bound=$3 began=$SECONDS why
    shift 3
    until "$@"; do
        if ! is_running "$dir" "$name"; then
            why="has ended"
        elif ((SECONDS - began >= bound)); then
            why="is not ready after $bound s"
        else
            sleep 0.1
            continue
        fi
        {
            printf 'error: %s %s. Its last lines (%s):\n' "$name" "$why" "$dir/log"
            cat "$dir/log/$name.out" "$dir/log/$name.log" 2>/dev/null | tail -n 25 | sed 's/^/    /'
        } >&2
        return 1
    done
}

# stop_service DIR NAME: lets it finish what it does; returns once it is gone.
stop_service() {
    local dir=$1 name=$2 pid began=$SECONDS
    pid=$(pid_of "$dir" "$name") || return 0
    kill -TERM "$pid" 2>/dev/null || true
    while is_of_instance "$dir" "$pid"; do
        if ((SECONDS - began >= 30)); then
            warn "$name (process $pid) has not stopped in 30 s: killing it"
            kill -KILL "$pid" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    rm -f "$dir/$name.pid"
}

# kill_instance DIR: at once, for data that nobody needs any more, and for stragglers.
kill_instance() {
    local dir=$1 pids round
    for ((round = 0; round < 100; round++)); do
        mapfile -t pids < <(pids_of_instance "$dir")
        # Not a bare `return`: in an exit trap that returns the status with which the script exits.
        [[ ${#pids[@]} -eq 0 ]] && return 0
        kill -KILL "${pids[@]}" 2>/dev/null || true
        sleep 0.05
    done
    warn "processes of $dir do not end: ${pids[*]}"
    return 1
}

# ---- ports ---------------------------------------------------------------------------------------

# Asks by connecting: that needs no tool and sees listeners of other users, too.
port_taken() { (exec 9<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

save_ports() {
    local name
    for name in "${!ports[@]}"; do printf '%s=%s\n' "$name" "${ports[$name]}"; done | sort >"$1/ports"
}

load_ports() {
    local name number
    ports=()
    while IFS='=' read -r name number; do
        [[ $number =~ ^[0-9]+$ ]] && ports[$name]=$number
    done <"$1/ports"
}

# Two sets of test servers never share a block, and one block serves all of a set.
ports_in_block=20

# pick_ports USED…: a free block below the range from which the kernel serves outgoing connections,
# avoiding the first ports (amqp) of other instances, which may not listen yet.
pick_ports() {
    local first try offset low=32768 used=" $* "
    read -r low _ 2>/dev/null </proc/sys/net/ipv4/ip_local_port_range || true
    ((low >= 20000 && low <= 32768)) || low=32768
    for ((try = 0; try < 200; try++)); do
        first=$((16000 + RANDOM % ((low - 16000) / ports_in_block) * ports_in_block))
        [[ $used == *" $first "* ]] && continue
        for ((offset = 0; offset < ports_in_block; offset++)); do
            port_taken "$((first + offset))" && continue 2
        done
        ports=(
            [amqp]=$first [management]=$((first + 1)) [epmd]=$((first + 2)) [dist]=$((first + 3))
            [redis]=$((first + 4)) [redis-log]=$((first + 5))
            [redis-cluster-1]=$((first + 6)) [redis-cluster-2]=$((first + 7)) [redis-cluster-3]=$((first + 8))
            [bus-1]=$((first + 9)) [bus-2]=$((first + 10)) [bus-3]=$((first + 11))
            [ctl]=$((first + 12)) [ctl-last]=$((first + ports_in_block - 1))
        )
        return
    done
    warn "no $ports_in_block free ports in a row between 16000 and $low"
    return 1
}

# ---- instances -----------------------------------------------------------------------------------

# prepare_instance DIR: the directories that every service expects.
prepare_instance() {
    mkdir -p "$1" && chmod 700 "$1" && mkdir -p "$1/home" "$1/log"
}

# ports_for NAME: what it listens on.
ports_for() {
    case $1 in
    rabbitmq) echo amqp management dist ;;
    redis-cluster-*) echo "$1" "bus-${1##*-}" ;;
    *) echo "$1" ;;
    esac
}

# launch DIR NAME…: starts what does not run yet and returns before it is ready. `ports` is set.
launch() {
    local dir=$1 name
    shift
    for name in "$@"; do
        is_running "$dir" "$name" && continue
        case $name in
        epmd)
            spawn "$dir" epmd -- epmd -address 127.0.0.1 -port "${ports[epmd]}"
            # Erlang would start one of its own if it found none.
            await "$dir" epmd 10 port_taken "${ports[epmd]}" || return 1
            ;;
        rabbitmq) launch_rabbitmq "$dir" || return 1 ;;
        redis*) launch_redis "$dir" "$name" || return 1 ;;
        esac
    done
}

# await_ready DIR NAME…: until each answers its clients.
await_ready() {
    local dir=$1 name
    shift
    for name in "$@"; do
        case $name in
        rabbitmq) ;; # the slowest by far: waited for last
        redis*) await "$dir" "$name" 60 redis_answers "${ports[$name]}" || return 1 ;;
        esac
    done
    if [[ " $* " == *" redis-cluster-1 "* ]]; then
        form_redis_cluster "$dir" || return 1
    fi
    await "$dir" rabbitmq 120 rabbitmq_answers "$dir"
}

# configure_test_instance DIR: `ports` is set.
configure_test_instance() {
    local name
    configure_rabbitmq "$1" guest guest || return 1
    for name in "${services_for_tests[@]}"; do
        case $name in redis*) configure_redis "$1" "$name" || return 1 ;; esac
    done
}

# export_lines NAME VALUE…: for a shell to read; quoted only where it must be, so that other programs
# can read it, too.
export_lines() {
    while [[ $# -ge 2 ]]; do
        if [[ $2 =~ ^[A-Za-z0-9_./:@,%=+-]+$ ]]; then
            printf 'export %s=%s\n' "$1" "$2"
        else
            printf 'export %s=%q\n' "$1" "$2"
        fi
        shift 2
    done
}

# write_test_exports DIR
write_test_exports() {
    local redis=redis://127.0.0.1
    export_lines \
        POSTRIDER_TEST_AMQP "amqp://guest:guest@127.0.0.1:${ports[amqp]}" \
        POSTRIDER_TEST_RABBITMQ_API "http://guest:guest@127.0.0.1:${ports[management]}" \
        POSTRIDER_TEST_RABBITMQCTL "$1/rabbitmqctl" \
        POSTRIDER_TEST_RABBITMQ_SBIN "$rabbitmq_sbin" \
        POSTRIDER_TEST_EPMD_PORT "${ports[epmd]}" \
        POSTRIDER_TEST_INSTANCE "$1" \
        POSTRIDER_TEST_REDIS "$redis:${ports[redis]}" \
        POSTRIDER_TEST_REDIS_LOG "$redis:${ports[redis-log]}" \
        POSTRIDER_TEST_REDIS_CLUSTER "$redis:${ports[redis-cluster-1]},$redis:${ports[redis-cluster-2]},$redis:${ports[redis-cluster-3]}" >"$1/exports"
}

# ---- one test run --------------------------------------------------------------------------------

# Not in memory by choice (/dev/shm), since durability is among the things tested. Mode 700, and refused
# if somebody else made it, because /tmp is everybody's.
test_runs_dir() {
    local dir=${TMPDIR:-/tmp}/postrider-test-$UID
    mkdir -p "$dir"
    [[ -O $dir && ! -L $dir ]] || die "$dir is not ours: set TMPDIR to another directory"
    chmod 700 "$dir"
    (cd "$dir" && pwd -P)
}

# started_at PID: tells a process from a later one with the same number.
started_at() {
    local stat
    if read -r stat 2>/dev/null <"/proc/$1/stat"; then
        # The second field is a name in parentheses, in which anything can stand.
        stat=${stat##*) }
        # shellcheck disable=SC2086 # split on purpose
        set -- $stat
        printf '%s' "${20}"
    else
        ps -o lstart= -p "$1" 2>/dev/null | tr ' ' _
    fi
}

# remove_dead_runs BASE: what a test run left that was killed before it could clean up.
remove_dead_runs() {
    local dir pid start
    for dir in "$1"/run.*; do
        [[ -d $dir && -O $dir ]] || continue
        pid=0 start=-
        read -r pid start 2>/dev/null <"$dir/owner" || true
        [[ $(started_at "$pid") == "$start" ]] && continue
        note "removing the servers of a test run that was killed ($dir)"
        kill_instance "$dir" && rm -rf "$dir"
    done
}

# Called under a lock, so that no other run takes our half-made directory for a dead one, or our ports.
new_test_run() {
    local base=$1 dir used
    remove_dead_runs "$base"
    test_run=$(mktemp -d "$base/run.XXXXXX") &&
        printf '%s %s\n' "$$" "$(started_at $$)" >"$test_run/owner" &&
        used=$(for dir in "$base"/run.*; do sed -n 's/^amqp=//p' "$dir/ports" 2>/dev/null || true; done) || return 1
    # shellcheck disable=SC2086 # a list of numbers
    pick_ports $used && prepare_instance "$test_run" && save_ports "$test_run" && configure_test_instance "$test_run"
}

test_run=""
test_run_waiter=""

# begin_test_services: starts private servers and returns while they boot.
begin_test_services() {
    local base
    base=$(test_runs_dir)
    # Handlers, because an exit trap that a signal runs by itself can find bash in the middle of
    # waiting for a command, and never end.
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap end_test_services EXIT
    with_lock "$base/lock" new_test_run "$base" || die "could not set up servers for the tests in $base"
    launch "$test_run" "${services_for_tests[@]}" || die "could not start the servers for the tests"
    write_test_exports "$test_run"
    await_ready "$test_run" "${services_for_tests[@]}" &
    test_run_waiter=$!
}

test_services_are_booting() { [[ -n $test_run_waiter ]] && kill -0 "$test_run_waiter" 2>/dev/null; }

# ready_test_services: waits for them and exports what tests need to find them.
ready_test_services() {
    wait "$test_run_waiter" || die "the servers for the tests did not start"
    test_run_waiter=""
    # shellcheck source=/dev/null
    source "$test_run/exports"
}

# Silent: the last lines of a run are its result.
end_test_services() {
    local status=$?
    trap - EXIT
    trap '' HUP INT TERM
    if [[ -n $test_run_waiter ]]; then
        kill "$test_run_waiter" 2>/dev/null || true
        wait "$test_run_waiter" 2>/dev/null || true
    fi
    if [[ -n $test_run ]]; then
        kill_instance "$test_run" && rm -rf "$test_run"
    fi
    exit "$status"
}
