//! What a run is asked and what it answers.

use std::fmt;

use super::Coverage;

/// A run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Determines everything.
    pub seed: u64,
    /// About how many steps the chaos takes; hush, calm and end come on top.
    pub steps: u64,
    /// Whether to capture what goes in and out at the server.
    pub capture: bool,
}

/// What came of a run without a violation.
#[derive(Debug)]
pub struct Report {
    /// Packets delivered or dropped, timers fired, commands.
    pub steps: u64,
    /// What happened at least once.
    pub coverage: Coverage,
    /// Of everything that was delivered and said, in order: two runs are the same if these are.
    pub digest: u64,
    /// The capture, if one was asked for: a pcap file.
    pub capture: Option<Vec<u8>>,
    /// Numbers worth a line: name and count.
    pub tallies: Vec<(&'static str, u64)>,
}

/// Something happened that must not. The run ends with it.
#[derive(Debug)]
pub struct Violation {
    /// Replays it.
    pub seed: u64,
    /// After how many steps.
    pub step: u64,
    /// At what virtual time, in milliseconds.
    pub at_ms: u64,
    /// What.
    pub what: String,
    /// The last things that happened, oldest first.
    pub trace: Vec<String>,
    /// The capture up to here, if one was asked for.
    pub capture: Option<Vec<u8>>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "    {line}")?;
        }
        write!(f, "seed {}, step {}, {} ms: {}", self.seed, self.step, self.at_ms, self.what)
    }
}
