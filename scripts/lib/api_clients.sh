# The client libraries that other people's services call Postrider with: Svix's own packages, as their registries give
# them out. The programs in tests/clients walk the API with each of them.
#
# Pinned beside the programs, by lock files with hashes; installed once into the cache, in directories named after the
# pins.
# shellcheck shell=bash

api_clients="$POSTRIDER_ROOT/tests/clients"

# What is called with `||` behind it is a chain of `&&`, as in clients.sh. `complete` is made last.
install_python_sdk() {
    local dir=$1 pins=$2
    # Not by importing it, which takes a second: that was tried when it was installed.
    [[ -e "$dir/complete" ]] && "$dir/bin/python" -c '' >/dev/null 2>&1 && return
    note "installing $(basename "$pins" .txt) for Python into $dir"
    rm -rf "$dir" &&
        "$python_found" -m venv "$dir" &&
        "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
            --only-binary :all: --require-hashes --requirement "$pins" </dev/null &&
        "$dir/bin/python" -c 'import svix' &&
        touch "$dir/complete"
}

need_python_sdk() {
    local base=$1 pins=$2 dir
    dir="$base/$(basename "$pins" .txt)-$(pins_hash "$pins")"
    with_lock "$base/.lock" install_python_sdk "$dir" "$pins" || die "could not install $(basename "$pins" .txt) from PyPI"
    sdk_python="$dir/bin/python"
}

# Version 2 wants a newer Node.js than Debian has: it brings one along, as the npm package that holds its binary, where
# there is such a package for the machine.
javascript_node() {
    local brought
    for brought in "$1"/node_modules/node-linux-*/bin/node; do
        [[ -x $brought ]] && printf '%s' "$brought" && return
    done
    printf '%s' "$POSTRIDER_TEST_NODE"
}

install_javascript_sdk() {
    local dir=$1 pins=$2
    [[ -e "$dir/complete" && -d "$dir/node_modules/svix" ]] && return
    need_npm
    note "installing $(basename "$pins") for JavaScript into $dir"
    rm -rf "$dir" &&
        mkdir -p "$dir" &&
        cp "$pins/package.json" "$pins/package-lock.json" "$dir/" &&
        (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error </dev/null >/dev/null) &&
        NODE_PATH="$dir/node_modules" "$(javascript_node "$dir")" -e 'require("svix")' &&
        touch "$dir/complete"
}

need_javascript_sdk() {
    local base=$1 pins=$2
    sdk_javascript="$base/javascript-$(basename "$pins")-$(pins_hash "$pins"/package*.json)"
    with_lock "$base/.lock" install_javascript_sdk "$sdk_javascript" "$pins" ||
        die "could not install $(basename "$pins") from npm"
}

need_go() {
    have go || apt_install Go golang-go ca-certificates
    have go || die "there is still no 'go' after installing golang-go"
}

# Compiled here, so that the test starts it as it is. The modules stay in Go's own cache.
install_go_walk() {
    local dir=$1
    [[ -x "$dir/walk" ]] && return
    need_go
    note "compiling the walk with svix for Go into $dir"
    mkdir -p "$dir" &&
        (cd "$api_clients/go" && GOTOOLCHAIN=local GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -o "$dir/walk.new" . </dev/null) &&
        mv -f "$dir/walk.new" "$dir/walk"
}

need_go_walk() {
    local base=$1 dir
    dir="$base/go-$(pins_hash "$api_clients"/go/go.* "$api_clients"/go/*.go)"
    with_lock "$base/.lock" install_go_walk "$dir" || die "could not build tests/clients/go"
    export POSTRIDER_TEST_SVIX_GO="$dir/walk"
}

# Compiled here, and once more after each change of the walk: what is compiled on the way is several hundred MB.
install_rust_walk() {
    local dir=$1
    [[ -x "$dir/walk" ]] && return
    note "compiling the walk with svix for Rust into $dir"
    rm -rf "$dir" &&
        mkdir -p "$dir" &&
        # As a plain `cargo build` would: what is set for Postrider's own build is not meant.
        env -u RUSTFLAGS -u CARGO_BUILD_TARGET cargo build --quiet --locked \
            --manifest-path "$api_clients/rust/Cargo.toml" --target-dir "$dir/target" </dev/null &&
        mv "$dir/target/debug/postrider-clients-rust" "$dir/walk" &&
        rm -rf "$dir/target"
}

need_rust_walk() {
    local base=$1 dir
    dir="$base/rust-$(pins_hash "$api_clients"/rust/Cargo.* "$api_clients"/rust/src/*.rs)"
    with_lock "$base/.lock" install_rust_walk "$dir" || die "could not build tests/clients/rust"
    export POSTRIDER_TEST_SVIX_RUST="$dir/walk"
}

need_maven() {
    if ! have javac || ! have mvn; then
        apt_install "a JDK and Maven" default-jdk-headless maven
    fi
    have javac && have mvn || die "there is still no 'javac' or no 'mvn' after installing them"
}

# Maven fetches by name and version; that it fetched what we mean is said by the hashes.
install_java_walk() {
    local dir=$1
    [[ -e "$dir/complete" ]] && have java && return
    need_maven
    note "fetching svix for Java and compiling its walk into $dir"
    rm -rf "$dir" &&
        mkdir -p "$dir/classes" &&
        mvn --quiet --batch-mode --file "$api_clients/java/pom.xml" dependency:copy-dependencies \
            "-DoutputDirectory=$dir/jars" </dev/null &&
        (cd "$dir/jars" && sha256sum --check --quiet "$api_clients/java/jars.sha256") &&
        javac -proc:none -nowarn -encoding UTF-8 -cp "$dir/jars/*" -d "$dir/classes" "$api_clients"/java/*.java &&
        touch "$dir/complete"
}

need_java_walk() {
    local base=$1 dir
    dir="$base/java-$(pins_hash "$api_clients"/java/*)"
    with_lock "$base/.lock" install_java_walk "$dir" || die "could not build tests/clients/java"
    export POSTRIDER_TEST_SVIX_JAVA="$dir/classes:$dir/jars/*"
}

need_api_clients() {
    need_python
    need_node
    local base sdk_python sdk_javascript
    base="$(cache_dir)/api-clients"
    need_python_sdk "$base" "$api_clients/python/svix-2.txt"
    export POSTRIDER_TEST_SVIX_PYTHON_2=$sdk_python
    need_python_sdk "$base" "$api_clients/python/svix-1.txt"
    export POSTRIDER_TEST_SVIX_PYTHON_1=$sdk_python
    need_javascript_sdk "$base" "$api_clients/javascript/svix-2"
    export POSTRIDER_TEST_SVIX_NODE_PATH_2="$sdk_javascript/node_modules"
    POSTRIDER_TEST_SVIX_NODE_2=$(javascript_node "$sdk_javascript")
    export POSTRIDER_TEST_SVIX_NODE_2
    need_javascript_sdk "$base" "$api_clients/javascript/svix-1"
    export POSTRIDER_TEST_SVIX_NODE_PATH_1="$sdk_javascript/node_modules"
    need_go_walk "$base"
    need_rust_walk "$base"
    need_java_walk "$base"
}
