//! The metrics of clients' connections.

use super::metrics::Family;
use super::metrics::Scrape;
use super::web::WebSnapshot;

/// The listening task's counters at one moment. Lists hold every label from the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamsSnapshot {
    /// Connections accepted.
    pub accepted: u64,
    /// Times that the kernel could not give a connection.
    pub accept_errors: u64,
    /// Connections closed at once, by the limit that was reached.
    pub refused: Vec<(&'static str, u64)>,
    /// What connections were found to speak, by where that was looked for and by what it was.
    pub verdicts: Vec<(&'static str, &'static str, u64)>,
    /// Connections closed before a worker got them, by reason.
    pub turned_away: Vec<(&'static str, u64)>,
    /// Connections handed over to workers, by transport.
    pub handed_over: Vec<(&'static str, u64)>,
    /// What is no TURN.
    pub web: WebSnapshot,
}

impl Scrape {
    pub(super) fn streams(&self) -> Vec<Family> {
        let streams = &self.streams;
        let by = |family: Family, key: &'static str, counts: &[(&'static str, u64)]| {
            counts
                .iter()
                .fold(family, |family, (word, count)| family.with([(key, (*word).to_owned())], *count))
        };
        let mut verdicts =
            Family::new("swingbridge_stream_verdicts_total", "What connections were found to speak");
        for (layer, verdict, count) in &streams.verdicts {
            let labels = [("inside", (*layer).to_owned()), ("verdict", (*verdict).to_owned())];
            verdicts = verdicts.with(labels, *count);
        }
        let refused = Family::new(
            "swingbridge_streams_refused_total",
            "Connections closed at once, by the limit reached",
        );
        let away = Family::new(
            "swingbridge_streams_turned_away_total",
            "Connections closed before a worker got them, by reason",
        );
        let handed = Family::new(
            "swingbridge_streams_handed_over_total",
            "Connections that workers got, by transport",
        );
        vec![
            Family::new("swingbridge_streams_accepted_total", "Connections accepted")
                .with([], streams.accepted),
            Family::new(
                "swingbridge_stream_accept_errors_total",
                "Times that the kernel could not give a connection",
            )
            .with([], streams.accept_errors),
            by(refused, "limit", &streams.refused),
            verdicts,
            by(away, "reason", &streams.turned_away),
            by(handed, "transport", &streams.handed_over),
            self.per_worker("swingbridge_streams", "Clients' connections that are open", |worker| {
                worker.streams
            }),
            self.per_worker_and(
                "swingbridge_streams_ended_total",
                "Clients' connections that ended, by reason",
                "reason",
                |worker| worker.stream_ends.clone(),
            ),
            self.per_worker(
                "swingbridge_streams_parked_total",
                "Times that a connection was not read because its request found no room",
                |worker| worker.streams_parked,
            ),
            self.per_worker("swingbridge_dtls_associations", "Clients over DTLS", |worker| {
                worker.dtls_associations
            }),
            self.per_worker_and(
                "swingbridge_dtls_total",
                "What became of clients over DTLS",
                "event",
                |worker| worker.dtls.clone(),
            ),
        ]
    }
}
