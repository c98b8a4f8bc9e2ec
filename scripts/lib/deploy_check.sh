# What a container, a service unit or an alert would find out too late: settings and metrics that do not
# exist, and a compiler too old for the workspace. Needs neither Docker nor the network.
# shellcheck shell=bash

# POSTRIDER_… names in a file, comments included, since people copy from there.
settings_in() { grep -oE 'POSTRIDER_[A-Z0-9_]+' "$1" | sort -u; }

# is_metric NAME: whether some part registers it. The engine's are written without the prefix.
is_metric() {
    local name=$1 short=${1#postrider_}
    grep -rqE "\"($name|$short)\"" --include='*.rs' crates/*/src
}

check_deploy_files() {
    local file name wanted found status=0
    while IFS= read -r name; do
        is_metric "$name" && continue
        printf 'error: deploy/prometheus/alerts.yml names %s, which no part of Postrider counts\n' "$name" >&2
        status=1
    done < <(grep -oE 'postrider_[a-z_]+' deploy/prometheus/alerts.yml | sort -u)
    for file in docker-compose.yml deploy/Dockerfile deploy/systemd/*; do
        while IFS= read -r name; do
            grep -qF "\`$name\`" docs/CONFIGURATION.md && continue
            printf 'error: %s names %s, which is not in docs/CONFIGURATION.md\n' "$file" "$name" >&2
            status=1
        done < <(settings_in "$file")
    done
    wanted=$(rust_version_wanted)
    found=$(sed -n 's/^ARG RUST_VERSION=//p' deploy/Dockerfile)
    if [[ $(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1) != "$wanted" ]]; then
        printf 'error: deploy/Dockerfile builds with Rust %s, the workspace needs %s\n' "$found" "$wanted" >&2
        status=1
    fi
    return "$status"
}
