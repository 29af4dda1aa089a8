//! A line over a connection: TCP in the clear, under TLS, or behind the hellos of pseudo-TLS.

use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use rustls::ClientConnection;

use crate::net::Channel;
use crate::net::Interest;
use crate::net::Received;
use crate::net::Shaken;
use crate::net::peer::connected;
use crate::net::tcp::reset_when_closed;
use crate::proto::client::ProxyFailure;
use crate::proto::types::Dialect;
use crate::proto::types::Transport;
use crate::proto::types::limits;
use crate::proto::wire::pseudo_tls;
use crate::proto::wire::pseudo_tls::CLIENT_HELLO_LEN;
use crate::proto::wire::pseudo_tls::SERVER_HELLO_LEN;

use super::Failure;
use super::Parcel;
use super::Room;
use super::Taken;
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::outbox::frame_len;
use super::tunnel::Tunnel;

#[derive(Debug)]
pub(super) struct Stream {
    channel: Channel,
    stage: Stage,
    /// What stands before the server; it is gone when the way through it is open.
    tunnel: Option<Box<Tunnel>>,
    dialect: Dialect,
    inbox: Inbox,
    outbox: Outbox,
    /// The socket was full when a hello had to leave.
    blocked: bool,
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    Dialling(Greeting),
    Tunnelling(Greeting),
    Shaking,
    Greeting(Hellos),
    Up,
}

/// What comes before the first message.
#[derive(Debug)]
pub(super) enum Greeting {
    /// Nothing.
    None,
    /// A handshake of TLS.
    Tls(Box<ClientConnection>),
    /// The two hellos of pseudo-TLS, of which this is ours.
    PseudoTls([u8; CLIENT_HELLO_LEN]),
}

/// Two hellos, and how much of them has left and come.
#[derive(Debug)]
struct Hellos {
    ours: [u8; CLIENT_HELLO_LEN],
    said: usize,
    theirs: [u8; SERVER_HELLO_LEN],
    heard: usize,
}

impl Stream {
    /// Of a connection that is being dialled: to the server, or to what stands before `tunnel`.
    pub(super) fn new(
        socket: TcpStream,
        dialect: Dialect,
        tunnel: Option<Tunnel>,
        greeting: Greeting,
    ) -> Self {
        Self {
            channel: Channel::new(socket),
            stage: Stage::Dialling(greeting),
            tunnel: tunnel.map(Box::new),
            dialect,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            blocked: false,
        }
    }

    pub(super) fn interest(&self) -> Interest {
        match self.stage {
            Stage::Dialling(_) => Interest { read: false, write: true },
            Stage::Tunnelling(_) | Stage::Shaking | Stage::Greeting(_) => {
                Interest { read: true, write: self.blocked }
            }
            Stage::Up => Interest { read: true, write: self.unsent() > 0 },
        }
    }

    /// Goes on with connecting. Answers whether it is up.
    pub(super) fn advance(&mut self) -> Result<bool, Failure> {
        if matches!(self.stage, Stage::Dialling(_)) {
            if !connected(self.channel.socket()).map_err(|error| Failure::of(&error))? {
                return Ok(false);
            }
            self.next_stage();
        }
        if let (Stage::Tunnelling(_), Some(tunnel)) = (&self.stage, &mut self.tunnel) {
            let is_open = tunnel.advance(self.channel.socket())?;
            self.blocked = !tunnel.is_said();
            if !is_open {
                return Ok(false);
            }
            self.tunnel = None;
            self.next_stage();
        }
        match &mut self.stage {
            Stage::Dialling(_) | Stage::Tunnelling(_) => Ok(false),
            Stage::Shaking => {
                let shaken = self.channel.shake().map_err(|error| Failure::of_handshake(&error))?;
                self.blocked = shaken == Shaken::WantsWrite;
                Ok(self.up_if(shaken == Shaken::Done))
            }
            Stage::Greeting(hellos) => {
                let done = hellos.exchange(self.channel.socket())?;
                self.blocked = hellos.said < hellos.ours.len();
                Ok(self.up_if(done))
            }
            Stage::Up => Ok(true),
        }
    }

    /// Connected, or through the proxy: what comes next.
    fn next_stage(&mut self) {
        let (Stage::Dialling(greeting) | Stage::Tunnelling(greeting)) =
            std::mem::replace(&mut self.stage, Stage::Up)
        else {
            return;
        };
        if self.tunnel.is_some() {
            self.stage = Stage::Tunnelling(greeting);
            return;
        }
        match greeting {
            Greeting::None => {}
            Greeting::Tls(connection) => {
                self.channel.secure(*connection);
                self.stage = Stage::Shaking;
            }
            Greeting::PseudoTls(ours) => {
                let theirs = [0; SERVER_HELLO_LEN];
                self.stage = Stage::Greeting(Hellos { ours, said: 0, theirs, heard: 0 });
            }
        }
    }

    fn up_if(&mut self, done: bool) -> bool {
        if done {
            self.stage = Stage::Up;
        }
        done
    }

    /// What it is to be still on the way when all patience is over.
    pub(super) const fn stalled(&self) -> Failure {
        match self.stage {
            Stage::Dialling(_) => Failure::NoAnswer,
            Stage::Tunnelling(_) => Failure::Proxy(ProxyFailure::Silent),
            _ => Failure::HandshakeStalled,
        }
    }

    pub(super) fn write(&mut self, parcel: Parcel<'_>) -> Taken {
        self.outbox.push(self.dialect, parcel)
    }

    pub(super) fn unsent(&self) -> usize {
        self.outbox.len() + self.channel.unsent()
    }

    /// Answers whether all has left.
    pub(super) fn flush(&mut self) -> Result<bool, Failure> {
        let dialect = self.dialect;
        while self.unsent() > 0 {
            // A record for each message: so do the clients that are to be feigned.
            let sent = self.channel.send(self.outbox.rest(), |bytes| frame_len(dialect, bytes));
            let sent = sent.map_err(|error| Failure::of(&error))?;
            self.outbox.leave(sent);
            if sent == 0 {
                break;
            }
        }
        Ok(self.unsent() == 0)
    }

    pub(super) fn read(&mut self, room: &mut Room, each: &mut dyn FnMut(Parcel<'_>)) -> Result<(), Failure> {
        for _ in 0..limits::LOAD_READS_MAX {
            let (kept, behind) = self.inbox.lay_out(room);
            let space = behind.len();
            let count = match self.channel.receive(behind).map_err(|error| Failure::of(&error))? {
                Received::Bytes(count) => count,
                Received::Nothing => break,
                Received::End => return Err(Failure::Ended),
            };
            self.inbox.take(self.dialect, room, kept + count, each)?;
            // A socket in the clear is empty then. Records may still wait, of which the poll would not tell.
            if count < space && self.channel.transport() == Transport::Tcp {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.channel.socket().local_addr()
    }

    pub(super) fn leave(mut self) {
        let _ = self.flush();
        self.channel.say_goodbye();
    }

    pub(super) fn vanish(self) {
        reset_when_closed(self.channel.socket());
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Hellos {
    /// Answers whether both are through. Not a byte behind the server's is read.
    fn exchange(&mut self, mut socket: &TcpStream) -> Result<bool, Failure> {
        while self.said < self.ours.len() {
            match socket.write(&self.ours[self.said..]) {
                Ok(count) => self.said += count,
                Err(error) if is_for_later(&error) => return Ok(false),
                Err(error) => return Err(Failure::of(&error)),
            }
        }
        let mut ended = false;
        while self.heard < self.theirs.len() && !ended {
            match socket.read(&mut self.theirs[self.heard..]) {
                Ok(count) => {
                    self.heard += count;
                    ended = count == 0;
                }
                Err(error) if is_for_later(&error) => break,
                Err(error) => return Err(Failure::of(&error)),
            }
        }
        match pseudo_tls::judge_answer(&self.theirs[..self.heard]) {
            pseudo_tls::Hello::Whole => Ok(true),
            pseudo_tls::Hello::Begun if ended => Err(Failure::TurnedAway),
            pseudo_tls::Hello::Begun => Ok(false),
            pseudo_tls::Hello::No => Err(Failure::NotSpoken),
        }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
