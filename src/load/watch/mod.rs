//! What a server spends while it is under load, read from outside: from the kernel, for a process of this machine, or from
//! the admin endpoint of a Swingbridge anywhere. What the load generator spends itself is read the same way.
//!
//! A process is charged with what its threads do. Packets that the kernel relays for it, and interrupts, are charged to nobody:
//! [`Reading::host`] has those too, with all else that this machine does.

mod admin;
mod process;
mod sockets;

use std::time::Duration;

use super::Fault;
use super::outcome::ServerCost;
use super::plan::Watch;

use admin::Admin;
use process::Process;

/// Reads what one process spends.
#[derive(Debug)]
pub struct Reader(Source);

#[derive(Debug)]
enum Source {
    Process(Process),
    Admin(Admin),
}

/// What a process has spent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// CPU time since it began, all threads together.
    pub cpu: Duration,
    /// Memory in use (resident set), in bytes.
    pub memory: u64,
    /// Packets that the kernel dropped at its sockets for want of room: at those that are open now for a process, at all
    /// that there ever were for a Swingbridge. `None` where that was not asked for, or may not be read.
    pub dropped: Option<u64>,
    /// CPU time of this whole machine since it began, interrupts included, all cores together; `None` for a server elsewhere.
    pub host: Option<Duration>,
}

impl Reader {
    /// A reader of what the user named.
    ///
    /// # Errors
    /// Where nothing can be read there: no such process, no endpoint, or one that is not a Swingbridge's.
    pub fn open(watch: &Watch) -> Result<Self, Fault> {
        let mut reader = Self(match watch {
            Watch::Process(pid) => Source::Process(Process::open(*pid)?),
            Watch::Admin(address) => Source::Admin(Admin::new(*address)),
        });
        reader.read()?;
        Ok(reader)
    }

    /// A reader of this very process.
    ///
    /// # Errors
    /// Where `/proc` is not there.
    pub fn own() -> Result<Self, Fault> {
        Self::open(&Watch::Process(std::process::id()))
    }

    /// What was spent so far. Costs a few system calls, or one request over HTTP, for which the caller waits.
    ///
    /// # Errors
    /// Where the process has ended, or the endpoint does not answer any more.
    pub fn read(&mut self) -> Result<Reading, Fault> {
        match &mut self.0 {
            Source::Process(process) => process.read(),
            Source::Admin(admin) => admin.read(),
        }
    }

    /// [`Self::read`] with the drops, which for a process of thousands of sockets takes some milliseconds.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_with_drops(&mut self) -> Result<Reading, Fault> {
        let reading = self.read()?;
        Ok(match &self.0 {
            Source::Process(process) => Reading { dropped: process.dropped(), ..reading },
            Source::Admin(_) => reading,
        })
    }
}

impl Reading {
    /// What was spent from `before` to `self`, in which `packets` were relayed. `began` is how things stood before the run's
    /// first allocation, of which there are `allocations` now.
    #[must_use]
    pub fn since(&self, before: &Self, packets: u64, began: &Self, allocations: u64) -> ServerCost {
        let cpu = self.cpu.saturating_sub(before.cpu);
        let more = self.memory as f64 - began.memory as f64;
        ServerCost {
            cpu,
            cpu_per_packet_ns: if packets == 0 { 0.0 } else { cpu.as_nanos() as f64 / packets as f64 },
            memory: self.memory,
            memory_per_allocation: (allocations > 0).then(|| (more / allocations as f64).max(0.0)),
            // Sockets that were closed between took their counts with them.
            dropped: self.dropped.zip(before.dropped).map(|(now, then)| now.saturating_sub(then)),
        }
    }

    /// Part of a core that was used from `before` to `self`, which is `time` later.
    #[must_use]
    pub fn cores_since(&self, before: &Self, time: Duration) -> f64 {
        let cpu = self.cpu.saturating_sub(before.cpu).as_secs_f64();
        if time.is_zero() { 0.0 } else { cpu / time.as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_a_step_is_the_difference_of_two_readings() {
        let at = |cpu_ms, memory, dropped| Reading {
            cpu: Duration::from_millis(cpu_ms),
            memory,
            dropped,
            host: None,
        };
        let (began, before, after) =
            (at(5, 1_000, Some(0)), at(10, 5_000, Some(7)), at(1_010, 6_000, Some(9)));
        let cost = after.since(&before, 100_000, &began, 50);
        assert_eq!(cost.cpu, Duration::from_secs(1));
        assert!((cost.cpu_per_packet_ns - 10_000.0).abs() < 1e-6);
        assert_eq!((cost.memory, cost.memory_per_allocation, cost.dropped), (6_000, Some(100.0), Some(2)));
        assert!((after.cores_since(&before, Duration::from_secs(4)) - 0.25).abs() < 1e-9);

        let nothing = before.since(&after, 0, &after, 0);
        assert_eq!(
            (nothing.cpu, nothing.memory_per_allocation, nothing.dropped),
            (Duration::ZERO, None, Some(0))
        );
        assert!(nothing.cpu_per_packet_ns.abs() < 1e-9);
        assert_eq!(at(1, 1, None).since(&before, 1, &began, 1).dropped, None);
        assert_eq!(at(1, 1, None).since(&before, 1, &began, 1).memory_per_allocation, Some(0.0));
    }

    #[test]
    fn this_process_spends_what_it_spends() {
        let mut own = Reader::own().expect("this process lives");
        let before = own.read().expect("it does");
        assert!(before.memory > 100_000 && before.dropped.is_none(), "{before:?}");
        let mut after = before;
        while after.cpu < before.cpu + Duration::from_millis(3) {
            after = own.read().expect("it lives");
        }
        let (host, earlier) = (after.host.expect("this machine"), before.host.expect("this machine"));
        assert!(host >= earlier && host > Duration::ZERO);
    }
}
