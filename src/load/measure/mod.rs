//! What is measured, and what is not: exact counts of the packets that were due within a window.
//!
//! A packet belongs to the window in which it was *due*, wherever and whenever it arrives. So the ends of a window cut no
//! packet in two: after it, the caller waits a while for what is still under way, and what has not come then is lost.
//! A latency counts from the moment a packet was due; a sender or a server that stalls is charged with all that waited.
//!
//! Each thread has a [`Meter`] of its own, and each stream that it receives a [`Listener`]; nothing is shared, locked or
//! allocated while packets flow. Now and then the thread gives its [`Interval`] away, and intervals add up.

mod listener;
mod tally;

pub use listener::Heard;
pub use listener::Listener;
pub use tally::Interval;
pub use tally::Tally;

use super::outcome::LATE;
use super::payload::Far;
use super::payload::Stamp;
use super::payload::Way;
use super::profile::Schedule;

const LATE_NS: u64 = LATE.as_nanos() as u64;

/// The packets that count: those due within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Names it; each next window of a run has a larger number.
    pub number: u32,
    /// The first that counts, in nanoseconds since the run began.
    pub from_ns: u64,
    /// The first that counts no longer.
    pub to_ns: u64,
}

impl Window {
    /// All packets of a run: while nothing is measured, to show how things stand.
    pub const ALL: Self = Self { number: 0, from_ns: 0, to_ns: u64::MAX };

    /// Whether a packet due then counts.
    #[must_use]
    pub const fn has(&self, due_ns: u64) -> bool {
        self.from_ns <= due_ns && due_ns < self.to_ns
    }
}

/// What one thread sees.
#[derive(Clone, Debug)]
pub struct Meter {
    window: Window,
    interval: Interval,
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

impl Meter {
    /// Counts all packets until a window is opened.
    #[must_use]
    pub fn new() -> Self {
        Self { window: Window::ALL, interval: Interval::default() }
    }

    /// From here on only packets of this window count; gives away what was counted before.
    ///
    /// To be called before the window begins on every thread, or packets of its beginning are missed: let it begin a
    /// good while after the command for it.
    #[must_use]
    pub fn open(&mut self, window: Window) -> Interval {
        let before = self.take();
        self.window = window;
        before
    }

    /// The window that counts.
    #[must_use]
    pub const fn window(&self) -> Window {
        self.window
    }

    /// So many packets of so many bytes leave, or are tried for the first time where a connection has no room because
    /// the server does not read: such a packet is sent, and lost if it is given up.
    pub fn sent(&mut self, way: Way, due_ns: u64, packets: u16, bytes: u16, now_ns: u64) {
        if !self.window.has(due_ns) {
            return;
        }
        let packets = u64::from(packets);
        let tally = self.interval.way_mut(way);
        tally.sent += packets;
        tally.sent_bytes += packets * u64::from(bytes);
        if now_ns.saturating_sub(due_ns) > LATE_NS {
            self.interval.late += packets;
        }
    }

    /// So many packets could not be handed to the kernel by the generator's own fault: its queue is full.
    pub fn unsent(&mut self, due_ns: u64, packets: u16) {
        if self.window.has(due_ns) {
            self.interval.unsent += u64::from(packets);
        }
    }

    /// A packet came that belongs to no stream of the run, or to a call that it did not come to.
    pub fn stranger(&mut self) {
        self.interval.strangers += 1;
    }

    /// A packet of the listener's stream came, of so many bytes of payload.
    pub fn heard(&mut self, listener: &mut Listener, stamp: &Stamp, bytes: usize, now_ns: u64) {
        if stamp.due_ns > now_ns {
            return self.stranger();
        }
        let heard = match stamp.far {
            Far::Returned { count: 0, .. } => Heard::Impossible,
            Far::Returned { count, .. } => listener.hear(count - 1, now_ns - stamp.due_ns),
            Far::Silent | Far::Echo { .. } => listener.hear(stamp.sequence, now_ns - stamp.due_ns),
        };
        if heard == Heard::Impossible {
            return self.stranger();
        }
        listener.remember(stamp, now_ns);
        let counts = self.window.has(stamp.due_ns);
        match stamp.far {
            Far::Returned { count, again, held_us } => {
                listener.note_count(count, again, &self.window, stamp.due_ns, bytes);
                if counts {
                    self.count(Way::Down, heard, bytes);
                    self.note_trip(heard, stamp.due_ns, held_us, now_ns);
                }
            }
            Far::Silent | Far::Echo { .. } => {
                if counts {
                    self.count(stamp.way, heard, bytes);
                    if heard.is_first() {
                        self.interval.way_mut(stamp.way).latency.note_ns(now_ns - stamp.due_ns);
                    }
                }
            }
        }
        if counts && heard.is_first() {
            listener.note_jitter(self.window.number);
        }
        if let Far::Echo { due_ns, held_us } = stamp.far
            && listener.is_new_echo(due_ns)
            && self.window.has(due_ns)
        {
            self.note_trip(heard, due_ns, held_us, now_ns);
        }
    }

    /// Adds what only a listener knows at the end of a window, the time to wait for late packets included: the jitter of
    /// its stream, and what a peer on another machine counted. Once for each listener and window.
    pub fn close(&mut self, listener: &Listener, way: Way) {
        if let Some(jitter) = listener.mean_jitter(self.window.number) {
            self.interval.way_mut(way).jitter.add(jitter);
        }
        let Some((told, bytes)) = listener.counted(self.window.number) else { return };
        self.interval.up.received += told.count;
        self.interval.up.received_bytes += bytes;
        self.interval.up.duplicated += told.again;
        // Each packet is sent back once.
        self.interval.down.sent += told.count;
        self.interval.down.sent_bytes += bytes;
    }

    /// Counts what was due within the window and has not even been tried when it is closed: a sender that is so far behind
    /// must not look like one that had nothing to send. Once for each stream that this thread sends, and window.
    pub fn owed(&mut self, schedule: &Schedule) {
        if self.window == Window::ALL {
            return;
        }
        let mut ahead = schedule.clone();
        // A window that was cut short may end between two ticks of the sender's clock.
        while ahead.due_ns().saturating_add(LATE_NS) < self.window.to_ns {
            let burst = ahead.next_burst();
            self.unsent(burst.due_ns, burst.packets);
        }
    }

    /// What was counted since the last time.
    #[must_use]
    pub fn take(&mut self) -> Interval {
        std::mem::take(&mut self.interval)
    }

    fn count(&mut self, way: Way, heard: Heard, bytes: usize) {
        let tally = self.interval.way_mut(way);
        match heard {
            Heard::Next { missing } => tally.missing += i64::try_from(missing).unwrap_or(i64::MAX),
            Heard::Behind => {
                tally.missing -= 1;
                tally.reordered += 1;
            }
            Heard::Again => tally.duplicated += 1,
            Heard::TooOld | Heard::Impossible => {}
        }
        if heard.is_first() {
            tally.received += 1;
            tally.received_bytes += bytes as u64;
        }
    }

    fn note_trip(&mut self, heard: Heard, due_ns: u64, held_us: u32, now_ns: u64) {
        let held_ns = u64::from(held_us) * 1000;
        let trip_ns = now_ns.checked_sub(due_ns).and_then(|took| took.checked_sub(held_ns));
        if let Some(trip_ns) = trip_ns.filter(|_| heard.is_first()) {
            self.interval.round_trip.note_ns(trip_ns);
        }
    }
}

#[cfg(test)]
mod tests;
