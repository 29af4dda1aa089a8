//! Questions to the report of one call, each answered from what it has; what it does not have is not known.

use crate::nat::Refused;
use crate::testbed::Relay;
use crate::testbed::Verdict;
use crate::testbed::Why;
use crate::testbed::derive;
use crate::testbed::real_lab::Ended;
use crate::testbed::real_lab::Fate;
use crate::testbed::real_lab::Road;
use crate::testbed::real_lab::Side;
use crate::testbed::real_lab::Way;
use crate::testbed::report::Happening;
use crate::testbed::report::Run;
use crate::testbed::report::What;

/// The report of one call, to be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) run: &'a Run,
}

impl<'a> Facts<'a> {
    pub(super) fn why(self) -> Why {
        derive(self.run.left, self.run.right)
    }

    /// Whether there is nothing to be mended: it ended as it has to, and so did programs and faults.
    pub(super) fn is_fine(self) -> bool {
        let is_well = |ended: &Option<Ended>| matches!(ended, None | Some(Ended::Exited(0)));
        self.run.is_as_expected()
            && self.run.verdict != Verdict::Failed
            && self.run.flight.ended.iter().all(is_well)
            && self.run.flight.faults.iter().all(|fault| fault.passed != Some(false))
    }

    pub(super) fn ended(self, side: Side) -> Option<Ended> {
        self.run.flight.ended[side.index()]
    }

    /// What the routers saw of the call, whatever the programs say.
    pub(super) fn seen(self) -> Verdict {
        self.run.flight.seen.unwrap_or(self.run.verdict)
    }

    /// Whether anybody counted packets.
    pub(super) fn has_roads(self) -> bool {
        !self.run.flight.roads.is_empty() || !self.run.flight.gates.is_empty()
    }

    /// Packets of `side` that left by a road, and those that came.
    pub(super) fn road(self, side: Side, road: Road) -> (u64, u64) {
        let roads = self.run.flight.roads.iter().filter(|tally| (tally.side, tally.road) == (side, road));
        roads.fold((0, 0), |(out, inward), tally| (out + tally.out, inward + tally.inward))
    }

    /// Packets that left `side`: those of UDP, those of TCP.
    pub(super) fn sent(self, side: Side) -> (u64, u64) {
        let roads = self.run.flight.roads.iter().filter(|tally| tally.side == side);
        roads.fold(
            (0, 0),
            |(udp, tcp), tally| {
                if tally.is_udp { (udp + tally.out, tcp) } else { (udp, tcp + tally.out) }
            },
        )
    }

    /// Packets that a gate stopped for this reason.
    pub(super) fn refused(self, side: Side, way: Way, why: Refused) -> u64 {
        self.fate(side, way, Fate::Refused(why).word())
    }

    fn fate(self, side: Side, way: Way, word: &str) -> u64 {
        let gates = self.run.flight.gates.iter();
        let gates = gates.filter(|gate| (gate.side, gate.way) == (side, way) && gate.fate == word);
        gates.map(|gate| gate.packets).sum()
    }

    /// Of the packets on the line of a side those that it lost, and all.
    pub(super) fn lost(self, side: Side) -> Option<(u64, u64)> {
        let lost = self.run.flight.lost?[side.index()];
        let gates = self.run.flight.gates.iter().filter(|gate| gate.side == side);
        let met: u64 = gates.map(|gate| gate.packets).sum();
        Some((lost, met.saturating_add(lost)))
    }

    pub(super) fn events(self, side: Side, what: What) -> impl Iterator<Item = &'a Happening> {
        let events = self.run.flight.events.iter();
        events.filter(move |event| event.side == Some(side) && event.what == what)
    }

    pub(super) fn has_event(self, side: Side, what: What) -> bool {
        self.events(side, what).next().is_some()
    }

    /// Whether events of this client were kept at all.
    pub(super) fn has_events(self, side: Side) -> bool {
        self.run.flight.events.iter().any(|event| event.side == Some(side))
    }

    /// How often the server answered a request of this method, in small letters, with these words: `granted`, `401`.
    pub(super) fn answered(self, side: Side, method: &str, words: &str) -> u64 {
        let is_it = |event: &&Happening| {
            let detail = event.detail.to_lowercase();
            let rest = detail.strip_prefix(method).and_then(|rest| rest.strip_prefix(": "));
            rest.is_some_and(|rest| rest.starts_with(words))
        };
        self.events(side, What::Answer).filter(is_it).map(|event| event.times).sum()
    }

    /// Whether the client has had a relayed candidate; `None`: nobody says.
    pub(super) fn has_relay(self, side: Side) -> Option<bool> {
        if self.answered(side, "allocate", "granted") > 0 {
            return Some(true);
        }
        let mut candidates = self.events(side, What::Candidate);
        let is_relayed = candidates.any(|event| event.detail.starts_with("relay "));
        if is_relayed {
            return Some(true);
        }
        self.has_event(side, What::Gathered).then_some(false)
    }

    /// By what this side has to reach its relay, if nothing but a relay can work for it.
    pub(super) fn needs(self, side: Side) -> Option<Relay> {
        match self.why() {
            Why::RelayAlone(ways) => ways[side.index()],
            _ => None,
        }
    }
}

/// `1 packet`, `2 packets`.
pub(super) fn packets(count: u64) -> String {
    some(count, "packet")
}

/// `1 time`, `2 times`.
pub(super) fn some(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
