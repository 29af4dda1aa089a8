//! What may happen, worked out from the messages alone: requests as they came to the server, and answers as they left.
//! It looks into no table of the server or of a worker.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::media::Counters;
use crate::proto::media::TableChange;
use crate::proto::peers::OwnRelays;
use crate::proto::peers::PeerPolicy;
use crate::proto::turn::EndReason;
use crate::proto::turn::Event;
use crate::proto::turn::Input;
use crate::proto::turn::Output;
use crate::proto::types::Deadline;
use crate::proto::types::Family;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::WorkerId;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::connection::decode_attempt;
use crate::proto::wire::ms_turn::framing::is_control;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::rfc8656::decode::decode_response;

use super::coverage::Coverage;
use super::packet::digest;

use counts::Counts;
use old::Old;
use old::SESSION;
use old::Sending;
use promises::Promises;
use streams::Ended;
use ties::Ties;

mod counts;
mod judge;
mod old;
mod promises;
mod streams;
mod ties;

/// Client and server address.
type Tuple = (SocketAddr, SocketAddr);

/// Five-tuples of one allocation that are remembered; a client that moves more often is lost sight of.
const TUPLES_MAX: usize = 256;

/// What the oracle must be told of the server's configuration.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) permission_lifetime: Duration,
    pub(super) channel_lifetime: Duration,
    pub(super) lifetime_max: Duration,
    pub(super) strict_permissions: bool,
    /// In force from the start, at every worker.
    pub(super) policy: Arc<PeerPolicy>,
    pub(super) workers: usize,
    /// Bound and external form of each relay address.
    pub(super) relays: Vec<(IpAddr, IpAddr)>,
}

#[derive(Debug)]
pub(super) struct Oracle {
    rules: Rules,
    requests: BTreeMap<(Tuple, [u8; 16]), Asked>,
    answered: BTreeSet<(Tuple, [u8; 16])>,
    allocations: BTreeMap<u64, Allocation>,
    made: u64,
    by_relayed: BTreeMap<SocketAddr, u64>,
    by_tuple: BTreeMap<Tuple, u64>,
    by_name: BTreeMap<RelayId, u64>,
    /// The external relayed address that a name stands for.
    named: BTreeMap<RelayId, SocketAddr>,
    tickets: BTreeMap<Vec<u8>, u64>,
    /// The ticket of an allocation that is yet to be told of: the answer leaves first.
    first_ticket: Option<(Tuple, Vec<u8>)>,
    /// A policy in force at every worker that has carried out so many commands.
    policy: Option<(Arc<PeerPolicy>, Vec<u64>)>,
    next_policy: Option<Arc<PeerPolicy>>,
    /// Who sent from a source address, as the server sees it.
    sources: BTreeMap<SocketAddr, BTreeSet<u16>>,
    /// Where the clients were who ever had a relayed address. Two of them may have been at one place, one after the
    /// other, behind one NAT: data has no signature, so the one's may then pass by the other's allocation.
    owners: BTreeMap<SocketAddr, BTreeSet<SocketAddr>>,
    /// Everything that was ever sent to a relayed address, by whom.
    sent: BTreeSet<u64>,
    leaving: bool,
    /// How long each relayed address was last let live.
    extended: BTreeMap<RelayId, Deadline>,
    promises: Promises,
    counts: Counts,
    ended: Ended,
    /// Relayed addresses of TCP.
    tcp: BTreeSet<RelayId>,
    /// What the last input may make leave.
    sending: Option<Sending>,
    /// Of an allocation that is yet to be told of.
    first_old: Option<(Tuple, Old)>,
    first_username: Option<(Tuple, Vec<u8>)>,
    ties: Ties,
    /// Relayed addresses that somebody ever had in the old dialect.
    bare: BTreeSet<SocketAddr>,
}

/// What a request asked for.
#[derive(Debug)]
struct Asked {
    method: Method,
    peers: Vec<PeerAddr>,
    channel: Option<u16>,
    family: Option<Family>,
    /// The allocation whose ticket it showed.
    by_ticket: Option<u64>,
    /// When it first came.
    at: Tick,
    /// USERNAME; empty where there is none.
    username: Vec<u8>,
}

#[derive(Debug)]
struct Allocation {
    tuples: Vec<Tuple>,
    legs: Vec<(SocketAddr, Deadline)>,
    permissions: BTreeMap<IpAddr, Deadline>,
    channels: BTreeMap<u16, (PeerAddr, Deadline)>,
    /// Until when each leg lives by a Refresh that was granted, and is answered when the workers are through with its move.
    moving: BTreeMap<SocketAddr, Deadline>,
    /// Until when it would have lived had it not been shortened, and how many commands tell each worker so.
    shortened: Option<(Deadline, Vec<u64>)>,
    /// Of the old dialect.
    old: Option<Old>,
    /// It lives as long as its connection.
    endless: bool,
    /// It relays connections.
    tcp: bool,
    username: Option<Vec<u8>>,
}

/// Own relayed addresses as if each lived: whether one does is not the policy's word.
struct EveryOwnRelay;

impl OwnRelays for EveryOwnRelay {
    fn is_live(&self, _address: SocketAddr) -> bool {
        true
    }
}

impl Oracle {
    pub(super) fn new(rules: Rules) -> Self {
        let policy = Some((Arc::clone(&rules.policy), vec![0; rules.workers]));
        Self {
            rules,
            requests: BTreeMap::new(),
            answered: BTreeSet::new(),
            allocations: BTreeMap::new(),
            made: 0,
            by_relayed: BTreeMap::new(),
            by_tuple: BTreeMap::new(),
            by_name: BTreeMap::new(),
            named: BTreeMap::new(),
            tickets: BTreeMap::new(),
            first_ticket: None,
            policy,
            next_policy: None,
            sources: BTreeMap::new(),
            owners: BTreeMap::new(),
            sent: BTreeSet::new(),
            leaving: false,
            extended: BTreeMap::new(),
            promises: Promises::default(),
            counts: Counts::default(),
            ended: Ended::default(),
            tcp: BTreeSet::new(),
            sending: None,
            first_old: None,
            first_username: None,
            ties: Ties::default(),
            bare: BTreeSet::new(),
        }
    }

    // What the network says.

    /// The client of this number sends from `source`, as the server sees it.
    pub(super) fn seen_at(&mut self, source: SocketAddr, client: u16) {
        self.sources.entry(source).or_default().insert(client);
    }

    /// `payload` leaves `from` for a relayed address.
    pub(super) fn sent_to_relay(&mut self, from: SocketAddr, relayed: SocketAddr, payload: &[u8]) {
        self.sent.insert(print(from, relayed, payload));
    }

    /// Whether `data`, that the client of this number was handed as from `peer`, was sent by that peer to a relayed
    /// address that the client has or had.
    pub(super) fn was_sent(&self, client: u16, peer: SocketAddr, data: &[u8]) -> bool {
        let mut had = self.owners.keys().filter(|relayed| self.owned(client, **relayed));
        had.any(|relayed| self.sent.contains(&print(peer, *relayed, data)))
    }

    /// Whether `data` came from `peer` by a relayed address of which the client's place, behind a NAT, was another client's
    /// too: by that one's channel, whose number this client takes for its own.
    pub(super) fn was_sent_to_place(&self, client: u16, peer: SocketAddr, data: &[u8]) -> bool {
        let is_shared = |place: &SocketAddr| {
            self.sources.get(place).is_some_and(|clients| clients.len() > 1 && clients.contains(&client))
        };
        let mut shared = self.owners.iter().filter(|(_, places)| places.iter().any(is_shared));
        shared.any(|(relayed, _)| self.sent.contains(&print(peer, *relayed, data)))
    }

    /// Every relayed address that there was: what leaves one may be meant for another.
    pub(super) fn relayed(&self) -> impl Iterator<Item = &SocketAddr> {
        self.owners.keys()
    }

    /// Whether the client of this number has or had `relayed`.
    pub(super) fn owned(&self, client: u16, relayed: SocketAddr) -> bool {
        let was_at =
            |place: &SocketAddr| self.sources.get(place).is_some_and(|clients| clients.contains(&client));
        self.owners.get(&relayed).is_some_and(|places| places.iter().any(was_at))
    }

    /// As the world names an address of this machine.
    pub(super) fn external(&self, address: SocketAddr) -> SocketAddr {
        let pair = self.rules.relays.iter().find(|(bind, _)| *bind == address.ip());
        pair.map_or(address, |(_, external)| SocketAddr::new(*external, address.port()))
    }

    /// As this machine binds an address of its own.
    pub(super) fn bound(&self, address: SocketAddr) -> SocketAddr {
        let pair = self.rules.relays.iter().find(|(_, external)| *external == address.ip());
        pair.map_or(address, |(bind, _)| SocketAddr::new(*bind, address.port()))
    }

    // What goes into the server and what comes out.

    pub(super) fn input(&mut self, tick: Tick, input: &Input<'_>) {
        self.take_back(input);
        self.sending = None;
        match input {
            Input::Peer { worker, report } => self.peer_report(*worker, *report),
            Input::Message { from, bytes, .. } => self.request(tick, from, bytes),
            Input::Reconfigure(to) => {
                self.policy = None;
                self.next_policy = Some(Arc::clone(&to.policy));
                self.rules.permission_lifetime = to.permission_lifetime;
                self.rules.channel_lifetime = to.channel_lifetime;
                self.rules.lifetime_max = to.lifetime_max.as_duration();
            }
            Input::Command(_) => self.leaving = true,
            _ => {}
        }
    }

    fn request(&mut self, tick: Tick, from: &FiveTuple, bytes: &[u8]) {
        if is_control(bytes) {
            return self.old_request(tick, from, bytes);
        }
        let Ok(request) = decode_request(bytes) else { return };
        let key = (tuple(from), request.transaction.0);
        self.take_back_by(key.0, &request);
        if self.answered.contains(&key) {
            return;
        }
        // Who shows a ticket may be heard from where it was shown before the answer has left.
        let by_ticket = request.mobility_ticket.and_then(|ticket| self.tickets.get(ticket)).copied();
        if let Some(serial) = by_ticket {
            let elsewhere = self.by_tuple.get(&key.0).and_then(|serial| self.allocations.get(serial));
            if elsewhere.is_none_or(|other| !other.is_live(tick)) {
                self.adopt(serial, key.0);
            }
        }
        let at = self.requests.get(&key).map_or(tick, |before| before.at);
        self.requests.insert(
            key,
            Asked {
                method: request.method,
                peers: request.peers.iter().collect(),
                channel: request.channel_number,
                family: request.requested_family.and_then(Family::from_code),
                by_ticket,
                at,
                username: request.auth.username.unwrap_or_default().to_vec(),
            },
        );
        if let (Method::Connect, Some(serial)) = (request.method, self.by_tuple.get(&key.0)) {
            request.peers.iter().for_each(|peer| self.ties.wish(*serial, peer));
        }
    }

    /// The client of the allocation of this number is heard from `at` too.
    fn adopt(&mut self, serial: u64, at: Tuple) {
        if let Some(allocation) = self.allocations.get_mut(&serial) {
            allocation.add_tuple(at);
            for (leg, _) in &allocation.legs {
                self.owners.entry(*leg).or_default().insert(at.0);
            }
            self.by_tuple.insert(at, serial);
        }
    }

    /// Takes in what the server wants done. `pushed` counts what each worker was told so far.
    pub(super) fn output(
        &mut self,
        tick: Tick,
        output: &Output,
        pushed: &[u64],
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        match output {
            Output::Reply { worker, to, bytes } => self.reply(tick, (*worker, pushed), to, bytes, coverage),
            Output::OpenRelay { relay, bind, .. } => {
                self.named.insert(*relay, self.external(bind.socket()));
                Ok(())
            }
            Output::OpenPort { relay, bind, .. } => {
                self.tcp.insert(*relay);
                self.named.insert(*relay, port_key(self.external(bind.socket())));
                Ok(())
            }
            Output::SendToPeer { relay, peer, data, .. } => self.old_data_leaves(*relay, *peer, data),
            Output::Peer { worker, order } => self.peer_order(tick, *worker, order),
            Output::Event(event) => self.event(tick, event, pushed, coverage),
            Output::Table { change: TableChange::Extend { relay, until }, .. } => {
                self.extended.insert(*relay, *until);
                let serial = self.serial_of(*relay);
                let endless = serial.and_then(|it| self.allocations.get(&it)).is_some_and(|it| it.endless);
                let most = tick.after(self.rules.lifetime_max);
                if *until > most && !endless {
                    Err(format!("{relay:?} may live until {until:?}"))
                } else {
                    Ok(())
                }
            }
            Output::DetachRelay { relay, .. } => {
                self.moves(*relay);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The socket of `relay` is on its way to another worker, for a client that was granted its Refresh.
    fn moves(&mut self, relay: RelayId) {
        let (Some(until), Some(relayed)) = (self.extended.get(&relay), self.named.get(&relay)) else {
            return;
        };
        let serial = self.by_relayed.get(relayed);
        if let Some(allocation) = serial.and_then(|serial| self.allocations.get_mut(serial)) {
            allocation.moving.insert(*relayed, *until);
        }
    }

    fn reply(
        &mut self,
        tick: Tick,
        (worker, pushed): (WorkerId, &[u64]),
        to: &FiveTuple,
        bytes: &[u8],
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        if is_control(bytes) {
            return self.old_reply(tick, (worker, pushed), to, bytes, coverage);
        }
        if let Some((peer, _)) = decode_attempt(bytes) {
            coverage.fact("connection attempt told");
            let serial = self.by_tuple.get(&tuple(to)).copied();
            let allocation = serial.and_then(|serial| self.allocations.get(&serial));
            let is_expected = allocation.is_some_and(|it| it.tcp && it.permissions.contains_key(&peer.ip()));
            let told = || format!("{to:?} is told of an attempt of {peer}");
            return if is_expected { Ok(()) } else { Err(told()) };
        }
        let Ok(answer) = decode_response(bytes) else {
            return Err(format!("an answer that is none: {bytes:02x?}"));
        };
        if !answer.success {
            let code = answer.error_code.and_then(ErrorCode::from_number);
            coverage.answered(code.ok_or_else(|| format!("error code {:?}", answer.error_code))?);
            return Ok(());
        }
        let key = (tuple(to), answer.transaction.0);
        // A second answer grants nothing new.
        let Some(asked) = self.requests.remove(&key) else { return Ok(()) };
        self.answered.insert(key);
        if asked.method == Method::Allocate {
            self.first_ticket = answer.mobility_ticket.map(|ticket| (key.0, ticket.to_vec()));
            self.first_username = Some((key.0, asked.username));
            return Ok(());
        }
        if asked.method == Method::ConnectionBind {
            return self.bind_granted(key.0, answer.connection_id, &asked.username);
        }
        let there = self.by_tuple.get(&key.0).copied();
        // Whoever was awaited there before has gone elsewhere; but one that was released there is answered late, and its
        // client may have a younger allocation by then.
        if let Some(serial) = asked.by_ticket.filter(|serial| there.is_none_or(|there| there <= *serial)) {
            self.adopt(serial, key.0);
        }
        let Some(serial) = asked.by_ticket.or(there) else { return Ok(()) };
        if let Some(ticket) = answer.mobility_ticket {
            self.tickets.insert(ticket.to_vec(), serial);
        }
        let Some(allocation) = self.allocations.get_mut(&serial) else { return Ok(()) };
        match asked.method {
            Method::Refresh => {
                let lifetime = answer.lifetime.unwrap_or(Lifetime::ZERO);
                allocation.extend(tick, lifetime, &asked, pushed);
            }
            Method::CreatePermission => {
                let until = tick.after(self.rules.permission_lifetime);
                allocation.permissions.extend(asked.peers.iter().map(|peer| (peer.ip(), until)));
                let promise = Self::promise(worker, pushed, until);
                // What is promised of connections is not judged as datagrams are.
                let tcp = allocation.tcp;
                let peers = asked.peers.iter().filter(|_| !tcp);
                peers.for_each(|peer| self.promises.permit(key.0, peer.ip(), promise));
            }
            Method::ChannelBind => {
                if let (Some(channel), Some(peer)) = (asked.channel, asked.peers.first()) {
                    let until = tick.after(self.rules.channel_lifetime);
                    let permitted = tick.after(self.rules.permission_lifetime);
                    allocation.channels.insert(channel, (*peer, until));
                    allocation.permissions.insert(peer.ip(), permitted);
                    let promise = |until| Self::promise(worker, pushed, until);
                    self.promises.permit(key.0, peer.ip(), promise(permitted));
                    self.promises.bind(key.0, channel, *peer, promise(until));
                }
            }
            Method::Allocate
            | Method::Binding
            | Method::Unknown(_)
            | Method::Send
            | Method::SetActiveDestination
            | Method::Connect
            | Method::ConnectionBind => {}
        }
        Ok(())
    }

    fn event(
        &mut self,
        tick: Tick,
        event: &Event,
        pushed: &[u64],
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        match event {
            Event::AllocationMade { relay, five_tuple, relayed, additional, lifetime, .. } => {
                self.by_name.insert(*relay, self.made + 1);
                let addresses = [Some(*relayed), *additional];
                let tcp = self.tcp.contains(relay);
                let named = |address: SocketAddr| if tcp { port_key(address) } else { address };
                let addresses = addresses.into_iter().flatten().map(|address| named(address.socket()));
                self.allocation_made(tick, five_tuple, addresses.collect(), *lifetime, tcp)
            }
            Event::AllocationEnded { relay, reason, counters, .. } => {
                coverage.ended(*reason);
                self.allocation_ended(tick, *relay, *reason, *counters)
            }
            Event::AllocationMoved { to, from, .. } => {
                if let Some(serial) = self.by_tuple.get(&tuple(from)).copied() {
                    self.promise_nothing(serial);
                    self.by_tuple.remove(&tuple(from));
                    self.by_tuple.insert(tuple(to), serial);
                }
                Ok(())
            }
            Event::Reconfigured { .. } => {
                self.policy = self.next_policy.clone().map(|policy| (policy, pushed.to_vec()));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn allocation_made(
        &mut self,
        tick: Tick,
        five_tuple: &FiveTuple,
        addresses: Vec<SocketAddr>,
        lifetime: Lifetime,
        tcp: bool,
    ) -> Result<(), String> {
        let at = tuple(five_tuple);
        self.made += 1;
        let old = self.first_old.take().filter(|(of, _)| *of == at).map(|(_, old)| old);
        let endless = old.is_some() && five_tuple.transport.is_stream();
        let until = tick.after(if endless { SESSION } else { lifetime.as_duration() });
        let username = self.first_username.take().filter(|(of, _)| *of == at).map(|(_, name)| name);
        for address in &addresses {
            let other = self.by_relayed.insert(*address, self.made);
            // One half of a dual allocation may have ended without the other.
            if let Some(other) = other.and_then(|other| self.allocations.get_mut(&other)) {
                if other.legs.iter().any(|(leg, until)| leg == address && !until.is_due(tick)) {
                    return Err(format!(
                        "{address} is given to a second client; the first is {:?}",
                        other.tuples
                    ));
                }
                other.legs.retain(|(leg, _)| leg != address);
            }
            self.owners.entry(*address).or_default().insert(at.0);
            if old.is_some() {
                self.bare.insert(*address);
            }
        }
        let legs = addresses.into_iter().map(|address| (address, until)).collect();
        let allocation = Allocation {
            tuples: vec![at],
            legs,
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
            moving: BTreeMap::new(),
            shortened: None,
            old,
            endless,
            tcp,
            username,
        };
        self.allocations.insert(self.made, allocation);
        self.by_tuple.insert(at, self.made);
        if let Some((_, ticket)) = self.first_ticket.take().filter(|(tuple, _)| *tuple == at) {
            self.tickets.insert(ticket, self.made);
        }
        Ok(())
    }

    fn allocation_ended(
        &mut self,
        tick: Tick,
        relay: RelayId,
        reason: EndReason,
        counters: Counters,
    ) -> Result<(), String> {
        let serial = self.by_name.remove(&relay);
        serial.into_iter().for_each(|serial| self.promise_nothing(serial));
        serial.into_iter().for_each(|serial| self.ties.forget(serial));
        let gone = serial.and_then(|serial| self.allocations.remove(&serial));
        let Some((serial, gone)) = serial.zip(gone) else {
            return Err(format!("{relay:?} ended twice"));
        };
        self.compare_counts(serial, counters)?;
        let is_cut_off = self.is_cut_off(serial);
        self.by_relayed.retain(|_, each| *each != serial);
        self.by_tuple.retain(|_, each| *each != serial);
        self.tickets.retain(|_, each| *each != serial);
        match reason {
            EndReason::Expired if gone.is_live(tick) && !gone.endless => {
                Err(format!("{relay:?} ended before its time: {:?}", gone.legs))
            }
            EndReason::Disconnected if !is_cut_off => {
                Err(format!("{relay:?} ended as if its client were gone: {:?}", gone.tuples))
            }
            EndReason::Shutdown if !self.leaving => Err(format!("{relay:?} was ended by nobody's order")),
            _ => Ok(()),
        }
    }

    /// Allocations that were made and have not ended.
    pub(super) fn allocations(&self) -> usize {
        self.allocations.len()
    }
}

impl Allocation {
    fn is_live(&self, tick: Tick) -> bool {
        self.legs.iter().any(|(_, until)| !until.is_due(tick))
    }

    fn add_tuple(&mut self, tuple: Tuple) {
        if !self.tuples.contains(&tuple) && self.tuples.len() < TUPLES_MAX {
            self.tuples.push(tuple);
        }
    }

    /// A Refresh was granted: of one leg, or of all that live.
    fn extend(&mut self, tick: Tick, lifetime: Lifetime, asked: &Asked, pushed: &[u64]) {
        let family = asked.family;
        let meant = |leg: &SocketAddr| family.is_none_or(|family| Family::of(leg.ip()) == family);
        // The answer to a move says what is left, in whole seconds.
        if asked.by_ticket.is_some() && !self.moving.is_empty() {
            for leg in &mut self.legs {
                leg.1 = self.moving.remove(&leg.0).unwrap_or(leg.1);
            }
            return;
        }
        if lifetime == Lifetime::ZERO {
            // The last leg goes with the allocation, whose end is told by an event.
            if family.is_some() && self.legs.len() > 1 {
                self.legs.retain(|(leg, _)| !meant(leg));
            }
            return;
        }
        let until = tick.after(lifetime.as_duration());
        for leg in self.legs.iter_mut().filter(|(leg, until)| meant(leg) && !until.is_due(asked.at)) {
            if until < leg.1 {
                let before = self.shortened.as_ref().map_or(leg.1, |(before, _)| leg.1.max(*before));
                self.shortened = Some((before, pushed.to_vec()));
            }
            leg.1 = until;
        }
    }
}

/// A relayed address of TCP, told apart from that of UDP with the same number: by a family's own bits that no address of
/// this world has.
pub(super) fn port_key(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) ^ 0x8000_0000).into()),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) ^ 1 << 120).into()),
    };
    SocketAddr::new(ip, address.port())
}

fn tuple(five_tuple: &FiveTuple) -> Tuple {
    (five_tuple.client.socket(), five_tuple.server.socket())
}

fn print(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> u64 {
    let mut bytes = Vec::with_capacity(payload.len() + 40);
    for address in [from, to] {
        match address.ip() {
            IpAddr::V4(ip) => bytes.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
        }
        bytes.extend_from_slice(&address.port().to_be_bytes());
    }
    bytes.extend_from_slice(payload);
    digest(&bytes)
}
