//! What the server spends, where that can be read.

use std::time::Instant;

use crate::load::Fault;
use crate::load::outcome::ServerCost;
use crate::load::plan::Watch;
use crate::load::watch::Reader;
use crate::load::watch::Reading;

/// A server's process or admin endpoint, and how it stood.
#[derive(Debug)]
pub(super) struct Gauge {
    reader: Reader,
    /// Before the run's first allocation.
    began: Reading,
    /// When a window began.
    window: Reading,
    /// When it was looked at last.
    last: (Instant, Reading),
}

impl Gauge {
    /// A gauge of what the user named, if anything.
    pub(super) fn open(watch: Option<&Watch>) -> Result<Option<Self>, Fault> {
        let Some(watch) = watch else { return Ok(None) };
        let mut reader = Reader::open(watch)?;
        let began = reader.read()?;
        Ok(Some(Self { reader, began, window: began, last: (Instant::now(), began) }))
    }

    /// Cores that it has used since it was looked at last; `None` if it cannot be read any more.
    pub(super) fn beat(&mut self) -> Option<f64> {
        let (now, reading) = (Instant::now(), self.reader.read().ok()?);
        let (before_at, before) = std::mem::replace(&mut self.last, (now, reading));
        Some(reading.cores_since(&before, now.duration_since(before_at)))
    }

    /// A window begins.
    pub(super) fn begin(&mut self) {
        // One that has died is told by what does not arrive.
        if let Ok(reading) = self.reader.read_with_drops() {
            self.window = reading;
        }
    }

    /// A window is over.
    pub(super) fn end(&mut self) -> Option<Reading> {
        self.reader.read_with_drops().ok()
    }

    /// What was spent in the window until `end`, in which so many packets were relayed for so many allocations.
    pub(super) fn cost(&self, end: &Reading, packets: u64, allocations: u64) -> ServerCost {
        end.since(&self.window, packets, &self.began, allocations)
    }
}
