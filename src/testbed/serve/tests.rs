//! Sockets on loopback, and the page.

use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::control::Clock;
use crate::control::SystemEntropy;
use crate::proto::client::Client;
use crate::proto::client::Config;
use crate::proto::client::Credential;
use crate::proto::client::Event;
use crate::proto::client::Failure;
use crate::proto::client::Input;
use crate::proto::client::Output;
use crate::proto::client::Proof;
use crate::proto::types::PeerAddr;

use super::*;

const PASSWORD: &[u8] = b"hunter2";
const WITHIN: Duration = Duration::from_secs(20);

struct Served {
    listen: SocketAddr,
    http: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// On a pair of ports that nobody has.
    fn new() -> Self {
        let free = || {
            let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
            socket.local_addr().ok()
        };
        (0..50).find_map(|_| Self::at(free()?)).expect("free ports")
    }

    fn at(listen: SocketAddr) -> Option<Self> {
        let (bound, is_bound) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let http = Some("127.0.0.1:0".parse().unwrap());
                let scenarios = Scenarios::built_in();
                let (tls, identity, lifetime) = (None, None, None);
                let password = Secret::new(PASSWORD);
                let plan = Plan { listen, tls, identity, http, scenarios, password, lifetime };
                match Bound::new(plan).await {
                    Ok(server) => {
                        bound.send(server.http).unwrap();
                        let stop = async { drop(stopped.await) };
                        server.serve(stop, |_| {}).await;
                    }
                    Err(_) => drop(bound),
                }
            });
        });
        let http = is_bound.recv().ok()??;
        Some(Self { listen, http, stop: Some(stop), thread: Some(thread) })
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn clients(&self) -> serde_json::Value {
        let answer = self.ask("GET /clients.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// How a client's messages travel.
enum Way {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

struct Caller {
    client: Client<SystemEntropy>,
    clock: Clock,
    way: Way,
    events: Vec<Event>,
}

impl Caller {
    fn new(name: &str, server: SocketAddr, transport: Transport) -> Self {
        let way = if transport.is_stream() {
            let stream = TcpStream::connect(server).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            Way::Tcp(stream)
        } else {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(server).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            Way::Udp(socket)
        };
        let (username, proof) = (name.as_bytes().into(), Proof::Password(Secret::new(PASSWORD)));
        let config = Config::new(Credential { username, proof, token: None }).over(transport);
        let client = Client::new(config, SystemEntropy);
        Self { client, clock: Clock::start(), way, events: Vec::new() }
    }

    fn input(&mut self, input: Input<'_>) {
        self.client.handle_input(self.clock.now(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match (output, &mut self.way) {
                (Output::Transmit(bytes), Way::Udp(socket)) => drop(socket.send(&bytes)),
                (Output::Transmit(bytes), Way::Tcp(stream)) => drop(stream.write_all(&bytes)),
                (Output::Event(event), _) => self.events.push(event),
            }
        }
    }

    /// Goes on until an event is as `wanted`.
    fn until<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut buffer = [0; 2_048];
        loop {
            if let Some(found) = self.events.iter().find_map(&wanted) {
                return found;
            }
            assert!(begun.elapsed() < WITHIN, "{:?}", self.events);
            let read = match &mut self.way {
                Way::Udp(socket) => socket.recv(&mut buffer),
                Way::Tcp(stream) => stream.read(&mut buffer),
            };
            if let Ok(len @ 1..) = read {
                self.input(Input::Bytes(&buffer[..len]));
            }
            let now = self.clock.now();
            if self.client.poll_timeout().is_some_and(|at| at.is_due(now.tick())) {
                self.client.handle_timeout(now);
                self.drain();
            }
        }
    }

    fn allocated(&mut self) -> SocketAddr {
        self.input(Input::Allocate);
        self.until(|event| match event {
            Event::Allocated(granted) => Some(granted.relayed.socket()),
            _ => None,
        })
    }
}

#[test]
fn data_goes_both_ways_over_udp_and_tcp() {
    let served = Served::new();
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut caller = Caller::new("plain", served.listen, transport);
        let relayed = caller.allocated();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(WITHIN)).unwrap();
        let address = PeerAddr::new(peer.local_addr().unwrap());
        caller.input(Input::Bind(address));
        caller.until(|event| matches!(event, Event::Bound { .. }).then_some(()));
        caller.input(Input::Send { peer: address, data: b"there" });
        let mut buffer = [0; 64];
        let (len, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from), (&b"there"[..], relayed));
        peer.send_to(b"and back", relayed).unwrap();
        let data = caller.until(|event| match event {
            Event::Data { data, .. } => Some(data.clone()),
            _ => None,
        });
        assert_eq!(*data, *b"and back");
    }
}

#[test]
fn a_user_name_chooses_its_fault_and_the_page_tells_its_verdict() {
    let served = Served::new();
    let mut good = Caller::new("plain", served.listen, Transport::Udp);
    let mut bad = Caller::new("quota.alice", served.listen, Transport::Udp);
    good.allocated();
    bad.input(Input::Allocate);
    let why = bad.until(|event| match event {
        Event::NotAllocated(why) => Some(*why),
        _ => None,
    });
    assert_eq!(why, Failure::Refused { code: 486, alternate: None });
    // Against what it has to do: it asks again at once, and is let in.
    bad.allocated();
    let told = served.clients();
    let of = |name: &str| {
        let clients = told["clients"].as_array().unwrap();
        clients.iter().find(|client| client["name"] == name).unwrap().clone()
    };
    assert_eq!((&of("plain")["verdict"], &of("plain")["live"]), (&"nothing yet".into(), &true.into()));
    assert_eq!(
        (&of("quota.alice")["verdict"], &of("quota.alice")["scenario"]),
        (&"failed".into(), &"quota".into())
    );
    let record = of("quota.alice")["record"].to_string();
    assert!(record.contains("allocate gets 486, and is not carried out"), "{record}");
    let page = served.ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(page.contains("<h2>quota.alice</h2>") && page.contains("<b class=failed>"), "{page}");
}

#[test]
fn a_button_befalls_its_client_and_pages_of_others_press_none() {
    let served = Served::new();
    let mut one = Caller::new("one", served.listen, Transport::Udp);
    let mut other = Caller::new("other", served.listen, Transport::Udp);
    one.allocated();
    other.allocated();
    let button = page::buttons().iter().position(|(word, _)| *word == "vanish").unwrap();
    let body = format!("client=one&button={button}");
    let press = |site: &str| {
        let head = format!(
            "POST /press HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        served.ask(&format!("{head}{site}\r\n{body}"))
    };
    assert!(press("Sec-Fetch-Site: cross-site\r\n").starts_with("HTTP/1.1 403"));
    assert!(served.clients()["clients"].as_array().unwrap().iter().all(|client| client["live"] == true));
    assert!(press("Sec-Fetch-Site: same-origin\r\n").starts_with("HTTP/1.1 303"));
    let live: Vec<bool> =
        served.clients()["clients"].as_array().unwrap().iter().map(|client| client["live"] == true).collect();
    assert_eq!(live, [false, true], "one, other");
    one.input(Input::Permit("127.0.0.1".parse().unwrap()));
    one.until(|event| matches!(event, Event::Ended(_)).then_some(()));
}

#[test]
fn what_is_no_message_changes_nothing() {
    let served = Served::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for garbage in [&b""[..], b"\0", &[0xFF; 1_500], b"GET / HTTP/1.1\r\n\r\n"] {
        socket.send_to(garbage, served.listen).unwrap();
        let mut stream = TcpStream::connect(served.listen).unwrap();
        let _ = stream.write_all(garbage);
    }
    Caller::new("plain", served.listen, Transport::Tcp).allocated();
}
