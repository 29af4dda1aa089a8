//! Panics on demand, so that what comes after one can be tested. Compiled in under the feature `fault-injection` alone.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// What one worker shall fall over. It forgets it in falling.
#[derive(Debug, Default)]
pub struct Fault {
    packet: AtomicBool,
    command: AtomicBool,
}

impl Fault {
    /// The worker panics over its next packet, from whichever side.
    pub fn at_next_packet(&self) {
        self.packet.store(true, Ordering::Relaxed);
    }

    /// The worker panics over its next command, once it has taken it out of the ring.
    pub fn at_next_command(&self) {
        self.command.store(true, Ordering::Relaxed);
    }

    pub(super) fn meet_packet(&self) {
        assert!(!self.packet.swap(false, Ordering::Relaxed), "injected fault: over a packet");
    }

    pub(super) fn meet_command(&self) {
        assert!(!self.command.swap(false, Ordering::Relaxed), "injected fault: over a command");
    }
}
