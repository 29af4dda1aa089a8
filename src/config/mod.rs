//! The configuration: what an operator wrote, what is wrong with it, and what the rooms are made with.
//!
//! ```text
//!  text ──file──▶ entries with spans ──read──▶ typed values ──check──▶ Checked ──build (+ Machine)──▶ Settings
//!         │ syntax, unknown keys      │ one value       │ between keys
//!         └───────────────────────────┴─────────────────┴──▶ Report: every Problem, not only the first
//! ```
//!
//! One table, [`schema::KEYS`], knows every key: the names that an unknown key is compared with, the defaults, the
//! commented file `conf/full.toml` and the listing of `swingbridge check` are all read from it.

mod acme;
mod bandwidth;
mod build;
mod certificates;
mod check;
mod file;
mod foreign;
pub mod generate;
mod interfaces;
mod load;
mod mras;
mod oauth;
mod opaque;
mod problem;
mod read;
mod reload;
pub mod schema;
mod secret;
mod source;
mod suggest;
mod value;
mod web;
mod words;

pub use acme::AcmeSettings;
pub use bandwidth::show_bandwidth;
pub use build::DefaultedRelay;
pub use build::ListenStream;
pub use build::ListenUdp;
pub use build::Log;
pub use build::Machine;
pub use build::Settings;
pub use load::Checked;
pub use load::Listed;
pub use mras::MrasSettings;
pub use problem::Problem;
pub use problem::Report;
pub use problem::Severity;
pub use reload::needs_restart;
pub use source::OperatingSystem;
pub use source::SECRET_FILE_MAX;
pub use source::SecretFile;
pub use source::Source;
pub use value::parse_span;
pub use value::show_span;
pub use web::WebSettings;
pub use web::WebSite;
pub use words::PathTier;

use crate::proto::types::Secret;

pub(crate) use opaque::prepare;

/// What came of a configuration file.
#[derive(Debug)]
pub struct Loaded {
    /// Every problem, in the order of the file.
    pub report: Report,
    /// The checked configuration; `None` if the report holds an error.
    pub checked: Option<Checked>,
}

/// Reads and checks `text`. `name` is what the report calls the file; `source` is where secrets that stand
/// elsewhere are fetched from.
#[must_use]
pub fn load(name: &str, text: &str, source: &dyn Source) -> Loaded {
    load::load(name, text, source, None)
}

/// The embedded defaults, for a start without a file: every key has its default, and `secret` is the one
/// credential.
#[must_use]
pub fn defaults(secret: Secret) -> Loaded {
    load::load("(defaults)", "", &source::Nowhere, Some(secret))
}
