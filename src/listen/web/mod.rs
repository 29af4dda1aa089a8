//! What is no TURN: HTTP goes to the web site behind, TLS for names of others goes on as it is, and who finds no web site
//! is told so.
//!
//! ```text
//!   judge ─▶ Door ──(bounded queue)──▶ thread `web`: connect ─▶ [ PROXY header ] ─▶ pipe, both ways, until both ends are done
//! ```
//!
//! Assumptions: a thread of its own, of lower priority than the others, so that a download takes no time from whoever is
//! accepted, shakes hands or relays; a limit of its own, so that visitors of the site leave places for callers.

mod config;
mod guest;
mod pipe;
mod start;
mod stats;

pub use config::Deadlines as WebDeadlines;
pub use config::Target;
pub use config::Web;
pub use stats::Errand;
pub use stats::WebEnd;
pub use stats::WebStats;

pub(super) use start::Door;
pub(super) use start::start;
