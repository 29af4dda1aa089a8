//! What the kernel says of this process. What `/proc` tells is missing where that is.

use std::fs;
use std::time::Duration;

use rustix::time::ClockId;
use rustix::time::clock_gettime;

/// File descriptors that are open.
pub(super) fn open_fds() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    // Reading the directory takes a descriptor of its own.
    Some((entries.count() as u64).saturating_sub(1))
}

/// Memory in use (resident set), in bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    parse_resident(&fs::read_to_string("/proc/self/status").ok()?)
}

/// CPU time that all threads have used, those that ended included.
pub(super) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t    7 kB\nThreads: 1\n"), Some(7 * 1024));
        assert_eq!(parse_resident("Name:\tx\n"), None);
        assert_eq!(parse_resident("VmRSS:\t seven kB\n"), None);
        assert_eq!(parse_resident("VmRSS:\t 18446744073709551615 kB\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_the_three_standard_descriptors() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(open_fds().is_some_and(|count| count >= 1));
        assert!(cpu_time() > Duration::ZERO);
    }
}
