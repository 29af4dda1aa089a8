//! The log: where it goes, and one line for each [`Event`].
//!
//! Lines go to the standard error stream; the standard output belongs to what a command was asked for. A client's
//! address stands in lines of level DEBUG alone: an operator who keeps INFO keeps no register of who called from where.
//! What packets cause in any number is TRACE, and refusals have a budget ([`EventLog`]).

use std::fmt;
use std::panic;
use std::thread;

use tracing::Level;
use tracing::Subscriber;
use tracing::debug;
use tracing::error;
use tracing::info;
use tracing::trace;
use tracing::warn;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

use crate::control::view::METHOD_WORDS;
use crate::control::view::method_index;
use crate::control::view::open_failure_word;
use crate::control::view::outcome_index;
use crate::control::view::outcome_word;
use crate::proto::turn::Event;
use crate::proto::turn::OpenFailure;
use crate::proto::types::FiveTuple;
use crate::proto::types::RelayAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::WorkerId;
use crate::proto::wire::ErrorCode;

use super::LogConfig;
use super::LogLevel;
use super::format::Lines;
use super::stamp::Stamp;
use super::together;
use super::together::StandardError;

/// Lines about refusals in one second; further ones are counted and told in one line. A client without credentials
/// can cause refusals as fast as it can send.
const REFUSALS_PER_SECOND_MAX: u32 = 20;

/// A log was set up before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyLogging;

impl fmt::Display for AlreadyLogging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a log has been set up in this process before")
    }
}

impl std::error::Error for AlreadyLogging {}

/// Sets up the log of the whole process, on the standard error stream.
///
/// # Errors
/// [`AlreadyLogging`] on a second call.
pub fn init(config: LogConfig) -> Result<LevelKnob, AlreadyLogging> {
    let (subscriber, knob) = subscriber(config, Stamp, || StandardError);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| AlreadyLogging)?;
    Ok(knob)
}

/// Characters of a panic's message that the log tells.
const PANIC_MESSAGE_MAX: usize = 256;

/// From here on a panic is told in a line of the log, on whichever thread: where, and what the code that panicked says.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let why = panic.payload_as_str().unwrap_or("no message");
        let why: String = why.chars().take(PANIC_MESSAGE_MAX).collect();
        let at = panic.location().map(ToString::to_string);
        error!(thread = thread::current().name(), at, why, "panic, which is a bug");
        together::write();
    }));
}

/// Sets the level of a log at work.
#[derive(Clone, Debug)]
pub struct LevelKnob(reload::Handle<Targets, Registry>);

impl LevelKnob {
    /// Lines below `level` are not written from here on.
    pub fn set(&self, level: LogLevel) {
        // An error says that the log is gone, and with it everybody who could read about it.
        let _ = self.0.reload(targets(level));
    }
}

fn subscriber<T, W>(config: LogConfig, time: T, writer: W) -> (impl Subscriber + Send + Sync, LevelKnob)
where
    T: FormatTime + Send + Sync + 'static,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (targets, handle) = reload::Layer::new(targets(config.level));
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Lines { format: config.format, time })
        .with_writer(writer)
        // Complaining about a closed standard error stream on that stream would panic.
        .log_internal_errors(false);
    (tracing_subscriber::registry().with(targets).with(lines), LevelKnob(handle))
}

/// Which lines are written at `level`.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    // Libraries speak of their own affairs below WARN; some of them would name peers.
    Targets::new().with_default(level.min(Level::WARN)).with_target(env!("CARGO_CRATE_NAME"), level)
}

/// Logs events, refusals within a budget.
#[derive(Debug, Default)]
pub struct EventLog {
    second: u64,
    refusals: u32,
    withheld: u64,
}

impl EventLog {
    /// A log that has said nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Logs `happened`, unless it is one refusal too many of the second that `tick` lies in. Lines of this thread may be kept
    /// from here on, until [`Self::write_kept`].
    pub fn write(&mut self, tick: Tick, happened: &Event) {
        together::keep();
        let second = tick.as_millis() / 1_000;
        if second != self.second {
            if self.withheld > 0 {
                warn!(withheld = self.withheld, "more refusals than the log tells one by one");
            }
            *self = Self { second, ..Self::default() };
        }
        if matches!(happened, Event::AllocationRefused { .. } | Event::PortRefused { .. }) {
            if self.refusals == REFUSALS_PER_SECOND_MAX {
                self.withheld += 1;
                return;
            }
            self.refusals += 1;
        }
        event(happened);
    }

    /// Writes the lines that were kept.
    pub fn write_kept(&mut self) {
        together::write();
    }
}

/// Logs `happened`.
pub fn event(happened: &Event) {
    match happened {
        Event::AllocationMade { relay, five_tuple, user, relayed, lifetime, additional } => {
            let allocation = Name(*relay);
            info!(
                %allocation, %user, %relayed,
                additional = additional.as_ref().map(display),
                lifetime_s = lifetime.as_secs(),
                "allocation made"
            );
            client_of("client of the allocation made", Some(allocation), five_tuple);
        }
        Event::AllocationRefused { five_tuple, user, code } => {
            let (code, why) = (code.number(), reason_phrase(*code));
            info!(user = user.as_ref().map(display), code, why, "allocation refused");
            client_of("client of the allocation refused", None, five_tuple);
        }
        Event::AllocationEnded {
            relay,
            five_tuple,
            user,
            relayed,
            reason,
            lived_s,
            counters,
            additional,
        } => {
            let allocation = Name(*relay);
            info!(
                %allocation, %user, %relayed,
                additional = additional.as_ref().map(display),
                why = reason.word(), lived_s,
                to_peer_packets = counters.to_peer_packets,
                to_peer_bytes = counters.to_peer_bytes,
                to_client_packets = counters.to_client_packets,
                to_client_bytes = counters.to_client_bytes,
                "allocation ended"
            );
            client_of("client of the allocation ended", Some(allocation), five_tuple);
        }
        Event::Answered { method, code } => {
            let method = METHOD_WORDS[method_index(*method)];
            trace!(method, code = outcome_word(outcome_index(*code)), "answered");
        }
        Event::PortRefused { bind, why } => port_refused(*bind, *why),
        Event::AnswerRepeated => trace!("answer repeated"),
        Event::Discarded => trace!("message discarded"),
        Event::ReplayDropped => trace!("replayed request dropped"),
        Event::LegacyMade { stream } => debug!(stream = stream.word(), "allocation speaks MS-TURN"),
        Event::PeerConnection { .. } => peer_connection(happened),
        Event::DrainBegun { allocations } => info!(allocations, "draining: no new allocation is made"),
        Event::EndingAll { allocations } => info!(allocations, "ending every allocation"),
        Event::Reconfigured { permissions, channels } => {
            info!(
                permissions_revoked = permissions,
                channels_revoked = channels,
                "new configuration in force"
            );
        }
        Event::AllocationMoved { relay, user, from, to } => {
            let allocation = Name(*relay);
            info!(%allocation, %user, "allocation moved");
            client_of("client of the allocation was", Some(Name(*relay)), from);
            client_of("client of the allocation is", Some(allocation), to);
        }
        Event::WorkerRestarted { worker, epoch } => worker_restarted(*worker, *epoch),
        Event::WorkerRebuilt { worker, relays } => worker_rebuilt(*worker, *relays),
    }
}

/// The one place that writes a client's address.
fn client_of(what: &str, allocation: Option<Name>, five_tuple: &FiveTuple) {
    let FiveTuple { client, server, transport } = five_tuple;
    debug!(allocation = allocation.map(display), %client, %server, transport = transport.word(), "{what}");
}

fn worker_rebuilt(worker: WorkerId, relays: usize) {
    warn!(worker = worker.0, relays, "worker has its table again");
}

fn peer_connection(happened: &Event) {
    if let Event::PeerConnection { relay, user, peer, moment } = happened {
        let allocation = Name(*relay);
        debug!(%allocation, %user, %peer, what = moment.word(), "peer's connection");
    }
}

fn worker_restarted(worker: WorkerId, panics: u32) {
    error!(worker = worker.0, panics, "worker starts anew after a panic, which is a bug");
}

fn port_refused(bind: RelayAddr, why: OpenFailure) {
    let word = open_failure_word(why);
    match why {
        // Somebody else's socket in the range: another port is tried, and nobody need act.
        OpenFailure::PortTaken => debug!(%bind, why = word, "relay port refused"),
        OpenFailure::NoRoom | OpenFailure::Other => warn!(%bind, why = word, "relay port refused"),
        OpenFailure::AddressGone => {
            error!(%bind, why = word, "relay port refused: this machine does not have the relay address");
        }
    }
}

/// An allocation's name in the log: slot and use of the slot.
#[derive(Clone, Copy)]
struct Name(RelayId);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.index, self.0.generation)
    }
}

/// What the standards call the code.
const fn reason_phrase(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::TryAlternate => "Try Alternate",
        ErrorCode::BadRequest => "Bad Request",
        ErrorCode::Unauthenticated => "Unauthenticated",
        ErrorCode::Forbidden => "Forbidden",
        ErrorCode::UnknownAttribute => "Unknown Attribute",
        ErrorCode::IntegrityCheckFailure => "Integrity Check Failure",
        ErrorCode::MissingUsername => "Missing Username",
        ErrorCode::MissingRealm => "Missing Realm",
        ErrorCode::MissingNonce => "Missing Nonce",
        ErrorCode::AllocationMismatch => "Allocation Mismatch",
        ErrorCode::StaleNonce => "Stale Nonce",
        ErrorCode::MobilityForbidden => "Mobility Forbidden",
        ErrorCode::AddressFamilyNotSupported => "Address Family not Supported",
        ErrorCode::WrongCredentials => "Wrong Credentials",
        ErrorCode::UnsupportedTransportProtocol => "Unsupported Transport Protocol",
        ErrorCode::PeerAddressFamilyMismatch => "Peer Address Family Mismatch",
        ErrorCode::ConnectionAlreadyExists => "Connection Already Exists",
        ErrorCode::ConnectionTimeoutOrFailure => "Connection Timeout or Failure",
        ErrorCode::AllocationQuotaReached => "Allocation Quota Reached",
        ErrorCode::ServerError => "Server Error",
        ErrorCode::InsufficientCapacity => "Insufficient Capacity",
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::Mutex;

    use crate::admin::LogFormat;
    use crate::proto::media::Counters;
    use crate::proto::turn::EndReason;
    use crate::proto::types::ClientAddr;
    use crate::proto::types::Lifetime;
    use crate::proto::types::QuotaIdentity;
    use crate::proto::types::ServerAddr;
    use crate::proto::types::Transport;
    use crate::proto::wire::Method;

    use super::*;

    const CLIENT: &str = "192.0.2.1:4000";

    #[test]
    fn each_event_at_info_as_text() {
        let log = logged(LogFormat::Text, LogLevel::Info, || events(b"alice").iter().for_each(event));
        assert_eq!(
            log,
            "T  INFO allocation made allocation=7.2 user=alice relayed=203.0.113.7:50000 lifetime_s=600\n\
             T  INFO allocation refused user=alice code=486 why=\"Allocation Quota Reached\"\n\
             T  INFO allocation refused code=401 why=Unauthenticated\n\
             T  INFO allocation moved allocation=7.2 user=alice\n\
             T  INFO allocation ended allocation=7.2 user=alice relayed=203.0.113.7:50000 why=expired lived_s=601 \
             to_peer_packets=1 to_peer_bytes=20 to_client_packets=3 to_client_bytes=400\n\
             T  WARN relay port refused bind=203.0.113.7:50000 why=no_room\n\
             T ERROR relay port refused: this machine does not have the relay address bind=203.0.113.7:50000 \
             why=address_gone\n\
             T  WARN relay port refused bind=203.0.113.7:50000 why=other\n\
             T  INFO draining: no new allocation is made allocations=5\n\
             T  INFO ending every allocation allocations=4\n\
             T  INFO new configuration in force permissions_revoked=2 channels_revoked=1\n"
        );
    }

    #[test]
    fn each_event_at_info_as_json() {
        let log = logged(LogFormat::Json, LogLevel::Info, || events(b"alice").iter().for_each(event));
        assert_eq!(
            log.lines().take(5).collect::<Vec<_>>(),
            [
                r#"{"time":"T","level":"INFO","message":"allocation made","allocation":"7.2","user":"alice","relayed":"203.0.113.7:50000","lifetime_s":600}"#,
                r#"{"time":"T","level":"INFO","message":"allocation refused","user":"alice","code":486,"why":"Allocation Quota Reached"}"#,
                r#"{"time":"T","level":"INFO","message":"allocation refused","code":401,"why":"Unauthenticated"}"#,
                r#"{"time":"T","level":"INFO","message":"allocation moved","allocation":"7.2","user":"alice"}"#,
                r#"{"time":"T","level":"INFO","message":"allocation ended","allocation":"7.2","user":"alice","relayed":"203.0.113.7:50000","why":"expired","lived_s":601,"to_peer_packets":1,"to_peer_bytes":20,"to_client_packets":3,"to_client_bytes":400}"#,
            ]
        );
        assert_eq!(log.lines().count(), 11);
        for line in log.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        }
    }

    #[test]
    fn the_level_of_a_log_at_work_can_be_changed_both_ways() {
        let paper = Paper::default();
        let writer = paper.clone();
        let config = LogConfig { format: LogFormat::Text, level: LogLevel::Info };
        let (subscriber, knob) = subscriber(config, Stamp, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            for (level, word) in
                [(LogLevel::Debug, "one"), (LogLevel::Error, "two"), (LogLevel::Info, "three")]
            {
                knob.set(level);
                debug!(word, "debug");
                info!(word, "info");
            }
        });
        let log = String::from_utf8(paper.0.lock().expect("nobody panicked").clone()).expect("text");
        assert_eq!(log, "T DEBUG debug word=one\nT  INFO info word=one\nT  INFO info word=three\n");
    }

    #[test]
    fn a_clients_address_stands_in_debug_lines_alone() {
        for format in LogFormat::ALL {
            let info = logged(format, LogLevel::Info, || events(b"alice").iter().for_each(event));
            assert!(!info.contains("192.0.2.1"), "{info}");
            let all = logged(format, LogLevel::Trace, || events(b"alice").iter().for_each(event));
            let with_address: Vec<_> = all.lines().filter(|line| line.contains("192.0.2.1")).collect();
            assert_eq!(with_address.len(), 6, "{all}");
            assert!(with_address.iter().all(|line| line.contains("DEBUG")), "{all}");
        }
        let debug = logged(LogFormat::Text, LogLevel::Debug, || event(&events(b"alice")[0]));
        assert!(
            debug.ends_with(
                "T DEBUG client of the allocation made allocation=7.2 client=192.0.2.1:4000 server=192.0.2.2:3478 \
                 transport=udp\n"
            ),
            "{debug}"
        );
    }

    #[test]
    fn what_packets_cause_is_trace() {
        let debug = logged(LogFormat::Text, LogLevel::Debug, || events(b"alice").iter().for_each(event));
        assert!(!debug.contains("answered") && !debug.contains("discarded"), "{debug}");
        let trace = logged(LogFormat::Text, LogLevel::Trace, || events(b"alice").iter().for_each(event));
        assert!(trace.contains("T TRACE answered method=refresh code=438\n"), "{trace}");
        assert!(trace.contains("T TRACE answered method=binding code=success\n"), "{trace}");
        assert!(trace.contains("T TRACE message discarded\n"), "{trace}");
    }

    #[test]
    fn a_name_injects_neither_lines_nor_fields_nor_terminal_sequences() {
        let names: [&[u8]; 5] = [
            b"x\nT  INFO allocation made user=root",
            b"x\x1b]0;owned\x07\x1b[2J",
            b"x\r\x08\x7f\0",
            "x\u{202e}\u{9b}31m".as_bytes(),
            b"x\",\"level\":\"ERROR",
        ];
        for name in names {
            for format in LogFormat::ALL {
                let log = logged(format, LogLevel::Trace, || event(&events(name)[0]));
                assert_eq!(log.lines().count(), 2, "{log:?}");
                assert!(
                    log.lines().all(|line| line.bytes().all(|byte| (0x20..0x7F).contains(&byte))),
                    "{log:?}"
                );
                if format == LogFormat::Json {
                    let line: serde_json::Value =
                        serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");
                    assert_eq!(line["level"], "INFO");
                    assert_eq!(line["user"], name.escape_ascii().to_string());
                }
            }
        }
    }

    #[test]
    fn libraries_are_heard_from_warn_upwards() {
        let log = logged(LogFormat::Text, LogLevel::Trace, || {
            tracing::debug!(target: "hyper::proto", "chatter from {CLIENT}");
            tracing::warn!(target: "hyper::proto", "trouble");
        });
        assert_eq!(log, "T  WARN trouble\n");
        let log =
            logged(LogFormat::Text, LogLevel::Error, || tracing::warn!(target: "hyper::proto", "trouble"));
        assert_eq!(log, "");
    }

    #[test]
    fn refusals_beyond_the_budget_are_told_in_one_line_and_nothing_else_is_withheld() {
        let events = events(b"alice");
        let (made, refused) = (&events[0], &events[1]);
        let log = logged(LogFormat::Text, LogLevel::Info, || {
            let mut log = EventLog::new();
            for _ in 0..100 {
                log.write(Tick::from_millis(5_000), refused);
            }
            log.write(Tick::from_millis(5_999), made);
            log.write(Tick::from_millis(6_000), refused);
            log.write(Tick::from_millis(7_000), refused);
        });
        assert_eq!(log.matches("allocation refused").count(), 22, "{log}");
        assert_eq!(log.matches("allocation made").count(), 1, "{log}");
        assert_eq!(
            log.matches("more refusals than the log tells one by one withheld=80").count(),
            1,
            "{log}"
        );
        assert_eq!(log.matches("withheld").count(), 1, "{log}");
    }

    #[test]
    fn every_code_has_its_own_phrase() {
        let phrases: std::collections::BTreeSet<_> = ErrorCode::ALL.map(reason_phrase).into();
        assert_eq!(phrases.len(), ErrorCode::ALL.len());
    }

    /// Every kind of event, `user` being whose it is where it is anyone's.
    fn events(user: &[u8]) -> Vec<Event> {
        let relay = RelayId { index: 7, generation: 2 };
        let relayed = RelayAddr::new("203.0.113.7:50000".parse().expect("a literal"));
        let five_tuple = FiveTuple {
            client: ClientAddr::new(CLIENT.parse().expect("a literal")),
            server: ServerAddr::new("192.0.2.2:3478".parse().expect("a literal")),
            transport: Transport::Udp,
        };
        let user = QuotaIdentity::new(user);
        let counters =
            Counters { to_peer_packets: 1, to_peer_bytes: 20, to_client_packets: 3, to_client_bytes: 400 };
        let refused = |user, code| Event::AllocationRefused { five_tuple, user, code };
        let answered = |method, code| Event::Answered { method, code };
        let port_refused = |why| Event::PortRefused { bind: relayed, why };
        let lifetime = Lifetime::from_secs(600);
        vec![
            Event::AllocationMade {
                relay,
                five_tuple,
                user: user.clone(),
                relayed,
                lifetime,
                additional: None,
            },
            refused(Some(user.clone()), ErrorCode::AllocationQuotaReached),
            refused(None, ErrorCode::Unauthenticated),
            Event::AllocationMoved { relay, user: user.clone(), from: five_tuple, to: five_tuple },
            Event::AllocationEnded {
                relay,
                five_tuple,
                user,
                relayed,
                reason: EndReason::Expired,
                lived_s: 601,
                counters,
                additional: None,
            },
            answered(Method::Refresh, Some(ErrorCode::StaleNonce)),
            answered(Method::Binding, None),
            port_refused(OpenFailure::PortTaken),
            port_refused(OpenFailure::NoRoom),
            port_refused(OpenFailure::AddressGone),
            port_refused(OpenFailure::Other),
            Event::AnswerRepeated,
            Event::Discarded,
            Event::ReplayDropped,
            Event::DrainBegun { allocations: 5 },
            Event::EndingAll { allocations: 4 },
            Event::Reconfigured { permissions: 2, channels: 1 },
            Event::LegacyMade { stream: crate::proto::wire::StreamKind::Video },
        ]
    }

    struct Stamp;

    impl FormatTime for Stamp {
        fn format_time(&self, writer: &mut tracing_subscriber::fmt::format::Writer<'_>) -> fmt::Result {
            writer.write_str("T")
        }
    }

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: LogLevel, run: impl FnOnce()) -> String {
        let paper = Paper::default();
        let writer = paper.clone();
        let (subscriber, _) = subscriber(LogConfig { format, level }, Stamp, move || writer.clone());
        tracing::subscriber::with_default(subscriber, run);
        let bytes = paper.0.lock().expect("nobody panicked").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }
}
