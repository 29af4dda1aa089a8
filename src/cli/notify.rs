//! What the service manager is told (sd_notify): that the relay serves, reads its file again, or leaves.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;

use rustix::time::ClockId;
use rustix::time::clock_gettime;

/// Sends `state`, lines of `NAME=VALUE`, to whoever `NOTIFY_SOCKET` names; does nothing without one. A manager that
/// cannot be reached is no reason not to serve.
pub(super) fn tell(state: &str) {
    let Some(door) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told = match door.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&door),
    }
    .and_then(|door| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &door));
    if let Err(error) = told {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// The opening of a reload; the manager wants to know when it began.
pub(super) fn reloading() -> String {
    let now = clock_gettime(ClockId::Monotonic);
    format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000)
}
