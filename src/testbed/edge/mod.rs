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
//! Before it has told its name, a client is nobody, and served as it should be.

mod befall;
mod core;
#[expect(clippy::module_inception, reason = "the file holds the type that the room is named after")]
mod edge;
mod guest;
mod input;
mod judge;
mod message;
mod note;
mod output;
mod sabotage;
mod setup;
mod source;
#[cfg(test)]
mod tests;
mod words;

pub use edge::ClientView;
pub use edge::Edge;
pub use input::Button;
pub use input::Input;
pub use judge::Judgement;
pub use note::Kind;
pub use note::Note;
pub use output::Output;
pub use setup::Listen;
pub use setup::Setup;
pub use words::answer as answer_words;
