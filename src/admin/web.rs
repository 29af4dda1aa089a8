//! The metrics of connections to web sites behind.

use super::metrics::Family;
use super::metrics::Scrape;

/// The counters of the web's thread at one moment. Lists hold every label from the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebSnapshot {
    /// Connections that came, by where they go.
    pub begun: Vec<(&'static str, u64)>,
    /// Connections that ended, by reason.
    pub ended: Vec<(&'static str, u64)>,
    /// Bytes carried, by direction.
    pub bytes: Vec<(&'static str, u64)>,
}

impl Scrape {
    pub(super) fn web(&self) -> Vec<Family> {
        let web = &self.streams.web;
        let by = |family: Family, key: &'static str, counts: &[(&'static str, u64)]| {
            let labelled = |family: Family, (word, count): &(&'static str, u64)| {
                family.with([(key, (*word).to_owned())], *count)
            };
            counts.iter().fold(family, labelled)
        };
        let sum = |counts: &[(&'static str, u64)]| counts.iter().map(|(_, count)| count).sum::<u64>();
        // Read at two moments: an end may be seen whose beginning is not.
        let open = sum(&web.begun).saturating_sub(sum(&web.ended));
        let begun =
            Family::new("swingbridge_web_connections_begun_total", "Connections that are no TURN, by route");
        let ended =
            Family::new("swingbridge_web_connections_ended_total", "Connections to web sites that ended");
        let bytes = Family::new("swingbridge_web_bytes_total", "Bytes to and from web sites");
        vec![
            Family::new("swingbridge_web_connections", "Connections to web sites that are open")
                .with([], open),
            by(begun, "route", &web.begun),
            by(ended, "reason", &web.ended),
            by(bytes, "direction", &web.bytes),
        ]
    }
}
