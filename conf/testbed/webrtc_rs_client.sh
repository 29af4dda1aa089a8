#!/bin/sh
# webrtc-rs's ICE agent as a program for `swingbridge testbed run`. It is a Rust program, conf/testbed/webrtc_rs/, which is
# built first; a laboratory has no way to a package registry:
#
#   conf/testbed/webrtc_rs_client.sh --build
#   swingbridge testbed run --left symmetric --right symmetric -- \
#       conf/testbed/webrtc_rs_client.sh -- conf/testbed/webrtc_rs_client.sh
#
# It knows the server over UDP alone: webrtc-rs gathers no relay over TCP or TLS.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=${WEBRTC_RS_TARGET:-$here/../../target/webrtc}
program=$target/debug/webrtc-rs-client
if [ "${1:-}" = --build ]; then
    unset CARGO_TARGET_DIR
    exec cargo build --locked --manifest-path "$here/webrtc_rs/Cargo.toml" --target-dir "$target"
fi
if [ ! -x "$program" ]; then
    echo "$program is not there: $0 --build" >&2
    exit 2
fi
exec "$program" "$@"
