//! A TURN server's client from one place: the allocation behind one or two relayed candidates, whom it permits, and what waits
//! for that.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::net::SocketAddr;

use crate::proto::client::Client;
use crate::proto::client::Config;
use crate::proto::client::Counsel;
use crate::proto::client::Credential;
use crate::proto::client::Failure;
use crate::proto::client::Input;
use crate::proto::client::Next;
use crate::proto::types::Deadline;
use crate::proto::types::Now;
use crate::proto::types::PeerAddr;
use crate::proto::types::Transport;
use crate::proto::types::limits::ICE_WAITING_MAX;

use super::Output;
use super::TurnServer;
use super::source::Source;

/// How messages get to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From a socket of the owner's.
    Socket { local: SocketAddr, to: SocketAddr },
    /// The owner opened it for this server alone.
    Line,
}

impl Way {
    pub(super) const fn local(self) -> Option<SocketAddr> {
        match self {
            Self::Socket { local, .. } => Some(local),
            Self::Line => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The way is being opened.
    Opening,
    Asking,
    Live,
    /// What there is, or may be, is being given back.
    Leaving,
    Over,
}

/// A client of one server.
#[derive(Debug)]
pub(super) struct Relay {
    /// The server's place in the configuration.
    pub(super) server: usize,
    pub(super) transport: Transport,
    pub(super) way: Way,
    pub(super) stage: Stage,
    pub(super) client: Client<Source>,
    /// What it remembers of servers that sent it elsewhere.
    counsel: Counsel,
    /// What it was granted: one address, or one of each family.
    pub(super) relayed: Vec<SocketAddr>,
    /// Whom it shall permit, and whether it does.
    peers: Vec<(IpAddr, bool)>,
    /// Checks for peers that it does not permit yet, the last one for each.
    waiting: VecDeque<(SocketAddr, Box<[u8]>)>,
}

impl Relay {
    pub(super) fn new(number: usize, server: &TurnServer, of: Credential, way: Way, source: Source) -> Self {
        let config = Config { families: server.families, ..Config::new(of).over(server.transport) };
        Self {
            server: number,
            transport: server.transport,
            way,
            stage: Stage::Opening,
            client: Client::new(config, source),
            counsel: Counsel::new(),
            relayed: Vec::new(),
            peers: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// The same of the server to which this one sends the client (RFC 8489 § 10); `None`: it does not, or one that was asked
    /// already. Only over UDP: a connection is the owner's, who knows one address of the server.
    pub(super) fn elsewhere(
        &mut self,
        now: Now,
        server: &TurnServer,
        why: Failure,
        source: Source,
    ) -> Option<Self> {
        let Way::Socket { local, to } = self.way else { return None };
        let of = server.credential.clone()?;
        match self.counsel.after_refusal(now.tick(), to, why) {
            Next::Elsewhere(to) if to.is_ipv4() == local.is_ipv4() => {
                let counsel = std::mem::take(&mut self.counsel);
                Some(Self {
                    counsel,
                    ..Self::new(self.server, server, of, Way::Socket { local, to }, source)
                })
            }
            Next::Elsewhere(_) | Next::AnotherAddress | Next::Again { .. } | Next::GiveUp => None,
        }
    }

    /// The way is open: asks for an allocation.
    pub(super) fn allocate(&mut self, now: Now) {
        self.stage = Stage::Asking;
        self.client.handle_input(now, Input::Allocate);
    }

    /// Lets `peer` in, if a relayed address of its family is there.
    pub(super) fn permit(&mut self, now: Now, peer: IpAddr) {
        let is_known = self.peers.iter().any(|(there, _)| *there == peer);
        let is_of_family = self.relayed.iter().any(|relayed| relayed.is_ipv4() == peer.is_ipv4());
        if self.stage == Stage::Live && is_of_family && !is_known {
            self.peers.push((peer, false));
            self.client.handle_input(now, Input::Permit(peer));
        }
    }

    /// Gets the nominated peer a channel.
    pub(super) fn bind(&mut self, now: Now, peer: SocketAddr) {
        if self.stage == Stage::Live {
            self.client.handle_input(now, Input::Bind(PeerAddr::new(peer)));
        }
    }

    /// Sends to a peer, or keeps a check until it may.
    pub(super) fn send(&mut self, now: Now, peer: SocketAddr, bytes: &[u8], may_wait: bool) {
        match self.peers.iter().find(|(there, _)| *there == peer.ip()) {
            Some((_, true)) => {
                self.client.handle_input(now, Input::Send { peer: PeerAddr::new(peer), data: bytes });
            }
            Some((_, false)) if may_wait => {
                self.waiting.retain(|(there, _)| *there != peer);
                if self.waiting.len() < ICE_WAITING_MAX {
                    self.waiting.push_back((peer, bytes.into()));
                }
            }
            _ => {}
        }
    }

    /// The server permits `peer`: what waits for that leaves.
    pub(super) fn permitted(&mut self, now: Now, peer: IpAddr) {
        if let Some(there) = self.peers.iter_mut().find(|(there, _)| *there == peer) {
            there.1 = true;
        }
        for (to, bytes) in std::mem::take(&mut self.waiting) {
            if to.ip() == peer {
                self.send(now, to, &bytes, false);
            } else {
                self.waiting.push_back((to, bytes));
            }
        }
    }

    /// It does not, or not any more. What is asked for again by itself stays wanted.
    pub(super) fn not_permitted(&mut self, peer: IpAddr, is_asked_again: bool) {
        self.waiting.retain(|(to, _)| to.ip() != peer);
        self.peers.retain_mut(|(there, is_permitted)| {
            *is_permitted &= *there != peer;
            is_asked_again || *there != peer
        });
    }

    /// Gives back what there is or may be.
    pub(super) fn leave(&mut self, now: Now) {
        match self.stage {
            Stage::Opening => self.stage = Stage::Over,
            Stage::Asking | Stage::Live => {
                self.stage = Stage::Leaving;
                self.client.handle_input(now, Input::Release);
            }
            Stage::Leaving | Stage::Over => {}
        }
    }

    /// Its allocation is no more. Answers what it was.
    pub(super) fn over(&mut self) -> Vec<SocketAddr> {
        self.stage = Stage::Over;
        self.peers = Vec::new();
        self.waiting = VecDeque::new();
        std::mem::take(&mut self.relayed)
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        self.client.poll_timeout()
    }

    /// The relayed address that `peer` sends to.
    pub(super) fn address_for(&self, peer: SocketAddr) -> Option<SocketAddr> {
        self.relayed.iter().copied().find(|relayed| relayed.is_ipv4() == peer.is_ipv4())
    }

    /// What carries `message` to the server.
    pub(super) fn carry(&self, message: Box<[u8]>) -> Output {
        match self.way {
            Way::Socket { local, to } => Output::Transmit { local, to, bytes: message },
            Way::Line => Output::Write { server: self.server, bytes: message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::client::Event;
    use crate::proto::client::Output as Said;
    use crate::proto::client::Proof;
    use crate::proto::types::Entropy;
    use crate::proto::types::Secret;

    struct Zero;

    impl Entropy for Zero {
        fn fill_secret(&mut self, out: &mut [u8]) {
            out.fill(0);
        }
    }

    const NOW: Now = Now { since_start: std::time::Duration::ZERO, unix: 0 };

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 1], port))
    }

    /// A relay that shall permit one address. Its client knows of no allocation, so it says of each message that it was not sent.
    fn relay() -> Relay {
        let of =
            Credential { username: (*b"a").into(), proof: Proof::Password(Secret::new(*b"b")), token: None };
        let server = TurnServer::new(at(3_478), Transport::Udp, of.clone());
        let mut relay = Relay::new(0, &server, of, Way::Line, Source::draw(&mut Zero));
        (relay.stage, relay.relayed) = (Stage::Live, vec![at(50_000)]);
        relay.permit(NOW, at(1).ip());
        relay
    }

    fn sent(relay: &mut Relay) -> usize {
        let mut sent = 0;
        while let Some(said) = relay.client.poll_output() {
            sent += usize::from(matches!(said, Said::Event(Event::NotSent { .. })));
        }
        sent
    }

    #[test]
    fn the_last_check_for_each_peer_waits_for_the_permission_and_data_does_not() {
        let mut relay = relay();
        for port in 1..100 {
            relay.send(NOW, at(port), b"check", true);
            relay.send(NOW, at(port), b"check", true);
            relay.send(NOW, at(port), b"data", false);
        }
        assert_eq!((relay.waiting.len(), sent(&mut relay)), (ICE_WAITING_MAX, 0));
        relay.permitted(NOW, at(1).ip());
        assert_eq!((relay.waiting.len(), sent(&mut relay)), (0, ICE_WAITING_MAX));
    }

    #[test]
    fn a_permission_that_ran_out_is_waited_for_again_and_a_refused_one_is_not() {
        for is_asked_again in [true, false] {
            let mut relay = relay();
            relay.permitted(NOW, at(1).ip());
            relay.not_permitted(at(1).ip(), is_asked_again);
            relay.send(NOW, at(1), b"check", true);
            assert_eq!((relay.waiting.len(), sent(&mut relay)), (usize::from(is_asked_again), 0));
        }
    }
}
