//! The page behind `/metrics`: OpenMetrics text, made anew of snapshots at each request.
//!
//! Every reason, code, method and state is there from the start with the value 0, so that an alert can be written
//! before the thing happens. No label holds anything that a client chose. docs/operate/metrics.md names each metric;
//! a test keeps the two the same.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::MetricEncoder;
use prometheus_client::encoding::text;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::control::view::ControlSnapshot;
use crate::control::view::METHOD_WORDS;
use crate::control::view::OPEN_FAILURES;
use crate::control::view::OUTCOMES;
use crate::control::view::STREAM_WORDS;
use crate::control::view::outcome_word;
use crate::proto::media::DropReason;
use crate::proto::turn::EndReason;
use crate::proto::types::Tick;
use crate::proto::wire::ErrorCode;

use super::AcmeSnapshot;
use super::MrasSnapshot;
use super::Sources;
use super::StreamsSnapshot;
use super::WorkerSnapshot;
use super::process;

/// The media type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything the page shows, at one moment.
#[derive(Debug)]
pub(super) struct Scrape {
    now: Tick,
    pub(super) control: ControlSnapshot,
    workers: Vec<WorkerSnapshot>,
    pub(super) streams: StreamsSnapshot,
    pub(super) mras: MrasSnapshot,
    pub(super) acme: AcmeSnapshot,
    open_fds: Option<u64>,
    resident_bytes: Option<u64>,
    cpu: Duration,
    path: &'static str,
}

/// One metric: its name as it stands on the page, what it counts, and its samples.
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    samples: Vec<Sample>,
}

struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

#[derive(Clone, Copy)]
enum Value {
    Count(u64),
    /// Of a counter.
    Seconds(f64),
}

/// The page for `sources` as they stand.
#[must_use]
pub fn render(sources: &Sources) -> String {
    render_scrape(Scrape {
        now: (sources.clock)(),
        control: sources.control.snapshot(),
        workers: (sources.workers)(),
        streams: (sources.streams)(),
        mras: (sources.mras)(),
        acme: (sources.acme)(),
        open_fds: process::open_fds(),
        resident_bytes: process::resident_bytes(),
        cpu: process::cpu_time(),
        path: sources.path,
    })
}

fn render_scrape(scrape: Scrape) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut page = String::with_capacity(16 * 1024);
    text::encode(&mut page, &registry).expect("a String takes every write");
    page
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let families = [
            self.server(),
            self.allocations(),
            self.answers(),
            self.ports(),
            self.traffic(),
            self.sockets(),
            self.rings(),
            self.streams(),
            self.mras(),
            self.acme(),
            self.web(),
            self.peers(),
        ];
        for family in families.into_iter().flatten() {
            family.encode(&mut encoder)?;
        }
        Ok(())
    }
}

impl Scrape {
    fn server(&self) -> Vec<Family> {
        let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
        let silent_ms =
            self.control.last_alive.map(|last| self.now.as_millis().saturating_sub(last.as_millis()));
        let mut families = vec![
            Family::new("swingbridge_build_info", "The version that runs").with(version, 1),
            Family::new("swingbridge_uptime_seconds", "Since the start")
                .with([], self.now.as_millis() / 1_000),
            Family::new("swingbridge_draining", "Whether the server is leaving and makes no new allocation")
                .with([], u64::from(self.control.draining)),
            Family::new("swingbridge_path_info", "What relay ports stand on")
                .with([("path", self.path.to_owned())], 1),
            self.per_worker("swingbridge_worker_live", "Whether the worker's thread runs", |worker| {
                u64::from(worker.live)
            }),
        ];
        let optional = [
            (
                "swingbridge_control_silent_milliseconds",
                "Since the control task's last sign of life",
                silent_ms,
            ),
            ("process_open_fds", "Open file descriptors", self.open_fds),
            ("process_resident_memory_bytes", "Memory in use", self.resident_bytes),
        ];
        for (name, help, value) in optional {
            families.extend(value.map(|value| Family::new(name, help).with([], value)));
        }
        let cpu = Family::new("process_cpu_seconds_total", "CPU time of all threads");
        families.push(cpu.of_seconds(self.cpu));
        families
    }

    fn allocations(&self) -> Vec<Family> {
        let control = &self.control;
        let mut refused =
            Family::new("swingbridge_allocations_refused_total", "Allocates refused, by error code");
        for (code, count) in ErrorCode::ALL.iter().zip(control.refused) {
            refused = refused.with([("code", code.number().to_string())], count);
        }
        let mut ended = Family::new("swingbridge_allocations_ended_total", "Allocations ended, by reason");
        for (reason, count) in EndReason::ALL.iter().zip(control.ended) {
            ended = ended.with([("reason", reason.word().to_owned())], count);
        }
        let mut legacy = Family::new(
            "swingbridge_legacy_allocations_made_total",
            "Allocations made for clients that speak MS-TURN, by what they are for",
        );
        for (stream, count) in STREAM_WORDS.iter().zip(control.legacy_made) {
            legacy = legacy.with([("stream", (*stream).to_owned())], count);
        }
        vec![
            Family::new("swingbridge_allocations", "Allocations that live").with([], control.live),
            Family::new("swingbridge_allocations_made_total", "Allocations made").with([], control.made),
            refused,
            ended,
            legacy,
        ]
    }

    fn answers(&self) -> Vec<Family> {
        let mut answers =
            Family::new("swingbridge_answers_total", "Answers of the control task, by method and error code");
        for (method, counts) in METHOD_WORDS.iter().zip(&self.control.answers) {
            for (outcome, count) in counts.iter().enumerate() {
                let labels = [("method", (*method).to_owned()), ("code", outcome_word(outcome))];
                answers = answers.with(labels, *count);
            }
        }
        let mut greetings = Family::new(
            "swingbridge_stranger_answers_total",
            "Answers of a worker to five-tuples without an allocation, by error code",
        );
        for (index, worker) in self.workers.iter().enumerate() {
            for outcome in 0..OUTCOMES {
                let labels = [("worker", index.to_string()), ("code", outcome_word(outcome))];
                greetings = greetings.with(labels, at(&worker.greetings, outcome));
            }
        }
        vec![
            answers,
            greetings,
            Family::new(
                "swingbridge_answers_repeated_total",
                "Repeated requests that were answered from memory",
            )
            .with([], self.control.answers_repeated),
            Family::new("swingbridge_requests_discarded_total", "Messages that could not be used at all")
                .with([], self.control.discarded),
            Family::new(
                "swingbridge_replays_dropped_total",
                "Requests accepted earlier that came again too late for the kept answer",
            )
            .with([], self.control.replays_dropped),
            Family::new("swingbridge_reloads_total", "Reloads of the configuration, by what came of them")
                .with([("result", "applied".to_owned())], self.control.reloads_applied)
                .with([("result", "refused".to_owned())], self.control.reloads_refused),
            Family::new("swingbridge_allocations_moved_total", "Allocations that moved with their client")
                .with([], self.control.moved),
        ]
    }

    fn ports(&self) -> Vec<Family> {
        let ports = self.control.ports;
        let mut by_state = Family::new("swingbridge_ports", "Relay ports, by state");
        for (state, count) in [
            ("free", ports.free),
            ("used", ports.used),
            ("reserved", ports.reserved),
            ("quarantined", ports.quarantined),
        ] {
            by_state = by_state.with([("state", state.to_owned())], count);
        }
        let mut refused =
            Family::new("swingbridge_ports_refused_total", "Relay ports that the kernel refused, by cause");
        for ((_, word), count) in OPEN_FAILURES.iter().zip(self.control.ports_refused) {
            refused = refused.with([("cause", (*word).to_owned())], count);
        }
        vec![by_state, refused]
    }

    fn traffic(&self) -> Vec<Family> {
        vec![
            self.per_worker_and("swingbridge_packets_received_total", "Packets received", "from", |worker| {
                vec![("client", worker.from_client_packets), ("peer", worker.from_peer_packets)]
            }),
            self.per_worker_and(
                "swingbridge_packets_relayed_total",
                "Packets relayed",
                "direction",
                |worker| vec![("to_peer", worker.to_peer_packets), ("to_client", worker.to_client_packets)],
            ),
            self.per_worker_and(
                "swingbridge_bytes_relayed_total",
                "Application data",
                "direction",
                |worker| vec![("to_peer", worker.to_peer_bytes), ("to_client", worker.to_client_bytes)],
            ),
            self.per_worker_and(
                "swingbridge_kernel_packets_relayed_total",
                "Packets relayed in the kernel, of all that were relayed",
                "direction",
                |worker| vec![("to_peer", worker.kernel_packets[0]), ("to_client", worker.kernel_packets[1])],
            ),
            self.per_worker_and("swingbridge_packets_dropped_total", "Packets dropped", "reason", |worker| {
                DropReason::ALL
                    .iter()
                    .map(|reason| (reason.word(), at(&worker.drops, reason.index())))
                    .collect()
            }),
            self.per_worker_and(
                "swingbridge_kernel_losses_total",
                "Packets lost for want of room in a socket",
                "socket",
                |worker| vec![("listener", worker.listener_losses), ("relay", worker.relay_losses)],
            ),
        ]
    }

    fn sockets(&self) -> Vec<Family> {
        vec![
            self.per_worker("swingbridge_relay_sockets", "Relay sockets that are open", |worker| {
                worker.relay_sockets
            }),
            self.per_worker(
                "swingbridge_receive_errors_total",
                "Errors told by a socket when read",
                |worker| worker.receive_errors,
            ),
            self.per_worker("swingbridge_wakeups_total", "Times that the worker woke", |worker| {
                worker.wakeups
            }),
            self.per_worker(
                "swingbridge_discovery_answers_total",
                "Binding answers from another address or to another port, as asked",
                |worker| worker.answers_elsewhere,
            ),
            self.per_worker("swingbridge_batches_total", "Batches of packets read", |worker| worker.batches),
            self.per_worker("swingbridge_worker_panics_total", "Panics that the worker outlived", |worker| {
                worker.panics
            }),
        ]
    }

    fn rings(&self) -> Vec<Family> {
        let mut fill = Family::new("swingbridge_ring_fill", "Places taken in a ring");
        let mut capacity = Family::new("swingbridge_ring_capacity", "Places of a ring");
        for (index, worker) in self.workers.iter().enumerate() {
            for ring in &worker.rings {
                let labels = || [("worker", index.to_string()), ("ring", ring.name.to_owned())];
                fill = fill.with(labels(), ring.fill);
                capacity = capacity.with(labels(), ring.capacity);
            }
        }
        vec![fill, capacity]
    }

    /// One sample for each worker and each value of the label `key`.
    pub(super) fn per_worker_and(
        &self,
        name: &'static str,
        help: &'static str,
        key: &'static str,
        values: impl Fn(&WorkerSnapshot) -> Vec<(&'static str, u64)>,
    ) -> Family {
        let mut family = Family::new(name, help);
        for (index, worker) in self.workers.iter().enumerate() {
            for (label, value) in values(worker) {
                family = family.with([("worker", index.to_string()), (key, label.to_owned())], value);
            }
        }
        family
    }

    pub(super) fn per_worker(
        &self,
        name: &'static str,
        help: &'static str,
        value: impl Fn(&WorkerSnapshot) -> u64,
    ) -> Family {
        let mut family = Family::new(name, help);
        for (index, worker) in self.workers.iter().enumerate() {
            family = family.with([("worker", index.to_string())], value(worker));
        }
        family
    }
}

impl Family {
    pub(super) const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, samples: Vec::new() }
    }

    pub(super) fn with<const N: usize>(mut self, labels: [(&'static str, String); N], value: u64) -> Self {
        self.samples.push(Sample { labels: labels.into(), value: Value::Count(value) });
        self
    }

    fn of_seconds(mut self, time: Duration) -> Self {
        self.samples.push(Sample { labels: Vec::new(), value: Value::Seconds(time.as_secs_f64()) });
        self
    }

    /// A name that ends in `_total` is a counter's; OpenMetrics describes it without that ending.
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (stem, kind) = match self.name.strip_suffix("_total") {
            Some(stem) => (stem, MetricType::Counter),
            None => (self.name, MetricType::Gauge),
        };
        let mut metric = encoder.encode_descriptor(stem, self.help, None, kind)?;
        for Sample { labels, value } in &self.samples {
            if labels.is_empty() {
                encode_value(&mut metric, kind, *value)?;
            } else {
                encode_value(&mut metric.encode_family(labels)?, kind, *value)?;
            }
        }
        Ok(())
    }
}

fn encode_value(metric: &mut MetricEncoder<'_>, kind: MetricType, value: Value) -> fmt::Result {
    match (kind, value) {
        (MetricType::Counter, Value::Count(count)) => {
            metric.encode_counter::<[(&str, &str); 0], _, u64>(&count, None)
        }
        (_, Value::Seconds(seconds)) => metric.encode_counter::<[(&str, &str); 0], _, u64>(&seconds, None),
        (_, Value::Count(count)) => metric.encode_gauge(&count),
    }
}

fn at(counts: &[u64], index: usize) -> u64 {
    counts.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::admin::PeersSnapshot;
    use crate::admin::RingSnapshot;
    use crate::control::view::Ports;

    use super::*;

    #[test]
    fn every_line_is_openmetrics() {
        let page = render_scrape(busy());
        assert!(page.ends_with("# EOF\n"), "{page}");
        let mut described = BTreeSet::new();
        let mut series = BTreeSet::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.split(' ');
                match words.next() {
                    Some("TYPE") => assert!(described.insert(words.next().expect("a name").to_owned())),
                    Some("HELP" | "EOF") => {}
                    other => panic!("unknown comment {other:?} in {line}"),
                }
                continue;
            }
            let (name_and_labels, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(name_and_labels.to_owned()), "twice: {line}");
            let (name, labels) = name_and_labels.split_once('{').unwrap_or((name_and_labels, "}"));
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
            assert!(described.contains(name.strip_suffix("_total").unwrap_or(name)), "undescribed: {line}");
            let labels = labels.strip_suffix('}').expect("a closing brace");
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (key, value) = label.split_once('=').expect("key=value");
                assert!(key.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}");
                assert!(value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
            }
        }
        assert!(series.len() > 150, "{}", series.len());
    }

    #[test]
    fn everything_that_can_happen_is_there_with_zero_before_it_happens() {
        let page = render_scrape(fresh());
        for reason in DropReason::ALL {
            has(
                &page,
                &format!("swingbridge_packets_dropped_total{{worker=\"0\",reason=\"{}\"}} 0", reason.word()),
            );
        }
        for code in ErrorCode::ALL {
            has(&page, &format!("swingbridge_allocations_refused_total{{code=\"{}\"}} 0", code.number()));
            has(
                &page,
                &format!("swingbridge_answers_total{{method=\"channel_bind\",code=\"{}\"}} 0", code.number()),
            );
            has(
                &page,
                &format!("swingbridge_stranger_answers_total{{worker=\"0\",code=\"{}\"}} 0", code.number()),
            );
        }
        for reason in EndReason::ALL {
            has(&page, &format!("swingbridge_allocations_ended_total{{reason=\"{}\"}} 0", reason.word()));
        }
        for (_, word) in OPEN_FAILURES {
            has(&page, &format!("swingbridge_ports_refused_total{{cause=\"{word}\"}} 0"));
        }
    }

    #[test]
    fn numbers_stand_where_they_belong() {
        let page = render_scrape(busy());
        for line in [
            "swingbridge_uptime_seconds 61",
            "swingbridge_control_silent_milliseconds 500",
            "swingbridge_allocations 3",
            "swingbridge_allocations_made_total 5",
            "swingbridge_legacy_allocations_made_total{stream=\"video\"} 1",
            "swingbridge_ports{state=\"free\"} 9990",
            "swingbridge_ports{state=\"quarantined\"} 4",
            "swingbridge_tcp_ports{state=\"used\"} 2",
            "swingbridge_peer_events_total{what=\"arrived\"} 3",
            "swingbridge_peer_events_total{what=\"ended\"} 5",
            "swingbridge_peer_connections{worker=\"0\",state=\"joined\"} 31",
            "swingbridge_peer_connections{worker=\"0\",state=\"waiting\"} 32",
            "swingbridge_peer_refused_total{worker=\"0\"} 33",
            "swingbridge_peer_held_back_total{worker=\"0\"} 34",
            "swingbridge_peer_bytes_total{worker=\"0\",direction=\"to_peer\"} 35",
            "swingbridge_peer_bytes_total{worker=\"0\",direction=\"to_client\"} 36",
            "swingbridge_worker_live{worker=\"0\"} 1",
            "swingbridge_worker_live{worker=\"1\"} 0",
            "swingbridge_packets_relayed_total{worker=\"0\",direction=\"to_peer\"} 10",
            "swingbridge_bytes_relayed_total{worker=\"0\",direction=\"to_client\"} 400",
            "swingbridge_kernel_packets_relayed_total{worker=\"0\",direction=\"to_peer\"} 5",
            "swingbridge_kernel_packets_relayed_total{worker=\"0\",direction=\"to_client\"} 6",
            "swingbridge_path_info{path=\"sk_lookup\"} 1",
            "swingbridge_packets_dropped_total{worker=\"0\",reason=\"no_permission\"} 7",
            "swingbridge_stranger_answers_total{worker=\"0\",code=\"401\"} 9",
            "swingbridge_packets_received_total{worker=\"0\",from=\"peer\"} 11",
            "swingbridge_kernel_losses_total{worker=\"0\",socket=\"listener\"} 2",
            "swingbridge_relay_sockets{worker=\"0\"} 5",
            "swingbridge_receive_errors_total{worker=\"0\"} 6",
            "swingbridge_wakeups_total{worker=\"0\"} 21",
            "swingbridge_discovery_answers_total{worker=\"0\"} 23",
            "swingbridge_batches_total{worker=\"0\"} 22",
            "swingbridge_worker_panics_total{worker=\"0\"} 2",
            "swingbridge_streams_accepted_total 7",
            "swingbridge_stream_verdicts_total{inside=\"tls\",verdict=\"stun\"} 4",
            "swingbridge_streams_refused_total{limit=\"address\"} 3",
            "swingbridge_streams{worker=\"0\"} 8",
            "swingbridge_streams_ended_total{worker=\"0\",reason=\"idle\"} 2",
            "swingbridge_dtls_associations{worker=\"0\"} 24",
            "swingbridge_dtls_total{worker=\"0\",event=\"begun\"} 25",
            "swingbridge_mras_connections{door=\"sip\"} 3",
            "swingbridge_mras_connections_ended_total{door=\"sip\",reason=\"wrong_name\"} 2",
            "swingbridge_mras_requests_total{door=\"https\",outcome=\"granted\"} 5",
            "swingbridge_mras_credentials_total{door=\"https\"} 6",
            "swingbridge_acme_orders_total{outcome=\"issued\"} 2",
            "swingbridge_acme_certificate_seconds 86400",
            "swingbridge_ring_fill{worker=\"0\",ring=\"commands\"} 3",
            "swingbridge_ring_capacity{worker=\"0\",ring=\"commands\"} 4096",
            "process_open_fds 12",
            "process_resident_memory_bytes 4096",
            "process_cpu_seconds_total 12.25",
            "# TYPE process_cpu_seconds counter",
        ] {
            has(&page, line);
        }
        has(&page, concat!("swingbridge_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"));
    }

    #[test]
    fn counters_are_typed_as_counters_and_the_rest_as_gauges() {
        let page = render_scrape(fresh());
        has(&page, "# TYPE swingbridge_packets_dropped counter");
        has(&page, "# TYPE swingbridge_allocations gauge");
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_left_out() {
        let page = render_scrape(Scrape { open_fds: None, resident_bytes: None, ..fresh() });
        assert!(!page.contains("process_open") && !page.contains("process_resident"), "{page}");
    }

    #[test]
    fn a_worker_that_counts_less_than_there_is_shows_zero() {
        let scrape = Scrape { workers: vec![WorkerSnapshot::default()], ..fresh() };
        has(
            &render_scrape(scrape),
            "swingbridge_packets_dropped_total{worker=\"0\",reason=\"send_failed\"} 0",
        );
    }

    fn has(page: &str, line: &str) {
        assert!(page.lines().any(|each| each == line), "missing: {line}\n{page}");
    }

    fn fresh() -> Scrape {
        Scrape {
            now: Tick::from_millis(0),
            control: ControlSnapshot::default(),
            workers: vec![WorkerSnapshot::idle()],
            streams: StreamsSnapshot {
                accepted: 7,
                verdicts: vec![("tls", "stun", 4)],
                refused: vec![("address", 3)],
                ..StreamsSnapshot::default()
            },
            mras: MrasSnapshot {
                connections: vec![("sip", 3)],
                ended: vec![("sip", "wrong_name", 2)],
                requests: vec![("https", "granted", 5)],
                credentials: vec![("https", 6)],
            },
            acme: AcmeSnapshot { orders: vec![("issued", 2)], seconds_left: Some(86_400) },
            open_fds: Some(12),
            resident_bytes: Some(4_096),
            cpu: Duration::from_millis(12_250),
            path: "sk_lookup",
        }
    }

    fn busy() -> Scrape {
        let mut worker = WorkerSnapshot::idle();
        worker.drops[DropReason::NoPermission.index()] = 7;
        worker.greetings[3] = 9;
        worker.to_peer_packets = 10;
        worker.to_client_bytes = 400;
        worker.from_peer_packets = 11;
        worker.listener_losses = 2;
        worker.relay_sockets = 5;
        worker.receive_errors = 6;
        worker.wakeups = 21;
        worker.batches = 22;
        worker.panics = 2;
        worker.peers = PeersSnapshot {
            joined: 31,
            waiting: 32,
            refused: 33,
            held_back: 34,
            to_peer_bytes: 35,
            to_client_bytes: 36,
        };
        worker.streams = 8;
        worker.stream_ends = vec![("idle", 2)];
        worker.dtls_associations = 24;
        worker.dtls = vec![("begun", 25)];
        worker.answers_elsewhere = 23;
        worker.kernel_packets = [5, 6];
        worker.rings = vec![RingSnapshot { name: "commands", fill: 3, capacity: 4_096 }];
        Scrape {
            now: Tick::from_millis(61_500),
            control: ControlSnapshot {
                live: 3,
                made: 5,
                ended: [1, 1, 0, 0, 0],
                legacy_made: [2, 1, 0, 0, 0],
                peer_moments: [3, 4, 0, 0, 0, 0, 0, 5],
                ports_tcp: Ports { free: 9_998, used: 2, ..Ports::default() },
                ports: Ports { free: 9_990, used: 6, reserved: 0, quarantined: 4 },
                last_alive: Some(Tick::from_millis(61_000)),
                ..ControlSnapshot::default()
            },
            workers: vec![worker, WorkerSnapshot { live: false, ..WorkerSnapshot::idle() }],
            ..fresh()
        }
    }
}
