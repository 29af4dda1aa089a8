//! `swingbridge testbed serve`: sockets around an [`Edge`], for real devices. One thread, one loop; readers of sockets hand
//! it what came, through a bounded queue.

mod account;
mod board;
mod door;
mod page;
mod sockets;
mod streams;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::control::Clock;
use crate::control::SystemEntropy;
use crate::proto::types::Lifetime;
use crate::proto::types::Secret;
use crate::proto::types::StreamId;
use crate::proto::types::Transport;
use crate::proto::types::limits::TESTBED_QUEUE_MAX;

use super::edge::Edge;
use super::edge::Input;
use super::edge::Listen;
use super::edge::Output;
use super::edge::Setup;
use super::scenario::Scenarios;

pub use self::account::Account;
use self::board::Board;
use self::door::Ask;
use self::sockets::Sockets;
pub use self::streams::Identity;
use self::streams::Streams;

/// What is served, and where.
#[derive(Debug)]
pub struct Plan {
    /// By UDP and TCP; the port behind it too, as the other address that redirects are to.
    pub listen: SocketAddr,
    /// By TLS, with a certificate that nobody else has signed.
    pub tls: Option<SocketAddr>,
    /// That certificate; without one it makes its own.
    pub identity: Option<Identity>,
    /// The page.
    pub http: Option<SocketAddr>,
    /// What clients can choose.
    pub scenarios: Scenarios,
    /// The password of every user name.
    pub password: Secret,
    /// The longest lifetime that is granted, in place of what is usual.
    pub lifetime: Option<Lifetime>,
}

/// Why it does not serve.
#[derive(Debug)]
pub struct Refused {
    /// What could not be had.
    pub what: String,
    /// What the machine said.
    pub why: io::Error,
}

/// Something that came.
#[derive(Debug)]
pub(crate) enum Came {
    Datagram {
        at: SocketAddr,
        from: SocketAddr,
        bytes: Box<[u8]>,
    },
    FromPeer {
        at: SocketAddr,
        from: SocketAddr,
        bytes: Box<[u8]>,
    },
    Accepted {
        stream: StreamId,
        at: SocketAddr,
        from: SocketAddr,
        transport: Transport,
        writer: mpsc::Sender<Box<[u8]>>,
    },
    Bytes {
        stream: StreamId,
        bytes: Box<[u8]>,
    },
    Closed {
        stream: StreamId,
    },
    Asked(Ask),
}

/// A server whose sockets are bound.
#[derive(Debug)]
pub struct Bound {
    edge: Edge<SystemEntropy>,
    clock: Clock,
    sockets: Sockets,
    streams: Streams,
    board: Board,
    queue: mpsc::Receiver<Came>,
    readers: Vec<JoinHandle<()>>,
    /// Where the page is.
    pub http: Option<SocketAddr>,
}

fn refused(what: String) -> impl FnOnce(io::Error) -> Refused {
    |why| Refused { what, why }
}

impl Bound {
    /// Binds everything. Call it inside a runtime.
    ///
    /// # Errors
    /// The address that cannot be had.
    pub async fn new(plan: Plan) -> Result<Self, Refused> {
        let (came, queue) = mpsc::channel(TESTBED_QUEUE_MAX);
        let mut sockets = Sockets::new(came.clone());
        let mut readers = Vec::new();
        let mut listens = Vec::new();
        let other = plan.listen.port().checked_add(1).map(|port| SocketAddr::new(plan.listen.ip(), port));
        for address in [Some(plan.listen), other].into_iter().flatten() {
            sockets.listen(address).map_err(refused(format!("UDP {address}")))?;
            listens.push(Listen { transport: Transport::Udp, address });
            let listener = TcpListener::bind(address).await.map_err(refused(format!("TCP {address}")))?;
            readers.push(streams::accept(listener, None, came.clone()));
            listens.push(Listen { transport: Transport::Tcp, address });
        }
        if let Some(address) = plan.tls {
            let listener = TcpListener::bind(address).await.map_err(refused(format!("TLS {address}")))?;
            let identity = plan.identity.map_or_else(|| Identity::of(address.ip()), Ok);
            let acceptor =
                identity.and_then(Identity::acceptor).map_err(refused(format!("TLS {address}")))?;
            readers.push(streams::accept(listener, Some(acceptor), came.clone()));
            listens.push(Listen { transport: Transport::Tls, address });
        }
        let mut http = None;
        if let Some(address) = plan.http {
            let listener = TcpListener::bind(address).await.map_err(refused(format!("HTTP {address}")))?;
            http = listener.local_addr().ok();
            readers.push(door::open(listener, came.clone()));
        }
        let mut setup = Setup::lab(listens, &[plan.listen.ip()], plan.password);
        if let Some(lifetime) = plan.lifetime {
            (setup.lifetime_default, setup.lifetime_max) = (lifetime, lifetime);
        }
        let edge = Edge::new(setup, plan.scenarios, SystemEntropy);
        let (clock, streams, board) = (Clock::start(), Streams::default(), Board::default());
        Ok(Self { edge, clock, sockets, streams, board, queue, readers, http })
    }

    /// What the ticks of notes are counted from.
    #[must_use]
    pub const fn origin(&self) -> Instant {
        self.clock.origin()
    }

    /// Serves until `stop`. Each note is given to `tell` as a line. Answered back is what is known of each client then.
    pub async fn serve(mut self, stop: impl Future<Output = ()>, mut tell: impl FnMut(&str)) -> Vec<Account> {
        tokio::pin!(stop);
        loop {
            let now = self.clock.now();
            let due = self.edge.poll_timeout().map(|at| at.remaining(now.tick()));
            // Deadlines are of whole milliseconds: a wait that ends a little early is begun again.
            let wait = due.unwrap_or(Duration::from_secs(3_600));
            tokio::select! {
                () = &mut stop => break,
                came = self.queue.recv() => match came {
                    Some(came) => self.take(came),
                    None => break,
                },
                () = tokio::time::sleep(wait) => self.edge.handle_timeout(self.clock.now()),
            }
            self.carry_out(&mut tell);
        }
        self.readers.iter().for_each(JoinHandle::abort);
        self.edge.finish(self.clock.now());
        self.carry_out(&mut tell);
        self.edge.clients().map(|client| Account::of(&client, &self.board)).collect()
    }

    fn take(&mut self, came: Came) {
        let now = self.clock.now();
        let edge = &mut self.edge;
        match came {
            Came::Datagram { at, from, bytes } => {
                edge.handle_input(now, Input::Datagram { at, from, bytes: &bytes });
            }
            Came::FromPeer { at, from, bytes } => {
                edge.handle_input(now, Input::FromPeer { at, from, bytes: &bytes });
            }
            Came::Accepted { stream, at, from, transport, writer } => {
                self.streams.insert(stream, writer);
                edge.handle_input(now, Input::Accepted { stream, at, from, transport });
            }
            Came::Bytes { stream, bytes } => edge.handle_input(now, Input::Bytes { stream, bytes: &bytes }),
            Came::Closed { stream } => {
                self.streams.remove(stream);
                edge.handle_input(now, Input::Closed { stream });
            }
            Came::Asked(ask) => door::answer(ask, now, edge, &self.board),
        }
    }

    fn carry_out(&mut self, tell: &mut impl FnMut(&str)) {
        while let Some(output) = self.edge.poll_output() {
            match output {
                Output::Datagram { at, to, bytes } => self.sockets.send(at, to, &bytes),
                Output::ToPeer { at, to, bytes } => self.sockets.relay(at, to, &bytes),
                Output::Write { stream, bytes } => self.streams.write(stream, bytes),
                Output::Shut { stream } => self.streams.remove(stream),
                Output::Bind { at } => {
                    let bound = self.sockets.bind(at).is_ok();
                    let input = if bound { Input::Bound { at } } else { Input::NotBound { at } };
                    self.edge.handle_input(self.clock.now(), input);
                }
                Output::Unbind { at } => self.sockets.unbind(at),
                Output::Note(note) => {
                    tell(&note.to_string());
                    self.board.keep(note);
                }
            }
        }
    }
}
