//! The task that has the client in it: it gives it what comes and what is wanted, and carries out what it says.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;

use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::proto::client::Allocated;
use crate::proto::client::Client;
use crate::proto::client::End;
use crate::proto::client::Event;
use crate::proto::client::Failure;
use crate::proto::client::Input;
use crate::proto::client::Output;
use crate::proto::types::PeerAddr;
use crate::proto::types::limits;

use super::Error;
use super::machine::Clock;
use super::machine::Random;
use super::wire::Wire;

pub(super) type Done = oneshot::Sender<Result<(), Error>>;

/// What a socket wants of its task.
#[derive(Debug)]
pub(super) enum Command {
    Permit { peer: IpAddr, done: Done },
    Bind { peer: SocketAddr, done: Done },
    Send { peer: SocketAddr, data: Box<[u8]> },
    Close { done: Done },
}

/// What a socket can see without asking its task.
#[derive(Debug, Default)]
pub(super) struct Shared {
    granted: Mutex<Granted>,
    pub(super) end: OnceLock<End>,
}

/// What the server granted, and has not taken back.
#[derive(Debug, Default)]
pub(super) struct Granted {
    pub(super) permitted: BTreeSet<IpAddr>,
    pub(super) bound: BTreeSet<SocketAddr>,
}

impl Shared {
    pub(super) fn granted(&self) -> MutexGuard<'_, Granted> {
        // Each change is one insertion or removal, so a panic leaves nothing half done.
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) client: Client<Random>,
    pub(super) clock: Clock,
    pub(super) wire: Wire,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) received: mpsc::Sender<(SocketAddr, Box<[u8]>)>,
    pub(super) allocated: Option<oneshot::Sender<Result<Allocated, Error>>>,
    pub(super) shared: Arc<Shared>,
    pub(super) waiting: Waiting,
    /// The stream has ended. There is nowhere to move to from here, so that is the end of everything.
    pub(super) cut: bool,
}

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    permits: Vec<(IpAddr, Done)>,
    binds: Vec<(SocketAddr, Done)>,
    closing: Vec<Done>,
}

impl Driver {
    /// Asks for an allocation, and serves it until it is over.
    pub(super) async fn run(mut self) {
        let mut buffer = vec![0; limits::DATAGRAM_MAX];
        // As long as somebody holds the socket.
        let mut wanted = true;
        self.input(Input::Allocate);
        while self.carry_out() {
            let due = self.client.poll_timeout().map(|deadline| self.clock.instant(deadline));
            let has_room = self.wire.has_room();
            tokio::select! {
                command = self.commands.recv(), if wanted && has_room => match command {
                    Some(command) => self.obey(command),
                    None => {
                        wanted = false;
                        self.input(Input::Release);
                    }
                },
                turned = self.wire.turn(&mut buffer) => self.heard(turned, &buffer),
                () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                    self.client.handle_timeout(self.clock.now());
                }
            }
        }
        self.wire.finish().await;
    }

    fn input(&mut self, input: Input<'_>) {
        self.client.handle_input(self.clock.now(), input);
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Permit { peer, done } => {
                if self.shared.granted().permitted.contains(&peer) {
                    return tell(done, Ok(()));
                }
                self.waiting.permits.push((peer, done));
                self.input(Input::Permit(peer));
            }
            Command::Bind { peer, done } => {
                if self.shared.granted().bound.contains(&peer) {
                    return tell(done, Ok(()));
                }
                self.waiting.binds.push((peer, done));
                self.input(Input::Bind(PeerAddr::new(peer)));
            }
            Command::Send { peer, data } => {
                self.input(Input::Send { peer: PeerAddr::new(peer), data: &data });
            }
            Command::Close { done } => {
                self.waiting.closing.push(done);
                self.input(Input::Release);
            }
        }
    }

    fn heard(&mut self, turned: io::Result<usize>, buffer: &[u8]) {
        match (&self.wire, turned) {
            (Wire::Datagrams { .. }, Ok(len)) => self.input(Input::Message(&buffer[..len])),
            // The network says that something did not arrive: it is sent again, or given up, in time.
            (Wire::Datagrams { .. }, Err(_)) => {}
            (Wire::Stream { .. }, Ok(0) | Err(_)) => {
                self.cut = true;
                self.input(Input::Disconnected);
            }
            (Wire::Stream { .. }, Ok(len)) => self.input(Input::Bytes(&buffer[..len])),
        }
    }

    /// Does what the client says. Answers whether there is anything left to be done.
    fn carry_out(&mut self) -> bool {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Transmit(message) => self.wire.push(message),
                Output::Event(event) => {
                    if let Some(end) = self.note(event) {
                        self.over(end);
                        return false;
                    }
                }
            }
        }
        if self.cut {
            self.over(End::Lost(Failure::Disconnected));
        }
        !self.cut
    }

    /// Passes on what happened. Answers how the allocation ended, if it did.
    fn note(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Allocated(made) => {
                let asked = self.allocated.take();
                // Whoever asked may have gone: then the socket is not wanted either.
                asked.into_iter().for_each(|asked| drop(asked.send(Ok(made.clone()))));
            }
            Event::NotAllocated(why) => {
                let asked = self.allocated.take();
                asked.into_iter().for_each(|asked| drop(asked.send(Err(Error::Failed(why)))));
                return Some(End::Lost(why));
            }
            Event::Permitted { peer } => {
                self.shared.granted().permitted.insert(peer);
                answer(&mut self.waiting.permits, &peer, &Ok(()));
            }
            Event::NotPermitted { peer, why } => {
                self.shared.granted().permitted.remove(&peer);
                answer(&mut self.waiting.permits, &peer, &Err(why));
            }
            Event::Bound { peer, channel: _ } => {
                self.shared.granted().bound.insert(peer.socket());
                answer(&mut self.waiting.binds, &peer.socket(), &Ok(()));
            }
            Event::NotBound { peer, why } => {
                self.shared.granted().bound.remove(&peer.socket());
                answer(&mut self.waiting.binds, &peer.socket(), &Err(why));
            }
            // As a UDP socket does, it loses what nobody takes.
            Event::Data { peer, data } => drop(self.received.try_send((peer.socket(), data))),
            Event::NotSent { .. } | Event::Moved => {}
            // Of allocations for connections, and of the old dialect: neither is asked for here.
            Event::Connected { .. }
            | Event::NotConnected { .. }
            | Event::Attempted { .. }
            | Event::Destination { .. } => {}
            Event::Broken => self.cut = true,
            Event::Ended(end) => return Some(end),
        }
        None
    }

    fn over(&mut self, end: End) {
        // It ends once.
        let _ = self.shared.end.set(end);
        for done in self.waiting.closing.drain(..) {
            let is_released = end == End::Released;
            tell(done, if is_released { Ok(()) } else { Err(Error::Over(Some(end))) });
        }
        let permits = self.waiting.permits.drain(..).map(|(_, done)| done);
        let binds = self.waiting.binds.drain(..).map(|(_, done)| done);
        permits.chain(binds).for_each(|done| tell(done, Err(Error::Over(Some(end)))));
    }
}

/// Answers those who wait for `what`.
fn answer<T: PartialEq>(waiting: &mut Vec<(T, Done)>, what: &T, result: &Result<(), Failure>) {
    for (_, done) in waiting.extract_if(.., |(each, _)| each == what) {
        tell(done, result.map_err(Error::Failed));
    }
}

/// Whoever asked may have stopped waiting.
fn tell(done: Done, result: Result<(), Error>) {
    let _ = done.send(result);
}
