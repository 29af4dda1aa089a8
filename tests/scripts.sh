# Sourced by tests/run: scripts that speak with a server run side by side, each in a network of its own, and are told one after
# the other, in the order in which they begin.
# shellcheck shell=bash

# So many at a time.
script_jobs=${SWINGBRIDGE_JOBS:-$(nproc)}
# Seconds. Each script has a limit of its own that is shorter, and says where it stood; this is for one that does not keep to it.
script_seconds_max=660
# What runs in the machine's own network, alone, with nothing beside it, and why.
declare -A script_alone=(
    [serve_defaults]="it finds out the machine's own addresses"
    [paths]="the machine's own interfaces stand in what it reads"
)
# The longest begin first, so that none is left over at the end.
script_first=(
    load testbed_faults web testbed load_coturn testbed_matrix testbed_clients uclient tcp_relay bandwidth libnice_call planes
    chromium_call streams dtls
)

# Networks and process numbers of a script's own: its ports are nobody else's, and what it leaves behind ends with it.
at_home=()
apart=(unshare --net --pid --fork --kill-child --mount-proc bash -c 'ip link set lo up && "$@"; exit $?' apart)

can_be_apart() { [ "$(id -u)" -eq 0 ] && "${apart[@]}" true 2>/dev/null; }

# script_job LOG RESULT COMMAND...: runs it. RESULT, `exit code seconds`, is there when it has ended.
script_job() {
    local log=$1 result=$2 began=$EPOCHREALTIME status=0 child tmp
    shift 2
    # Whatever it writes there goes with it. Ordinary users may have to pass.
    tmp=$(mktemp -d) && chmod 1777 "$tmp" || return
    TMPDIR=$tmp timeout --kill-after=10 "$script_seconds_max" "$@" >"$log" 2>&1 </dev/null &
    child=$!
    trap 'kill "$child"' TERM
    while kill -0 "$child" 2>/dev/null; do
        wait "$child"
        status=$?
    done
    rm -rf "$tmp"
    awk "BEGIN { printf \"$status %.0f\n\", $EPOCHREALTIME - $began }" >"$result.part"
    mv "$result.part" "$result"
}

# tell_ended: tells of each script that has ended, as far as the one before it has been told of.
tell_ended() {
    local name status seconds
    while [ "$told" -lt "${#ordered[@]}" ]; do
        name=${ordered[$told]}
        [ -e "$results/$name" ] || return 0
        read -r status seconds <"$results/$name"
        "$tell" "$name" "$status" "$seconds"
        told=$((told + 1))
    done
}

# ended_ones: takes those that have ended out of `running`.
ended_ones() {
    local pid
    for pid in "${!running[@]}"; do
        [ -e "$results/${running[$pid]}" ] || ! kill -0 "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null
        [ -e "$results/${running[$pid]}" ] || echo "125 0" >"$results/${running[$pid]}"
        unset "running[$pid]"
    done
}

# begin_each JOBS WRAPPER NAME...: runs these, so many at a time; WRAPPER is the name of an array.
begin_each() {
    local jobs=$1 name
    local -n wrapper=$2
    shift 2
    for name in "$@"; do
        while [ "${#running[@]}" -ge "$jobs" ]; do
            wait -n 2>/dev/null
            ended_ones
            tell_ended
        done
        "$command_of" "$name"
        script_job "$(script_log "$name")" "$results/$name" "${wrapper[@]}" "${command[@]}" &
        running[$!]=$name
    done
    while [ "${#running[@]}" -gt 0 ]; do
        wait -n 2>/dev/null
        ended_ones
        tell_ended
    done
}

# side_by_side PREFIX COMMAND_OF TELL NAME...: runs scripts, whose logs are PREFIX_NAME.log. `COMMAND_OF NAME` sets the array
# `command`, and `TELL NAME STATUS SECONDS` says what came of it.
side_by_side() {
    local prefix=$1 command_of=$2 tell=$3 name told=0 results ordered=() queue=() alone=() command=()
    local -A running=() seen=()
    shift 3
    results=$(mktemp -d)
    local is_apart=no
    can_be_apart && is_apart=yes
    for name in "${script_first[@]}" "$@"; do
        [[ " $* " == *" $name "* ]] && [ -z "${seen[$name]:-}" ] || continue
        seen[$name]=yes
        if [ "$is_apart" = yes ] && [ -z "${script_alone[$name]:-}" ]; then
            queue+=("$name")
        else
            alone+=("$name")
        fi
    done
    ordered=("${queue[@]}" "${alone[@]}")
    # Whoever ends this ends what it has begun.
    trap 'kill "${!running[@]}" 2>/dev/null; wait; exit 130' INT TERM
    begin_each "$script_jobs" apart "${queue[@]}"
    begin_each 1 at_home "${alone[@]}"
    trap - INT TERM
    rm -rf "$results"
}

script_log() { echo "$logs/${prefix//[^A-Za-z0-9_.-]/_}_$1.log"; }
