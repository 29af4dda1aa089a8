//! What a consumer sleeps on: an eventfd that is written only while it sleeps.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;

use rustix::event::EventfdFlags;
use rustix::event::eventfd;

use super::sleep::SleepFlag;

/// Wakes one consumer. Several [`super::Sender`]s may share it.
///
/// The consumer's round: [`Self::prepare_sleep`], look at every ring once more, wait until the descriptor is
/// readable (or go on at once if something was there), [`Self::cancel`], [`Self::drain`], look at every ring.
#[derive(Debug)]
pub struct Wake {
    flag: SleepFlag,
    event: OwnedFd,
}

impl Wake {
    /// A wake whose consumer is awake.
    ///
    /// # Errors
    /// What the kernel says to `eventfd`, as when no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { flag: SleepFlag::new(), event })
    }

    /// Consumer: announces that it is about to wait. Every ring must be looked at once more before it does.
    pub fn prepare_sleep(&self) {
        self.flag.announce();
    }

    /// Consumer: is awake, woken or not; pushes need no system call from here on.
    pub fn cancel(&self) {
        self.flag.withdraw();
    }

    /// Consumer: makes the descriptor unreadable again. To be called before the rings are looked at.
    pub fn drain(&self) {
        let mut count = [0; 8];
        // WouldBlock says that nobody wrote; nothing else can happen to a descriptor that we own.
        let _ = rustix::io::read(&self.event, &mut count);
    }

    /// Producer, after publishing: wakes the consumer if it sleeps.
    pub fn notify(&self) {
        if self.flag.take() {
            // WouldBlock says that the counter is full, so the descriptor is readable as it should be.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(wake: &Wake) -> bool {
        let mut descriptors = [rustix::event::PollFd::new(wake, rustix::event::PollFlags::IN)];
        let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut descriptors, Some(&none)).expect("poll works") == 1
    }

    #[test]
    fn the_descriptor_is_written_only_while_the_consumer_sleeps() {
        let wake = Wake::new().expect("an eventfd");
        wake.notify();
        assert!(!readable(&wake), "awake: no system call");
        wake.prepare_sleep();
        wake.notify();
        assert!(readable(&wake));
        wake.cancel();
        wake.drain();
        assert!(!readable(&wake));
    }

    #[test]
    fn draining_what_nobody_wrote_does_not_block() {
        let wake = Wake::new().expect("an eventfd");
        wake.drain();
        wake.drain();
        assert!(!readable(&wake));
    }
}
