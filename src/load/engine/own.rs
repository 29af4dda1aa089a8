//! What the generator itself spends.

use std::time::Duration;

use rustix::time::ClockId;
use rustix::time::clock_gettime;

/// CPU time that this process has used, all its threads together.
pub(super) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The threads to run: as many as were asked for, else the cores less one for whoever adds up; but two where there are two
/// cores, because one thread has to do one thing after the other.
pub(super) fn threads(asked: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if asked == 0 { cores.saturating_sub(1).max(2).min(cores) } else { asked }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work_and_not_with_waiting() {
        let before = cpu_time();
        let mut sum = 0_u64;
        while cpu_time() == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(cpu_time() > before);
        assert!(threads(0) >= 1 && threads(7) == 7);
    }
}
