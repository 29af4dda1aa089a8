//! The other side, as far as it is known.

use std::net::IpAddr;
use std::net::SocketAddr;

use crate::proto::types::limits::ICE_CANDIDATES_MAX;

use super::Candidate;
use super::Kind;

/// The other side.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Its `ice-ufrag`, once it is described.
    pub(super) ufrag: Option<Box<str>>,
    /// It has no further candidates.
    pub(super) ended: bool,
    candidates: Vec<Candidate>,
    /// Where it spoke from, with the right credentials.
    heard: Vec<SocketAddr>,
}

impl Peer {
    /// Takes a candidate of it, unless there are too many or it is another agent's.
    pub(super) fn add(&mut self, candidate: &Candidate) -> bool {
        let is_other = |ufrag: &str| candidate.ufrag.as_deref().is_some_and(|of| of != ufrag);
        let is_of_use = self.candidates.len() < ICE_CANDIDATES_MAX
            && !self.ufrag.as_deref().is_some_and(is_other)
            && !self.candidates.contains(candidate);
        if is_of_use {
            self.candidates.push(candidate.clone());
        }
        is_of_use
    }

    /// Names it. Candidates that came before and are another agent's go.
    pub(super) fn describe(&mut self, ufrag: &str) {
        self.candidates.retain(|candidate| candidate.ufrag.as_deref().is_none_or(|of| of == ufrag));
        self.ufrag = Some(ufrag.into());
    }

    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The addresses that a relay has to permit.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.candidates.iter().map(|candidate| candidate.address.ip())
    }

    /// Whether a check from there is looked at: whoever has the credentials could otherwise fill memory with addresses.
    pub(super) fn admits(&self, from: SocketAddr) -> bool {
        self.heard.len() < ICE_CANDIDATES_MAX || self.heard.contains(&from)
    }

    pub(super) fn heard(&mut self, from: SocketAddr) {
        if !self.heard.contains(&from) {
            self.heard.push(from);
        }
    }

    /// Whether data from there is the other side's.
    pub(super) fn is_heard(&self, from: SocketAddr) -> bool {
        self.heard.contains(&from)
    }

    /// What kind of candidate is there.
    pub(super) fn kind(&self, at: SocketAddr) -> Kind {
        let there = self.candidates.iter().filter(|candidate| candidate.address == at);
        there.max_by_key(|candidate| candidate.priority).map_or(Kind::PeerReflexive, |found| found.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn whoever_speaks_from_ever_new_addresses_is_heard_at_some_of_them() {
        let mut peer = Peer::default();
        for port in 1..1_000 {
            if peer.admits(at(port)) {
                peer.heard(at(port));
                peer.heard(at(port));
            }
        }
        assert_eq!(peer.heard.len(), ICE_CANDIDATES_MAX);
        assert!(peer.admits(at(1)) && peer.is_heard(at(1)) && !peer.is_heard(at(999)));
    }

    #[test]
    fn what_came_before_the_description_is_sorted_by_it() {
        let mut peer = Peer::default();
        let line =
            |ufrag: &str, port: u16| format!("candidate:1 1 UDP {port} 192.0.2.1 {port} typ host{ufrag}");
        for text in [line("", 1), line(" ufrag mine", 2), line(" ufrag other", 3), line("", 1)] {
            peer.add(&text.parse().unwrap());
        }
        assert_eq!(peer.candidates().len(), 3);
        peer.describe("mine");
        assert_eq!(peer.addresses().count(), 2);
        assert!(!peer.add(&line(" ufrag other", 4).parse().unwrap()));
        assert!(peer.add(&line(" ufrag mine", 5).parse().unwrap()));
        assert_eq!((peer.kind(at(5)), peer.kind(at(6))), (Kind::Host, Kind::PeerReflexive));
    }
}
