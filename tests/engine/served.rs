//! The program, serving on loopback until it is dropped.

use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    process: Child,
    folder: PathBuf,
}

impl Served {
    /// With peers at loopback allowed.
    pub(crate) fn start() -> Self {
        Self::start_with("allow = [\"127.0.0.1/32\"]", "")
    }

    /// With these lines under `[peers]` and `[limits]`.
    pub(crate) fn start_with(peers: &str, limits: &str) -> Self {
        let (address, admin) = (free_port(), free_port());
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("engine-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder of our own");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a sound name");
        write(&folder.join("server.pem"), &made.cert.pem());
        write(&folder.join("server.key"), &made.signing_key.serialize_pem());
        let file = folder.join("swingbridge.toml");
        write(&file, &configuration(address, admin, peers, limits));
        let log = fs::File::create(folder.join("log")).expect("a file of our own");
        let process = Command::new(env!("CARGO_BIN_EXE_swingbridge"))
            .args(["serve", "--config"])
            .arg(&file)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("the program that cargo built runs");
        let served = Self { address, admin, process, folder };
        served.wait();
        served
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.address).is_err() || TcpStream::connect(self.admin).is_err() {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "it does not listen:\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The value of a metric, all its labels together.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(self.admin).expect("the admin endpoint listens");
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        stream.write_all(request.as_bytes()).expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let of_metric = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        };
        let lines: Vec<_> = text.lines().filter(of_metric).collect();
        assert!(!lines.is_empty(), "no metric {name}:\n{text}");
        lines.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Allocations that are alive; waits until there are none, for a while.
    pub(crate) fn allocations_left(&self) -> f64 {
        self.allocations_become(0)
    }

    /// Allocations that are alive; waits until there are so many, for a while: an answer leaves before its event is counted.
    pub(crate) fn allocations_become(&self, wanted: u32) -> f64 {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.metric("swingbridge_allocations");
            if left == f64::from(wanted) || Instant::now() > until {
                return left;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        // What has ended needs no killing.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
        if !std::thread::panicking() {
            // Left there it is in nobody's way.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn configuration(address: SocketAddr, admin: SocketAddr, peers: &str, limits: &str) -> String {
    format!(
        r#"realm = "engine.example"
[listen]
udp = ["{address}"]
stream = ["{address}"]
[[tls.certificates]]
chain = "server.pem"
key = "server.key"
[relay]
addresses = ["127.0.0.1"]
ports = "50000-59999"
workers = 2
[auth]
users = {{ alice = "password" }}
[ms_turn]
enable = true
[peers]
default = "public"
{peers}
[admin]
listen = "{admin}"
[limits]
{limits}"#
    )
}

/// With secrets in it, a file must be its owner's alone.
fn write(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).expect("a file of our own");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a file of our own");
}

/// A port on loopback that is free for UDP and for TCP, and that neither a relay socket nor a client will take.
fn free_port() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 16;
        let port = 20_000 + u16::try_from(number % 9_000).expect("below 9,000");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
