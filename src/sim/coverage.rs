//! What has happened at least once, and what must.

use std::collections::BTreeSet;

use crate::proto::media::DropReason;
use crate::proto::turn::Command;
use crate::proto::turn::EndReason;
use crate::proto::turn::Input;
use crate::proto::turn::OpenFailure;
use crate::proto::turn::Output;
use crate::proto::wire::ErrorCode;

/// Names of things that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeSet<String>);

impl Coverage {
    /// Adds what another run saw.
    pub fn add(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    /// What should have happened by now and has not.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        expected().into_iter().filter(|name| !self.0.contains(name)).collect()
    }

    fn note(&mut self, name: impl AsRef<str>) {
        if !self.0.contains(name.as_ref()) {
            self.0.insert(name.as_ref().to_owned());
        }
    }

    pub(super) fn input(&mut self, input: &Input<'_>) {
        let name = match input {
            Input::Message { .. } => "input Message",
            Input::RelayOpened { .. } => "input RelayOpened",
            Input::RelayFailed { why, .. } => {
                self.note(format!("open failure {why:?}"));
                "input RelayFailed"
            }
            Input::RelayClosed { .. } => "input RelayClosed",
            Input::Command(Command::EndAll) => "input Command EndAll",
            Input::Command(Command::Drain) => "input Command Drain",
            Input::Reconfigure(_) => "input Reconfigure",
            Input::RelayDetached { given: None, .. } => "input RelayDetached, not given",
            Input::RelayDetached { given: Some((_, true)), .. } => "input RelayDetached, kept",
            Input::RelayDetached { given: Some((_, false)), .. } => "input RelayDetached",
            Input::ClientArrived { .. } => "input ClientArrived",
            Input::WorkerRestarted { .. } => "input WorkerRestarted",
            Input::ClientGone { .. } => "input ClientGone",
            Input::Peer { .. } => "input Peer",
        };
        self.note(name);
    }

    pub(super) fn output(&mut self, output: &Output) {
        self.note(match output {
            Output::Reply { .. } => "output Reply",
            Output::OpenRelay { .. } => "output OpenRelay",
            Output::CloseRelay { .. } => "output CloseRelay",
            Output::Table { .. } => "output Table",
            Output::TableOfAll { .. } => "output TableOfAll",
            Output::Event(_) => "output Event",
            Output::Announce { .. } => "output Announce",
            Output::DetachRelay { .. } => "output DetachRelay",
            Output::AttachRelay { .. } => "output AttachRelay",
            Output::SendToPeer { .. } => "output SendToPeer",
            Output::RebuildWorker { .. } => "output RebuildWorker",
            Output::WorkerRebuilt { .. } => "output WorkerRebuilt",
            Output::OpenPort { .. } => "output OpenPort",
            Output::Peer { .. } => "output Peer",
        });
    }

    pub(super) fn dropped(&mut self, reason: DropReason) {
        self.note(format!("drop {}", reason.word()));
    }

    pub(super) fn ended(&mut self, reason: EndReason) {
        self.note(format!("end {}", reason.word()));
    }

    /// An answer that left the server, whoever heard it.
    pub(super) fn answered(&mut self, code: ErrorCode) {
        self.note(format!("error {}", code.number()));
    }

    /// Something of this world.
    pub(super) fn fact(&mut self, name: &'static str) {
        self.note(name);
    }
}

/// Things of this world that a budget of runs must have shown, besides what the server can do.
const FACTS: &[&str] = &[
    "packet lost",
    "packet duplicated",
    "packet corrupted",
    "packet forged",
    "packet replayed",
    "wall clock set",
    "worker stalled",
    "control stalled",
    "icmp told",
    "own relay as peer",
    "nat rebinding",
    "nat refused",
    "nat hairpin",
    "calm served",
    "calm moved",
    "calm dual",
    "calm met",
    "data indication",
    "channel data",
    "left empty",
    "worker panicked over a packet",
    "worker panicked over a command",
    "worker panicked again",
    "command void",
    "socket taken up",
    "socket lost with a loop",
    "connection taken in",
    "connection never spoke",
    "connection turned away",
    "connection closed by its client",
    "connection reset by its client",
    "client gone without a word",
    "connection ended",
    "connection failed",
    "connection broken",
    "connection overrun",
    "connection idle",
    "connection parked",
    "connection lost with a loop",
    "worker panicked over a connection",
    "allocation for a connection that is gone",
    "message split",
    "messages in one piece",
    "segment delayed by loss",
    "stream of a nat cut",
    "calm over a stream",
    "calm moved over a stream",
    "calm in the old dialect",
    "calm in the old dialect over a stream",
    "calm over connections",
    "bare data",
    "data of a send",
    "bytes of a talk",
    "bytes of a pair",
    "client held up",
    "peer held back",
    "peer lets in",
    "peer refuses",
    "peer arrived",
    "peer turned away",
    "peer's connection ended",
    "peer's connection lost with a loop",
    "worker panicked over a peer's connection",
    "port taken up",
    "connections joined",
    "connection attempt told",
];

fn expected() -> Vec<String> {
    let inputs = [
        "Message",
        "RelayOpened",
        "RelayFailed",
        "RelayClosed",
        "Command EndAll",
        "Command Drain",
        "Reconfigure",
        "RelayDetached",
        "RelayDetached, kept",
        "RelayDetached, not given",
        "ClientArrived",
        "WorkerRestarted",
        "ClientGone",
        "Peer",
    ];
    let outputs = [
        "Reply",
        "OpenRelay",
        "CloseRelay",
        "Table",
        "TableOfAll",
        "Event",
        "Announce",
        "DetachRelay",
        "AttachRelay",
        "RebuildWorker",
        "WorkerRebuilt",
        "SendToPeer",
        "OpenPort",
        "Peer",
    ];
    let failures =
        [OpenFailure::PortTaken, OpenFailure::NoRoom, OpenFailure::AddressGone, OpenFailure::Other];
    let inputs = inputs.into_iter().map(|name| format!("input {name}"));
    let outputs = outputs.into_iter().map(|name| format!("output {name}"));
    inputs
        .chain(outputs)
        .chain(failures.into_iter().map(|why| format!("open failure {why:?}")))
        .chain(DropReason::ALL.iter().map(|reason| format!("drop {}", reason.word())))
        .chain(EndReason::ALL.iter().map(|reason| format!("end {}", reason.word())))
        .chain(ErrorCode::ALL.iter().map(|code| format!("error {}", code.number())))
        .chain(FACTS.iter().map(|name| (*name).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_seen_is_everything_missing_and_one_thing_seen_is_one_less() {
        let mut coverage = Coverage::default();
        let all = coverage.missing().len();
        assert!(all > 23 + 15 + 20, "{all}");
        coverage.dropped(DropReason::LinkMtu);
        assert_eq!(coverage.missing().len(), all - 1);
        let mut other = Coverage::default();
        other.answered(ErrorCode::Forbidden);
        coverage.add(&other);
        assert_eq!(coverage.missing().len(), all - 2);
    }
}
