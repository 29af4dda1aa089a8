//! The servers that are compared: ours on each path, and Debian's coturn. Each is a process, gone when its handle is.

use std::fs;
use std::io::Read as _;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use serde_json::Value;
use swingbridge::load::plan;
use swingbridge::load::plan::Carrier;
use swingbridge::load::plan::Trust;
use swingbridge::load::plan::Watch;
use swingbridge::load::plan::Who;
use swingbridge::proto::client::Credential;
use swingbridge::proto::client::Proof;
use swingbridge::proto::types::Secret;

use super::machine::as_the_wire;
use super::topology;
use super::topology::Topology;

const USER: &str = "compare";
const PASSWORD: &str = "a password of a laboratory";
/// How long a server may take to answer first, and to end.
const START_MAX: Duration = Duration::from_secs(10);
const STOP_MAX: Duration = Duration::from_secs(8);
/// Below what the kernel gives to sockets that ask for no port.
const LISTEN_PORT: u16 = 3_600;
const PORTS: &str = "10000-29999";

/// A bandwidth that nobody here reaches, so that each packet is charged and none held back.
pub(crate) const AMPLE: &str = "10Gbit/s";

/// A server as it is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Coturn,
    /// Ours.
    Ours(Ours),
    /// No server at all.
    Nobody,
}

/// What the file of ours says beside addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ours {
    pub(crate) path: &'static str,
    /// 0: as shipped.
    pub(crate) workers: u32,
    /// `auto` as shipped, or `off`.
    pub(crate) runs: &'static str,
    /// What an allocation may carry, and a user.
    pub(crate) bandwidth: &'static str,
}

impl Ours {
    /// As shipped, on this path.
    pub(crate) const fn on(path: &'static str) -> Self {
        Self { path, workers: 0, runs: "auto", bandwidth: AMPLE }
    }
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
    /// Where its counters are, of ours.
    pub(crate) admin: Option<SocketAddr>,
    /// The namespace that its clients and peers live in.
    pub(crate) wire: Option<String>,
    /// The namespace that it lives in.
    pub(crate) relay: Option<String>,
    /// Where clients are, and peers.
    pub(crate) clients: IpAddr,
    pub(crate) peers: IpAddr,
    /// Another address that it hears clients at.
    pub(crate) beside: SocketAddr,
}

/// Where servers come from and live.
pub(crate) struct Place<'a> {
    /// Our program.
    pub(crate) binary: &'a Path,
    /// A host of its own, or else loopback.
    pub(crate) topology: Option<&'a Topology>,
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK_BESIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

impl Place<'_> {
    /// Of two addresses that which is meant here.
    const fn of(&self, apart: IpAddr, else_: IpAddr) -> IpAddr {
        if self.topology.is_some() { apart } else { else_ }
    }

    const fn host(&self) -> IpAddr {
        self.of(topology::LISTEN, LOOPBACK)
    }

    /// A command that runs where servers live.
    fn command(&self, program: &Path) -> Command {
        match self.topology {
            Some(topology) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &topology.relay.name]).arg(program);
                command
            }
            None => Command::new(program),
        }
    }

    /// Starts a server; `number` keeps servers that run at a time apart.
    ///
    /// # Errors
    /// Why it does not run.
    pub(crate) fn start(&self, program: Program, number: u16) -> Result<Running, String> {
        let folder =
            std::env::temp_dir().join(format!("swingbridge-compare-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let address = SocketAddr::new(self.host(), LISTEN_PORT + number);
        let (mut command, admin) = match program {
            Program::Coturn => (self.coturn(address, &folder), None),
            Program::Ours(ours) => {
                let admin = SocketAddr::new(self.host(), LISTEN_PORT + 100 + number);
                let file = self.write(&folder, ours, address.port(), admin)?;
                let mut command = self.command(self.binary);
                command.arg("serve").arg("--config").arg(file);
                (command, Some(admin))
            }
            Program::Nobody => return Err("there is no server to start".to_owned()),
        };
        let log = fs::File::create(folder.join("log")).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        let child = command.current_dir(&folder).stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        let child = child.map_err(|error| format!("{program:?} cannot be started: {error}"))?;
        let mut running = Running {
            child,
            folder,
            address,
            admin,
            wire: self.topology.map(|topology| topology.wire.name.clone()),
            relay: self.topology.map(|topology| topology.relay.name.clone()),
            clients: self.of(topology::CLIENTS, LOOPBACK),
            peers: self.of(topology::PEERS, LOOPBACK),
            beside: SocketAddr::new(self.of(topology::BESIDE, LOOPBACK_BESIDE), address.port()),
        };
        running.wait()?;
        Ok(running)
    }

    fn coturn(&self, at: SocketAddr, folder: &Path) -> Command {
        let mut command = self.command(Path::new("turnserver"));
        let (ip, port, folder) = (at.ip(), at.port(), folder.display());
        for argument in [
            "-n".to_owned(),
            "--no-cli".to_owned(),
            "--no-tls".to_owned(),
            "--no-dtls".to_owned(),
            "--log-file=stdout".to_owned(),
            "--simple-log".to_owned(),
            "--allow-loopback-peers".to_owned(),
            "--lt-cred-mech".to_owned(),
            "--realm=compare".to_owned(),
            format!("--user={USER}:{PASSWORD}"),
            format!("--pidfile={folder}/pid"),
            format!("--userdb={folder}/db"),
            format!("--listening-port={port}"),
            format!("--listening-ip={ip}"),
            format!("--relay-ip={ip}"),
            format!("--allowed-peer-ip={ip}"),
            "--min-port=10000".to_owned(),
            "--max-port=29999".to_owned(),
        ] {
            command.arg(argument);
        }
        command
    }

    /// The file of ours: the shipped defaults, wildcard listeners among them, but for addresses, the user, and what a
    /// laboratory must allow; and limits of bandwidth, which are off as shipped, so that each packet is charged to two buckets.
    fn write(&self, folder: &Path, ours: Ours, port: u16, admin: SocketAddr) -> Result<PathBuf, String> {
        let Ours { path, workers, runs, bandwidth } = ours;
        let relayed = self.of(topology::RELAYED, LOOPBACK);
        let interfaces = self.topology.map_or(String::new(), |_| format!("{:?}", topology::INTERFACES));
        let text = format!(
            "realm = \"compare\"\n\
             [listen]\nudp = [\"0.0.0.0:{port}\"]\nstream = [\"0.0.0.0:{port}\"]\n\
             [relay]\naddresses = [\"{relayed}\"]\nports = \"{PORTS}\"\npath = \"{path}\"\nworkers = {workers}\n\
             kernel_interfaces = [{}]\nruns = \"{runs}\"\n\
             [auth]\nusers = {{ {USER} = \"{PASSWORD}\" }}\n\
             [peers]\nallow = [\"127.0.0.0/8\", \"127.0.0.1/32\", \"10.79.0.0/24\", \"{}/32\"]\n\
             [limits]\nallocations_per_user = 0\nstreams_per_address = 0\n\
             bandwidth_per_allocation = \"{bandwidth}\"\nbandwidth_per_user = \"{AMPLE}\"\n\
             unproven_exempt = [\"127.0.0.0/8\", \"10.78.0.0/24\"]\n\
             [admin]\nlisten = \"{admin}\"\n",
            interfaces.trim_matches(['[', ']']),
            topology::RELAYED
        );
        let file = folder.join("swingbridge.toml");
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&file, mode).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file)
    }

    /// Why ours cannot have a path here; `None`: it can.
    pub(crate) fn refused(&self, path: &'static str) -> Option<String> {
        let folder = std::env::temp_dir().join(format!("swingbridge-compare-{}-path", std::process::id()));
        let asked = fs::create_dir_all(&folder).map_err(|error| error.to_string()).and_then(|()| {
            let admin = SocketAddr::new(self.host(), LISTEN_PORT + 199);
            let file = self.write(&folder, Ours::on(path), LISTEN_PORT + 99, admin)?;
            let mut command = self.command(self.binary);
            command.args(["serve", "--explain-path", "--format", "json", "--config"]).arg(file);
            let done = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
            serde_json::from_slice::<Value>(&done.stdout)
                .map_err(|_| String::from_utf8_lossy(&done.stderr).trim().to_owned())
        });
        let _ = fs::remove_dir_all(&folder);
        let table = match asked {
            Ok(table) => table,
            Err(why) => {
                return Some(format!("`swingbridge serve --explain-path` says nothing of {path}: {why}"));
            }
        };
        let tiers = table["tiers"].as_array()?;
        let tier = tiers.iter().find(|tier| tier["path"] == path)?;
        let (reason, cure) = (tier["reason"].as_str()?, tier["cure"].as_str().unwrap_or_default());
        Some(format!("{path} is refused: {reason}; {cure}"))
    }
}

impl Running {
    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As the load engine knows it.
    pub(crate) fn target(&self, carrier: Carrier) -> plan::Server {
        plan::Server {
            uri: format!("turn:{}", self.address),
            host: self.address.ip().to_string(),
            address: self.address,
            carrier,
            who: Who::One(credential()),
            trust: Trust::System,
            watch: Some(Watch::Process(self.pid())),
            proxy: None,
        }
    }

    /// Waits until it answers a Binding request.
    fn wait(&mut self) -> Result<(), String> {
        let (address, until) = (self.address, Instant::now() + START_MAX);
        while Instant::now() < until {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the server ended at its start ({status}): {}", self.last_words()));
            }
            let asked = as_the_wire(self.wire.as_deref(), move || ask(address));
            if matches!(asked, Ok(Ok(()))) {
                // The doors that open last.
                thread::sleep(Duration::from_millis(200));
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(format!("the server does not answer at {address}: {}", self.last_words()))
    }

    fn last_words(&self) -> String {
        let mut text = String::new();
        let read = fs::File::open(self.folder.join("log")).and_then(|mut log| log.read_to_string(&mut text));
        let lines: Vec<_> = text.lines().rev().take(3).collect();
        if read.is_ok() { lines.join(" / ") } else { String::new() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            // Ctrl-C: what is left is ended at once.
            let _ = kill_process(pid, Signal::INT);
        }
        let until = Instant::now() + STOP_MAX;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Who the clients are.
pub(crate) fn credential() -> Credential {
    let proof = Proof::Password(Secret::new(PASSWORD.as_bytes()));
    Credential { username: USER.as_bytes().into(), proof, token: None }
}

/// Asks with a Binding request, and hears an answer from that very address.
pub(crate) fn ask(address: SocketAddr) -> std::io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let binding = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    socket.send(&binding)?;
    socket.recv(&mut [0; 600]).map(drop)
}
