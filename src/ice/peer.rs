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
