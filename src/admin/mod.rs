//! What people and their monitoring see of a running server: `/metrics`, `/health` and the log.
//!
//! Nothing here can change the server. The admin door reads counters that the control task and the workers
//! write ([`crate::control::view`], [`snapshot::WorkerSnapshot`]); it takes no lock and sends no message, so a slow or
//! hostile reader costs the relay nothing.

mod acme;
pub mod config;
mod format;
mod health;
mod http;
mod limited;
mod log;
mod metrics;
mod mras;
mod peers;
mod process;
pub mod snapshot;
mod stamp;
mod streams;
mod together;
mod web;

pub use acme::AcmeSnapshot;
pub use config::Config;
pub use config::LogConfig;
pub use config::LogFormat;
pub use config::LogLevel;
pub use health::ALIVE_WITHIN;
pub use health::Health;
pub use health::judge;
pub use http::Admin;
pub use http::Bound;
pub use http::bind;
pub use log::AlreadyLogging;
pub use log::EventLog;
pub use log::LevelKnob;
pub use log::event;
pub use log::init;
pub use log::log_panics;
pub use metrics::CONTENT_TYPE;
pub use metrics::render;
pub use mras::MrasSnapshot;
pub use peers::PeersSnapshot;
pub use snapshot::RingSnapshot;
pub use snapshot::Sources;
pub use snapshot::WorkerSnapshot;
pub use streams::StreamsSnapshot;
pub use web::WebSnapshot;
