//! The server of a laboratory: the pure core (`proto::turn`, `proto::media`) behind a saboteur. Sans I/O: one [`Input`],
//! then [`Edge::poll_output`] until it is dry.
//!
//! ```text
//!   client ── saboteur ── core of this client ── saboteur ── peer
//! ```
//!
//! A client is a TURN user name. Each has a core of its own, so that what is done to one is done to no other: its server
//! restarts alone, and its relay vanishes alone. All cores share the listen addresses, the relayed addresses and the ports.
//! Any user name is good with the laboratory's password; what stands before its first dot may be the name of a scenario.

mod input;
mod note;
mod output;
mod setup;

pub use input::Button;
pub use input::Input;
pub use note::Kind;
pub use note::Note;
pub use output::Output;
pub use setup::Listen;
pub use setup::Setup;

use std::collections::VecDeque;

use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Now;

use super::scenario::Scenarios;

/// A server that misbehaves on request.
#[derive(Debug)]
pub struct Edge<E> {
    setup: Setup,
    scenarios: Scenarios,
    entropy: E,
    outputs: VecDeque<Output>,
}

impl<E: Entropy> Edge<E> {
    /// A server without clients.
    #[must_use]
    pub fn new(setup: Setup, scenarios: Scenarios, entropy: E) -> Self {
        Self { setup, scenarios, entropy, outputs: VecDeque::new() }
    }

    /// Takes in one thing that happened.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) {
        let _ = (now, input, &self.setup, &self.scenarios, &mut self.entropy);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
    }

    /// The next thing to be done; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is next worth calling.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Deadline> {
        None
    }
}
