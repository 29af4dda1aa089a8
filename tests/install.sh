# Sourced by tests/run: brings in what the tests need and the machine lacks. Safe to run again: what is there is left.
# shellcheck shell=bash

# Every package is named for the program that it brings; a program that is there already asks for nothing.
missing_packages() {
    have chromium || echo chromium
    have turnutils_uclient || echo coturn
    have systemd-analyze || echo systemd
    have stun || echo stun-client
    have nft || echo nftables
    have ip || echo iproute2
    have valgrind || echo valgrind
    have ethtool || echo ethtool
    have clang-14 || echo clang-14
    have llvm-objcopy-14 || echo llvm-14
    [ -e /usr/include/bpf/bpf_helpers.h ] || echo libbpf-dev
    pkg-config --exists nice 2>/dev/null || echo libnice-dev gcc pkg-config
    have node || echo nodejs
    have npm || echo npm
    if ! have python3; then
        echo python3 python3-venv
    elif ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        echo python3-venv
    fi
}

# As root. Debian starts a service when its package is installed; coturn is wanted for its client programs, and its
# server would sit on the port that a TURN server wants.
install_packages_as_root() {
    cat <<'ROOT'
set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=120 update
apt-get -qq -y -o DPkg::Lock::Timeout=120 --no-install-recommends install "$@"
case " $* " in
    *" coturn "*) systemctl disable coturn.service || true ;;
esac
ROOT
}

install_debian() {
    local packages log="$logs/install-debian.log" as_root=()
    read -r -a packages <<<"$(missing_packages | tr '\n' ' ')"
    if [ "${#packages[@]}" -eq 0 ]; then
        say "  Debian packages: all there"
        return
    fi
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo -n)
    fi
    if ! have apt-get || { [ "$(id -u)" -ne 0 ] && ! { have sudo && sudo -n true 2>/dev/null; }; }; then
        say "  Debian packages: not root, so the tests that need them are skipped. To have them, type:"
        say "      sudo apt-get install -y --no-install-recommends ${packages[*]}"
        if [[ " ${packages[*]} " == *" coturn "* ]]; then
            say "      (coturn's clients are wanted, its server is not: sudo systemctl disable --now coturn)"
        fi
        return
    fi
    say "  Debian packages: installing ${packages[*]}"
    if ! "${as_root[@]}" bash -c "$(install_packages_as_root)" install "${packages[@]}" >"$log" 2>&1 </dev/null; then
        say "  Debian packages: could not be installed; the tests that need them are skipped"
        show_log "$log" 15
    fi
}

# The environment holds exactly what requirements.txt says; a copy of that file marks it as whole.
install_python() {
    local venv="$target/venv" wanted="$interop/requirements.txt" log="$logs/install-python.log"
    if cmp -s "$wanted" "$venv/requirements.txt"; then
        say "  Python packages: all there"
        return
    fi
    have python3 || { say "  Python packages: there is no python3"; return; }
    say "  Python packages: installing into target/venv"
    if python3 -m venv --clear "$venv" >"$log" 2>&1 </dev/null &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted" >>"$log" 2>&1 </dev/null; then
        cp "$wanted" "$venv/requirements.txt"
    else
        say "  Python packages: could not be installed; the tests that need them are skipped"
        show_log "$log" 15
    fi
}

# No lock file is written: the one package is pinned exactly and depends on nothing.
install_npm() {
    local wanted="$interop/package.json" log="$logs/install-npm.log"
    if cmp -s "$wanted" "$target/package.json" && [ -d "$target/node_modules/playwright-core" ]; then
        say "  npm packages: all there"
        return
    fi
    have npm || { say "  npm packages: there is no npm"; return; }
    say "  npm packages: installing into target/node_modules"
    mkdir -p "$target"
    cp "$wanted" "$target/package.json"
    if ! PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm install --prefix "$target" --no-package-lock --ignore-scripts \
        --no-audit --no-fund --loglevel=error >"$log" 2>&1 </dev/null; then
        rm -f "$target/package.json"
        say "  npm packages: could not be installed; the tests that need them are skipped"
        show_log "$log" 15
    fi
}

# install_tool PROGRAM VERSION: into target/tools, once.
install_tool() {
    local log="$logs/install-$1.log"
    if [ -x "$target/tools/bin/$1" ] || have "$1"; then
        say "  $1: there"
        return
    fi
    say "  $1: building into target/tools"
    if ! cargo install "$1" --version "$2" --locked --root "$target/tools" >"$log" 2>&1 </dev/null; then
        say "  $1: could not be built; its stage is skipped"
        show_log "$log" 15
    fi
}

install_all() {
    install_debian
    install_python
    install_npm
    # Breaks the code on purpose.
    install_tool cargo-mutants 27.1.0
    # Counts instructions; of the same version as in benches/Cargo.toml.
    install_tool gungraun-runner 0.20.0
}
