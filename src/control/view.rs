//! What the control task shows of itself: counters that it alone writes and that anyone may read, without a lock
//! and without a message. Every counter comes from an [`Event`] or from one of the few states that are no event.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::proto::turn::EndReason;
use crate::proto::turn::Event;
use crate::proto::turn::OpenFailure;
use crate::proto::turn::PeerMoment;
use crate::proto::types::Tick;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::StreamKind;

/// The words for [`Method`] in logs and metrics, in the order of [`method_index`]. All methods that this server does
/// not know share one word, so a stranger cannot make up new time series.
pub const METHOD_WORDS: [&str; 10] = [
    "binding",
    "allocate",
    "refresh",
    "create_permission",
    "channel_bind",
    "unknown",
    "send",
    "set_active_destination",
    "connect",
    "connection_bind",
];

/// The words for [`StreamKind`] in metrics, in the order of [`StreamKind::ALL`].
pub const STREAM_WORDS: [&str; StreamKind::ALL.len()] = [kind(0), kind(1), kind(2), kind(3), kind(4)];

const fn kind(index: usize) -> &'static str {
    StreamKind::ALL[index].word()
}

/// Every [`PeerMoment`] by its word in metrics.
#[must_use]
pub fn peer_words() -> [&'static str; PeerMoment::ALL.len()] {
    PeerMoment::ALL.map(PeerMoment::word)
}

/// Every [`OpenFailure`] with its word in logs and metrics.
pub const OPEN_FAILURES: [(OpenFailure, &str); 4] = [
    (OpenFailure::PortTaken, "port_taken"),
    (OpenFailure::NoRoom, "no_room"),
    (OpenFailure::AddressGone, "address_gone"),
    (OpenFailure::Other, "other"),
];

/// Outcomes of an answer: success in place 0, then each of [`ErrorCode::ALL`].
pub const OUTCOMES: usize = ErrorCode::ALL.len() + 1;

/// The place of `method` in [`METHOD_WORDS`].
#[must_use]
pub const fn method_index(method: Method) -> usize {
    match method {
        Method::Binding => 0,
        Method::Allocate => 1,
        Method::Refresh => 2,
        Method::CreatePermission => 3,
        Method::ChannelBind => 4,
        Method::Unknown(_) => 5,
        Method::Send => 6,
        Method::SetActiveDestination => 7,
        Method::Connect => 8,
        Method::ConnectionBind => 9,
    }
}

/// The place of an outcome in a list of [`OUTCOMES`] counters; `None` is success.
#[must_use]
pub fn outcome_index(code: Option<ErrorCode>) -> usize {
    match code {
        None => 0,
        Some(code) => 1 + code_index(code),
    }
}

/// The label of the outcome in place `index`: `success`, or the number of the error code.
#[must_use]
pub fn outcome_word(index: usize) -> String {
    match index.checked_sub(1).and_then(|place| ErrorCode::ALL.get(place)) {
        Some(code) => code.number().to_string(),
        None => "success".to_owned(),
    }
}

/// The word for `why`.
#[must_use]
pub const fn open_failure_word(why: OpenFailure) -> &'static str {
    OPEN_FAILURES[open_failure_index(why)].1
}

const fn open_failure_index(why: OpenFailure) -> usize {
    match why {
        OpenFailure::PortTaken => 0,
        OpenFailure::NoRoom => 1,
        OpenFailure::AddressGone => 2,
        OpenFailure::Other => 3,
    }
}

fn code_index(code: ErrorCode) -> usize {
    ErrorCode::ALL.iter().position(|each| *each == code).expect("ErrorCode::ALL holds every code")
}

fn reason_index(reason: EndReason) -> usize {
    EndReason::ALL.iter().position(|each| *each == reason).expect("EndReason::ALL holds every reason")
}

fn moment_index(moment: PeerMoment) -> usize {
    PeerMoment::ALL.iter().position(|each| *each == moment).expect("PeerMoment::ALL holds every moment")
}

fn stream_index(stream: StreamKind) -> usize {
    StreamKind::ALL.iter().position(|each| *each == stream).expect("StreamKind::ALL holds every kind")
}

/// Relay ports by state. They add up to the size of the configured range times the relay addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Can be given out.
    pub free: u64,
    /// Belong to an allocation, or to one that is being made or closed.
    pub used: u64,
    /// Kept for a RESERVATION-TOKEN.
    pub reserved: u64,
    /// Were refused by the kernel and are left alone for a while.
    pub quarantined: u64,
}

/// Counters of the control task. It alone writes them; readers see each at some recent value.
#[derive(Debug, Default)]
pub struct ControlView {
    made: AtomicU64,
    refused: [AtomicU64; ErrorCode::ALL.len()],
    ended: [AtomicU64; EndReason::ALL.len()],
    answers: [[AtomicU64; OUTCOMES]; METHOD_WORDS.len()],
    ports_refused: [AtomicU64; OPEN_FAILURES.len()],
    answers_repeated: AtomicU64,
    discarded: AtomicU64,
    ports_free: AtomicU64,
    ports_used: AtomicU64,
    ports_reserved: AtomicU64,
    ports_quarantined: AtomicU64,
    /// Milliseconds since the start, plus 1; 0 before the first sign of life.
    alive: AtomicU64,
    replays_dropped: AtomicU64,
    draining: AtomicBool,
    reloads_applied: AtomicU64,
    /// The one counter that the control task does not write: what it never hears of.
    reloads_refused: AtomicU64,
    moved: AtomicU64,
    legacy_made: [AtomicU64; StreamKind::ALL.len()],
    peer_moments: [AtomicU64; PeerMoment::ALL.len()],
    ports_tcp_free: AtomicU64,
    ports_tcp_used: AtomicU64,
    ports_tcp_quarantined: AtomicU64,
}

/// A copy of every counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlSnapshot {
    /// Allocations that live.
    pub live: u64,
    /// Allocations made since the start.
    pub made: u64,
    /// Allocates refused, in the order of [`ErrorCode::ALL`].
    pub refused: [u64; ErrorCode::ALL.len()],
    /// Allocations ended, in the order of [`EndReason::ALL`].
    pub ended: [u64; EndReason::ALL.len()],
    /// Answers by method ([`METHOD_WORDS`]) and outcome ([`outcome_word`]).
    pub answers: [[u64; OUTCOMES]; METHOD_WORDS.len()],
    /// Ports that the kernel refused, in the order of [`OPEN_FAILURES`].
    pub ports_refused: [u64; OPEN_FAILURES.len()],
    /// Repeated requests answered from memory.
    pub answers_repeated: u64,
    /// Messages that could not be used at all.
    pub discarded: u64,
    /// Relay ports by state.
    pub ports: Ports,
    /// The last sign of life.
    pub last_alive: Option<Tick>,
    /// Repeated requests that came too late for an answer from memory, and were dropped.
    pub replays_dropped: u64,
    /// Whether no new allocation is made, since the server is leaving.
    pub draining: bool,
    /// Reloads of the configuration that were carried out.
    pub reloads_applied: u64,
    /// Reloads that changed nothing because the file is wrong.
    pub reloads_refused: u64,
    /// Allocations that moved with their client.
    pub moved: u64,
    /// Allocations made for clients that speak [MS-TURN], in the order of [`STREAM_WORDS`].
    pub legacy_made: [u64; StreamKind::ALL.len()],
    /// What became of peers' connections, in the order of [`peer_words`].
    pub peer_moments: [u64; PeerMoment::ALL.len()],
    /// Relay ports of TCP by state; none is ever reserved.
    pub ports_tcp: Ports,
}

impl ControlView {
    /// All counters at zero, no sign of life yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts `event`.
    pub fn record(&self, event: &Event) {
        match event {
            Event::AllocationMade { .. } => add(&self.made),
            Event::AllocationRefused { code, .. } => add(&self.refused[code_index(*code)]),
            Event::AllocationEnded { reason, .. } => add(&self.ended[reason_index(*reason)]),
            Event::Answered { method, code } => {
                add(&self.answers[method_index(*method)][outcome_index(*code)]);
            }
            Event::PortRefused { why, .. } => add(&self.ports_refused[open_failure_index(*why)]),
            Event::AnswerRepeated => add(&self.answers_repeated),
            Event::Discarded => add(&self.discarded),
            Event::ReplayDropped => add(&self.replays_dropped),
            Event::DrainBegun { .. } | Event::EndingAll { .. } => {
                self.draining.store(true, Ordering::Relaxed)
            }
            Event::Reconfigured { .. } => add(&self.reloads_applied),
            Event::AllocationMoved { .. } => add(&self.moved),
            // The worker counts it.
            Event::WorkerRestarted { .. } | Event::WorkerRebuilt { .. } => {}
            Event::LegacyMade { stream } => add(&self.legacy_made[stream_index(*stream)]),
            Event::PeerConnection { moment, .. } => add(&self.peer_moments[moment_index(*moment)]),
        }
    }

    /// Counts a reload that changed nothing.
    pub fn reload_refused(&self) {
        add(&self.reloads_refused);
    }

    /// Notes the state of the pools of TCP ports.
    pub fn set_ports_tcp(&self, ports: Ports) {
        self.ports_tcp_free.store(ports.free, Ordering::Relaxed);
        self.ports_tcp_used.store(ports.used, Ordering::Relaxed);
        self.ports_tcp_quarantined.store(ports.quarantined, Ordering::Relaxed);
    }

    /// Notes the state of the port pools.
    pub fn set_ports(&self, ports: Ports) {
        self.ports_free.store(ports.free, Ordering::Relaxed);
        self.ports_used.store(ports.used, Ordering::Relaxed);
        self.ports_reserved.store(ports.reserved, Ordering::Relaxed);
        self.ports_quarantined.store(ports.quarantined, Ordering::Relaxed);
    }

    /// Gives a sign of life. The control task does so at least once a second, busy or idle.
    pub fn alive(&self, tick: Tick) {
        self.alive.store(tick.as_millis().saturating_add(1), Ordering::Relaxed);
    }

    /// Copies every counter.
    #[must_use]
    pub fn snapshot(&self) -> ControlSnapshot {
        // Read before `made`: an allocation that is made and ended meanwhile must not count as ended only.
        let ended = self.ended.each_ref().map(|counter| counter.load(Ordering::Acquire));
        let made = self.made.load(Ordering::Acquire);
        ControlSnapshot {
            live: made.saturating_sub(ended.iter().sum()),
            made,
            refused: self.refused.each_ref().map(read),
            ended,
            answers: self.answers.each_ref().map(|codes| codes.each_ref().map(read)),
            ports_refused: self.ports_refused.each_ref().map(read),
            answers_repeated: read(&self.answers_repeated),
            discarded: read(&self.discarded),
            moved: read(&self.moved),
            ports: Ports {
                free: read(&self.ports_free),
                used: read(&self.ports_used),
                reserved: read(&self.ports_reserved),
                quarantined: read(&self.ports_quarantined),
            },
            last_alive: read(&self.alive).checked_sub(1).map(Tick::from_millis),
            replays_dropped: read(&self.replays_dropped),
            draining: self.draining.load(Ordering::Relaxed),
            reloads_applied: read(&self.reloads_applied),
            reloads_refused: read(&self.reloads_refused),
            legacy_made: self.legacy_made.each_ref().map(read),
            peer_moments: self.peer_moments.each_ref().map(read),
            ports_tcp: Ports {
                free: read(&self.ports_tcp_free),
                used: read(&self.ports_tcp_used),
                reserved: 0,
                quarantined: read(&self.ports_tcp_quarantined),
            },
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Release);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use crate::proto::media::Counters;
    use crate::proto::types::ClientAddr;
    use crate::proto::types::FiveTuple;
    use crate::proto::types::Lifetime;
    use crate::proto::types::QuotaIdentity;
    use crate::proto::types::RelayAddr;
    use crate::proto::types::RelayId;
    use crate::proto::types::ServerAddr;
    use crate::proto::types::Transport;

    use super::*;

    const RELAY: RelayId = RelayId { index: 1, generation: 1 };

    #[test]
    fn a_fresh_view_is_all_zero_and_has_shown_no_life() {
        assert_eq!(ControlView::new().snapshot(), ControlSnapshot::default());
    }

    #[test]
    fn live_is_made_less_ended() {
        let view = ControlView::new();
        view.record(&made());
        view.record(&made());
        view.record(&ended(EndReason::Expired));
        let snapshot = view.snapshot();
        assert_eq!((snapshot.made, snapshot.live), (2, 1));
        assert_eq!(snapshot.ended, [0, 1, 0, 0, 0]);
    }

    #[test]
    fn every_outcome_has_its_own_place_and_label() {
        let view = ControlView::new();
        let outcomes = std::iter::once(None).chain(ErrorCode::ALL.map(Some));
        for code in outcomes.clone() {
            view.record(&Event::Answered { method: Method::Refresh, code });
        }
        let answers = view.snapshot().answers;
        assert_eq!(answers[2], [1; OUTCOMES]);
        assert_eq!(answers.iter().flatten().sum::<u64>(), OUTCOMES as u64);
        let words: std::collections::BTreeSet<_> =
            outcomes.map(|code| outcome_word(outcome_index(code))).collect();
        assert_eq!(words.len(), OUTCOMES);
        assert!(words.contains("success") && words.contains("401") && words.contains("508"));
    }

    #[test]
    fn methods_nobody_knows_share_one_series() {
        let view = ControlView::new();
        for number in [0x002, 0x00A, 0xFFF] {
            view.record(&Event::Answered {
                method: Method::Unknown(number),
                code: Some(ErrorCode::BadRequest),
            });
        }
        assert_eq!(view.snapshot().answers[5][outcome_index(Some(ErrorCode::BadRequest))], 3);
    }

    #[test]
    fn refusals_and_the_rest_are_counted_by_kind() {
        let view = ControlView::new();
        view.record(&Event::AllocationRefused {
            five_tuple: five_tuple(),
            user: None,
            code: ErrorCode::InsufficientCapacity,
        });
        for (why, _) in OPEN_FAILURES {
            view.record(&Event::PortRefused { bind: relayed(), why });
        }
        view.record(&Event::AnswerRepeated);
        view.record(&Event::Discarded);
        view.record(&Event::ReplayDropped);
        view.record(&Event::ReplayDropped);
        view.record(&Event::Reconfigured { permissions: 3, channels: 1 });
        view.reload_refused();
        view.reload_refused();
        view.record(&Event::AllocationMoved {
            relay: RelayId { index: 1, generation: 1 },
            user: QuotaIdentity::new(b"alice"),
            from: five_tuple(),
            to: five_tuple(),
        });
        let snapshot = view.snapshot();
        assert_eq!(snapshot.refused[ErrorCode::ALL.len() - 1], 1);
        assert_eq!(snapshot.refused.iter().sum::<u64>(), 1);
        assert_eq!(snapshot.ports_refused, [1; 4]);
        assert_eq!((snapshot.reloads_applied, snapshot.reloads_refused), (1, 2));
        assert_eq!((snapshot.answers_repeated, snapshot.discarded, snapshot.replays_dropped), (1, 1, 2));
    }

    #[test]
    fn leaving_is_shown_from_its_first_step() {
        for event in [Event::DrainBegun { allocations: 2 }, Event::EndingAll { allocations: 0 }] {
            let view = ControlView::new();
            assert!(!view.snapshot().draining);
            view.record(&event);
            assert!(view.snapshot().draining);
        }
    }

    #[test]
    fn a_sign_of_life_at_the_very_start_counts() {
        let view = ControlView::new();
        view.alive(Tick::from_millis(0));
        assert_eq!(view.snapshot().last_alive, Some(Tick::from_millis(0)));
    }

    #[test]
    fn ports_are_shown_as_set() {
        let view = ControlView::new();
        let ports = Ports { free: 9_997, used: 2, reserved: 0, quarantined: 1 };
        view.set_ports(ports);
        assert_eq!(view.snapshot().ports, ports);
    }

    #[test]
    fn open_failures_stand_in_the_place_of_their_index() {
        for (place, (why, word)) in OPEN_FAILURES.into_iter().enumerate() {
            assert_eq!(open_failure_index(why), place);
            assert_eq!(open_failure_word(why), word);
        }
    }

    fn made() -> Event {
        Event::AllocationMade {
            relay: RELAY,
            five_tuple: five_tuple(),
            user: QuotaIdentity::new(b"alice"),
            relayed: relayed(),
            lifetime: Lifetime::from_secs(600),
            additional: None,
        }
    }

    fn ended(reason: EndReason) -> Event {
        Event::AllocationEnded {
            relay: RELAY,
            five_tuple: five_tuple(),
            user: QuotaIdentity::new(b"alice"),
            relayed: relayed(),
            reason,
            lived_s: 600,
            counters: Counters::default(),
            additional: None,
        }
    }

    fn five_tuple() -> FiveTuple {
        FiveTuple {
            client: ClientAddr::new("192.0.2.1:4000".parse().expect("a literal")),
            server: ServerAddr::new("192.0.2.2:3478".parse().expect("a literal")),
            transport: Transport::Udp,
        }
    }

    fn relayed() -> RelayAddr {
        RelayAddr::new("203.0.113.7:50000".parse().expect("a literal"))
    }
}
