//! What came of calls, whichever laboratory they were made in: one [`Run`], and a [`Matrix`] of many as text for a terminal,
//! JSON, JUnit XML and one page of HTML.
//!
//! Nothing here runs or judges anything. Texts of others (what a client said, what it is called) are cleaned for a terminal and
//! escaped for XML and for a page.

mod flight;
mod html;
mod json;
mod junit;
mod matrix;
mod run;
#[cfg(test)]
mod sample;
mod style;
mod text;
mod words;

pub use flight::Befallen;
pub use flight::Flight;
pub use flight::GateTally;
pub use flight::Happening;
pub use flight::Happenings;
pub use flight::RoadTally;
pub use flight::What;
pub use flight::events_to_json;
pub use html::html;
pub use json::json;
pub use json::json_of_run;
pub use junit::junit;
pub use matrix::Cell;
pub use matrix::Lab;
pub use matrix::LeftOut;
pub use matrix::Matrix;
pub use run::End;
pub use run::Flow;
pub use run::PairTraffic;
pub use run::Run;
pub use text::text;
pub use text::text_of_run;
