//! Two ICE agents over real sockets, with the program between them.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::time::Duration;
use std::time::Instant;

use swingbridge::client::Credential;
use swingbridge::client::Proof;
use swingbridge::ice::Agent;
use swingbridge::ice::Candidate;
use swingbridge::ice::Clock;
use swingbridge::ice::Config;
use swingbridge::ice::Description;
use swingbridge::ice::Event;
use swingbridge::ice::Input;
use swingbridge::ice::Kind;
use swingbridge::ice::Output;
use swingbridge::ice::Policy;
use swingbridge::ice::Role;
use swingbridge::ice::TurnServer;
use swingbridge::proto::types::Entropy;
use swingbridge::proto::types::Now;
use swingbridge::proto::types::Secret;
use swingbridge::proto::types::Transport;

use super::PATIENCE;
use super::served::RELAY_PORTS;
use super::served::Served;

struct System;

impl Entropy for System {
    fn fill_secret(&mut self, out: &mut [u8]) {
        getrandom::fill(out).expect("the system has a generator");
    }
}

/// One side, as a program would own it.
struct Owner {
    agent: Agent,
    start: Instant,
    socket: UdpSocket,
    local: SocketAddr,
    server: SocketAddr,
    line: Option<TcpStream>,
    /// What the other side has to be told.
    told: Vec<String>,
    received: Vec<Vec<u8>>,
    is_closed: bool,
}

impl Owner {
    fn new(start: Instant, server: SocketAddr, role: Role, policy: Policy, transport: Transport) -> Self {
        let credential = Credential {
            username: b"alice"[..].into(),
            proof: Proof::Password(Secret::new(&b"password"[..])),
            token: None,
        };
        let servers = vec![TurnServer::new(server, transport, credential)];
        let config = Config { policy, servers, ..Config::new(role) };
        let socket = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is free");
            if !RELAY_PORTS.contains(&socket.local_addr().expect("bound").port()) {
                break socket;
            }
        };
        socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        let local = socket.local_addr().expect("bound");
        let agent = Agent::new(config, Clock::starting_at(start), &mut System);
        let (told, received) = (Vec::new(), Vec::new());
        let mut owner =
            Self { agent, start, socket, local, server, line: None, told, received, is_closed: false };
        owner.input(Input::LocalAddress(local));
        owner.input(Input::Gather);
        owner
    }

    fn now(&self) -> Now {
        Now { since_start: self.start.elapsed(), unix: 1_800_000_000 }
    }

    fn input(&mut self, input: Input<'_>) {
        self.agent.handle_input(self.now(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                Output::Transmit { to, bytes, .. } => {
                    self.socket.send_to(&bytes, to).expect("loopback takes it");
                }
                Output::Open { server } => {
                    let line = TcpStream::connect(self.server).expect("it listens");
                    line.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
                    self.line = Some(line);
                    self.agent.handle_input(self.now(), Input::Opened { server });
                }
                Output::Write { bytes, .. } => {
                    self.line.as_mut().expect("it is open").write_all(&bytes).expect("it takes it");
                }
                Output::Shut { .. } => self.line = None,
                Output::Event(Event::LocalCandidate(candidate)) => self.told.push(candidate.to_string()),
                Output::Event(Event::GatheringDone) => self.told.push(String::new()),
                Output::Event(Event::Data(data)) => self.received.push(data.into()),
                Output::Event(Event::Closed { confirmed }) => {
                    assert!(confirmed);
                    self.is_closed = true;
                }
                Output::Event(Event::Failed(why)) => panic!("{}", why.word()),
                Output::Event(_) => {}
            }
        }
    }

    /// One look round.
    fn look(&mut self) {
        let mut buffer = [0; 2_048];
        if let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
            self.input(Input::Datagram { local: self.local, from, bytes: &buffer[..len] });
        }
        match self.line.as_mut().map(|line| line.read(&mut buffer)) {
            Some(Ok(len @ 1..)) => self.input(Input::Bytes { server: 0, bytes: &buffer[..len] }),
            Some(Err(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Some(_) => {
                self.line = None;
                self.input(Input::Disconnected { server: 0 });
            }
            None => {}
        }
        let now = self.now();
        if self.agent.poll_timeout().is_some_and(|at| at.is_due(now.tick())) {
            self.agent.handle_timeout(now);
            self.drain();
        }
    }
}

fn until(pair: &mut [Owner; 2], what: &str, done: impl Fn(&[Owner; 2]) -> bool) {
    let start = Instant::now();
    while !done(pair) {
        assert!(
            start.elapsed() < PATIENCE,
            "in vain: {what}: {pair:?}",
            pair = pair.each_ref().map(|o| &o.agent)
        );
        for at in 0..2 {
            pair[at].look();
            for line in std::mem::take(&mut pair[at].told) {
                match line.parse::<Candidate>() {
                    Ok(candidate) => pair[1 - at].input(Input::RemoteCandidate(&candidate)),
                    Err(_) => pair[1 - at].input(Input::EndOfCandidates),
                }
            }
        }
    }
}

#[test]
fn agents_connect_by_each_way_and_leave_nothing_behind() {
    let served = Served::start("");
    for (policy, transport, expected) in [
        (Policy::RelayOnly, Transport::Udp, Kind::Relayed),
        (Policy::RelayOnly, Transport::Tcp, Kind::Relayed),
        (Policy::All, Transport::Udp, Kind::Host),
    ] {
        let start = Instant::now();
        let make = |role| Owner::new(start, served.address, role, policy, transport);
        let mut pair = [Role::Controlling, Role::Controlled].map(make);
        for at in 0..2 {
            let text = pair[1 - at].agent.description().to_string();
            let description: Description = text.parse().expect("it reads what it writes");
            pair[at].input(Input::Remote(&description));
        }
        until(&mut pair, "a connection", |pair| {
            pair.iter().all(|side| side.agent.path().is_some_and(|path| path.local == expected))
        });
        for (at, side) in pair.iter_mut().enumerate() {
            side.input(Input::Send(format!("from {at}").as_bytes()));
        }
        until(&mut pair, "data", |pair| pair.iter().all(|side| !side.received.is_empty()));
        for (at, side) in pair.iter_mut().enumerate() {
            assert_eq!(side.received[0], format!("from {}", 1 - at).into_bytes());
            side.input(Input::Close);
        }
        until(&mut pair, "the end", |pair| pair.iter().all(|side| side.is_closed));
    }
}
