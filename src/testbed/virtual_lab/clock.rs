//! Virtual time.

use std::time::Duration;

use crate::proto::types::Now;

/// Microseconds since the run began.
pub(super) type Micros = u64;

pub(super) const MILLISECOND: Micros = 1_000;
pub(super) const SECOND: Micros = 1_000 * MILLISECOND;

/// The wall clock's reading when a run begins: each begins at the same moment.
const UNIX: u64 = 1_800_000_000;

pub(super) fn now(micros: Micros) -> Now {
    let since_start = Duration::from_micros(micros);
    Now { since_start, unix: UNIX + since_start.as_secs() }
}

pub(super) fn micros(span: Duration) -> Micros {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
