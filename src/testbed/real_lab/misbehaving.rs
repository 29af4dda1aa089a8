//! The server of a run whose scenario has faults: the one of `testbed serve`, in a thread of the laboratory's process.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use tokio::runtime::Builder;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::proto::types::Lifetime;
use crate::proto::types::Secret;
use crate::testbed::scenario::Scenario;
use crate::testbed::scenario::Scenarios;
use crate::testbed::serve::Account;
use crate::testbed::serve::Bound;
use crate::testbed::serve::Identity;
use crate::testbed::serve::Plan;

use super::addresses::PORT;
use super::addresses::PORT_TLS;
use super::addresses::SERVER;
use super::machine;
use super::plan::Script;
use super::server::CERTIFICATE;
use super::server::LOG;

/// What the programs sent last is heard so long.
const SETTLE: Duration = Duration::from_millis(100);

/// A server that runs.
#[derive(Debug)]
pub(super) struct Misbehaving {
    origin: Instant,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Vec<Account>>,
}

impl Misbehaving {
    /// Starts it in the network of this process. Its certificate and its log are in `folder`.
    ///
    /// # Errors
    /// Where the scenario has mistakes, or an address cannot be had.
    pub(super) fn start(script: &Script, folder: &Path, password: &str) -> Result<Self, Fault> {
        let scenario = Scenario::parse(&script.name, &script.name, &script.text)
            .map_err(|why| Fault::new(FaultKind::Request, why.to_string()))?;
        let begin = || {
            let identity = Identity::of(IpAddr::V4(SERVER))?;
            fs::write(folder.join(CERTIFICATE), &identity.pem)?;
            let log = File::create(folder.join(LOG))?;
            Ok((identity, log, Builder::new_current_thread().enable_all().build()?))
        };
        let (identity, log, runtime) =
            begin().map_err(|error| machine("the server cannot be started", &error))?;
        let at = |port: u16| SocketAddr::new(SERVER.into(), port);
        let plan = Plan {
            listen: at(PORT),
            tls: Some(at(PORT_TLS)),
            identity: Some(identity),
            http: None,
            scenarios: Scenarios::chosen(scenario),
            password: Secret::new(password.as_bytes()),
            lifetime: script.lifetime_s.map(Lifetime::from_secs),
        };
        let bound = runtime
            .block_on(Bound::new(plan))
            .map_err(|refused| machine(&format!("{} cannot be had", refused.what), &refused.why))?;
        let origin = bound.origin();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("server".to_owned())
            .spawn(move || serve(&runtime, bound, log, stopped))
            .map_err(|error| machine("the server cannot be started", &error))?;
        Ok(Self { origin, stop, thread })
    }

    /// Ends it, as its clients have ended. Answers what it knows of them, and what the times of that are counted from.
    pub(super) fn end(self) -> (Instant, Vec<Account>) {
        thread::sleep(SETTLE);
        // One that has ended before need not be told.
        let _ = self.stop.send(());
        (self.origin, self.thread.join().unwrap_or_default())
    }
}

fn serve(runtime: &Runtime, bound: Bound, mut log: File, stopped: oneshot::Receiver<()>) -> Vec<Account> {
    let stop = async { drop(stopped.await) };
    // A log that cannot be written is missed by nobody but its reader.
    let tell = |line: &str| drop::<io::Result<()>>(writeln!(log, "{line}"));
    runtime.block_on(bound.serve(stop, tell))
}
