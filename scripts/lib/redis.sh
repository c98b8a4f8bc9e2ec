# Private Redis servers, single ones and a cluster of three.
# shellcheck shell=bash

redis_version_wanted=7.0

redis_installed() { have redis-server && have redis-cli; }

check_redis_version() {
    local version
    version=$(redis-server --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p')
    [[ $(printf '%s\n%s\n' "$redis_version_wanted" "$version" | sort -V | head -n 1) == "$redis_version_wanted" ]] ||
        die "Redis $version is too old: Postrider needs $redis_version_wanted or newer"
}

# configure_redis DIR NAME
# shellcheck disable=SC2154 # `ports` is services.sh's
configure_redis() {
    local mine=$1/$2
    mkdir -p "$mine" || return 1
    {
        cat <<CONF
# What we ship, so that it is what is tested; the lines below win.
include "$POSTRIDER_ROOT/deploy/redis/redis.conf"

bind 127.0.0.1
port ${ports[$2]}
dir "$mine"
logfile "$1/log/$2.log"
loglevel warning
maxmemory 512mb

# Its own title would overwrite the environment by which scripts/lib/services.sh knows it.
set-proc-title no
CONF
        if [[ $2 == redis-cluster-* ]]; then
            cat <<CONF

cluster-enabled yes
cluster-config-file nodes.conf
cluster-port ${ports[bus-${2##*-}]}
cluster-node-timeout 5000
CONF
        fi
    } >"$mine/redis.conf"
}

launch_redis() { spawn "$1" "$2" -- redis-server "$1/$2/redis.conf"; }

# redis_cli PORT ARGUMENT…: bounded, because a stopped server accepts connections and never answers.
redis_cli() {
    local port=$1 limit=()
    shift
    have timeout && limit=(timeout 5)
    "${limit[@]}" redis-cli -h 127.0.0.1 -p "$port" "$@" </dev/null 2>/dev/null
}

redis_answers() { [[ $(redis_cli "$1" ping) == PONG ]]; }

# cluster_info PORT FIELD
cluster_info() { redis_cli "$1" cluster info | tr -d '\r' | sed -n "s/^$2://p"; }

cluster_agrees() {
    [[ $(cluster_info "$1" cluster_state) == ok && $(cluster_info "$1" cluster_known_nodes) == 3 ]]
}

# form_redis_cluster DIR: three masters, no replicas; each third of the slots must be served.
form_redis_cluster() {
    local dir=$1 number output
    # A cluster that was formed before comes back by itself.
    if [[ $(cluster_info "${ports[redis-cluster-1]}" cluster_known_nodes) != 3 ]]; then
        output=$(redis-cli --cluster create --cluster-yes \
            "127.0.0.1:${ports[redis-cluster-1]}" \
            "127.0.0.1:${ports[redis-cluster-2]}" \
            "127.0.0.1:${ports[redis-cluster-3]}" 2>&1 </dev/null) || {
            printf 'error: could not form a Redis cluster:\n%s\n' "$output" >&2
            return 1
        }
    fi
    # Each node finds out for itself.
    for number in 1 2 3; do
        await "$dir" "redis-cluster-$number" 60 cluster_agrees "${ports[redis-cluster-$number]}" || return 1
    done
}
