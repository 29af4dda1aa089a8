//! Certificates that the server gets for itself from a certificate authority: ACME (RFC 8555), each name proved by
//! TLS-ALPN-01 (RFC 8737).
//!
//! ```text
//!   store ── account key and certificate, in the state directory
//!     │ prepare: what is kept is shown at once
//!   task ── schedule: when is an order due ──▶ order ── https ──▶ the authority
//!     │                                         └─ challenges ──▶ net::Certificates ◀── listen
//!     └─ the certificate ──▶ net::Certificates
//! ```
//!
//! All of it happens in one thread beside the others: whatever the authority does, serving goes on.

mod https;
mod order;
mod schedule;
mod stats;
mod store;
mod task;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::net::Certificates;

pub use stats::Outcome;
pub use stats::Stats;

use store::Store;

/// What certificates are ordered with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The names of hosts that each certificate is for, in small letters, at least one.
    pub names: Vec<String>,
    /// How the authority can reach the operator, as a URL.
    pub contact: Option<String>,
    /// The address of the authority's directory, over HTTPS.
    pub directory: String,
    /// What the authority is called with.
    pub tls: Arc<ClientConfig>,
    /// The state directory. The account and the certificate are kept in a folder of it.
    pub state: PathBuf,
}

/// Orders at work, until this is dropped.
#[derive(Debug)]
pub struct Acme {
    /// Its end is the sign to leave.
    _alive: tokio::sync::oneshot::Sender<()>,
}

/// Orders that have not begun.
#[derive(Debug)]
pub struct Prepared {
    config: Config,
    store: Store,
    certificates: Arc<Certificates>,
    stats: Arc<Stats>,
}

impl Prepared {
    /// From here on `certificates` show what is kept, if there is anything.
    #[must_use]
    pub fn new(config: Config, certificates: Arc<Certificates>) -> Self {
        let store = Store::new(&config.state, &config.directory);
        let stats = Arc::new(Stats::default());
        match store.certificate() {
            Ok(Some(kept)) if kept.not_after() > schedule::unix() => {
                stats.ends(kept.not_after());
                certificates.obtain(kept);
            }
            Ok(_) => {}
            Err(error) => {
                let file = store.certificate_file();
                tracing::warn!(
                    file = %file.display(), %error,
                    "the certificate that is kept cannot be used: another will be ordered"
                );
            }
        }
        Self { config, store, certificates, stats }
    }

    /// What is counted.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Orders what is needed now, and whenever it is needed.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self) -> io::Result<Acme> {
        let (alive, gone) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("acme".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = gone => {}
                    () = task::run(self) => {}
                }
            });
            // Whoever is still asked for an address is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Acme { _alive: alive })
    }
}
