//! Candidates of our own: from sockets, by Binding, by Allocate; and what becomes of allocations later.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use crate::proto::client;
use crate::proto::client::Allocated;
use crate::proto::client::End;
use crate::proto::types::Deadline;
use crate::proto::types::Now;
use crate::proto::types::Transport;
use crate::proto::types::limits::ICE_ADDRESSES_MAX;
use crate::proto::types::limits::ICE_SERVERS_MAX;

use super::Agent;
use super::Candidate;
use super::Event;
use super::Kind;
use super::Output;
use super::Wanted;
use super::agent::Phase;
use super::binding::Binding;
use super::server::Relay;
use super::server::Stage;
use super::server::Way;

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// Sockets of the owner's.
    locals: Vec<SocketAddr>,
    /// When it is over, once it has begun.
    pub(super) until: Option<Deadline>,
    pub(super) is_done: bool,
    bindings: Vec<Binding>,
    pub(super) relays: Vec<Relay>,
    /// What was told to the other side.
    pub(super) candidates: Vec<Candidate>,
    /// What makes a foundation (RFC 8445 § 5.1.1.3); its place is its name.
    foundations: Vec<(Kind, IpAddr, Option<IpAddr>)>,
    /// A server did not say that it has back what it gave.
    pub(super) is_unconfirmed: bool,
}

impl Gathering {
    /// The relay that has this relayed address.
    pub(super) fn relay_of(&self, relayed: SocketAddr) -> Option<usize> {
        self.relays.iter().position(|relay| relay.relayed.contains(&relayed))
    }

    /// What kind of candidate an address of ours is that a peer saw.
    pub(super) fn kind(&self, seen: SocketAddr) -> Kind {
        let found = self.candidates.iter().find(|candidate| candidate.address == seen);
        found.map_or(Kind::PeerReflexive, |candidate| candidate.kind)
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        let relays = self.relays.iter().filter_map(Relay::poll_timeout);
        let over = self.until.filter(|_| !self.is_done);
        relays.chain(self.bindings.iter().map(Binding::next)).chain(over).min()
    }
}

impl Agent {
    pub(super) fn local_address(&mut self, now: Now, address: SocketAddr) {
        let gathering = &mut self.gathering;
        let is_full = gathering.locals.len() >= ICE_ADDRESSES_MAX;
        if is_full || gathering.locals.contains(&address) || self.phase != Phase::Working || gathering.is_done
        {
            return;
        }
        gathering.locals.push(address);
        if !self.is_relay_only() {
            self.found(Kind::Host, address, address, None, None);
        }
        if self.gathering.until.is_some() {
            (0..self.servers()).for_each(|server| self.ask_from(now, server, address));
        }
    }

    pub(super) fn gather(&mut self, now: Now) {
        if self.gathering.until.is_some() || self.phase != Phase::Working {
            return;
        }
        self.gathering.until = Some(now.after(self.config.gather_within));
        for server in 0..self.servers() {
            if self.config.servers[server].transport == Transport::Udp {
                for at in 0..self.gathering.locals.len() {
                    self.ask_from(now, server, self.gathering.locals[at]);
                }
            } else if let Some(credential) = self.config.servers[server].credential.clone() {
                let (of, source) = (&self.config.servers[server], self.source.fork());
                self.gathering.relays.push(Relay::new(server, of, credential, Way::Line, source));
                self.outputs.push_back(Output::Open { server });
            }
        }
    }

    fn servers(&self) -> usize {
        self.config.servers.len().min(ICE_SERVERS_MAX)
    }

    /// Asks a server over UDP from one socket.
    fn ask_from(&mut self, now: Now, server: usize, local: SocketAddr) {
        let of = &self.config.servers[server];
        let to = of.address;
        if of.transport != Transport::Udp || to.is_ipv4() != local.is_ipv4() {
            return;
        }
        if self.config.policy == super::Policy::All {
            let binding = Binding::new(now.tick(), server, local, to, &mut self.source);
            self.outputs.push_back(Output::Transmit { local, to, bytes: binding.request() });
            self.gathering.bindings.push(binding);
        }
        if let Some(credential) = of.credential.clone() {
            let way = Way::Socket { local, to };
            let mut relay = Relay::new(server, of, credential, way, self.source.fork());
            relay.allocate(now);
            self.gathering.relays.push(relay);
        }
    }

    /// Whether a datagram is the answer to a Binding request.
    pub(super) fn binding_answered(&mut self, local: SocketAddr, from: SocketAddr, bytes: &[u8]) -> bool {
        let mut bindings = self.gathering.bindings.iter().enumerate();
        let answer = bindings.find_map(|(at, binding)| {
            let is_of_it = binding.local == local && binding.to == from;
            is_of_it.then(|| binding.answer(bytes)).flatten().map(|answer| (at, answer))
        });
        let Some((at, answer)) = answer else { return false };
        let server = self.gathering.bindings.remove(at).server;
        match answer {
            Ok(mapped) => self.found(Kind::ServerReflexive, mapped, local, Some(server), Some(local)),
            Err(why) => self.not_gathered(server, Some(local), Wanted::Reflexive, why),
        }
        true
    }

    pub(super) fn opened(&mut self, now: Now, server: usize) {
        if let Some(relay) = self.line_of(server)
            && relay.stage == Stage::Opening
        {
            relay.allocate(now);
        }
    }

    pub(super) fn line(&mut self, now: Now, server: usize, input: client::Input<'_>) {
        if let Some(relay) = self.line_of(server)
            && relay.stage != Stage::Over
        {
            relay.client.handle_input(now, input);
        }
    }

    pub(super) fn disconnected(&mut self, now: Now, server: usize) {
        let Some(relay) = self.line_of(server) else { return };
        match relay.stage {
            Stage::Opening => {
                relay.stage = Stage::Over;
                self.not_gathered(server, None, Wanted::Relayed, client::Failure::Disconnected);
            }
            _ => self.line(now, server, client::Input::Disconnected),
        }
    }

    fn line_of(&mut self, server: usize) -> Option<&mut Relay> {
        self.gathering.relays.iter_mut().find(|relay| relay.server == server && relay.way == Way::Line)
    }

    /// One thing that a relay's client wants done or tells.
    pub(super) fn of_relay(&mut self, now: Now, at: usize, output: client::Output) {
        let relay = &mut self.gathering.relays[at];
        let server = relay.server;
        let event = match output {
            client::Output::Transmit(message) => {
                let output = relay.carry(message);
                return self.outputs.push_back(output);
            }
            client::Output::Event(event) => event,
        };
        match event {
            client::Event::Allocated(granted) => self.allocated(now, at, &granted),
            client::Event::NotAllocated(why) => self.not_allocated(now, at, why),
            client::Event::Permitted { peer } => relay.permitted(now, peer),
            client::Event::NotPermitted { peer, why } => {
                let is_asked_again = why == client::Failure::Expired;
                relay.not_permitted(peer, is_asked_again);
                if !is_asked_again {
                    self.event(Event::NotPermitted { server, peer, why });
                }
            }
            client::Event::Data { peer, data } => {
                if let Some(base) = relay.address_for(peer.socket()) {
                    self.heard_at(now, base, peer.socket(), &data);
                }
            }
            client::Event::Ended(end) => self.ended(now, at, end),
            // Without a channel data goes as indications. What the client could not send is lost, as datagrams are.
            client::Event::Bound { .. }
            | client::Event::NotBound { .. }
            | client::Event::NotSent { .. }
            | client::Event::Moved
            | client::Event::Broken
            // An agent asks for relayed addresses of UDP alone, and speaks the new dialect.
            | client::Event::Connected { .. }
            | client::Event::NotConnected { .. }
            | client::Event::Attempted { .. }
            | client::Event::Destination { .. } => {}
        }
    }

    /// A server refuses an allocation. Whom it names in its stead is asked.
    fn not_allocated(&mut self, now: Now, at: usize, why: client::Failure) {
        self.over(at);
        let relay = &mut self.gathering.relays[at];
        let (server, local) = (relay.server, relay.way.local());
        let of = &self.config.servers[server];
        let elsewhere = relay.elsewhere(now, of, why, self.source.fork());
        let is_ours = |there: &Relay| self.gathering.relays.iter().any(|relay| relay.way == there.way);
        match elsewhere.filter(|there| self.phase == Phase::Working && !is_ours(there)) {
            Some(mut relay) => {
                relay.allocate(now);
                self.gathering.relays[at] = relay;
            }
            None => self.not_gathered(server, local, Wanted::Relayed, why),
        }
    }

    fn allocated(&mut self, now: Now, at: usize, granted: &Allocated) {
        let relay = &mut self.gathering.relays[at];
        relay.stage = Stage::Live;
        relay.relayed = [Some(granted.relayed), granted.additional]
            .into_iter()
            .flatten()
            .map(|relayed| relayed.socket())
            .collect();
        let (server, local, relayed) = (relay.server, relay.way.local(), relay.relayed.clone());
        if self.peer.ufrag.is_some() {
            self.peer.addresses().for_each(|peer| relay.permit(now, peer));
        }
        // What a server sees over TCP is no address of a datagram's.
        if let Some(local) = local.filter(|_| !self.is_relay_only()) {
            self.gathering.bindings.retain(|binding| binding.server != server || binding.local != local);
            self.found(Kind::ServerReflexive, granted.mapped, local, Some(server), Some(local));
        }
        for address in relayed {
            let base = local.unwrap_or(address);
            self.found(Kind::Relayed, address, base, Some(server), Some(granted.mapped));
        }
    }

    /// An allocation is over, however it came.
    fn ended(&mut self, now: Now, at: usize, end: End) {
        let relay = &self.gathering.relays[at];
        let (server, local, stage) = (relay.server, relay.way.local(), relay.stage);
        let relayed = self.over(at);
        self.gathering.is_unconfirmed |= end == End::Unconfirmed;
        if let (End::Lost(why), Stage::Live) = (end, stage) {
            self.event(Event::RelayLost { server, why });
            self.relay_lost(now, &relayed, local);
        }
    }

    /// Nothing more is said there.
    fn over(&mut self, at: usize) -> Vec<SocketAddr> {
        let relay = &mut self.gathering.relays[at];
        if relay.way == Way::Line {
            self.outputs.push_back(Output::Shut { server: relay.server });
        }
        relay.over()
    }

    /// Gives everything back.
    pub(super) fn leave_servers(&mut self, now: Now) {
        self.gathering.bindings = Vec::new();
        for at in 0..self.gathering.relays.len() {
            self.leave_server(now, at);
        }
    }

    fn leave_server(&mut self, now: Now, at: usize) {
        let is_opening = self.gathering.relays[at].stage == Stage::Opening;
        self.gathering.relays[at].leave(now);
        if is_opening {
            self.over(at);
        }
    }

    /// A candidate of our own.
    fn found(
        &mut self,
        kind: Kind,
        address: SocketAddr,
        base: SocketAddr,
        server: Option<usize>,
        related: Option<SocketAddr>,
    ) {
        if address.is_ipv4() != base.is_ipv4() && kind == Kind::ServerReflexive {
            return;
        }
        let of_server = server.map(|server| &self.config.servers[server]);
        let worth = self.preference(kind, address, of_server.map(|server| server.transport));
        let by = of_server.map(|server| server.address.ip());
        let Some(priority) = self.checks.add_local(kind, address, base, worth) else { return };
        let from = if kind == Kind::Relayed { address.ip() } else { base.ip() };
        let foundation = self.foundation((kind, from, by));
        let related = if self.is_relay_only() { related.map(nobody) } else { related };
        let candidate = Candidate { foundation, priority, address, kind, related, ufrag: None };
        self.gathering.candidates.push(candidate.clone());
        self.event(Event::LocalCandidate(candidate));
    }

    /// What a candidate is worth among its kind: no two are worth the same, IPv6 is before IPv4 (RFC 8421), and a relay reached
    /// over UDP before one over TCP.
    fn preference(&self, kind: Kind, address: SocketAddr, transport: Option<Transport>) -> u32 {
        const STEP: u32 = 0x4000;
        let is_v4 = address.is_ipv4();
        let is_alike = |there: &&Candidate| there.kind == kind && there.address.is_ipv4() == is_v4;
        let alike = self.gathering.candidates.iter().filter(is_alike).count();
        let place = u32::try_from(alike).unwrap_or(STEP).min(STEP / 2 - 1);
        let class = match transport.filter(|_| kind == Kind::Relayed) {
            None | Some(Transport::Udp) => 4,
            Some(Transport::Dtls) => 3,
            Some(Transport::Tcp) => 2,
            Some(Transport::Tls) => 1,
        };
        class * STEP - 1 - 2 * place - u32::from(is_v4)
    }

    fn foundation(&mut self, of: (Kind, IpAddr, Option<IpAddr>)) -> Box<str> {
        let foundations = &mut self.gathering.foundations;
        let at = foundations.iter().position(|there| *there == of).unwrap_or_else(|| {
            foundations.push(of);
            foundations.len() - 1
        });
        (at + 1).to_string().into()
    }

    fn not_gathered(
        &mut self,
        server: usize,
        local: Option<SocketAddr>,
        wanted: Wanted,
        why: client::Failure,
    ) {
        // Once it is over, it has been said.
        if self.phase == Phase::Working && !self.gathering.is_done {
            self.event(Event::NotGathered { server, local, wanted, why });
        }
    }

    /// What is due of it.
    pub(super) fn gathering_timeout(&mut self, now: Now) {
        let tick = now.tick();
        for relay in &mut self.gathering.relays {
            if relay.poll_timeout().is_some_and(|at| at.is_due(tick)) {
                relay.client.handle_timeout(now);
            }
        }
        for mut binding in std::mem::take(&mut self.gathering.bindings) {
            let (local, to) = (binding.local, binding.to);
            match binding.repeat(tick) {
                Some(is_due) => {
                    if is_due {
                        self.outputs.push_back(Output::Transmit { local, to, bytes: binding.request() });
                    }
                    self.gathering.bindings.push(binding);
                }
                None => {
                    let why = client::Failure::Timeout;
                    self.not_gathered(binding.server, Some(local), Wanted::Reflexive, why);
                }
            }
        }
        let is_over = self.gathering.until.is_some_and(|until| until.is_due(tick));
        if is_over && !self.gathering.is_done {
            self.give_up(now);
        }
    }

    /// Whoever has not answered by now is not waited for. What it may yet grant is given back.
    fn give_up(&mut self, now: Now) {
        let why = client::Failure::Timeout;
        for binding in std::mem::take(&mut self.gathering.bindings) {
            self.not_gathered(binding.server, Some(binding.local), Wanted::Reflexive, why);
        }
        for at in 0..self.gathering.relays.len() {
            let relay = &self.gathering.relays[at];
            if matches!(relay.stage, Stage::Opening | Stage::Asking) {
                let (server, local) = (relay.server, relay.way.local());
                self.leave_server(now, at);
                self.not_gathered(server, local, Wanted::Relayed, why);
            }
        }
    }

    pub(super) fn judge_gathering(&mut self) {
        let gathering = &self.gathering;
        let is_asked = |relay: &Relay| matches!(relay.stage, Stage::Opening | Stage::Asking);
        let is_waiting = !gathering.bindings.is_empty() || gathering.relays.iter().any(is_asked);
        if gathering.until.is_some() && !gathering.is_done && !is_waiting {
            self.gathering.is_done = true;
            if self.phase == Phase::Working {
                self.event(Event::GatheringDone);
            }
        }
    }
}

/// In place of an address that is nobody's business (RFC 8839 § 5.1).
fn nobody(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 9)
}
