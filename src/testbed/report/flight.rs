//! What happened on the way of a call, and what the laboratory counted: enough to say why it ended as it did.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::proto::types::limits::LAB_EVENTS_MAX;
use crate::testbed::Verdict;
use crate::testbed::real_lab::Ended;
use crate::testbed::real_lab::Road;
use crate::testbed::real_lab::Side;
use crate::testbed::real_lab::Way;

/// What is known of a call beyond its verdict. Whatever a laboratory cannot tell is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flight {
    /// How each program ended, where programs were run: left, right.
    pub ended: [Option<Ended>; 2],
    /// What the routers saw, where a program may have said otherwise.
    pub seen: Option<Verdict>,
    /// Packets by the road that they took, as they are outside of the NATs.
    pub roads: Vec<RoadTally>,
    /// What became of packets at the NATs and the firewall of each place.
    pub gates: Vec<GateTally>,
    /// Packets that the lines of the left and the right side lost.
    pub lost: Option<[u64; 2]>,
    /// Key events, in the order of time.
    pub events: Vec<Happening>,
    /// What the server did to clients on purpose, and how they fared.
    pub faults: Vec<Befallen>,
}

/// Packets of one side that took one road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoadTally {
    /// Whose.
    pub side: Side,
    /// Whether they were UDP, or TCP.
    pub is_udp: bool,
    /// Where they led.
    pub road: Road,
    /// How many left.
    pub out: u64,
    /// How many came.
    pub inward: u64,
}

/// Packets that had one fate at a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateTally {
    /// Whose gate.
    pub side: Side,
    /// Which way they went.
    pub way: Way,
    /// What became of them: the word of [`crate::testbed::real_lab::Fate`].
    pub fate: String,
    /// How many.
    pub packets: u64,
}

/// One key event; the same one again is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When it first happened, since both sides were told to call.
    pub at: Duration,
    /// To whom; `None`: nobody can tell.
    pub side: Option<Side>,
    /// What sort of event.
    pub what: What,
    /// What exactly, for people.
    pub detail: String,
    /// How often.
    pub times: u64,
}

/// Key events that are being gathered.
#[derive(Clone, Debug, Default)]
pub struct Happenings(Vec<Happening>);

impl Happenings {
    /// Something happens, for the first time or again. There is room for [`LAB_EVENTS_MAX`]; what is new beyond is left out.
    pub fn happen(&mut self, at: Duration, side: Option<Side>, what: What, detail: String) {
        let is_it = |event: &&mut Happening| (event.side, event.what, &event.detail) == (side, what, &detail);
        if let Some(event) = self.0.iter_mut().find(is_it) {
            event.times += 1;
        } else if self.0.len() < LAB_EVENTS_MAX {
            self.0.push(Happening { at, side, what, detail, times: 1 });
        }
    }

    /// All of them, in the order of time.
    #[must_use]
    pub fn in_order(mut self) -> Vec<Happening> {
        self.0.sort_by_key(|event| event.at);
        self.0
    }
}

/// What a scenario did to one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Befallen {
    /// To whom; `None`: nobody can tell.
    pub side: Option<Side>,
    /// By which scenario.
    pub scenario: String,
    /// Whether the client did what the scenario expects; `None`: nothing is expected, or its time was not over.
    pub passed: Option<bool>,
    /// Whether anything befell it at all; `None`: nobody says.
    pub befallen: Option<bool>,
    /// Why it failed, in words.
    pub why: String,
    /// What happened, in words.
    pub events: Vec<String>,
}

/// What sort of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// The first packet left the place.
    FirstPacket,
    /// A connection to the server is there, its handshake done.
    Opened,
    /// The client found a candidate.
    Candidate,
    /// It has all that it will find.
    Gathered,
    /// A server did not give what was asked of it.
    NotGathered,
    /// The server answered a request.
    Answer,
    /// Something became of an allocation.
    Allocation,
    /// The server does not let data of a peer pass.
    NotPermitted,
    /// A connectivity check of the other side came.
    CheckHeard,
    /// One of its own was answered.
    CheckAnswered,
    /// A pair was nominated.
    Connected,
    /// Data goes by another pair from here on.
    Switched,
    /// Data of the other side came.
    Media,
    /// An allocation ended that was not given back.
    RelayLost,
    /// The client gave up.
    Failed,
    /// The server misbehaved, as its scenario says.
    Fault,
    /// What a scenario expects was judged.
    Judged,
    /// Its program ended.
    Ended,
    /// Something that this version has no word for.
    Other,
}

impl What {
    /// All that have a word.
    pub const ALL: [Self; 18] = [
        Self::FirstPacket,
        Self::Opened,
        Self::Candidate,
        Self::Gathered,
        Self::NotGathered,
        Self::Answer,
        Self::Allocation,
        Self::NotPermitted,
        Self::CheckHeard,
        Self::CheckAnswered,
        Self::Connected,
        Self::Switched,
        Self::Media,
        Self::RelayLost,
        Self::Failed,
        Self::Fault,
        Self::Judged,
        Self::Ended,
    ];

    /// In the report for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::FirstPacket => "first-packet",
            Self::Opened => "opened",
            Self::Candidate => "candidate",
            Self::Gathered => "gathered",
            Self::NotGathered => "not-gathered",
            Self::Answer => "answer",
            Self::Allocation => "allocation",
            Self::NotPermitted => "not-permitted",
            Self::CheckHeard => "check-heard",
            Self::CheckAnswered => "check-answered",
            Self::Connected => "connected",
            Self::Switched => "switched",
            Self::Media => "media",
            Self::RelayLost => "relay-lost",
            Self::Failed => "failed",
            Self::Fault => "fault",
            Self::Judged => "judged",
            Self::Ended => "ended",
            Self::Other => "other",
        }
    }
}

impl Flight {
    /// Its part of the report for programs.
    pub(super) fn add_to(&self, call: &mut Value) {
        let programs = Side::BOTH.map(
            |side| json!({ "side": side.name(), "ended": self.ended[side.index()].map(Ended::to_json) }),
        );
        if self.ended != [None; 2] {
            call["programs"] = json!(programs);
        }
        if let Some(seen) = self.seen {
            call["seen"] = json!(seen.to_string());
        }
        call["roads"] = self.roads.iter().map(road).collect();
        call["gates"] = self.gates.iter().map(gate).collect();
        call["lost_on_the_lines"] = json!(self.lost);
        call["events"] = events_to_json(&self.events);
        if !self.faults.is_empty() {
            call["faults"] = self.faults.iter().map(befallen).collect();
        }
    }
}

fn road(tally: &RoadTally) -> Value {
    json!({
        "side": tally.side.name(),
        "protocol": if tally.is_udp { "udp" } else { "tcp" },
        "road": tally.road.word(),
        "out": tally.out,
        "in": tally.inward,
    })
}

fn gate(tally: &GateTally) -> Value {
    let way = if tally.way == Way::Out { "out" } else { "in" };
    json!({ "side": tally.side.name(), "way": way, "fate": tally.fate, "packets": tally.packets })
}

/// In the report for programs.
#[must_use]
pub fn events_to_json(events: &[Happening]) -> Value {
    events.iter().map(event).collect()
}

fn event(event: &Happening) -> Value {
    json!({
        "at_ms": event.at.as_secs_f64() * 1_000.0,
        "side": event.side.map(Side::name),
        "what": event.what.word(),
        "detail": event.detail,
        "times": event.times,
    })
}

fn befallen(fault: &Befallen) -> Value {
    json!({
        "side": fault.side.map(Side::name),
        "scenario": fault.scenario,
        "passed": fault.passed,
        "befallen": fault.befallen,
        "why": fault.why,
        "events": fault.events,
    })
}
