#!/bin/sh
# Checks conf/systemd/swingbridge.service: systemd understands every line, and the hardening is what it claims to be.
# Exit: 0 good, 1 not, 77 skipped (systemd-analyze is missing).
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
unit=$root/conf/systemd/swingbridge.service
exposure_max=20 # tenths of systemd's scale from 0 (closed) to 10 (open)

if ! command -v systemd-analyze >/dev/null 2>&1; then
    echo "SKIP systemd_unit: systemd-analyze is missing (Debian: apt-get install systemd)"
    exit 77
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "FAIL systemd_unit: $1"
    exit 1
}

# The program need not be installed here: the copy names one that exists everywhere.
copy=$work/swingbridge.service
sed 's|^ExecStart=/usr/local/bin/swingbridge |ExecStart=/bin/true |' "$unit" >"$copy"
grep -q '^ExecStart=/bin/true serve --config ' "$copy" || fail "ExecStart is not what this test expects"

# Unknown keys are warnings to systemd and errors here.
systemd-analyze --man=no verify "$copy" >"$work/verify" 2>&1 || { cat "$work/verify"; fail "systemd-analyze verify"; }
if grep -F "swingbridge.service" "$work/verify"; then fail "systemd-analyze verify has something to say"; fi

# The check must be able to fail.
sed 's|^ProtectSystem=strict|ProtectSystm=strict|' "$copy" >"$work/broken.service"
systemd-analyze --man=no verify "$work/broken.service" >"$work/broken" 2>&1 || true
grep -q "ProtectSystm" "$work/broken" || fail "a misspelt key was not noticed"

# The drop-ins of the paths: every capability that the path needs, and what gives them back.
for path in sk_lookup tc xdp; do
    dropin=$work/swingbridge.service.d/$path.conf
    mkdir "$work/swingbridge.service.d"
    cp "$root/conf/systemd/swingbridge-$path.conf" "$dropin"
    systemd-analyze --man=no verify "$copy" >"$work/verify" 2>&1 || { cat "$work/verify"; fail "verify with the drop-in"; }
    if grep -F "$path.conf" "$work/verify"; then fail "systemd-analyze verify has something to say of the drop-in"; fi
    capabilities='CAP_BPF CAP_NET_ADMIN CAP_NET_RAW'
    [ "$path" = sk_lookup ] || capabilities="$capabilities CAP_PERFMON"
    for line in \
        "CapabilityBoundingSet=$capabilities" \
        "AmbientCapabilities=$capabilities" \
        'SystemCallFilter=bpf capset'; do
        grep -qx -- "$line" "$dropin" || fail "the drop-in for $path lacks $line"
    done
    rm -r "$work/swingbridge.service.d"
done

systemd-analyze security --offline=true --threshold="$exposure_max" "$copy" >"$work/security" 2>&1 ||
    { cat "$work/security"; fail "more exposed than $exposure_max tenths"; }

for line in \
    'CapabilityBoundingSet=CAP_NET_BIND_SERVICE' \
    'AmbientCapabilities=CAP_NET_BIND_SERVICE' \
    'DynamicUser=yes' \
    'Type=notify' \
    'RuntimeDirectoryMode=0700' \
    'ExecReload=/bin/kill -HUP $MAINPID' \
    'StateDirectory=swingbridge' \
    'NoNewPrivileges=yes' \
    'ProtectSystem=strict' \
    'MemoryDenyWriteExecute=yes'; do
    grep -qxF "$line" "$unit" || fail "missing: $line"
done

echo "PASS systemd_unit: $(tail -n 1 "$work/security")"
