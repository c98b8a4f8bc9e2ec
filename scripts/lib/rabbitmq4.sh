# RabbitMQ 4 beside the one of the machine: a fault scenario runs Postrider on it (tests/faults/rabbitmq_4.rs).
#
# Debian 12 has RabbitMQ 3.10; Debian 13 has 4.0, built for a newer C library. So the packages of Debian 13 are fetched by
# apt from the mirror that this machine uses, checked against the keys that it trusts, and unpacked into the cache. No
# maintainer script runs, and nothing is installed. What is unpacked is only ever seen by the processes that need it: in
# a mount namespace of their own it lies over /usr, and with the last of them that is gone, however it ends. Paths, /proc,
# /dev, users and the network are the machine's.
#
# The programs so wrapped can also run everything else on RabbitMQ 4:
#
#   POSTRIDER_RABBITMQ_SBIN=~/.cache/postrider/rabbitmq4/bin ./scripts/test
# shellcheck shell=bash

rabbitmq4_suite=trixie
# What RabbitMQ's scripts use without depending on it, since every Debian has it.
rabbitmq4_packages=(rabbitmq-server base-files bash coreutils dash gawk grep hostname libc-bin sed)
rabbitmq4_programs=(rabbitmq-server rabbitmqctl rabbitmq-queues rabbitmq-diagnostics)

# Sets POSTRIDER_TEST_RABBITMQ4_SBIN. Where it is set already, that one is taken: any RabbitMQ 4 will do.
need_rabbitmq4() {
    local dir machine
    if [[ -n ${POSTRIDER_TEST_RABBITMQ4_SBIN:-} ]]; then
        [[ -x $POSTRIDER_TEST_RABBITMQ4_SBIN/rabbitmq-server ]] ||
            die "there is no rabbitmq-server in POSTRIDER_TEST_RABBITMQ4_SBIN=$POSTRIDER_TEST_RABBITMQ4_SBIN"
        return
    fi
    machine=$(debian_codename) && have apt-get && have dpkg-deb && have unshare ||
        die "RabbitMQ 4 is fetched on Debian only: install RabbitMQ 4 and set POSTRIDER_TEST_RABBITMQ4_SBIN to the directory of its rabbitmq-server"
    [[ -L /lib ]] || die "this Debian has a /lib apart from /usr (install usrmerge), which RabbitMQ 4 cannot run beside"
    rabbitmq4_namespace
    dir=$(cache_dir)/rabbitmq4
    with_lock "$dir.lock" fetch_rabbitmq4 "$dir" "$machine" || die "could not fetch RabbitMQ 4"
    with_lock "$dir.lock" wrap_rabbitmq4 "$dir" || die "could not write to $dir"
    export POSTRIDER_TEST_RABBITMQ4_SBIN=$dir/bin
}

# Prints it; fails elsewhere than on Debian.
debian_codename() {
    local ID="" VERSION_CODENAME=""
    # shellcheck source=/dev/null
    source /etc/os-release 2>/dev/null || return 1
    [[ $ID == debian && -n $VERSION_CODENAME ]] && printf '%s' "$VERSION_CODENAME"
}

# Sets rabbitmq4_unshare: how this user gets mounts of its own.
rabbitmq4_namespace() {
    local way
    for way in "" --map-root-user; do
        # shellcheck disable=SC2206 # empty, or one word
        rabbitmq4_unshare=(unshare $way --mount --propagation private)
        "${rabbitmq4_unshare[@]}" mount --bind /usr /usr 2>/dev/null && return
    done
    die "RabbitMQ 4 needs mounts of its own, which this user may not have (a container needs --cap-add=SYS_ADMIN, and a user unprivileged user namespaces)"
}

# fetch_rabbitmq4 DIR CODENAME. Called with `||` behind it, where bash ignores `set -e`: hence the chains of `&&`. The
# file `complete` is written last.
fetch_rabbitmq4() {
    local dir=$1 apt package
    [[ -e $dir/complete ]] && return
    note "fetching RabbitMQ 4 (about 70 MB, from Debian $rabbitmq4_suite) into $dir"
    rm -rf "$dir" && mkdir -p "$dir"/apt/{lists/partial,archives/partial} "$dir/root" && : >"$dir/apt/status" &&
        rabbitmq4_source "$2" >"$dir/apt/sources.list" || return 1
    apt=(apt-get -qq -o "Dir::State=$dir/apt" -o "Dir::State::lists=$dir/apt/lists" -o "Dir::State::status=$dir/apt/status"
        -o "Dir::Cache=$dir/apt" -o "Dir::Cache::archives=$dir/apt/archives"
        -o "Dir::Etc::sourcelist=$dir/apt/sources.list" -o "Dir::Etc::sourceparts=/dev/null"
        -o "Dir::Etc::preferences=/dev/null" -o "Dir::Etc::preferencesparts=/dev/null"
        -o "APT::Sandbox::User=$(id -un)" -o "APT::Install-Recommends=false" -o "Acquire::Languages=none")
    without_hosts "${apt[@]}" -o APT::Update::Error-Mode=any update ||
        {
            warn "apt-get update failed for Debian $rabbitmq4_suite; where it misses a key: apt-get install debian-archive-keyring"
            return 1
        }
    without_hosts "${apt[@]}" --yes --download-only install "${rabbitmq4_packages[@]}" || return 1
    for package in "$dir"/apt/archives/*.deb; do
        dpkg-deb --extract "$package" "$dir/root" || return 1
    done
    # What maintainer scripts would have linked.
    [[ -e $dir/root/usr/bin/awk ]] || ln -s gawk "$dir/root/usr/bin/awk" || return 1
    rm -rf "$dir/apt" && touch "$dir/complete"
}

# rabbitmq4_source CODENAME: this machine's source of Debian, with another suite.
rabbitmq4_source() {
    local codename=$1 site release component signed_by trusted options=""
    while IFS='|' read -r site release component signed_by trusted; do
        [[ $component == main && ($release == "$codename" || $release == stable || $release == oldstable) ]] || continue
        # A key that stands in the source itself is one of the machine's, too, as a rule.
        [[ $signed_by == /* ]] && options+=" signed-by=$signed_by"
        [[ $trusted == yes ]] && options+=" trusted=yes"
        printf 'deb %s %s %s main\n' "${options:+[${options# }]}" "$site" "$rabbitmq4_suite"
        return
    done < <(apt-get indextargets --format '$(SITE)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)|$(TRUSTED)' 'Created-By: Packages' 2>/dev/null)
    warn "apt has no source for Debian $codename to derive one from"
    return 1
}

# Mirrors are nobody's business: logs get published.
without_hosts() {
    "$@" </dev/null 2>&1 >/dev/null | sed -E 's#([a-z+]+://)[^/ ]+#\1…#g' >&2
    return "${PIPESTATUS[0]}"
}

# wrap_rabbitmq4 DIR: programs that can be called like those of an installed RabbitMQ. The program takes the wrapper's
# place, so that its process number is the one that was started.
wrap_rabbitmq4() {
    local dir=$1 program
    mkdir -p "$dir/bin" || return 1
    for program in "${rabbitmq4_programs[@]}"; do
        {
            echo '#!/bin/sh'
            # shellcheck disable=SC2016 # for the script that is written
            printf 'exec %s -- /bin/sh -c %q sh %q %q "$@"\n' "${rabbitmq4_unshare[*]}" \
                'mount --bind "$1" /usr && shift && exec "$@"' "$dir/root/usr" "/usr/lib/rabbitmq/bin/$program"
        } >"$dir/bin/$program.new" && chmod 755 "$dir/bin/$program.new" && mv -f "$dir/bin/$program.new" "$dir/bin/$program" || return 1
    done
}
