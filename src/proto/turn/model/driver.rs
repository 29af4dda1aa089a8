//! Plays operations to the server and to the reference, and compares what they say.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::proto::turn::Command;
use crate::proto::turn::Input;
use crate::proto::types::IpHeader;
use crate::proto::types::PeerAddr;
use crate::proto::wire::indication;
use crate::proto::wire::rfc8656::decode::decode_response;

use super::Report;
use super::client::Asked;
use super::client::Nonce;
use super::client::Wants;
use super::client::Who;
use super::client::channel_data;
use super::client::send_indication;
use super::ops::Body;
use super::ops::Login;
use super::ops::NonceUse;
use super::ops::Odd;
use super::ops::Op;
use super::ops::TicketUse;
use super::ops::Wait;
use super::reference::Effect;
use super::reference::Fate;
use super::reference::Reference;
use super::setup::CLIENTS;
use super::setup::PEER;
use super::setup::PEERS;
use super::setup::Setup;
use super::setup::five_tuple;
use super::setup::name_and_password;
use super::setup::socket;
use super::world::Heard;
use super::world::Said;
use super::world::World;
use super::world::id;

/// Reports and timers between two operations: more would be a loop.
const ROUNDS_MAX: usize = 100_000;

/// The world, the reference, and what clients remember.
pub(super) struct Driver {
    pub(super) world: World,
    pub(super) reference: Reference,
    nonces: [Vec<Nonce>; CLIENTS],
    sent: Vec<(Asked, Vec<u8>)>,
    transactions: u32,
    tickets: Vec<Vec<u8>>,
    tokens: Vec<[u8; 8]>,
    pub(super) passed: u64,
    pub(super) stayed: u64,
}

impl Driver {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            world: World::new(setup, 7),
            reference: Reference::new(setup),
            nonces: Default::default(),
            sent: Vec::new(),
            transactions: 0,
            tickets: Vec::new(),
            tokens: Vec::new(),
            passed: 0,
            stayed: 0,
        }
    }

    /// One operation, and everything that comes of it at once.
    pub(super) fn play(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Ask { client, login, body } => self.ask(*client, *login, body)?,
            Op::Naked { client } => self.naked(*client)?,
            Op::Replay { back } => self.replay(*back)?,
            Op::Burst { client, user, count } => self.burst(*client, *user, *count)?,
            Op::Send { client, peer } => self.send(*client, self.peer(*peer))?,
            Op::Data { client, channel } => self.data(*client, *channel)?,
            Op::FromPeer { client, peer } => self.from_peer(*client, self.peer(*peer))?,
            Op::Wait(Wait::Millis(millis)) => self.wait_until(self.world.now_ms + millis)?,
            Op::Wait(Wait::Edge { skip, off }) => {
                let edges = self.reference.edges(self.world.now_ms);
                if let Some(edge) = edges.get(skip % edges.len().max(1)) {
                    self.wait_until(edge.saturating_add_signed(*off))?;
                }
            }
            Op::SetWallClock(by_s) => self.world.skew_s += i64::from(*by_s),
            Op::Fail { worker, times, how } => self.world.fail(*worker, *times, *how),
            Op::Hold { worker } => {
                let worker = worker % self.world.workers.len();
                self.world.workers[worker].holds = true;
            }
            Op::Deliver { worker, count } => self.deliver(worker % self.world.workers.len(), *count)?,
            Op::Drain => {
                let mut said = self.input(Input::Command(Command::Drain))?;
                self.reference.drain();
                said.nothing_left()?;
                said.events.clear();
            }
            Op::EndAll => {
                self.input(Input::Command(Command::EndAll))?.nothing_left()?;
                self.reference.end_all();
            }
            Op::Reconfigure(change) if !self.world.server.is_reconfiguring() => {
                self.input(Input::Reconfigure(change.reconfiguration()))?.nothing_left()?;
                self.reference.now_good = *change;
            }
            Op::Reconfigure(_) => {}
        }
        self.come_to_rest()
    }

    /// Ends what is left by the time alone, and sees that nothing remains.
    pub(super) fn finish(mut self) -> Result<Report, String> {
        self.world.heal();
        self.come_to_rest()?;
        for _ in 0..3 {
            self.wait_until(self.world.now_ms + 4_000_000)?;
        }
        self.check_empty()?;
        let mut answers: Vec<_> =
            self.reference.coverage.codes.iter().map(|(method, code)| (method.number(), *code)).collect();
        answers.sort_unstable();
        answers.dedup();
        let coverage = &self.reference.coverage;
        Ok(Report {
            inputs: self.world.inputs,
            answers,
            repeated: coverage.repeated,
            dropped: coverage.dropped,
            moved: coverage.moved,
            carried: coverage.carried,
            passed: self.passed,
            stayed: self.stayed,
        })
    }

    fn input(&mut self, input: Input<'_>) -> Result<Said, String> {
        let said = self.world.input(input)?;
        self.read(&said)?;
        Ok(said)
    }

    /// Reports arrive and timers fire until there are none.
    fn come_to_rest(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            if let Some((told, mut said)) = self.world.next_report()? {
                self.read(&said)?;
                self.reference.report(self.world.now_ms, told, &mut said)?;
            } else if let Some(mut said) = self.world.timeout()? {
                self.read(&said)?;
                self.reference.timeout(self.world.now_ms, &mut said)?;
                if self.world.server.ending.is_none() {
                    self.reference.has_ended_all();
                }
            } else {
                return Ok(());
            }
        }
        Err("the server never comes to rest".to_owned())
    }

    /// Lets time pass as the control task would see it: from one wake to the next.
    fn wait_until(&mut self, target_ms: u64) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            self.come_to_rest()?;
            if self.world.now_ms >= target_ms {
                return Ok(());
            }
            let wake = self.world.server.poll_timeout().map_or(target_ms, |(at, _)| at.as_millis());
            self.world.now_ms = wake.min(target_ms).max(self.world.now_ms + 1);
        }
        Err("the server wakes for ever".to_owned())
    }

    fn deliver(&mut self, worker: usize, count: Option<usize>) -> Result<(), String> {
        if count.is_none() {
            self.world.workers[worker].holds = false;
        }
        for _ in 0..count.unwrap_or(0) {
            if let Some((told, mut said)) = self.world.report_of(worker)? {
                self.read(&said)?;
                self.reference.report(self.world.now_ms, told, &mut said)?;
            }
        }
        Ok(())
    }

    fn ask(&mut self, client: usize, login: Login, body: &Body) -> Result<(), String> {
        if self.nonces[client].is_empty() {
            self.naked(client)?;
        }
        let nonces = &self.nonces[client];
        let nonce = match login.nonce {
            NonceUse::Last => nonces.last(),
            NonceUse::First => nonces.first(),
            NonceUse::Foreign => self.nonces[(client + 1) % CLIENTS].last(),
            NonceUse::Noise => None,
        };
        let noise = || Nonce { text: b"noise".to_vec(), client, issued: None, anonymous: false };
        let nonce = nonce.cloned().unwrap_or_else(noise);
        let (name, password) = name_and_password(login.user, login.password);
        let who = Who { user: login.user, name, password, which: login.password };
        self.transactions += 1;
        let asked = Asked {
            client,
            transaction: self.transactions,
            who: Some(who),
            nonce: Some(nonce),
            odd: login.odd,
            wants: self.wants(body),
        };
        let bytes = asked.bytes();
        self.sent.push((asked.clone(), bytes.clone()));
        self.request(&asked, &bytes).map(|_| ())
    }

    fn naked(&mut self, client: usize) -> Result<(), String> {
        self.transactions += 1;
        let wants = Wants::Refresh { lifetime: None, family: None, ticket: None };
        let transaction = self.transactions;
        let asked = Asked { client, transaction, who: None, nonce: None, odd: Odd::No, wants };
        self.request(&asked, &asked.bytes()).map(|_| ())
    }

    fn burst(&mut self, client: usize, user: usize, count: usize) -> Result<(), String> {
        let login = Login { user, password: 0, nonce: NonceUse::Last, odd: Odd::No };
        let body = Body::Refresh { lifetime: None, family: None, ticket: TicketUse::No };
        (0..count).try_for_each(|_| self.ask(client, login, &body))
    }

    /// A request of before once more: where it must change nothing, nothing changes.
    fn replay(&mut self, back: usize) -> Result<(), String> {
        let Some((asked, bytes)) = self.sent.iter().rev().nth(back).cloned() else { return Ok(()) };
        let before = self.everything();
        let effect = self.request(&asked, &bytes)?;
        if effect == Effect::Nothing && self.everything() != before {
            return Err(format!("{asked:?} comes again and changes something"));
        }
        Ok(())
    }

    fn request(&mut self, asked: &Asked, bytes: &[u8]) -> Result<Effect, String> {
        let mut said = match self.world.from_client(asked.client, bytes, IpHeader::default())? {
            Heard::Asked(said) => said,
            Heard::Greeted(bytes) => {
                let worker = id(self.world.worker_of(asked.client));
                Said { replies: vec![(worker, five_tuple(asked.client), bytes.into())], ..Said::default() }
            }
            Heard::Dropped(reason) => return Err(format!("{asked:?} is dropped: {reason:?}")),
            Heard::ToPeer { .. } => return Err(format!("{asked:?} goes to a peer")),
        };
        self.read(&said)?;
        let now = self.world.now();
        self.reference.message(now, asked, &mut said).map_err(|what| format!("{asked:?}: {what}"))
    }

    fn wants(&self, body: &Body) -> Wants {
        let ticket = |which: TicketUse| match which {
            TicketUse::No => None,
            TicketUse::Empty => Some(Vec::new()),
            TicketUse::Noise => Some(b"a ticket that nobody wrote......".to_vec()),
            TicketUse::Given(back) => Some(self.tickets.iter().rev().nth(back).cloned().unwrap_or_default()),
        };
        match body.clone() {
            Body::Allocate {
                transport,
                lifetime,
                family,
                additional,
                even,
                token,
                dont_fragment,
                ticket: which,
            } => Wants::Allocate {
                transport,
                lifetime,
                family,
                additional,
                even,
                token: token.map(|back| self.tokens.iter().rev().nth(back).copied().unwrap_or([9; 8])),
                dont_fragment,
                ticket: ticket(which),
            },
            Body::Refresh { lifetime, family, ticket: which } => {
                Wants::Refresh { lifetime, family, ticket: ticket(which) }
            }
            Body::Permit { peers } => {
                Wants::Permit { peers: peers.iter().map(|it| self.peer(*it)).collect() }
            }
            Body::Bind { channel, peer } => Wants::Bind { channel, peer: peer.map(|it| self.peer(it)) },
        }
    }

    /// Where a peer is.
    fn peer(&self, number: usize) -> PeerAddr {
        let at: SocketAddr = match number {
            0..=7 => socket(PEER[number]),
            8..=10 => self.reference.relayed_of(number - 8),
            11 => socket("203.0.113.7:3478"),
            _ => socket("[2001:db8::7]:50000"),
        };
        PeerAddr::new(at)
    }

    /// What clients remember of answers.
    fn read(&mut self, said: &Said) -> Result<(), String> {
        for (_, to, bytes) in &said.replies {
            let client = (0..CLIENTS).find(|client| five_tuple(*client) == *to);
            let client = client.ok_or_else(|| format!("an answer to {to:?}, who never asked"))?;
            let answer = decode_response(bytes).map_err(|why| format!("an answer is no message: {why}"))?;
            self.tickets.extend(answer.mobility_ticket.map(<[u8]>::to_vec));
            self.tokens.extend(answer.reservation_token);
            if let Some(text) = answer.nonce {
                let nonce =
                    self.read_nonce(client, text).ok_or("a nonce that says no time, or a wrong one")?;
                self.nonces[client].push(nonce);
            }
        }
        Ok(())
    }

    /// Nonces tell when they were minted: now, or up to a second ahead where the nonces until then are dead.
    fn read_nonce(&self, client: usize, text: &[u8]) -> Option<Nonce> {
        let body = STANDARD_NO_PAD.decode(text.get(13..)?).ok()?;
        let low = body.get(..3)?.iter().fold(0, |low, byte| low << 8 | u64::from(*byte));
        let ahead = low.wrapping_sub(self.world.now_ms) & 0x00FF_FFFF;
        let anonymous = match text.get(9..13)? {
            b"AAAB" => false,
            b"AAAD" => true,
            _ => return None,
        };
        let issued = Some(self.world.now_ms + ahead).filter(|_| ahead <= 1_000)?;
        (anonymous == self.reference.anonymous()).then_some(())?;
        Some(Nonce { text: text.to_vec(), client, issued: Some(issued), anonymous })
    }

    pub(super) fn send(&mut self, client: usize, peer: PeerAddr) -> Result<(), String> {
        let fate = self.reference.send(self.world.now_ms, client, peer);
        self.to_peer(client, &send_indication(peer, b"a word"), &fate)
    }

    pub(super) fn data(&mut self, client: usize, channel: u16) -> Result<(), String> {
        let fate = self.reference.data(self.world.now_ms, client, channel);
        self.to_peer(client, &channel_data(channel, b"a word"), &fate)
    }

    fn to_peer(&mut self, client: usize, bytes: &[u8], fate: &Fate) -> Result<(), String> {
        let arrived = IpHeader { hop_limit: Some(64), ..IpHeader::default() };
        let passed = match self.world.from_client(client, bytes, arrived)? {
            Heard::ToPeer { relay, peer, data, header }
                if data == b"a word" && header.hop_limit == Some(63) =>
            {
                Some((relay, peer))
            }
            Heard::Dropped(_) => None,
            _ => return Err(format!("data of client {client} becomes something else")),
        };
        let well = match fate {
            Fate::Passes(relay, peer) => passed == Some((*relay, *peer)),
            Fate::Stays => passed.is_none(),
            Fate::May(relay, peer) => passed.is_none_or(|it| it == (*relay, *peer)),
        };
        if !well {
            return Err(format!("data of client {client} must go so: {fate:?}; it goes to {passed:?}"));
        }
        *(if passed.is_some() { &mut self.passed } else { &mut self.stayed }) += 1;
        let worker = self.world.worker_of(client);
        while let Some(from) = self.world.workers[worker].table.take_arrival() {
            let mut said = self.input(Input::ClientArrived { from })?;
            let at = (0..CLIENTS).find(|client| five_tuple(*client) == from).ok_or("nobody arrives")?;
            self.reference.arrived(self.world.now_ms, at, &mut said)?;
            said.nothing_left()?;
        }
        let awaited = self.reference.allocations.iter().any(|it| it.next == Some(client));
        if awaited && matches!(fate, Fate::Passes(..)) {
            return Err(format!("client {client} was heard where it is awaited, and nobody noticed"));
        }
        Ok(())
    }

    fn from_peer(&mut self, client: usize, peer: PeerAddr) -> Result<(), String> {
        match self.reference.at(client) {
            Some(at) => (0..self.reference.allocations[at].legs.len())
                .try_for_each(|leg| self.from_peer_to(at, leg, peer)),
            None => Ok(()),
        }
    }

    /// A peer sends to one relayed address.
    pub(super) fn from_peer_to(&mut self, at: usize, leg: usize, peer: PeerAddr) -> Result<(), String> {
        let allocation = &self.reference.allocations[at];
        if allocation.transit.is_some() {
            return Ok(());
        }
        let (worker, relay) = (allocation.worker, allocation.legs[leg].relay);
        let expected = self.reference.from_peer(self.world.now_ms, at, leg, peer);
        let got = self.world.from_peer(worker, relay, peer, b"yes?").ok();
        let got = got.map(|(to, frame)| (to, framing_of(&frame, peer)));
        let well = match (&expected, &got) {
            (None, None) => true,
            (Some((client, channel)), Some((to, Some(framing)))) => {
                five_tuple(*client) == *to && channel == framing
            }
            _ => false,
        };
        *(if got.is_some() { &mut self.passed } else { &mut self.stayed }) += 1;
        if well {
            Ok(())
        } else {
            Err(format!("data of {peer} for {relay:?} must go to {expected:?}; it goes to {got:?}"))
        }
    }

    /// Every packet that the small world knows, to and from who is there.
    pub(super) fn sweep(&mut self) -> Result<(), String> {
        for peer in (0..PEERS).map(|peer| self.peer(peer)).collect::<Vec<_>>() {
            for at in 0..self.reference.allocations.len() {
                (0..self.reference.allocations[at].legs.len())
                    .try_for_each(|leg| self.from_peer_to(at, leg, peer))?;
            }
        }
        for client in 0..CLIENTS {
            if self.reference.allocations.iter().any(|it| it.next == Some(client)) {
                continue;
            }
            (0..PEERS).try_for_each(|peer| self.send(client, self.peer(peer)))?;
            (0x4000..0x4004).try_for_each(|channel| self.data(client, channel))?;
        }
        Ok(())
    }
}

/// By which channel a message brings `yes?` from `peer`; `None` if it brings something else.
fn framing_of(frame: &[u8], peer: PeerAddr) -> Option<Option<u16>> {
    if frame.first()? & 0xC0 == 0x40 {
        let number = u16::from_be_bytes([*frame.first()?, *frame.get(1)?]);
        return (frame == channel_data(number, b"yes?")).then_some(Some(number));
    }
    let (from, data) = indication::decode_data(frame).ok()?;
    (from == peer && data == b"yes?").then_some(None)
}
