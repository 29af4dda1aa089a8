//! The flight record of a run: what was seen, where, and what it means, whichever laboratory it was seen in; and the same as a
//! file for Wireshark.

mod pcapng;
mod sighting;
mod words;

pub use pcapng::begun;
pub use pcapng::pcapng;
pub use pcapng::whole;
pub use sighting::Point;
pub use sighting::Sighting;
pub use words::said;
