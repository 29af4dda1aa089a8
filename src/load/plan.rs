//! What a run is asked to do.

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::proto::client::Credential;
use crate::proto::client::HttpProxy;

use super::nats::Nats;
use super::outcome::Objective;

/// Everything a run is asked to do. Made once, never changed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whom to load: one server, or the two of [`Mode::Compare`].
    pub servers: Vec<Server>,
    /// Which loads, and in which order.
    pub mode: Mode,
    /// What each call sends.
    pub traffic: Traffic,
    /// Where the other end of each call is.
    pub peer: PeerPlace,
    /// What a client wraps its packets in.
    pub framing: Framing,
    /// What must hold; empty: nothing is judged.
    pub objective: Objective,
    /// How long a load runs before it is measured.
    pub warm_up: Duration,
    /// How this process goes about it.
    pub generator: Generator,
    /// What stands before the agents of [`Mode::Ice`]; `None`: nothing.
    pub nats: Option<Nats>,
}

/// A server under load, and how its clients get in.
#[derive(Clone, Debug)]
pub struct Server {
    /// As the user wrote it, such as `turn:turn.example.net?transport=tcp`. Names it in reports.
    pub uri: String,
    /// The name for the certificate, and for reports.
    pub host: String,
    /// Where it listens: what its name was resolved to.
    pub address: SocketAddr,
    /// What carries the clients' messages.
    pub carrier: Carrier,
    /// Who the clients say they are.
    pub who: Who,
    /// Whose certificates are believed, over TLS and DTLS.
    pub trust: Trust,
    /// Where to read what the server itself spends.
    pub watch: Option<Watch>,
    /// What its clients' connections go through.
    pub proxy: Option<Proxy>,
}

impl Server {
    /// Where its clients' packets go first: to the proxy, if there is one.
    #[must_use]
    pub fn first_hop(&self) -> SocketAddr {
        self.proxy.as_ref().map_or(self.address, |proxy| proxy.address)
    }
}

/// An HTTP proxy between the clients and the server.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// As the user wrote it.
    pub url: HttpProxy,
    /// What its name was resolved to.
    pub address: SocketAddr,
}

/// What carries a client's messages to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// Datagrams.
    Udp,
    /// A plain connection.
    Tcp,
    /// TLS.
    Tls,
    /// DTLS, in builds with the feature `dtls`.
    Dtls,
    /// The old dialect over datagrams ([MS-TURN]).
    LegacyUdp,
    /// The old dialect behind pseudo-TLS.
    LegacyTcp,
}

impl Carrier {
    /// Whether messages go one behind the other in a stream of bytes.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls | Self::LegacyTcp)
    }

    /// Whether clients speak the old dialect.
    #[must_use]
    pub const fn is_legacy(self) -> bool {
        matches!(self, Self::LegacyUdp | Self::LegacyTcp)
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
            Self::LegacyUdp => "legacy-udp",
            Self::LegacyTcp => "legacy-tcp",
        })
    }
}

/// Who the clients of a server say they are.
#[derive(Clone, Debug)]
pub enum Who {
    /// All the same.
    One(Credential),
    /// Each client the next one, over and over, so that a quota for each user is not in the way. Never empty.
    Many(Vec<Credential>),
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that this machine trusts.
    System,
    /// The authorities in this PEM file.
    Authority(PathBuf),
    /// Anybody's: for a laboratory.
    Anyone,
}

/// Where to read what the server itself spends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// A process of this machine.
    Process(u32),
    /// The `/metrics` of a Swingbridge.
    Admin(SocketAddr),
}

/// Which loads, and in which order. A load is a number of calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// One load for a time.
    Soak {
        /// Calls.
        calls: u32,
        /// For how long it is measured.
        length: Duration,
    },
    /// More and more, until the objective breaks.
    Ramp {
        /// Calls to begin with.
        from: u32,
        /// Calls more each time.
        step: u32,
        /// Calls at the most.
        to: u32,
        /// For how long each load is measured.
        hold: Duration,
    },
    /// The largest load that holds the objective, by bisection.
    Capacity {
        /// Calls to begin with.
        from: u32,
        /// Calls at the most.
        to: u32,
        /// For how long each load is measured.
        hold: Duration,
        /// How near the answer shall be, as a part of it: 0.02 is 2 %.
        precision: f64,
    },
    /// Allocate, permissions, channel, Refresh 0, over and over.
    Churn {
        /// Cycles that are under way at once.
        at_once: u32,
        /// Cycles begun each second; `None`: as many as it takes.
        rate: Option<f64>,
        /// For how long.
        length: Duration,
    },
    /// All clients at once; again after each loss of them all.
    Storm {
        /// Calls.
        calls: u32,
        /// How often all of them come again.
        rounds: u32,
        /// How long media flows between two rounds.
        hold: Duration,
    },
    /// Two servers in turn, the same load.
    Compare {
        /// Calls.
        calls: u32,
        /// For how long each server is measured, each time.
        hold: Duration,
        /// How often each server's turn comes.
        rounds: u32,
    },
    /// Pairs of ICE agents that find each other through the server.
    Ice {
        /// Pairs.
        pairs: u32,
        /// Pairs that are begun each second.
        rate: f64,
        /// Whether only relayed candidates are offered.
        relay_only: bool,
        /// How long a pair may take.
        patience: Duration,
    },
}

/// What each call sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// When, and how large.
    pub profile: Profile,
    /// Which ends send.
    pub direction: Direction,
}

/// When packets leave, and how large they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Profile {
    /// 50 packets a second of 160–172 bytes: a voice.
    Audio,
    /// Frames in bursts of packets of 1,200 bytes: a camera.
    Video,
    /// A large burst now and then, little between: a shared screen.
    Screen,
    /// A voice and a camera.
    Mixed,
    /// Evenly.
    Even {
        /// Packets a second, above 0.
        rate: f64,
        /// Bytes each, from [`super::plan::PAYLOAD_MIN`] on.
        size: u16,
        /// Packets that leave together, at least 1.
        burst: u16,
    },
}

/// The least payload: header of RTP, sequence number, time stamps.
pub const PAYLOAD_MIN: u16 = 56;

/// Which ends of a call send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    Both,
    /// The client, to its peer.
    Up,
    /// The peer, to the client.
    Down,
}

/// Where the other end of each call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerPlace {
    /// A second allocation at the same server: works behind any NAT and under any peer policy that lets relays talk.
    Relay,
    /// In this process, at this address of this machine; `None`: the one that the route to the server has.
    Local(Option<IpAddr>),
    /// `swingbridge load peer` on another machine, which sends back what comes.
    Remote(SocketAddr),
}

/// What a client wraps its packets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// ChannelData. In the old dialect nothing, by Set Active Destination.
    Channel,
    /// Send and Data indications.
    Indication,
}

/// How this process goes about it.
#[derive(Clone, Debug)]
pub struct Generator {
    /// Threads that send and receive; `0`: as many as there are cores, less one.
    pub threads: usize,
    /// Addresses of this machine that the clients come from, in turn; empty: as the kernel chooses.
    pub sources: Vec<IpAddr>,
    /// Whether bursts leave as one super-packet (UDP_SEGMENT) where that can be.
    pub segments: bool,
    /// What the randomness begins with; names a run again.
    pub seed: u64,
    /// What only a comparison on one machine asks for.
    pub lab: Lab,
}

/// What only a comparison on one machine asks for, where microseconds count. The default is none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lab {
    /// Into how many parts a tick is cut, among which what is due in it is spread. From 2 on a latency counts from when a packet
    /// left, and not from when it was due: its place in the tick, and the generator's own awakening, are then not in it.
    pub parts: u16,
    /// Clients and their peers speak without a server, so that a run shows what the generator itself costs. Only with
    /// [`PeerPlace::Local`] and [`Carrier::LegacyUdp`], whose packets have no frame.
    pub is_serverless: bool,
    /// Clients and peers of this process take runs whole (UDP_GRO). Else the kernel cuts up, at each of their sockets and in the
    /// server's call, what on a network it cuts nowhere, or in the card.
    pub takes_runs: bool,
}
