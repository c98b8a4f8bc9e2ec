# One private RabbitMQ node: its configuration, its start, and whether it answers.
# shellcheck shell=bash

# At-least-once dead-lettering between quorum queues came with it.
rabbitmq_version_wanted=3.10

# Where the real scripts are. Debian puts a wrapper on the PATH that works only for the system's node,
# as the user rabbitmq; it is a link into the directory with the scripts it wraps.
find_rabbitmq() {
    local found
    for found in ${POSTRIDER_RABBITMQ_SBIN:+"$POSTRIDER_RABBITMQ_SBIN"} /usr/lib/rabbitmq/bin; do
        if [[ -x $found/rabbitmq-server ]]; then
            rabbitmq_sbin=$found
            return
        fi
    done
    have rabbitmq-server || return 1
    found=$(readlink -f "$(command -v rabbitmq-server)") && rabbitmq_sbin=$(dirname "$found")
}

# From the name of its directory, because asking it takes a second of Erlang.
check_rabbitmq_version() {
    local version
    version=$(readlink -f "$rabbitmq_sbin/rabbitmq-server" | sed -n 's/.*rabbitmq_server-\([0-9][0-9.]*\).*/\1/p')
    [[ -n $version ]] || return 0
    [[ $(printf '%s\n%s\n' "$rabbitmq_version_wanted" "$version" | sort -V | head -n 1) == "$rabbitmq_version_wanted" ]] ||
        die "RabbitMQ $version in $rabbitmq_sbin is too old: Postrider needs $rabbitmq_version_wanted or newer (POSTRIDER_RABBITMQ_SBIN names another)"
}

# rabbitmq_variables DIR: what both the server and its command line tool need, one VARIABLE=VALUE a line.
# Each file that RabbitMQ would look for in /etc/rabbitmq or make in /var/lib/rabbitmq has a place here.
rabbitmq_variables() {
    local mine=$1/rabbitmq
    printf '%s\n' \
        "RABBITMQ_NODENAME=postrider@localhost" \
        "RABBITMQ_CONF_ENV_FILE=$mine/env.conf" \
        "RABBITMQ_CONFIG_FILE=$POSTRIDER_ROOT/deploy/rabbitmq/rabbitmq.conf" \
        "RABBITMQ_CONFIG_FILES=$mine/conf.d" \
        "RABBITMQ_ADVANCED_CONFIG_FILE=$mine/advanced.config" \
        "RABBITMQ_GENERATED_CONFIG_DIR=$mine/generated" \
        "RABBITMQ_SCHEMA_DIR=$mine/schema" \
        "RABBITMQ_ENABLED_PLUGINS_FILE=$mine/enabled_plugins" \
        "RABBITMQ_MNESIA_BASE=$mine/data" \
        "RABBITMQ_LOG_BASE=$1/log" \
        "RABBITMQ_PID_FILE=$mine/pid" \
        "RABBITMQ_DIST_PORT=${ports[dist]}" \
        "ERL_EPMD_PORT=${ports[epmd]}" \
        "ERL_EPMD_ADDRESS=127.0.0.1" \
        "ERL_CRASH_DUMP=$1/log/erl_crash.dump"
    if [[ -n ${ports[ctl]:-} ]]; then
        printf '%s\n' "RABBITMQ_CTL_DIST_PORT_MIN=${ports[ctl]}" "RABBITMQ_CTL_DIST_PORT_MAX=${ports[ctl-last]}"
    fi
}

# Erlang's distribution listens on every address unless told.
erlang_on_loopback='-kernel inet_dist_use_interface {127,0,0,1}'

# configure_rabbitmq DIR USER PASSWORD: RabbitMQ takes user and password at its first start only.
configure_rabbitmq() {
    local dir=$1 mine=$1/rabbitmq user=$2 password=$3 line
    mkdir -p "$mine/conf.d" "$mine/data" || return 1
    : >"$mine/env.conf"
    echo '[].' >"$mine/advanced.config"
    echo '[rabbitmq_management].' >"$mine/enabled_plugins"
    # Read after the configuration that we ship, and so stronger.
    cat >"$mine/conf.d/instance.conf" <<CONF
listeners.tcp.default = 127.0.0.1:${ports[amqp]}
management.tcp.ip = 127.0.0.1
management.tcp.port = ${ports[management]}

default_user = $user
default_pass = $password

# Absolute: a share of the machine's memory is too much beside compilers and browsers.
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 64MB
raft.wal_max_size_bytes = 67108864

log.console = false
log.file = rabbitmq.log
log.file.level = warning
CONF
    chmod 600 "$mine/conf.d/instance.conf"
    printf '%s %s\n' "$user" "$password" >"$mine/user" && chmod 600 "$mine/user"
    if [[ ! -e $dir/home/.erlang.cookie ]]; then
        random_hex 20 >"$dir/home/.erlang.cookie" && chmod 400 "$dir/home/.erlang.cookie"
    fi
    {
        echo '#!/bin/sh'
        echo '# rabbitmqctl for the RabbitMQ in this directory.'
        printf 'export HOME=%q LC_ALL=C.UTF-8\n' "$dir/home"
        while IFS= read -r line; do printf 'export %s=%q\n' "${line%%=*}" "${line#*=}"; done < <(rabbitmq_variables "$dir")
        printf 'export RABBITMQ_CTL_ERL_ARGS=%q\n' "$erlang_on_loopback"
        # shellcheck disable=SC2016 # for the script that is written
        printf 'exec %q "$@"\n' "$rabbitmq_sbin/rabbitmqctl"
    } >"$dir/rabbitmqctl" && chmod 755 "$dir/rabbitmqctl"
}

# random_hex BYTES
random_hex() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

launch_rabbitmq() {
    local dir=$1 variables
    mapfile -t variables < <(rabbitmq_variables "$dir")
    # As under systemd, the script becomes the Erlang machine, and the recorded process is the server
    # itself; otherwise a shell would stay in front of it.
    spawn "$dir" rabbitmq "${variables[@]}" RUNNING_UNDER_SYSTEMD=true \
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=$erlang_on_loopback" \
        -- "$rabbitmq_sbin/rabbitmq-server"
}

# rabbitmq_answers DIR: it begins an AMQP conversation, and its management API knows our user.
rabbitmq_answers() { amqp_answers "${ports[amqp]}" && management_answers "$1"; }

# To the protocol header a server answers with a method frame, whose first byte is 1 (AMQP 0-9-1,
# section 2.3.5); one that is still booting does not listen.
amqp_answers() {
    (
        LC_ALL=C
        exec 9<>"/dev/tcp/127.0.0.1/$1" || exit 1
        printf 'AMQP\x00\x00\x09\x01' >&9
        IFS= read -r -n 1 -t 5 -u 9 first && [[ $first == $'\x01' ]]
    ) 2>/dev/null
}

management_answers() {
    local user password
    read -r user password <"$1/rabbitmq/user" || return 1
    (
        exec 9<>"/dev/tcp/127.0.0.1/${ports[management]}" || exit 1
        printf 'GET /api/whoami HTTP/1.0\r\nAuthorization: Basic %s\r\n\r\n' "$(printf '%s' "$user:$password" | base64 | tr -d '\n')" >&9
        IFS= read -r -t 5 -u 9 line && [[ $line == HTTP/1.?" 200 "* ]]
    ) 2>/dev/null
}
