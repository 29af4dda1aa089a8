//! Networks beside this machine's own (network namespaces): each with its interfaces, addresses, routes and rules. One lives
//! as long as somebody holds it or a process is in it, and all that was made in it goes with it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::fd::AsRawFd as _;
use std::panic;
use std::path::PathBuf;
use std::thread;

use rustix::thread::LinkNameSpaceType;
use rustix::thread::move_into_link_name_space;

use super::sys;

/// A network, held.
#[derive(Debug)]
pub struct Network {
    handle: File,
}

impl Network {
    /// Makes one, and has `job` done in it.
    ///
    /// # Errors
    /// What the kernel says: it takes CAP_SYS_ADMIN. And what `job` meets.
    pub fn make<T: Send>(job: impl FnOnce() -> io::Result<T> + Send) -> io::Result<(Self, T)> {
        apart(move || {
            sys::leave_network()?;
            let handle = File::open("/proc/thread-self/ns/net")?;
            Ok((Self { handle }, job()?))
        })
    }

    /// Does `job` in it, in a thread of its own: sockets, interfaces and processes that it makes are there.
    ///
    /// # Errors
    /// What the kernel says, and what `job` meets.
    pub fn within<T: Send>(&self, job: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        apart(move || {
            move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network))?;
            job()
        })
    }

    /// Where others find it, for as long as it is held: for `nsenter --net=PATH`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd()))
    }
}

/// In a thread that ends with the job, because its network is its own.
fn apart<T: Send>(job: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| match scope.spawn(job).join() {
        Ok(done) => done,
        Err(cause) => panic::resume_unwind(cause),
    })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::super::Tun;
    use super::super::probe;
    use super::*;

    /// `None` where the machine lets no networks be made.
    fn made() -> Option<Network> {
        match Network::make(|| Ok(())) {
            Ok((network, ())) => Some(network),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                eprintln!("skipped: networks: making one takes root ({error})");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_is_made_within_is_not_seen_outside() {
        let Some(network) = made() else { return };
        let taken = UdpSocket::bind("0.0.0.0:0").expect("a port is free");
        let bind = || UdpSocket::bind(taken.local_addr().expect("it is bound"));
        assert!(bind().is_err(), "it is taken here");
        assert!(network.within(bind).is_ok(), "and free there");
        let tun = match network.within(|| Tun::open("lab0")) {
            Ok(tun) => tun,
            Err(error) => return eprintln!("skipped: networks: no TUN here ({error})"),
        };
        let has = |name: &str| std::path::Path::new("/sys/class/net").join(name).exists();
        assert!(!has("lab0"), "it is in the other network");
        let mut buffer = [0; 64];
        assert_eq!(tun.receive(&mut buffer).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
    }

    #[test]
    fn a_name_that_is_too_long_or_none_makes_no_interface() {
        for name in ["", "sixteen-bytes-or"] {
            assert!(Tun::open(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn an_error_of_the_job_is_told() {
        let Some(network) = made() else { return };
        let told = network.within(|| Err::<(), _>(io::Error::other("so it is")));
        assert_eq!(told.expect_err("the job's").to_string(), "so it is");
        assert!(probe::own_addresses().is_ok());
    }
}
