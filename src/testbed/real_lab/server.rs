//! The server of a run: our own program, configured for the laboratory.

use std::fs;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::load::Fault;
use crate::load::fault::FaultKind;

use super::addresses::PORT;
use super::addresses::PORT_ALTERNATE;
use super::addresses::PORT_TLS;
use super::addresses::SERVER;
use super::addresses::SERVER_ALTERNATE;
use super::machine;

/// The one user of the laboratory, where no scenario is chosen by it.
pub(super) const USER: &str = "testbed";
/// The file of the certificate, which is its own authority.
pub(super) const CERTIFICATE: &str = "certificate.pem";
/// What the server prints.
pub(super) const LOG: &str = "server.log";

/// How long it may take to listen.
const READY_MAX: Duration = Duration::from_secs(20);

/// Starts it in the network of this process, and waits until it listens. Its files are in `folder`.
///
/// # Errors
/// Where it cannot be started, or does not listen in time.
pub(super) fn start(folder: &Path, password: &str) -> Result<Child, Fault> {
    let mut child =
        spawn(folder, password).map_err(|error| machine("the server cannot be started", &error))?;
    let until = Instant::now() + READY_MAX;
    for port in [PORT, PORT_TLS] {
        while TcpStream::connect(SocketAddr::new(SERVER.into(), port)).is_err() {
            let has_ended = !matches!(child.try_wait(), Ok(None));
            if has_ended || Instant::now() >= until {
                let log = fs::read_to_string(folder.join(LOG)).unwrap_or_default();
                // It is of no use any more.
                let _ = child.kill();
                let what = format!("the server of the laboratory did not come up:\n{}", log.trim_end());
                return Err(Fault::new(FaultKind::Machine, what));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(child)
}

fn spawn(folder: &Path, password: &str) -> io::Result<Child> {
    let made = rcgen::generate_simple_self_signed(vec![SERVER.to_string()]).map_err(io::Error::other)?;
    fs::write(folder.join(CERTIFICATE), made.cert.pem())?;
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem())?;
    let file = folder.join("server.toml");
    fs::write(&file, config(password))?;
    let log = File::create(folder.join(LOG))?;
    Command::new(std::env::current_exe()?)
        .args(["serve", "--config"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}

/// One worker and plain sockets: nothing here is to be fast, and nothing to be loaded into the kernel.
fn config(password: &str) -> String {
    format!(
        "realm = \"testbed\"
[listen]
udp = [\"{SERVER}:{PORT}\"]
stream = [\"{SERVER}:{PORT}\", \"{SERVER}:{PORT_TLS}\"]
discovery = [{{ primary = \"{SERVER}:{PORT}\", alternate = \"{SERVER_ALTERNATE}:{PORT_ALTERNATE}\" }}]
[[tls.certificates]]
chain = \"{CERTIFICATE}\"
key = \"key.pem\"
[relay]
addresses = [\"{SERVER}\"]
path = \"sockets\"
workers = 1
[auth]
users = {{ {USER} = \"{password}\" }}
[peers]
allow = [\"203.0.113.0/24\", \"198.51.100.0/24\"]
[log]
level = \"debug\"
[admin]
listen = \"off\"
"
    )
}
