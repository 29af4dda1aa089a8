//! Calls come up, a few at a time, and leave again.
//!
//! ```text
//!   client:  Binding ─▶ Allocate ─▶ (all ends have addresses) ─▶ ChannelBind or CreatePermission ─▶ Ready
//!   call:    Coming ──────────────────────────────────────────────▶ Live ─▶ Leaving ─▶ gone
//!            └ an end fails ─▶ the other leaves                      └ an end loses its allocation ─▶ Lost
//! ```

use std::io;
use std::os::fd::AsFd as _;

use crate::load::payload::Way;
use crate::load::plan::Framing;
use crate::load::plan::PeerPlace;
use crate::net::Token;
use crate::net::TrafficSocket;
use crate::proto::types::StreamId;

use super::call::Call;
use super::call::Stage;
use super::client::Client;
use super::client::News;
use super::client::Wire;
use super::clock::tick_at_or_after;
use super::dialect::Turn;
use super::order::Answer;
use super::order::Held;
use super::tally::Why;
use super::thread::Due;
use super::thread::Thread;

/// Receive and send buffer of a client's socket, as wanted: it costs nothing while it is empty.
const CLIENT_BUFFER: usize = 1 << 20;
/// Calls that begin in one turn of the thread.
const BEGUN_MAX: usize = 256;
/// Calls that are begun anew at the most because of their port, where fewer calls are wanted; else as many as those.
const REPLACED_MAX: usize = 32;
/// Calls that leave at once.
const PARTING_MAX: usize = 256;

/// How many calls there are, and shall be.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// Calls in which packets flow.
    pub(super) live: usize,
    /// Calls that come up.
    pub(super) coming: usize,
    /// Calls whose ends leave.
    pub(super) parting: usize,
    /// Calls that are to begin.
    pub(super) to_begin: usize,
    /// Calls that may come up at once.
    pub(super) at_once: usize,
    /// Calls that may yet be begun in the place of such as came from a port that the server took for somebody else's.
    pub(super) replaceable: usize,
    /// The order that is owed an answer.
    pub(super) owed: Option<u32>,
}

impl Thread {
    /// Has so many calls in being, in time.
    pub(super) fn begin_hold(&mut self, serial: u32, calls: usize, at_once: usize) {
        let all: Vec<(StreamId, Stage)> = {
            let ids = self.calls.ids();
            ids.into_iter().filter_map(|id| Some((id, self.calls.get(id)?.stage))).collect()
        };
        self.leaving.extend(all.iter().filter(|(_, stage)| *stage == Stage::Lost).map(|(id, _)| *id));
        let have = self.hold.live + self.hold.coming;
        if have > calls {
            let live = all.iter().rev().filter(|(_, stage)| *stage == Stage::Live).map(|(id, _)| *id);
            self.leaving.extend(live.take(have - calls));
        }
        self.hold.to_begin = calls.saturating_sub(have);
        self.hold.replaceable = self.hold.to_begin.max(REPLACED_MAX);
        self.hold.at_once = at_once.max(1);
        self.hold.owed = Some(serial);
    }

    /// Begins and ends what may be, and tells the rig when that is done.
    pub(super) fn work(&mut self) {
        self.churn_on();
        for _ in 0..BEGUN_MAX {
            if self.hold.to_begin == 0 || self.hold.coming >= self.hold.at_once {
                break;
            }
            self.hold.to_begin -= 1;
            self.begin_call();
        }
        while self.hold.parting < PARTING_MAX
            && let Some(call) = self.leaving.pop_front()
        {
            self.part(call);
        }
        let hold = &self.hold;
        let is_done = hold.to_begin + hold.coming + hold.parting == 0 && self.leaving.is_empty();
        if is_done
            && self.churn.is_none()
            && let Some(serial) = self.hold.owed.take()
        {
            let held = Held { serial, tally: std::mem::take(&mut self.tally), calls: self.hold.live };
            self.tell(Answer::Held(Box::new(held)));
        }
    }

    /// Begins one call.
    pub(super) fn begin_call(&mut self) {
        let number = self.begun.wrapping_mul(self.common.threads).wrapping_add(self.number);
        self.begun = self.begun.wrapping_add(1);
        let id = self.calls.insert(Call::new(number));
        self.by_number.insert(number, id);
        self.hold.coming += 1;
        let ends: &[Way] =
            if self.common.peer == PeerPlace::Relay { &[Way::Up, Way::Down] } else { &[Way::Up] };
        for end in ends {
            self.tally.setup.asked += 1;
            if let Err(error) = self.open_client(id, number, *end) {
                self.tally.note(Why::socket(&error));
                self.fail(id);
                return;
            }
        }
    }

    fn open_client(&mut self, call: StreamId, number: u32, end: Way) -> io::Result<()> {
        let is_serverless = self.common.generator.lab.is_serverless;
        let peers = self.peers.as_ref().filter(|_| is_serverless);
        let server = peers.map_or(self.common.server.address, |peers| peers.socket.local());
        let now_ns = self.common.clock.now_ns();
        let now = self.common.clock.instant(now_ns);
        let wire = match &self.common.dialler {
            None => {
                let open = |local| TrafficSocket::open(local, Some(server), CLIENT_BUFFER);
                let mut socket = self.ports.open(open)?;
                if self.common.generator.lab.takes_runs {
                    socket.take_runs()?;
                }
                Wire::Datagrams(socket)
            }
            Some(dialler) => Wire::Line(Box::new(self.ports.open(|local| dialler.dial(Some(local), now))?)),
        };
        let turn = Turn::new(self.common.server.carrier, self.common.client(number, end));
        let id = self.clients.insert(Client::new(call, end, wire, turn));
        if let Some(call) = self.calls.get_mut(call) {
            *(if end == Way::Up { &mut call.near } else { &mut call.far }) = Some(id);
        }
        let Some(client) = self.clients.get_mut(id) else { return Ok(()) };
        match &client.wire {
            Wire::Datagrams(socket) if is_serverless => {
                self.poll.add(socket, Token::Stream(id))?;
                client.begin_serverless();
                self.spread(id, vec![News::Ready]);
                return Ok(());
            }
            Wire::Datagrams(socket) => {
                self.poll.add(socket, Token::Stream(id))?;
                client.begin(now_ns);
            }
            Wire::Line(line) => self.poll.add(line.as_fd(), Token::Stream(id))?,
            Wire::Gone(_) => {}
        }
        self.watch(id);
        self.arm(id);
        Ok(())
    }

    /// Has the poll watch a client's line for what that waits for.
    pub(super) fn watch(&mut self, id: StreamId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Wire::Line(line) = &client.wire else { return };
        let interest = line.interest();
        if interest != client.interest && self.poll.change(line.as_fd(), Token::Stream(id), interest).is_ok()
        {
            client.interest = interest;
        }
    }

    /// Has the wheel wake a client when it has something to do.
    pub(super) fn arm(&mut self, id: StreamId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let of_line = match &client.wire {
            Wire::Line(line) => line.due().map(|due| self.common.clock.ns_of(due)),
            _ => None,
        };
        let Some(due_ns) = client.due_ns().into_iter().chain(of_line).min() else { return };
        let tick = tick_at_or_after(due_ns);
        if client.wake.is_none_or(|wake| tick < wake) {
            client.wake = Some(self.wheel.insert(tick, Due::Control(id)));
        }
    }

    /// A client's time has come, or had come before something else happened.
    pub(super) fn on_client_time(&mut self, id: StreamId, tick: u64) {
        let now_ns = self.common.clock.now_ns();
        let Some(client) = self.clients.get_mut(id).filter(|client| client.wake == Some(tick)) else {
            return;
        };
        client.wake = None;
        let is_line = matches!(client.wire, Wire::Line(_));
        let news = client.on_time(now_ns, &mut self.tally);
        self.spread(id, news);
        if is_line {
            self.receive_line(id);
        }
        self.arm(id);
    }

    /// Messages of the server that were found among packets.
    pub(super) fn hear_control(&mut self) {
        let mut control = std::mem::take(&mut self.control);
        for (id, at_ns, message) in control.drain(..) {
            let now_ns = self.common.clock.now_ns();
            let Some(client) = self.clients.get_mut(id) else { continue };
            let news = client.message(now_ns, at_ns, &message, &mut self.tally);
            self.watch(id);
            self.arm(id);
            self.spread(id, news);
        }
        self.control = control;
    }

    /// Has a client's call know what became of it.
    pub(super) fn spread(&mut self, id: StreamId, news: Vec<News>) {
        for each in news {
            let Some(call) = self.clients.get(id).map(|client| client.call) else { return };
            match each {
                News::Allocated => self.introduce(call),
                News::Ready => self.on_ready(call),
                News::Failed(why) => {
                    let is_of_port = why.is_of_port();
                    self.tally.note(why);
                    if self.fail(call) && is_of_port && self.hold.replaceable > 0 {
                        self.hold.replaceable -= 1;
                        self.hold.to_begin += 1;
                    }
                }
                News::Lost(why) => {
                    self.tally.note(why);
                    if let Some(call) = self.calls.get_mut(call).filter(|call| call.stage == Stage::Live) {
                        call.stage = Stage::Lost;
                        self.hold.live -= 1;
                    }
                }
                News::Released(is_confirmed) => self.on_released(id, call, is_confirmed),
            }
        }
    }

    /// Tells each end of a call its peer, once all of them have addresses.
    fn introduce(&mut self, id: StreamId) {
        let Some(call) = self.calls.get(id).filter(|call| call.stage == Stage::Coming) else { return };
        let (Some(near), far) = (call.near, call.far) else { return };
        let relayed = |end: StreamId| self.clients.get(end).and_then(|client| client.relayed);
        let meetings = match (self.common.peer, far) {
            (PeerPlace::Relay, Some(far)) => {
                let (Some(of_near), Some(of_far)) = (relayed(near), relayed(far)) else { return };
                vec![(near, of_far), (far, of_near)]
            }
            (PeerPlace::Remote(peer), _) => vec![(near, peer)],
            (PeerPlace::Local(_), _) => {
                let local = self.peers.as_ref().map(|peers| peers.socket.local());
                local.map(|local| (near, local)).into_iter().collect()
            }
            (PeerPlace::Relay, None) => return,
        };
        let by_channel = self.common.framing == Framing::Channel;
        for (end, peer) in meetings {
            let now_ns = self.common.clock.now_ns();
            let Some(client) = self.clients.get_mut(end) else { continue };
            let news = client.meet(now_ns, peer, by_channel, &mut self.tally);
            self.arm(end);
            self.spread(end, news);
        }
    }

    fn on_ready(&mut self, id: StreamId) {
        let Some(call) = self.calls.get(id).filter(|call| call.stage == Stage::Coming) else { return };
        let is_ready = |end: Option<StreamId>| {
            end.is_none_or(|end| {
                self.clients.get(end).is_some_and(|client| client.stage == super::client::Stage::Ready)
            })
        };
        if !is_ready(call.near) || !is_ready(call.far) {
            return;
        }
        self.hold.coming -= 1;
        if self.churn.is_some() {
            return self.part(id);
        }
        let (traffic, peer, seed) = (self.common.traffic, self.common.peer, self.common.seed());
        let now_ns = self.common.clock.now_ns();
        self.hold.live += 1;
        let Some(call) = self.calls.get_mut(id) else { return };
        for lane in call.go_live(traffic, peer, seed, now_ns) {
            if let Some(due_ns) = call.due_ns(lane) {
                self.wheel.insert(tick_at_or_after(due_ns), Due::Media(id, lane));
            }
        }
    }

    /// A call comes to nothing: what it has is given back. Answers whether it was still to come up.
    fn fail(&mut self, id: StreamId) -> bool {
        let is_coming = self.calls.get(id).is_some_and(|call| call.stage == Stage::Coming);
        if is_coming {
            self.hold.coming -= 1;
            self.part(id);
        }
        is_coming
    }

    /// Has all ends of a call leave.
    pub(super) fn part(&mut self, id: StreamId) {
        let Some(call) = self.calls.get_mut(id).filter(|call| call.stage != Stage::Leaving) else { return };
        if call.stage == Stage::Live {
            self.hold.live -= 1;
        }
        call.stage = Stage::Leaving;
        self.hold.parting += 1;
        let ends = [call.near, call.far];
        for end in ends.into_iter().flatten() {
            let now_ns = self.common.clock.now_ns();
            let Some(client) = self.clients.get_mut(end) else { continue };
            let news = client.leave(now_ns, &mut self.tally);
            self.arm(end);
            self.spread(end, news);
        }
        self.bury(id);
    }

    fn on_released(&mut self, id: StreamId, call: StreamId, is_confirmed: bool) {
        let client = self.clients.remove(id);
        let had = client.as_ref().is_some_and(|client| client.path.is_some());
        if let Some(Wire::Line(line)) = client.map(|client| client.wire) {
            line.leave();
        }
        if !is_confirmed {
            self.tally.failed("Refresh timeout");
        } else if had && self.churn.is_some() {
            self.tally.setup.cycles += 1;
        }
        if let Some(call) = self.calls.get_mut(call) {
            call.near = call.near.filter(|near| *near != id);
            call.far = call.far.filter(|far| *far != id);
        }
        self.bury(call);
    }

    /// Forgets a call whose ends have left.
    fn bury(&mut self, id: StreamId) {
        let is_over = |call: &Call| call.stage == Stage::Leaving && call.near.is_none() && call.far.is_none();
        if self.calls.get(id).is_some_and(is_over)
            && let Some(call) = self.calls.remove(id)
        {
            self.by_number.remove(&call.number);
            self.hold.parting -= 1;
        }
    }
}
