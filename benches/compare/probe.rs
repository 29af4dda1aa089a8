//! A client whose packets can be looked at one by one.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use swingbridge::net::Batch;
use swingbridge::net::Departing;
use swingbridge::net::Heading;
use swingbridge::net::RelaySocket;
use swingbridge::net::Sender;
use swingbridge::proto::client::Client;
use swingbridge::proto::client::Config;
use swingbridge::proto::client::Event;
use swingbridge::proto::client::Failure;
use swingbridge::proto::client::Input;
use swingbridge::proto::client::Output;
use swingbridge::proto::types::ChannelNumber;
use swingbridge::proto::types::Entropy;
use swingbridge::proto::types::IpHeader;
use swingbridge::proto::types::Now;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::RelayAddr;

use super::server::credential;

/// How long an answer or a packet may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// How long a client waits before it looks whether to ask again.
const ASKED_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// A client.
pub(crate) struct Probe {
    pub(crate) socket: RelaySocket,
    pub(crate) server: SocketAddr,
    client: Client<Dice>,
    began: Instant,
}

/// Transaction ids.
struct Dice;

impl Entropy for Dice {
    fn fill_secret(&mut self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system has randomness once it runs programs");
    }
}

/// A socket at `ip` that tells what the IP headers say.
pub(crate) fn socket(ip: IpAddr) -> Result<RelaySocket, String> {
    let any = SocketAddr::new(ip, 0);
    let opened = RelaySocket::open(RelayAddr::new(any));
    let mut socket = opened.map_err(|error| format!("no socket can be had: {error}"))?;
    socket.make_ready_to_receive();
    socket.make_ready_to_send();
    Ok(socket)
}

impl Probe {
    /// A client at `ip` of `server`, whose Send indications carry DONT-FRAGMENT.
    pub(crate) fn open(ip: IpAddr, server: SocketAddr) -> Result<Self, String> {
        let config = Config { dont_fragment: true, ..Config::new(credential()) };
        let client = Client::new(config, Dice);
        Ok(Self { socket: socket(ip)?, server, client, began: Instant::now() })
    }

    fn now(&self) -> Now {
        Now { since_start: self.began.elapsed(), unix: 0 }
    }

    /// The relayed address.
    pub(crate) fn allocate(&mut self) -> Result<SocketAddr, String> {
        self.ask(Input::Allocate, |event| match event {
            Event::Allocated(made) => Some(Ok(made.relayed.socket())),
            Event::NotAllocated(why) => Some(Err(format!("no allocation: {why:?}"))),
            _ => None,
        })
    }

    pub(crate) fn bind(&mut self, peer: PeerAddr) -> Result<ChannelNumber, String> {
        self.ask(Input::Bind(peer), |event| match event {
            Event::Bound { channel, .. } => Some(Ok(*channel)),
            Event::NotBound { why, .. } => Some(Err(format!("no channel: {why:?}"))),
            _ => None,
        })
    }

    pub(crate) fn permit(&mut self, peer: IpAddr) -> Result<(), String> {
        self.ask(Input::Permit(peer), |event| match event {
            Event::Permitted { .. } => Some(Ok(())),
            Event::NotPermitted { why, .. } => Some(Err(format!("no permission: {why:?}"))),
            _ => None,
        })
    }

    /// A private peer is refused.
    pub(crate) fn is_denied(&mut self) -> Result<(), String> {
        let private = Ipv4Addr::new(192, 168, 1, 1).into();
        self.ask(Input::Permit(private), |event| match event {
            Event::NotPermitted { why: Failure::Refused { code: 403, .. }, .. } => Some(Ok(())),
            Event::NotPermitted { why, .. } => Some(Err(format!("a private peer is refused by {why:?}"))),
            Event::Permitted { .. } => Some(Err("a private peer is permitted".to_owned())),
            _ => None,
        })
    }

    /// Gives the allocation back.
    pub(crate) fn release(&mut self) -> Result<(), String> {
        self.ask(Input::Release, |event| matches!(event, Event::Ended(_)).then_some(Ok(())))
    }

    /// Sends to a peer that has a permission and no channel: by a Send indication.
    pub(crate) fn indicate(&mut self, peer: PeerAddr, data: &[u8]) {
        let now = self.now();
        self.client.handle_input(now, Input::Send { peer, data });
        while let Some(output) = self.client.poll_output() {
            if let Output::Transmit(message) = output {
                send(&self.socket, self.server, &message, IpHeader::default());
            }
        }
    }

    /// Asks, and waits until `read` makes something of an event.
    fn ask<T>(
        &mut self,
        input: Input<'_>,
        mut read: impl FnMut(&Event) -> Option<Result<T, String>>,
    ) -> Result<T, String> {
        let mut batch = Batch::new(4);
        let (now, until) = (self.now(), Instant::now() + 3 * PATIENCE);
        self.client.handle_input(now, input);
        while Instant::now() < until {
            while let Some(output) = self.client.poll_output() {
                match output {
                    Output::Transmit(message) => {
                        send(&self.socket, self.server, &message, IpHeader::default())
                    }
                    Output::Event(event) => {
                        if let Some(found) = read(&event) {
                            return found;
                        }
                    }
                }
            }
            let mut waits = [PollFd::new(&self.socket, PollFlags::IN)];
            // Whatever it says, what has come is looked at.
            let _ = poll(&mut waits, Some(&ASKED_AGAIN));
            batch.clear();
            let now = self.now();
            if let Ok(arrived) = batch.receive(&self.socket, 4) {
                for place in arrived.places {
                    self.client.handle_input(now, Input::Message(batch.datagram(place)));
                }
            }
            self.client.handle_timeout(now);
        }
        Err("the server does not answer".to_owned())
    }
}

/// Sends one datagram with this header.
pub(crate) fn send(from: &RelaySocket, to: SocketAddr, bytes: &[u8], header: IpHeader) {
    let heading = Heading { header, ..Heading::to(to) };
    let departing = Departing::new(bytes, &heading);
    // What does not leave does not arrive, as will be told.
    Sender::new(1).send(from, std::iter::once(departing), |_, _| {});
}

/// Sends a packet, and answers the header with which it comes to `at`.
pub(crate) fn carried(
    from: &RelaySocket,
    to: SocketAddr,
    bytes: &[u8],
    header: IpHeader,
    at: &RelaySocket,
) -> Result<IpHeader, String> {
    send(from, to, bytes, header);
    let mut batch = Batch::new(1);
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        batch.clear();
        if let Ok(arrived) = batch.receive(at, 1)
            && let Some(place) = arrived.places.last()
        {
            return Ok(batch.meta(place).header);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Err("a packet was not relayed".to_owned())
}

/// Datagrams that come to `at` until none has come for a while.
pub(crate) fn count(at: &RelaySocket) -> usize {
    let mut batch = Batch::new(16);
    let (mut count, mut until) = (0, Instant::now() + PATIENCE / 6);
    while Instant::now() < until {
        batch.clear();
        match batch.receive(at, 16) {
            Ok(arrived) if !arrived.places.is_empty() => {
                count += arrived.places.len();
                until = Instant::now() + PATIENCE / 6;
            }
            _ => thread::sleep(Duration::from_millis(2)),
        }
    }
    count
}
