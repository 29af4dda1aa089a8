//! The metrics of certificates that the server gets for itself.

use super::metrics::Family;
use super::metrics::Scrape;

/// What is known of orders at one moment; nothing where none are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcmeSnapshot {
    /// Orders that ended, by outcome.
    pub orders: Vec<(&'static str, u64)>,
    /// Seconds until the certificate ends; 0 if it has ended or there is none yet.
    pub seconds_left: Option<u64>,
}

impl Scrape {
    pub(super) fn acme(&self) -> Vec<Family> {
        let orders = Family::new("swingbridge_acme_orders_total", "Orders of certificates, by outcome");
        let left = Family::new(
            "swingbridge_acme_certificate_seconds",
            "Seconds until the certificate that was ordered ends",
        );
        let count = |family: Family, (outcome, count): &(&'static str, u64)| {
            family.with([("outcome", (*outcome).to_owned())], *count)
        };
        vec![
            self.acme.orders.iter().fold(orders, count),
            self.acme.seconds_left.into_iter().fold(left, |family, seconds| family.with([], seconds)),
        ]
    }
}
