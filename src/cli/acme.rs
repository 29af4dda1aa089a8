//! Certificates that the server gets for itself, as `serve` has them ordered.

use std::path::PathBuf;
use std::sync::Arc;

use crate::acme::Acme;
use crate::acme::Config;
use crate::acme::Outcome;
use crate::acme::Prepared;
use crate::acme::Stats;
use crate::admin::AcmeSnapshot;
use crate::config::Settings;
use crate::net::Certificates;
use crate::net::outward::trusting;

use super::Exit;
use super::serve::refused;

/// What is kept of earlier orders is shown from here on; `None` if nothing is to be ordered.
pub(super) fn prepare(
    settings: &Settings,
    state: Option<PathBuf>,
    certificates: &Arc<Certificates>,
) -> Result<Option<Prepared>, Exit> {
    let Some(acme) = settings.acme.clone() else { return Ok(None) };
    let state = state.ok_or_else(|| {
        refused(
            "no state directory for [tls.acme]: neither --state-dir nor HOME is set\n  = help: write --state-dir, where \
             the account and the certificate are kept",
        )
    })?;
    let tls = trusting(acme.roots.as_ref()).map_err(|error| {
        let help =
            "install the certificates of public authorities (ca-certificates), or name roots in [tls.acme]";
        refused(&format!("certificates cannot be ordered: {error}\n  = help: {help}"))
    })?;
    let config = Config {
        names: acme.names,
        contact: acme.contact,
        directory: acme.directory,
        tls: Arc::new(tls),
        state,
    };
    Ok(Some(Prepared::new(config, Arc::clone(certificates))))
}

/// From here on is ordered what is needed. The doors are open.
pub(super) fn start(prepared: Option<Prepared>) -> Result<Option<Acme>, Exit> {
    let started = prepared.map(Prepared::start).transpose();
    started.map_err(|error| refused(&format!("no thread to order certificates: {error}")))
}

/// A look at the orders, where there are any.
pub(super) fn snapshots(acme: Option<&Prepared>) -> Arc<dyn Fn() -> AcmeSnapshot + Send + Sync> {
    let stats = acme.map(Prepared::stats);
    Arc::new(move || stats.as_deref().map(snapshot).unwrap_or_default())
}

fn snapshot(stats: &Stats) -> AcmeSnapshot {
    AcmeSnapshot {
        orders: Outcome::ALL.map(|outcome| (outcome.word(), stats.orders(outcome))).into(),
        seconds_left: Some(stats.seconds_left()),
    }
}
