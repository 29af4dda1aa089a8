//! One side of a call: the agent, the ways to its servers, and what it sends and gets as media.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::ice::Agent;
use crate::ice::Clock;
use crate::ice::Config;
use crate::ice::Event;
use crate::ice::Policy;
use crate::ice::Role;
use crate::ice::TurnServer;
use crate::proto::client::Credential;
use crate::proto::client::HttpConnect;
use crate::proto::client::Proof;
use crate::proto::client::ProxyLogin;
use crate::proto::types::Secret;
use crate::proto::types::Transport;
use crate::testbed::Relay;

use super::clock::Micros;
use super::places::PORT;
use super::places::PORT_TLS;
use super::places::SERVER;
use super::tcp::Number;
use super::tunnel::Tunnel;
use crate::proto::types::Dice;

/// How a client reaches the server: all of these, as a library does that is given every URI of a server and a proxy. The
/// place in this list is that in the agent's configuration.
pub(super) const WAYS: [Relay; 4] = [Relay::Udp, Relay::Tcp, Relay::Tls, Relay::Proxy];

/// The port that a client's agent has its socket at.
const SOCKET_PORT: u16 = 50_000;
/// The first port that its connections come from.
const DIAL_PORT: u16 = 51_000;

/// One side.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) agent: Agent,
    pub(super) local: SocketAddr,
    /// Its ways to servers over TCP, by the server's place.
    pub(super) lines: BTreeMap<usize, Line>,
    dialed: u16,
    /// Who it is to the proxy.
    pub(super) login: Option<ProxyLogin>,
    /// By which way it got which relayed address.
    pub(super) relayed: BTreeMap<SocketAddr, Relay>,
    pub(super) connected: Option<Micros>,
    /// When it last took another path.
    pub(super) switched: Micros,
    pub(super) has_failed: bool,
    pub(super) is_closed: bool,
    pub(super) events: Vec<(Micros, Event)>,
    /// So many of them were looked at for relayed candidates.
    pub(super) seen_candidates: usize,
}

/// What lies on a connection of a client.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) connection: Number,
    /// The tunnel through the proxy, until it is open.
    pub(super) proxy: Option<HttpConnect>,
    pub(super) tls: Option<Tunnel>,
}

/// Where a server is and what carries messages there.
pub(super) const fn server(way: Relay) -> (SocketAddr, Transport) {
    let (port, transport) = match way {
        Relay::Udp => (PORT, Transport::Udp),
        Relay::Tcp => (PORT, Transport::Tcp),
        Relay::Tls | Relay::Proxy => (PORT_TLS, Transport::Tls),
    };
    (SocketAddr::new(std::net::IpAddr::V4(SERVER), port), transport)
}

impl Caller {
    pub(super) fn new(
        role: Role,
        policy: Policy,
        user: &str,
        password: &Secret,
        clock: Clock,
        host: std::net::IpAddr,
        dice: &mut Dice,
    ) -> Self {
        let credential = Credential {
            username: user.as_bytes().into(),
            proof: Proof::Password(password.clone()),
            token: None,
        };
        let servers = WAYS.map(|way| {
            let (address, transport) = server(way);
            TurnServer::new(address, transport, credential.clone())
        });
        let config = Config { policy, servers: servers.into(), ..Config::new(role) };
        Self {
            agent: Agent::new(config, clock, dice),
            local: SocketAddr::new(host, SOCKET_PORT),
            lines: BTreeMap::new(),
            dialed: 0,
            login: None,
            relayed: BTreeMap::new(),
            connected: None,
            switched: 0,
            has_failed: false,
            is_closed: false,
            events: Vec::new(),
            seen_candidates: 0,
        }
    }

    /// Where its next connection comes from.
    pub(super) const fn next_local(&mut self) -> SocketAddr {
        self.dialed += 1;
        SocketAddr::new(self.local.ip(), DIAL_PORT + self.dialed)
    }
}

impl Line {
    pub(super) fn new(connection: Number, way: Relay, login: Option<&ProxyLogin>) -> Self {
        let (to, transport) = server(way);
        let proxy = if way == Relay::Proxy { HttpConnect::new(&to.to_string(), login) } else { None };
        let tls = (transport == Transport::Tls).then(|| Tunnel::new(true));
        Self { connection, proxy, tls }
    }
}
