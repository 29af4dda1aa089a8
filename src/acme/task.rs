//! What the thread does: it waits until an order is due, orders, and waits again.

use tokio::time::sleep;
use tokio::time::timeout;

use crate::net::Certificate;
use crate::proto::types::limits;

use super::Outcome;
use super::Prepared;
use super::order;
use super::schedule;

/// Never ends.
pub(super) async fn run(acme: Prepared) {
    // What cannot be read was told, and is as good as none.
    let mut shown = acme.store.certificate().ok().flatten();
    let mut failures = 0_u32;
    loop {
        let wait = schedule::does_for(shown.as_ref(), &acme.config.names, schedule::unix());
        if !wait.is_zero() {
            sleep(wait.min(limits::ACME_LOOK)).await;
            continue;
        }
        match once(&acme).await {
            Some(certificate) => {
                failures = 0;
                shown = Some(certificate);
                // An authority whose certificates end at once is not asked without a pause either.
                sleep(limits::ACME_PAUSE_MIN).await;
            }
            None => {
                failures = failures.saturating_add(1);
                sleep(schedule::pause(failures)).await;
            }
        }
    }
}

/// One order. What became of it is told in one line.
async fn once(acme: &Prepared) -> Option<Certificate> {
    let names = acme.config.names.join(", ");
    let order = order::obtain(&acme.config, &acme.store, &acme.certificates);
    match timeout(limits::ACME_ORDER_DEADLINE, order).await {
        Ok(Ok(certificate)) => {
            acme.certificates.obtain(certificate.clone());
            acme.stats.ends(certificate.not_after());
            acme.stats.count(Outcome::Issued);
            let days = certificate.not_after().saturating_sub(schedule::unix()) / 86_400;
            tracing::info!(names, days, "a certificate was issued, and is shown from here on");
            Some(certificate)
        }
        Ok(Err(failure)) => {
            acme.stats.count(Outcome::Failed);
            let (step, error, cure) = (failure.step.word(), failure.why, failure.step.cure());
            tracing::error!(names, step, error, cure, "no certificate was issued: it is tried again later");
            None
        }
        Err(_) => {
            acme.stats.count(Outcome::Failed);
            let cure = "look whether the authority works, and whether it reaches this server at TCP port 443 of each name";
            tracing::error!(names, cure, "no certificate was issued in time: it is tried again later");
            None
        }
    }
}
