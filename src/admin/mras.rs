//! The metrics of the doors of the MRAS service.

use super::metrics::Family;
use super::metrics::Scrape;

/// The doors' counters at one moment. Lists hold every label from the start, or nothing where no door is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MrasSnapshot {
    /// Connections of front ends that are open, by door.
    pub connections: Vec<(&'static str, u64)>,
    /// Connections that ended or were never let in, by door and reason.
    pub ended: Vec<(&'static str, &'static str, u64)>,
    /// What was asked, by door and by what became of it.
    pub requests: Vec<(&'static str, &'static str, u64)>,
    /// Credentials handed out, by door.
    pub credentials: Vec<(&'static str, u64)>,
}

impl Scrape {
    pub(super) fn mras(&self) -> Vec<Family> {
        let of = |family: Family, counts: &[(&'static str, u64)]| {
            let each = counts.iter();
            each.fold(family, |family, (door, count)| family.with([("door", (*door).to_owned())], *count))
        };
        let by = |family: Family, key: &'static str, counts: &[(&'static str, &'static str, u64)]| {
            counts.iter().fold(family, |family, (door, word, count)| {
                family.with([("door", (*door).to_owned()), (key, (*word).to_owned())], *count)
            })
        };
        let open = Family::new("swingbridge_mras_connections", "Front ends' connections that are open");
        let ended = Family::new(
            "swingbridge_mras_connections_ended_total",
            "Connections to the doors of the MRAS service that ended or were never let in, by reason",
        );
        let requests = Family::new("swingbridge_mras_requests_total", "What front ends asked, by outcome");
        let credentials = Family::new("swingbridge_mras_credentials_total", "MRAS credentials handed out");
        vec![
            of(open, &self.mras.connections),
            by(ended, "reason", &self.mras.ended),
            by(requests, "outcome", &self.mras.requests),
            of(credentials, &self.mras.credentials),
        ]
    }
}
