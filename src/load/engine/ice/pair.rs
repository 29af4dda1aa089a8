//! Two sides, and how far they have come.

use std::time::Duration;

use crate::ice::Candidate;
use crate::ice::Event;
use crate::ice::Input;
use crate::ice::Output;
use crate::ice::Path;
use crate::ice::Wanted;
use crate::load::engine::clock::protocol_time;
use crate::load::engine::tally::Why;
use crate::load::machine::Ports;
use crate::place::Verdict as Ending;
use crate::proto::client::Failure;
use crate::proto::types::Transport;

use super::Cause;
use super::side::Side;
use super::world::World;

/// What a side says to the other as soon as it believes in a connection.
const KNOCK: &[u8] = b"swingbridge: is this the way to you?";
/// How often it says so until it is heard.
const KNOCK_AGAIN_NS: u64 = 200_000_000;
/// How long it has for that, however short a pair may settle.
const LAST_WORD_NS: u64 = 5 * KNOCK_AGAIN_NS;

/// How far a pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// On its way.
    Begun,
    /// Data came through in both directions.
    Connected { is_counted: bool },
    /// It will not connect.
    Failed { is_counted: bool },
}

impl Standing {
    pub(super) const fn is_settled(self) -> bool {
        matches!(self, Self::Connected { is_counted: true } | Self::Failed { is_counted: true })
    }
}

/// Two sides.
pub(super) struct Pair {
    pub(super) sides: [Side; 2],
    pub(super) standing: Standing,
    pub(super) began_ns: u64,
    /// When each side had all its candidates.
    pub(super) gathered_ns: [Option<u64>; 2],
    /// When data had come through in both directions for the first time.
    pub(super) connected_ns: Option<u64>,
    /// Between NATs: when it is judged.
    between: Option<Between>,
    /// What each side believes in.
    paths: [Option<Path>; 2],
    /// Which sides have heard the other.
    heard: [bool; 2],
    knock_ns: u64,
    /// Why it fails, if it does.
    pub(super) cause: Option<Cause>,
}

/// What decides when a pair between NATs is judged: one that is relayed may yet become direct.
#[derive(Clone, Copy, Debug)]
struct Between {
    /// How long it may, from its last change on.
    settling_ns: u64,
    /// When a side took another path for the last time.
    changed_ns: u64,
    /// How often; what the sides say carries it, so that nothing counts that came by an earlier path.
    changes: u32,
}

impl Pair {
    /// `settling`: between NATs, how long a relayed pair may yet become direct.
    pub(super) fn new(sides: [Side; 2], began_ns: u64, settling: Option<Duration>) -> Self {
        let between = settling.map(|settling| Between {
            settling_ns: u64::try_from(settling.as_nanos()).unwrap_or(u64::MAX),
            changed_ns: began_ns,
            changes: 0,
        });
        Self {
            sides,
            standing: Standing::Begun,
            began_ns,
            gathered_ns: [None; 2],
            connected_ns: None,
            between,
            paths: [None; 2],
            heard: [false; 2],
            knock_ns: 0,
            cause: None,
        }
    }

    /// Both sides gather, and each is told the other's description.
    pub(super) fn begin(&mut self, now_ns: u64) {
        let now = protocol_time(now_ns);
        for side in &mut self.sides {
            if let Some(local) = side.local() {
                side.agent.handle_input(now, Input::LocalAddress(local));
            }
            side.agent.handle_input(now, Input::Gather);
        }
        let told = [self.sides[0].agent.description(), self.sides[1].agent.description()];
        self.sides[0].agent.handle_input(now, Input::Remote(&told[1]));
        self.sides[1].agent.handle_input(now, Input::Remote(&told[0]));
    }

    /// Carries out what the agent at `place` wants done. Says whether the other side has something to do now.
    pub(super) fn serve(&mut self, world: &World<'_>, ports: &mut Ports, place: usize, now_ns: u64) -> bool {
        let (here, mut is_other_woken) = (place % 2, false);
        while let Some(output) = self.sides[here].agent.poll_output() {
            match output {
                Output::Event(Event::LocalCandidate(candidate)) => {
                    self.tell(here, now_ns, Some(&candidate));
                    is_other_woken = true;
                }
                Output::Event(Event::GatheringDone) => {
                    self.gathered_ns[here] = Some(now_ns);
                    self.tell(here, now_ns, None);
                    is_other_woken = true;
                }
                Output::Event(event) => self.event(world, here, now_ns, event),
                Output::Transmit { to, bytes, .. } => {
                    self.sides[here].transmit(world, place, now_ns, to, &bytes);
                }
                Output::Open { server } => self.sides[here].dial(world, ports, place, server, now_ns),
                Output::Write { server, bytes } => self.sides[here].write(world, place, server, &bytes),
                Output::Shut { server } => self.sides[here].shut(world, server),
            }
        }
        is_other_woken
    }

    /// By what signalling there is.
    fn tell(&mut self, here: usize, now_ns: u64, candidate: Option<&Candidate>) {
        let input = candidate.map_or(Input::EndOfCandidates, Input::RemoteCandidate);
        self.sides[1 - here].agent.handle_input(protocol_time(now_ns), input);
    }

    fn event(&mut self, world: &World<'_>, here: usize, now_ns: u64, event: Event) {
        match event {
            Event::Connected(path) | Event::Switched(path) => {
                self.paths[here] = Some(path);
                self.knock_ns = now_ns;
                if let Some(between) = &mut self.between {
                    (between.changed_ns, self.heard) = (now_ns, [false; 2]);
                    between.changes += 1;
                }
            }
            Event::Data(data) if *data == *self.word() => {
                self.heard[here] = true;
                if self.heard == [true; 2] {
                    self.connected_ns.get_or_insert(now_ns);
                    self.look(now_ns);
                }
            }
            // What a firewall stops is no failure of the server's.
            Event::NotGathered { server, wanted: Wanted::Relayed, why, .. }
                if self.sides[here].is_let_out(world, server) =>
            {
                let line = self.sides[here].take_failure(server).map(Why::Line);
                let why = line.unwrap_or(Why::Protocol("Allocate", why));
                self.cause.get_or_insert(Cause::Of(why));
            }
            // Between NATs the addresses inside are no matter of the server's.
            Event::NotPermitted { peer, why, .. } if self.between.is_none() || peer.is_loopback() => {
                self.cause.get_or_insert(Cause::Of(Why::Protocol("CreatePermission", why)));
            }
            Event::Failed(failure) => self.fail(Cause::Ice(failure.word())),
            Event::Closed { .. } => {
                self.sides[here].is_closed = true;
                if self.between.is_some() {
                    self.sides[here].free(world);
                }
            }
            // A lost relay that mattered is a failure of its own, told next.
            Event::RelayLost { why, .. } => {
                self.cause.get_or_insert(Cause::Of(Why::Protocol("Refresh", why)));
            }
            _ => {}
        }
    }

    /// What one side says to the other.
    fn word(&self) -> Vec<u8> {
        let mut word = KNOCK.to_vec();
        word.extend(self.between.iter().flat_map(|between| between.changes.to_be_bytes()));
        word
    }

    /// Whether it has come to its end.
    fn look(&mut self, now_ns: u64) {
        let Some(_) = self.connected_ns else { return };
        let is_over = |between: Between| {
            now_ns.saturating_sub(between.changed_ns) >= between.settling_ns.max(LAST_WORD_NS)
        };
        let is_direct = self.paths.iter().all(|path| path.is_some_and(|path| !path.is_relayed()));
        let is_heard = self.heard == [true; 2];
        match self.between {
            _ if self.standing != Standing::Begun => {}
            None => self.standing = Standing::Connected { is_counted: false },
            Some(between) if is_heard && (is_direct || is_over(between)) => {
                self.standing = Standing::Connected { is_counted: false };
            }
            Some(between) if is_over(between) => self.fail(Cause::Ice("nothing comes by the last path")),
            Some(_) => {}
        }
    }

    /// Knocks at the other side while it has not been heard, and gives up when that took too long.
    pub(super) fn knock(&mut self, now_ns: u64, patience: Duration) {
        if self.standing != Standing::Begun {
            return;
        }
        if self.sides.iter().any(|side| side.is_taken) {
            return self.fail(Cause::Of(Why::TAKEN));
        }
        self.look(now_ns);
        let is_late = now_ns.saturating_sub(self.began_ns) >= patience.as_nanos() as u64;
        if is_late && self.connected_ns.is_none() {
            let is_silent = self.between.is_none() && self.gathered_ns.contains(&None);
            let why = Why::Protocol("Allocate", Failure::Timeout);
            return self.fail(if is_silent { Cause::Of(why) } else { Cause::Ice("timeout") });
        }
        let is_unheard = self.heard != [true; 2];
        if now_ns < self.knock_ns || !is_unheard || self.paths.iter().all(Option::is_none) {
            return;
        }
        self.knock_ns = now_ns + KNOCK_AGAIN_NS;
        let word = self.word();
        for (side, path) in self.sides.iter_mut().zip(&self.paths) {
            if path.is_some() {
                side.agent.handle_input(protocol_time(now_ns), Input::Send(&word));
                side.is_woken = true;
            }
        }
    }

    /// Has both agents give back what they have.
    pub(super) fn close(&mut self, now_ns: u64) {
        self.sides.iter_mut().for_each(|side| side.close(now_ns));
    }

    /// Whether there is nothing left to be done for it.
    pub(super) fn is_gone(&self) -> bool {
        self.standing.is_settled() && self.sides.iter().all(|side| side.is_closed)
    }

    /// How it ended, if it connected. A relay on either way is a relay, and the least direct way to one counts.
    pub(super) fn ending(&self, world: &World<'_>) -> Ending {
        let relay = |server: usize| world.ways.get(server).map(|way| way.way.relay);
        let routes = [0, 1].map(|here: usize| {
            let path = self.paths[here]?;
            let own = path.relay.and_then(|(server, _)| relay(server));
            let others = self.sides[1 - here].agent.server_of(path.peer).and_then(relay);
            own.max(others)
        });
        routes.into_iter().flatten().max().map_or(Ending::Direct, Ending::Relayed)
    }

    fn fail(&mut self, cause: Cause) {
        if self.standing == Standing::Begun {
            let troubles = self.sides.iter_mut().filter_map(|side| side.outlet.as_mut()?.trouble.take());
            if let Some(trouble) = { troubles }.next() {
                self.cause.get_or_insert(Cause::Of(Why::socket(&trouble)));
            }
            self.cause.get_or_insert(cause);
            self.standing = Standing::Failed { is_counted: false };
        }
    }

    /// The kinds of both sides' candidates, and what carries each to its relay: `relay/udp-relay/udp`.
    pub(super) fn kinds(&self) -> String {
        let kind = |path: Option<Path>| match path {
            Some(Path { relay: Some((_, transport)), local, .. }) => {
                format!("{}/{}", local.word(), word(transport))
            }
            Some(path) => path.local.word().to_owned(),
            None => "unknown".to_owned(),
        };
        format!("{}-{}", kind(self.paths[0]), kind(self.paths[1]))
    }
}

const fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
        Transport::Dtls => "dtls",
    }
}
