//! What the service manager is told (sd_notify): that the relay serves, reads its file again, or leaves.

use std::ffi::OsStr;
use std::io;
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
    if let Err(error) = tell_at(&door, state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// The opening of a reload. The manager wants to know when it began, in microseconds of the monotonic clock.
pub(super) fn reloading() -> String {
    let now = clock_gettime(ClockId::Monotonic);
    format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000)
}

/// A name that begins with `@` is of the abstract name space.
fn tell_at(door: &OsStr, state: &str) -> io::Result<()> {
    let door = match door.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(door),
    }?;
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the relay.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &door).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_hears_by_a_path_and_by_an_abstract_name() {
        let name = format!("swingbridge-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let abstract_name = SocketAddr::from_abstract_name(&name).expect("a short name");
        for (manager, door) in [
            (UnixDatagram::bind(&path), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&abstract_name), format!("@{name}").into()),
        ] {
            let manager = manager.expect("a socket");
            tell_at(&door, "READY=1").expect("it listens");
            let mut heard = [0; 64];
            let len = manager.recv(&mut heard).expect("it was told");
            assert_eq!(&heard[..len], b"READY=1");
        }
        std::fs::remove_file(&path).expect("our own");
        tell_at(path.as_os_str(), "READY=1").expect_err("nobody is there");
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let name = format!("swingbridge-deaf-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).expect("a short name");
        let _deaf = UnixDatagram::bind_addr(&abstract_name).expect("a socket");
        let door = format!("@{name}");
        assert!((0..100_000).any(|_| tell_at(door.as_ref(), "READY=1").is_err()));
    }

    #[test]
    fn a_reload_says_when_it_began() {
        let told = reloading();
        let (state, since) = told.split_once("\nMONOTONIC_USEC=").expect("two lines");
        assert_eq!(state, "RELOADING=1");
        assert!(since.parse::<u64>().expect("a number") > 0);
    }
}
