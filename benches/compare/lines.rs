//! What is to be reached, as data: one line of the table each. No measuring here.

use serde_json::Value;
use serde_json::json;

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Nanoseconds of CPU time for each packet that was relayed.
    NsPerPacket,
    /// Microseconds from sending to arrival.
    Micros,
    /// Microseconds of CPU time for each whole life of an allocation.
    MicrosPerCycle,
    /// Bytes.
    Bytes,
    /// Mebibytes.
    Mebibytes,
    /// Packets that did not arrive.
    Lost,
}

impl Unit {
    /// As it stands behind a number.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::NsPerPacket => "ns",
            Self::Micros | Self::MicrosPerCycle => "µs",
            Self::Bytes => "B",
            Self::Mebibytes => "MiB",
            Self::Lost => "lost",
        }
    }
}

/// How the figures of several rounds become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    /// The middle one. A ratio is that of each round, and then the middle one of these.
    Median,
    /// The least: what the machine's other work adds to a latency is never less than nothing.
    Least,
    /// The most: what must not happen must not happen once.
    Most,
}

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// At most this part of what another has in the same round.
    Part { of: &'static str, reach: f64, stretch: Option<f64> },
    /// At most this.
    AtMost(f64),
    /// Shown, and not judged.
    Shown { of: &'static str },
}

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line {
    /// Its name: what `--rows` takes, or begins with.
    pub(crate) id: &'static str,
    /// The work, in words.
    pub(crate) work: &'static str,
    pub(crate) unit: Unit,
    pub(crate) fold: Fold,
    /// Whose figure is judged.
    pub(crate) ours: &'static str,
    pub(crate) goal: Goal,
}

/// The sides, as the table names them.
pub(crate) const COTURN: &str = "coturn";
pub(crate) const SOCKETS: &str = "sockets";
pub(crate) const SK_LOOKUP: &str = "sk_lookup";
pub(crate) const SK_LOOKUP_FEW: &str = "sk_lookup, 128";
pub(crate) const GRO_OFF: &str = "sockets, GRO off";
pub(crate) const TC: &str = "tc";
pub(crate) const XDP: &str = "xdp";
pub(crate) const TC_V6: &str = "tc, IPv6";
pub(crate) const XDP_V6: &str = "xdp, IPv6";

const fn part(of: &'static str, reach: f64, stretch: f64) -> Goal {
    Goal::Part { of, reach, stretch: if stretch > 0.0 { Some(stretch) } else { None } }
}

const fn cpu(id: &'static str, work: &'static str, ours: &'static str, goal: Goal) -> Line {
    Line { id, work, unit: Unit::NsPerPacket, fold: Fold::Median, ours, goal }
}

const fn latency(id: &'static str, work: &'static str, ours: &'static str, goal: Goal) -> Line {
    Line { id, work, unit: Unit::Micros, fold: Fold::Least, ours, goal }
}

const fn other(id: &'static str, work: &'static str, unit: Unit, ours: &'static str, goal: Goal) -> Line {
    let fold = if matches!(unit, Unit::Lost) { Fold::Most } else { Fold::Median };
    Line { id, work, unit, fold, ours, goal }
}

/// Every line, in the order of the table.
pub(crate) const LINES: &[Line] = &[
    cpu("up-1", "client to peer, 172 B, 1 allocation", SOCKETS, part(COTURN, 0.80, 0.72)),
    cpu("up-200", "client to peer, 172 B, 200 allocations", SOCKETS, part(COTURN, 0.75, 0.67)),
    cpu("down-1", "peer to client, 172 B, 1 allocation", SOCKETS, part(COTURN, 0.85, 0.80)),
    cpu("down-200", "peer to client, 172 B, 200 allocations", SOCKETS, part(COTURN, 0.65, 0.60)),
    cpu("audio", "20,000 packets/s over 200 allocations, both ways", SOCKETS, part(COTURN, 0.65, 0.0)),
    latency("audio-p50", "its latency, p50", SOCKETS, part(COTURN, 0.85, 0.0)),
    latency("audio-p99", "its latency, p99", SOCKETS, part(COTURN, 0.60, 0.0)),
    latency("audio-p999", "its latency, p99.9", SOCKETS, Goal::Shown { of: COTURN }),
    cpu("runs-up", "runs of 16 packets of a flow, client to peer", SOCKETS, part(COTURN, 0.30, 0.0)),
    cpu("runs-down", "runs of 16 packets of a flow, peer to client", SOCKETS, part(COTURN, 0.30, 0.0)),
    cpu("runs-up-cut", "the same, cut up at the receiver's socket", SOCKETS, Goal::Shown { of: COTURN }),
    cpu("runs-down-cut", "the same, cut up at the receiver's socket", SOCKETS, Goal::Shown { of: COTURN }),
    cpu("indication", "Send indication, client to peer", SOCKETS, part(COTURN, 0.75, 0.0)),
    cpu("tcp-up", "TCP client leg, client to peer", SOCKETS, part(COTURN, 0.85, 0.0)),
    cpu("tcp-down", "TCP client leg, peer to client", SOCKETS, part(COTURN, 1.00, 0.0)),
    cpu("pair-one", "both ends relayed by this server, one worker", SOCKETS, part(COTURN, 0.40, 0.0)),
    cpu("pair-two", "both ends relayed by this server, two workers", SOCKETS, part(COTURN, 0.80, 0.0)),
    cpu("mixed", "199 audio clients and 1 of video", SOCKETS, part(GRO_OFF, 1.03, 0.0)),
    cpu("sk-8192", "8,192 active allocations", SK_LOOKUP, part(SOCKETS, 0.70, 0.0)),
    cpu("sk-growth", "8,192 active allocations against 128", SK_LOOKUP, part(SK_LOOKUP_FEW, 1.30, 0.0)),
    cpu("tc-128", "128 allocations, whole host", TC, part(SOCKETS, 0.20, 0.12)),
    cpu("xdp-128", "128 allocations, whole host", XDP, part(SOCKETS, 0.20, 0.12)),
    cpu("tc-8192", "8,192 allocations, whole host", TC, part(SOCKETS, 0.25, 0.18)),
    cpu("xdp-8192", "8,192 allocations, whole host", XDP, part(SOCKETS, 0.25, 0.18)),
    latency("tc-idle", "idle round trip, p50", TC, Goal::AtMost(15.0)),
    latency("xdp-idle", "idle round trip, p50", XDP, Goal::AtMost(15.0)),
    cpu("tc-alone", "the program alone, every check on", TC, Goal::AtMost(200.0)),
    cpu("xdp-alone", "the program alone, every check on", XDP, Goal::AtMost(180.0)),
    cpu("tc-alone-v6", "the program alone, IPv6 against IPv4", TC_V6, part(TC, 1.30, 0.0)),
    cpu("xdp-alone-v6", "the program alone, IPv6 against IPv4", XDP_V6, part(XDP, 1.30, 0.0)),
    other("cycle", "Allocate … Refresh 0", Unit::MicrosPerCycle, SOCKETS, part(COTURN, 0.30, 0.0)),
    other("memory", "memory of an allocation, of 2,000", Unit::Bytes, SOCKETS, Goal::AtMost(2_000.0)),
    other("idle", "memory when idle", Unit::Mebibytes, SOCKETS, Goal::AtMost(8.0)),
    other("idle-tc", "memory when idle, maps included", Unit::Mebibytes, TC, Goal::AtMost(32.0)),
    other("idle-xdp", "memory when idle, maps included", Unit::Mebibytes, XDP, Goal::AtMost(32.0)),
    other(
        "burst-172",
        "of 256 packets of 172 B at once to one relay port",
        Unit::Lost,
        SOCKETS,
        Goal::AtMost(0.0),
    ),
    other(
        "burst-1200",
        "of 256 packets of 1,200 B at once to one relay port",
        Unit::Lost,
        SOCKETS,
        Goal::AtMost(0.0),
    ),
];

/// The line of that name.
#[cfg(test)]
pub(crate) fn line(id: &str) -> Option<&'static Line> {
    LINES.iter().find(|line| line.id == id)
}

impl Goal {
    /// In words, as the table has it.
    pub(crate) fn words(self, unit: Unit) -> String {
        match self {
            Self::Part { of, reach, stretch } => {
                let stretch = stretch.map_or(String::new(), |stretch| format!(" ({stretch:.2})"));
                let of = if of == COTURN { String::new() } else { format!(" of {of}") };
                format!("≤ {reach:.2}{stretch}{of}")
            }
            Self::AtMost(most) if unit == Unit::Lost && most == 0.0 => "none".to_owned(),
            Self::AtMost(most) => format!("≤ {most:.0} {}", unit.word()),
            Self::Shown { .. } => "–".to_owned(),
        }
    }

    /// For programs.
    pub(crate) fn json(self) -> Value {
        match self {
            Self::Part { of, reach, stretch } => json!({ "of": of, "ratio": reach, "stretch": stretch }),
            Self::AtMost(most) => json!({ "at_most": most }),
            Self::Shown { of } => json!({ "of": of }),
        }
    }

    /// Whom it is compared with.
    pub(crate) const fn base(self) -> Option<&'static str> {
        match self {
            Self::Part { of, .. } | Self::Shown { of } => Some(of),
            Self::AtMost(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_a_name_of_its_own_and_a_goal_that_can_be_read() {
        for (index, line) in LINES.iter().enumerate() {
            assert!(LINES[index + 1..].iter().all(|other| other.id != line.id), "{} stands twice", line.id);
            assert_ne!(line.goal.base(), Some(line.ours), "{} is compared with itself", line.id);
            assert!(!line.goal.words(line.unit).is_empty());
        }
        assert_eq!(line("up-1").map(|line| line.goal.words(line.unit)), Some("≤ 0.80 (0.72)".to_owned()));
        assert_eq!(line("burst-172").map(|line| line.goal.words(line.unit)), Some("none".to_owned()));
        assert_eq!(
            line("sk-8192").map(|line| line.goal.words(line.unit)),
            Some("≤ 0.70 of sockets".to_owned())
        );
        assert_eq!(line("nothing"), None);
    }
}
