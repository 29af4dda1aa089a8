//! The whole server in the network of the calling thread, and calls by way of it, made with the client of the library.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

use swingbridge::proto::client::Allocated;
use swingbridge::proto::client::Client;
use swingbridge::proto::client::Config;
use swingbridge::proto::client::Credential;
use swingbridge::proto::client::Event;
use swingbridge::proto::client::Families;
use swingbridge::proto::client::Input;
use swingbridge::proto::client::Output;
use swingbridge::proto::client::Proof;
use swingbridge::proto::types::Entropy;
use swingbridge::proto::types::Now;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::Secret;

use crate::frame::channel_data;
use crate::lab::Host;
use crate::wire::received;
use crate::wire::socket;
use crate::world::address;

/// Nothing here takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const ADMIN: &str = "127.0.0.1:9478";
const CONFIG: &str = r#"
[listen]
udp = ["192.0.2.1:3478", "[2001:db8:a::1]:3478"]
stream = []
[auth]
mobility = true
users = { alice = "a password of alice's", bob = "a password of bob's" }
[peers]
default = "none"
allow = ["203.0.113.5", "2001:db8:b::5", "203.0.113.1", "2001:db8:b::1"]
"#;

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// A server that runs, until it is dropped.
pub(crate) struct Served {
    pub(crate) process: Child,
    folder: PathBuf,
}

/// What `[relay]` begins with on this tier, at both interfaces.
pub(crate) fn relay(path: &str) -> String {
    format!("path = \"{path}\"\nkernel_interfaces = [\"r0\", \"r1\"]")
}

impl Served {
    /// A server whose `[relay]` holds `relay` too, and whose file ends with `more`; or its exit code and what it said.
    pub(crate) fn start(relay: &str, more: &str) -> Result<Self, (Option<i32>, String)> {
        Self::begin(Command::new(env!("CARGO_BIN_EXE_swingbridge")), relay, more)
    }

    fn begin(command: Command, relay: &str, more: &str) -> Result<Self, (Option<i32>, String)> {
        let number = NUMBER.fetch_add(1, Relaxed);
        let folder = std::env::temp_dir().join(format!("swingbridge-kernel-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder of its own");
        let mut served = Self { process: Self::spawn(command, &folder, relay, more), folder };
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = served.process.try_wait().expect("it is a child") {
                return Err((status.code(), served.said()));
            }
            if TcpStream::connect(ADMIN).is_ok() && served.said().contains("serving") {
                return Ok(served);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it neither serves nor ends: {}", served.said());
    }

    /// As [`Self::start`]; it must serve.
    pub(crate) fn on(path: &str, more: &str) -> Self {
        Self::start(&relay(path), more).unwrap_or_else(|(code, said)| panic!("{path}: {code:?}: {said}"))
    }

    /// As nobody with these capabilities; or its exit code and what it said.
    pub(crate) fn with_capabilities(path: &str, words: &str) -> Result<Self, (Option<i32>, String)> {
        let sets = ["inh", "ambient"].map(|set| format!("--{set}-caps=-all,{words}"));
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(sets);
        // The program is where nobody may not look.
        Self::begin(command, &relay(path), "")
    }

    fn spawn(mut command: Command, folder: &std::path::Path, relay: &str, more: &str) -> Child {
        write(folder, relay, more, "203.0.113.66");
        let output = |name: &str| fs::File::create(folder.join(name)).expect("a file");
        if command.get_program() == "setpriv" {
            let program = folder.join("swingbridge");
            fs::copy(env!("CARGO_BIN_EXE_swingbridge"), &program).expect("it is copied");
            command.arg(program);
        }
        command
            .args(["serve", "--config"])
            .arg(folder.join("swingbridge.toml"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(output("out"))
            .stderr(output("err"))
            .spawn()
            .expect("the program is built")
    }

    /// Has it read a file that differs in denying `peer`.
    pub(crate) fn reload_denying(&self, relay: &str, peer: &str) {
        let applied = "swingbridge_reloads_total{result=\"applied\"}";
        let before = self.metric(applied);
        write(&self.folder, relay, "", peer);
        self.signal("-HUP");
        self.until("the reload", || self.metric(applied) > before);
    }

    pub(crate) fn signal(&self, signal: &str) {
        crate::lab::run("kill", &format!("{signal} {}", self.process.id()));
    }

    /// All that it wrote.
    pub(crate) fn said(&self) -> String {
        let read = |name| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        read("out") + &read("err")
    }

    /// The sum over all workers of what the page shows under a name that begins so.
    pub(crate) fn metric(&self, begins: &str) -> u64 {
        let mut stream = TcpStream::connect(ADMIN).expect("the door is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time above 0");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
            .expect("it is sent");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("an answer");
        let (begins, wanted) = begins.split_once('{').unwrap_or((begins, ""));
        let wanted = wanted.trim_end_matches('}');
        let fits = |line: &&str| {
            let rest = line.strip_prefix(begins).filter(|rest| rest.starts_with(['{', ' ']));
            rest.is_some_and(|rest| rest.contains(wanted))
        };
        let values =
            page.lines().filter(fits).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    }

    /// Packets that the kernel relayed, to peers and to clients.
    pub(crate) fn in_kernel(&self) -> [u64; 2] {
        ["to_peer", "to_client"].map(|direction| {
            self.metric(&format!("swingbridge_kernel_packets_relayed_total{{direction=\"{direction}\"}}"))
        })
    }

    /// Packets that came to its sockets.
    pub(crate) fn in_user_space(&self) -> u64 {
        self.metric("swingbridge_packets_received_total")
    }

    pub(crate) fn until(&self, what: &str, is: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is() {
            assert!(Instant::now() < until, "{what} does not come: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Tells it to leave, and answers its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.signal("-TERM");
        self.process.wait().expect("it is a child").code()
    }
}

fn write(folder: &std::path::Path, relay: &str, more: &str, denied: &str) {
    let addresses = "addresses = [\"203.0.113.1\", \"2001:db8:b::1\"]\nports = \"50000-50099\"\nworkers = 2";
    let text = format!("[relay]\n{addresses}\n{relay}\n{CONFIG}deny = [\"{denied}\"]\n{more}");
    fs::write(folder.join("swingbridge.toml"), text).expect("it is written");
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Each call has a sequence of its own.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Entropy for Dice {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// A client with an allocation.
pub(crate) struct Call {
    pub(crate) socket: UdpSocket,
    client: Client<Dice>,
    began: Instant,
    pub(crate) relayed: SocketAddr,
}

impl Call {
    /// Allocates, at `host` and from its address `at`, a relayed address of the family of `peer`.
    pub(crate) fn new(host: &Host, at: &str, server: &str, peer: SocketAddr, user: &str) -> Self {
        let credential = Credential {
            username: user.as_bytes().into(),
            proof: Proof::Password(Secret::new(format!("a password of {user}'s").into_bytes())),
            token: None,
        };
        let mut config = Config::new(credential);
        config.families = if peer.is_ipv4() { Families::V4 } else { Families::V6 };
        config.mobility = true;
        let number = NUMBER.fetch_add(1, Relaxed);
        let seed = number << 32 | u64::from(std::process::id());
        let mut call = Self {
            socket: socket(host, at, Some(server)),
            client: Client::new(config, Dice(seed)),
            began: Instant::now(),
            relayed: peer,
        };
        let Event::Allocated(Allocated { relayed, .. }) =
            call.ask(Input::Allocate, |event| matches!(event, Event::Allocated(_)))
        else {
            unreachable!("it was waited for")
        };
        call.relayed = relayed.socket();
        call
    }

    /// Permits `peer` and binds a channel to it. Answers the channel.
    pub(crate) fn bind(&mut self, peer: SocketAddr) -> u16 {
        match self.ask(Input::Bind(PeerAddr::new(peer)), |event| matches!(event, Event::Bound { .. })) {
            Event::Bound { channel, .. } => channel.get(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn release(&mut self) {
        self.ask(Input::Release, |event| matches!(event, Event::Ended(_)));
    }

    /// Goes on from another socket.
    pub(crate) fn moves(&mut self, socket: UdpSocket) {
        self.socket = socket;
        self.ask(Input::Moved, |event| matches!(event, Event::Moved));
    }

    /// Says it, and nothing more.
    pub(crate) fn say(&mut self, input: Input<'_>) {
        self.client.handle_input(self.now(), input);
        while let Some(output) = self.client.poll_output() {
            if let Output::Transmit(bytes) = output {
                self.socket.send(&bytes).expect("it is sent");
            }
        }
    }

    fn ask(&mut self, input: Input<'_>, is: impl Fn(&Event) -> bool) -> Event {
        self.client.handle_input(self.now(), input);
        let until = Instant::now() + PATIENCE;
        loop {
            while let Some(output) = self.client.poll_output() {
                match output {
                    Output::Transmit(bytes) => drop(self.socket.send(&bytes).expect("it is sent")),
                    Output::Event(event) if is(&event) => return event,
                    Output::Event(Event::Data { .. } | Event::Permitted { .. }) => {}
                    Output::Event(event) => panic!("{event:?}"),
                }
            }
            assert!(Instant::now() < until, "no answer");
            match received(&self.socket) {
                Ok((message, _)) => self.client.handle_input(self.now(), Input::Message(&message)),
                Err(_) => self.client.handle_timeout(self.now()),
            }
        }
    }

    fn now(&self) -> Now {
        Now { since_start: self.began.elapsed(), unix: 0 }
    }

    pub(crate) fn send(&self, channel: u16, data: &[u8]) {
        self.socket.send(&channel_data(channel, data)).expect("it is sent");
    }
}

/// A call over `server`'s kernel: allocation, channel and peer, of which both ways are known to the kernel.
pub(crate) struct Flow {
    pub(crate) call: Call,
    pub(crate) peer: UdpSocket,
    pub(crate) channel: u16,
}

impl Flow {
    /// [client, server, peer] as text.
    pub(crate) fn new(hosts: &crate::wire::Hosts, ends: [&str; 3], user: &str) -> Self {
        let [client, server, peer] = ends;
        let mut call = Call::new(&hosts.client, client, server, address(peer), user);
        let channel = call.bind(address(peer));
        Self { call, peer: socket(&hosts.peer, peer, None), channel }
    }

    /// Speaks both ways until the kernel does it alone.
    pub(crate) fn warm(&self, served: &Served) {
        let before = served.in_kernel();
        served.until("relaying in the kernel", || {
            self.call.send(self.channel, b"warm");
            let _ = received(&self.peer);
            self.peer.send_to(b"warm", self.call.relayed).expect("it is sent");
            let _ = received(&self.call.socket);
            let now = served.in_kernel();
            now[0] > before[0] && now[1] > before[1]
        });
        self.drain();
    }

    /// Throws away what waits.
    pub(crate) fn drain(&self) {
        while received(&self.peer).is_ok() || received(&self.call.socket).is_ok() {}
    }

    pub(crate) fn to_peer(&self, data: &[u8]) {
        self.call.send(self.channel, data);
        let arrived = received(&self.peer).unwrap_or_else(|error| panic!("{} bytes: {error}", data.len()));
        assert_eq!(arrived, (data.to_vec(), self.call.relayed));
    }

    pub(crate) fn to_client(&self, data: &[u8]) {
        self.peer.send_to(data, self.call.relayed).expect("it is sent");
        let arrived =
            received(&self.call.socket).unwrap_or_else(|error| panic!("{} bytes: {error}", data.len()));
        assert_eq!(arrived.0, channel_data(self.channel, data));
    }

    /// Whether nothing gets through either way.
    pub(crate) fn is_cut(&self) -> bool {
        self.call.send(self.channel, b"cut?");
        self.peer.send_to(b"cut?", self.call.relayed).expect("it is sent");
        received(&self.peer).is_err() && received(&self.call.socket).is_err()
    }
}
