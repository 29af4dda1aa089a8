//! What came of a run, for people and for programs: text for a terminal, JSON, one page of HTML with plots.
//!
//! Nothing here measures or judges; it shows a [`Report`](super::outcome::Report). Texts of others (the URI, what a server
//! said) are cleaned for a terminal and escaped for a page. No credential is ever part of it.

mod figures;
mod html;
mod json;
mod plot;
#[cfg(test)]
mod sample;
mod scale;
mod style;
mod sum;
mod table;
mod text;
mod words;

pub use html::html;
pub use json::json;
pub use text::text;
pub(super) use words::holding;
pub(super) use words::some;
