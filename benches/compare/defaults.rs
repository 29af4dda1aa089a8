//! Proves, in the run that measures, that what is measured is what is shipped: the fields of IP headers are carried, the peer
//! policy judges, the counters count. A server with these off would be faster, and another.

use std::io::Read as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use swingbridge::net::Batch;
use swingbridge::net::Departing;
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
use swingbridge::proto::wire::channel_data;

use super::server::Running;
use super::server::credential;

/// How long an answer or a packet may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Sent with it, and to be found behind the relay: EF with ECT(1).
const UP: IpHeader = IpHeader { hop_limit: Some(77), traffic_class: 0xB9, dont_fragment: false };
/// AF41 with ECT(0).
const DOWN: IpHeader = IpHeader { hop_limit: Some(33), traffic_class: 0x8A, dont_fragment: false };

/// Proves it of a server of ours. Answers what was proved.
///
/// # Errors
/// What is not as shipped.
pub(crate) fn prove(server: &Running) -> Result<Vec<String>, String> {
    let admin = server.admin.ok_or("only ours has defaults of ours")?;
    let mut probe = Probe::open(server.address)?;
    let before = counter(admin, "swingbridge_packets_relayed_total")?;
    let relayed = probe.allocate()?;
    let peer = socket()?;
    let channel = probe.bind(PeerAddr::new(peer.bound().socket()))?;
    probe.is_denied()?;
    let mut up = channel_data::header(channel, 4).to_vec();
    up.extend(*b"ping");
    let heard = carried(&probe.socket, probe.server, &up, UP, &peer)?;
    if (heard.hop_limit, heard.traffic_class) != (Some(76), UP.traffic_class) {
        return Err(format!("of {UP:?} a peer hears {heard:?}"));
    }
    let heard = carried(&peer, relayed, b"pong", DOWN, &probe.socket)?;
    if (heard.hop_limit, heard.traffic_class) != (Some(32), DOWN.traffic_class) {
        return Err(format!("of {DOWN:?} a client hears {heard:?}"));
    }
    // Workers tell their counts now and then.
    let until = Instant::now() + PATIENCE;
    while counter(admin, "swingbridge_packets_relayed_total")? < before + 2 {
        if Instant::now() > until {
            return Err("packets were relayed and not counted".to_owned());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(vec![
        "TTL one less, DSCP and ECN as they came, both ways".to_owned(),
        "a private peer gets 403".to_owned(),
        "packets are counted".to_owned(),
        "the file names addresses, user, path, and what a laboratory must allow, and nothing else".to_owned(),
    ])
}

/// A client whose packets can be looked at.
struct Probe {
    socket: RelaySocket,
    server: SocketAddr,
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

fn socket() -> Result<RelaySocket, String> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    RelaySocket::open(RelayAddr::new(any)).map_err(|error| format!("no socket can be had: {error}"))
}

impl Probe {
    fn open(server: SocketAddr) -> Result<Self, String> {
        let client = Client::new(Config::new(credential()), Dice);
        Ok(Self { socket: socket()?, server, client, began: Instant::now() })
    }

    fn now(&self) -> Now {
        Now { since_start: self.began.elapsed(), unix: 0 }
    }

    fn allocate(&mut self) -> Result<SocketAddr, String> {
        self.ask(Input::Allocate, |event| match event {
            Event::Allocated(made) => Some(Ok(made.relayed.socket())),
            Event::NotAllocated(why) => Some(Err(format!("no allocation: {why:?}"))),
            _ => None,
        })
    }

    fn bind(&mut self, peer: PeerAddr) -> Result<ChannelNumber, String> {
        self.ask(Input::Bind(peer), |event| match event {
            Event::Bound { channel, .. } => Some(Ok(*channel)),
            Event::NotBound { why, .. } => Some(Err(format!("no channel: {why:?}"))),
            _ => None,
        })
    }

    fn is_denied(&mut self) -> Result<(), String> {
        let private = Ipv4Addr::new(192, 168, 1, 1).into();
        self.ask(Input::Permit(private), |event| match event {
            Event::NotPermitted { why: Failure::Refused { code: 403, .. }, .. } => Some(Ok(())),
            Event::NotPermitted { why, .. } => Some(Err(format!("a private peer is refused by {why:?}"))),
            Event::Permitted { .. } => Some(Err("a private peer is permitted".to_owned())),
            _ => None,
        })
    }

    /// Asks, and waits until `read` makes something of an event.
    fn ask<T>(
        &mut self,
        input: Input<'_>,
        mut read: impl FnMut(&Event) -> Option<Result<T, String>>,
    ) -> Result<T, String> {
        let mut batch = Batch::new(4);
        let now = self.now();
        self.client.handle_input(now, input);
        while self.began.elapsed() < 3 * PATIENCE {
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
            thread::sleep(Duration::from_millis(2));
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

fn send(from: &RelaySocket, to: SocketAddr, bytes: &[u8], header: IpHeader) {
    let departing = Departing { bytes, to, source: None, header };
    // What does not leave does not arrive, as will be told.
    Sender::new(1).send(from, std::iter::once(departing), |_, _| {});
}

/// Sends a packet, and answers the header with which it comes to `at`.
fn carried(
    from: &RelaySocket,
    to: SocketAddr,
    bytes: &[u8],
    header: IpHeader,
    at: &RelaySocket,
) -> Result<IpHeader, String> {
    let mut batch = Batch::new(1);
    send(from, to, bytes, header);
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

/// The sum of a counter of `/metrics`.
fn counter(admin: SocketAddr, name: &str) -> Result<u64, String> {
    let text = page(admin).map_err(|error| format!("/metrics cannot be read: {error}"))?;
    let lines = text.lines().filter(|line| line.starts_with(name));
    Ok(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>() as u64)
}

fn page(admin: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: compare\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
