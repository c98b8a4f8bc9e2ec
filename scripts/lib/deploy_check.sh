# What a container or a service unit would find out at its start only: settings that do not exist, and a
# compiler too old for the workspace. Needs neither Docker nor the network.
# shellcheck shell=bash

# POSTRIDER_… names in a file, comments included, since people copy from there.
settings_in() { grep -oE 'POSTRIDER_[A-Z0-9_]+' "$1" | sort -u; }

check_deploy_files() {
    local file name wanted found status=0
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
