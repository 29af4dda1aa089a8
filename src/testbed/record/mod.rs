//! The flight record of a run: what was seen, where, and what it means, whichever laboratory it was seen in.

mod sighting;

pub use sighting::Point;
pub use sighting::Sighting;
