//! Two sides, and how far they have come.

use std::time::Duration;

use crate::ice::Candidate;
use crate::ice::Event;
use crate::ice::Input;
use crate::ice::Output;
use crate::ice::Path;
use crate::ice::Wanted;
use crate::load::engine::clock::protocol_time;
use crate::load::engine::common::Common;
use crate::load::engine::tally::Why;
use crate::load::machine::Ports;
use crate::net::Poll;
use crate::proto::client::Failure;
use crate::proto::types::Transport;

use super::Cause;
use super::side::Side;

/// What a side says to the other as soon as it believes in a connection.
const KNOCK: &[u8] = b"swingbridge: is this the way to you?";
/// How often it says so until it is heard.
const KNOCK_AGAIN_NS: u64 = 200_000_000;

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
    /// What each side believes in.
    paths: [Option<Path>; 2],
    /// Which sides have heard the other.
    heard: [bool; 2],
    knock_ns: u64,
    /// Why it fails, if it does.
    pub(super) cause: Option<Cause>,
}

impl Pair {
    pub(super) const fn new(sides: [Side; 2], began_ns: u64) -> Self {
        let (gathered_ns, paths, heard) = ([None; 2], [None; 2], [false; 2]);
        Self {
            sides,
            standing: Standing::Begun,
            began_ns,
            gathered_ns,
            paths,
            heard,
            knock_ns: 0,
            cause: None,
        }
    }

    /// Both sides gather, and each is told the other's description.
    pub(super) fn begin(&mut self, now_ns: u64) {
        let now = protocol_time(now_ns);
        for side in &mut self.sides {
            if let Some(local) = side.local {
                side.agent.handle_input(now, Input::LocalAddress(local));
            }
            side.agent.handle_input(now, Input::Gather);
        }
        let told = [self.sides[0].agent.description(), self.sides[1].agent.description()];
        self.sides[0].agent.handle_input(now, Input::Remote(&told[1]));
        self.sides[1].agent.handle_input(now, Input::Remote(&told[0]));
    }

    /// Carries out what the agent at `place` wants done. Says whether the other side has something to do now.
    pub(super) fn serve(
        &mut self,
        common: &Common,
        poll: &Poll,
        ports: &mut Ports,
        place: usize,
        now_ns: u64,
    ) -> bool {
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
                Output::Event(event) => self.event(here, now_ns, event),
                Output::Transmit { to, bytes, .. } => self.sides[here].transmit(to, &bytes),
                Output::Open { .. } => self.sides[here].dial(common, poll, ports, place, now_ns),
                Output::Write { bytes, .. } => self.sides[here].write(poll, place, &bytes),
                Output::Shut { .. } => self.sides[here].shut(poll),
            }
        }
        is_other_woken
    }

    /// By what signalling there is.
    fn tell(&mut self, here: usize, now_ns: u64, candidate: Option<&Candidate>) {
        let input = candidate.map_or(Input::EndOfCandidates, Input::RemoteCandidate);
        self.sides[1 - here].agent.handle_input(protocol_time(now_ns), input);
    }

    fn event(&mut self, here: usize, now_ns: u64, event: Event) {
        match event {
            Event::Connected(path) | Event::Switched(path) => {
                self.paths[here] = Some(path);
                self.knock_ns = now_ns;
            }
            Event::Data(data) if *data == *KNOCK => {
                self.heard[here] = true;
                if self.heard == [true; 2] && self.standing == Standing::Begun {
                    self.standing = Standing::Connected { is_counted: false };
                }
            }
            Event::NotGathered { wanted: Wanted::Relayed, why, .. } => {
                let line = self.sides[here].failure.take().map(Why::Line);
                let why = line.unwrap_or(Why::Protocol("Allocate", why));
                self.cause.get_or_insert(Cause::Of(why));
            }
            Event::NotPermitted { why, .. } => {
                self.cause.get_or_insert(Cause::Of(Why::Protocol("CreatePermission", why)));
            }
            Event::Failed(failure) => self.fail(Cause::Ice(failure.word())),
            Event::Closed { .. } => self.sides[here].is_closed = true,
            // A lost relay that mattered is a failure of its own, told next.
            Event::RelayLost { why, .. } => {
                self.cause.get_or_insert(Cause::Of(Why::Protocol("Refresh", why)));
            }
            _ => {}
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
        if now_ns.saturating_sub(self.began_ns) >= patience.as_nanos() as u64 {
            let is_silent = self.gathered_ns.contains(&None);
            let why = Why::Protocol("Allocate", Failure::Timeout);
            return self.fail(if is_silent { Cause::Of(why) } else { Cause::Ice("timeout") });
        }
        if now_ns < self.knock_ns || self.paths.iter().all(Option::is_none) {
            return;
        }
        self.knock_ns = now_ns + KNOCK_AGAIN_NS;
        for (side, path) in self.sides.iter_mut().zip(&self.paths) {
            if path.is_some() {
                side.agent.handle_input(protocol_time(now_ns), Input::Send(KNOCK));
                side.is_woken = true;
            }
        }
    }

    fn fail(&mut self, cause: Cause) {
        if self.standing == Standing::Begun {
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
