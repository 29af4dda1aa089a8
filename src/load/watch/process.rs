//! What the kernel says of a process of this machine.

use std::fs;
use std::io;
use std::time::Duration;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::net::probe::cpu_time_of;

use super::Reading;
use super::sockets;

/// Where in `/proc/PID/stat` the time stands at which the process began; the first behind the name counts as 3 (proc(5)).
const STAT_BEGAN: usize = 22;
/// The columns of `/proc/stat` in which a core worked: user, nice, system, irq, softirq, steal.
const HOST_BUSY: [usize; 6] = [0, 1, 2, 5, 6, 7];
/// `/proc/stat` counts in hundredths of a second on every architecture of Linux (USER_HZ).
const TICK: Duration = Duration::from_millis(10);

/// A process, known by its number and by when it began, so that a number that is used again is not taken for it.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    began: u64,
}

impl Process {
    pub(super) fn open(pid: u32) -> Result<Self, Fault> {
        let began = began(pid).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let what = format!("there is no process {pid} on this machine");
                Fault::new(FaultKind::Request, what).cure("write the number that `pidof` tells of the server")
            }
            _ => {
                Fault::new(FaultKind::Machine, format!("the kernel does not tell of process {pid}: {error}"))
            }
        })?;
        Ok(Self { pid, began })
    }

    pub(super) fn read(&self) -> Result<Reading, Fault> {
        let ended = |_: io::Error| {
            let what = format!("process {} has ended while it was watched", self.pid);
            Fault::new(FaultKind::Server, what).cure("look into the server's log for why")
        };
        let cpu = cpu_time_of(self.pid).map_err(ended)?;
        let memory = fs::read_to_string(format!("/proc/{}/status", self.pid)).map_err(ended)?;
        // Last, so that what was read before is of the process that this is about.
        if began(self.pid).map_err(ended)? != self.began {
            return Err(ended(io::ErrorKind::NotFound.into()));
        }
        // A process that has ended and is not buried yet has no memory.
        let memory = resident(&memory).ok_or(io::ErrorKind::NotFound).map_err(|kind| ended(kind.into()))?;
        Ok(Reading { cpu, memory, dropped: None, host: host() })
    }

    pub(super) fn dropped(&self) -> Option<u64> {
        sockets::dropped(self.pid).ok()
    }
}

fn began(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    began_of(&stat).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn began_of(stat: &str) -> Option<u64> {
    // The name may hold spaces and parentheses.
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_ascii_whitespace().nth(STAT_BEGAN - 3)?.parse().ok()
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

fn host() -> Option<Duration> {
    host_of(&fs::read_to_string("/proc/stat").ok()?)
}

fn host_of(stat: &str) -> Option<Duration> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let columns: Vec<u64> = line.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let ticks = HOST_BUSY.iter().map(|column| columns.get(*column).copied()).sum::<Option<u64>>()?;
    Some(Duration::from_millis(ticks.checked_mul(TICK.as_millis() as u64)?))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_is_none_and_one_that_ends_are_told() {
        let fault = Process::open((1 << 22) + 1).expect_err("no process has that number");
        assert!(fault.kind == FaultKind::Request && fault.what.contains("there is no process"), "{fault}");

        let mut child = Command::new("sleep").arg("600").spawn().expect("it starts");
        let process = Process::open(child.id()).expect("it lives");
        assert!(process.read().is_ok_and(|reading| reading.memory > 0));
        child.kill().expect("it was ours");
        // Whether or not it is buried.
        let mut fault = process.read();
        for _ in 0..1_000 {
            if fault.is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
            fault = process.read();
        }
        let fault = fault.expect_err("it has ended");
        child.wait().expect("buried");
        assert!(fault.kind == FaultKind::Server && fault.what.contains("has ended"), "{fault}");
        assert_eq!(process.read(), Err(fault));
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let own = std::process::id();
        let stranger = Process { pid: own, began: began(own).expect("it lives") - 1 };
        assert!(stranger.read().is_err_and(|fault| fault.what.contains("has ended")));
    }

    #[test]
    fn the_kernels_words_are_understood() {
        let stat =
            "8000 (a) b (c) R 7997 7997 17790 0 -1 4194304 98 0 0 0 1 2 0 0 20 0 1 0 3789284 3133440 381";
        assert_eq!(began_of(stat), Some(3_789_284));
        for broken in
            ["", "8000 (a", "8000 (a) R 1 2", "8000 (a) R 7 7 1 0 -1 4 9 0 0 0 1 2 0 0 20 0 1 0 x 3"]
        {
            assert_eq!(began_of(broken), None, "{broken}");
        }
        assert_eq!(resident("Name:\tx\nVmRSS:\t  7 kB\nThreads: 1\n"), Some(7_168));
        for broken in ["Name: x", "VmRSS:\t seven kB\n", "VmRSS:\t 18446744073709551615 kB\n"] {
            assert_eq!(resident(broken), None, "{broken}");
        }
        assert_eq!(host_of("cpu  1 2 3 1000 1000 4 5 6 0 0\ncpu0 1"), Some(Duration::from_millis(210)));
        for broken in ["", "cpu", "cpu  1 2 3", "cpu  1 2 3 4 5 6 7 x", "intr 1"] {
            assert_eq!(host_of(broken), None, "{broken}");
        }
    }
}
