//! The program, serving on loopback until it is dropped.

use std::fs;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use swingbridge::client::Config;
use swingbridge::client::Credential;
use swingbridge::client::Proof;
use swingbridge::client::Via;
use swingbridge::client::rustls;
use swingbridge::client::rustls::ClientConfig;
use swingbridge::client::rustls::RootCertStore;
use swingbridge::client::rustls::pki_types::CertificateDer;
use swingbridge::client::rustls::pki_types::ServerName;
use swingbridge::proto::types::Secret;

/// Where the server relays.
pub(crate) const RELAY_PORTS: std::ops::Range<u16> = 50_000..60_000;

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    process: Child,
    folder: PathBuf,
    certificate: CertificateDer<'static>,
}

/// A client of this user.
pub(crate) fn config(user: &str, password: &str) -> Config {
    Config::new(Credential {
        username: user.as_bytes().into(),
        proof: Proof::Password(Secret::new(password.as_bytes())),
        token: None,
    })
}

impl Served {
    /// With these lines under `[limits]`.
    pub(crate) fn start(limits: &str) -> Self {
        let address = free_port_of_both();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("client-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder of our own");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a sound name");
        write(&folder.join("server.pem"), &made.cert.pem());
        write(&folder.join("server.key"), &made.signing_key.serialize_pem());
        let file = folder.join("swingbridge.toml");
        write(&file, &configuration(address, limits));
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
        let served = Self { address, process, folder, certificate: made.cert.der().clone() };
        served.wait();
        served
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.address).is_err() {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "it does not listen:\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// By TLS, trusting its certificate alone.
    pub(crate) fn tls(&self) -> Via {
        self.tls_as("localhost")
    }

    /// The same, for a certificate of this name.
    pub(crate) fn tls_as(&self, name: &'static str) -> Via {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("an anchor");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("defaults")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Via::Tls { name: ServerName::try_from(name).expect("a name"), config: Arc::new(config) }
    }

    /// Asks it to take no more clients, and to leave when it has none.
    pub(crate) fn drain(&self) {
        let process = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        let process = process.expect("a process has a number");
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("it lives");
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

fn configuration(address: SocketAddr, limits: &str) -> String {
    format!(
        r#"realm = "client.example"
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
mobility = true
[peers]
default = "public"
allow = ["127.0.0.1/32"]
deny = ["127.0.0.1:7"]
[admin]
listen = "off"
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

/// An address on loopback that is free for UDP and for TCP, and that no relay socket will take.
fn free_port_of_both() -> SocketAddr {
    loop {
        let first = UdpSocket::bind("127.0.0.1:0").expect("loopback is free");
        let address = first.local_addr().expect("bound");
        if !RELAY_PORTS.contains(&address.port()) && TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
