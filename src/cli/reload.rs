//! SIGHUP: the file is read again, and what a running server can take goes to the control task. A file with a mistake
//! changes nothing.

use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::Signal;

use crate::admin::LevelKnob;
use crate::config;
use crate::config::Listed;
use crate::config::OperatingSystem;
use crate::config::Report;
use crate::config::Settings;
use crate::config::Severity;
use crate::control::Commands;
use crate::control::Order;
use crate::control::view::ControlView;
use crate::net::Certificates;
use crate::proto::auth::credential::CredentialConfig;
use crate::proto::auth::credential::Credentials;
use crate::proto::peers::PolicyBuilder;
use crate::proto::turn::Reconfiguration;

use super::input;
use super::machine;
use super::mras;
use super::notify;

/// Problems of one file that are logged one by one; further ones are counted.
const PROBLEMS_LOGGED_MAX: usize = 50;

/// The file that the server was started from.
pub(super) struct Started {
    pub(super) path: PathBuf,
    /// Every key as it was then: what takes a restart still is so.
    pub(super) listed: Vec<Listed>,
    /// The command line set the level of the log, whatever the file says.
    pub(super) level_is_set: bool,
    /// The command line asked for a certificate, whatever the file says.
    pub(super) dev_tls: bool,
}

/// What a reload needs to know of the running server, and its ways to it.
pub(super) struct Reloader {
    started: Started,
    running: Running,
    level: Option<LevelKnob>,
    commands: Commands,
    view: Arc<ControlView>,
    certificates: Option<Arc<Certificates>>,
    doors: Option<mras::Behind>,
}

/// What takes a restart, and what else a new configuration is made of.
struct Running {
    realm: Box<str>,
    /// The addresses by which the server could be meant.
    own: Vec<IpAddr>,
    /// The addresses of its relays as peers name them.
    relay: Vec<IpAddr>,
}

impl Reloader {
    /// For a server that runs with `settings`.
    pub(super) fn new(
        started: Started,
        settings: &Settings,
        level: Option<LevelKnob>,
        commands: Commands,
        view: Arc<ControlView>,
    ) -> Self {
        Self {
            started,
            running: Running::with(settings),
            level,
            commands,
            view,
            certificates: None,
            doors: None,
        }
    }

    /// What is behind the doors of the MRAS service is exchanged too, where there are any.
    pub(super) fn behind(mut self, doors: Option<mras::Behind>) -> Self {
        self.doors = doors;
        self
    }

    /// The certificates that the server shows are exchanged too.
    pub(super) fn showing(mut self, certificates: Arc<Certificates>) -> Self {
        self.certificates = Some(certificates);
        self
    }

    /// Reads the file again. Answers what became of it, in few words.
    pub(super) fn reload(&mut self) -> &'static str {
        match self.read() {
            Some(settings) => self.apply(settings),
            None => {
                self.view.reload_refused();
                "the configuration has mistakes: nothing was changed"
            }
        }
    }

    /// The settings of the file, or `None` after its mistakes were logged.
    fn read(&self) -> Option<Settings> {
        let path = &self.started.path;
        let name = path.display().to_string();
        let text = match input::read_config(path) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(file = name, %error, "reload refused: the file cannot be read; nothing was changed");
                return None;
            }
        };
        let loaded = config::load(&name, &text, &OperatingSystem::beside(path));
        log_problems(&loaded.report);
        let Some(checked) = loaded.checked else {
            let problems = loaded.report.count(Severity::Error);
            tracing::error!(file = name, problems, "reload refused: nothing was changed");
            return None;
        };
        for key in config::needs_restart(&self.started.listed, checked.listed()) {
            tracing::warn!(key = key.path, "needs a restart: the server goes on with what it has");
        }
        Some(checked.build(&machine::observe()))
    }

    fn apply(&mut self, mut settings: Settings) -> &'static str {
        let level = settings.log.level;
        let certificates = std::mem::take(&mut settings.certificates);
        let behind = self.doors.as_ref().and_then(|doors| doors.prepare(&settings));
        let to = self.running.reconfigured(settings);
        if self.commands.give(Order::Reconfigure(Box::new(to))).is_err() {
            self.view.reload_refused();
            tracing::error!("reload refused: earlier ones are still being carried out; nothing was changed");
            return "earlier reloads are still being carried out: nothing was changed";
        }
        if let (Some(shown), false) = (&self.certificates, self.started.dev_tls) {
            shown.exchange(certificates);
        }
        if let (Some(doors), Some(behind)) = (&self.doors, behind) {
            doors.exchange(behind);
        }
        if let (Some(knob), false) = (&self.level, self.started.level_is_set) {
            knob.set(level);
        }
        "serving with the configuration as it was read last"
    }
}

impl Running {
    fn with(settings: &Settings) -> Self {
        Self {
            realm: settings.realm.clone(),
            own: settings.policy.own.clone(),
            relay: settings.policy.relay.clone(),
        }
    }

    /// The live part of `settings`. Where it is made of something that takes a restart, that is as it is.
    fn reconfigured(&self, settings: Settings) -> Reconfiguration {
        // Addresses that the machine has got meanwhile are its own too; those it lost may come back.
        let mut own = settings.policy.own;
        own.extend(&self.own);
        own.sort_unstable();
        own.dedup();
        let policy = PolicyBuilder { own, relay: self.relay.clone(), ..settings.policy };
        let credentials = CredentialConfig { realm: self.realm.clone(), ..settings.credentials };
        Reconfiguration {
            credentials: Arc::new(Credentials::new(credentials)),
            policy: Arc::new(policy.build()),
            nonce_lifetime: settings.nonce_lifetime,
            lifetime_default: settings.lifetime_default,
            lifetime_max: settings.lifetime_max,
            permission_lifetime: settings.permission_lifetime,
            channel_number_max: settings.channel_number_max,
            channel_lifetime: settings.channel_lifetime,
            session_lifetime_max: settings.session_lifetime_max,
            allocations_per_user: settings.allocations_per_user,
            allocations_per_address: settings.allocations_per_address,
            mobility: settings.mobility,
            legacy: settings.legacy,
        }
    }
}

/// A line for each problem, as `swingbridge check` would tell it.
fn log_problems(report: &Report) {
    for problem in report.problems().iter().take(PROBLEMS_LOGGED_MAX) {
        let (line, column) = report.position(problem);
        let file = format!("{}:{line}:{column}", report.name());
        let (key, rule, fix) = (&*problem.key, &*problem.rule, &*problem.fix);
        match problem.severity {
            Severity::Error => tracing::error!(file, key, rule, fix, "configuration"),
            Severity::Warning => tracing::warn!(file, key, rule, fix, "configuration"),
        }
    }
    let more = report.problems().len().saturating_sub(PROBLEMS_LOGGED_MAX);
    if more > 0 {
        tracing::error!(
            file = report.name(),
            more,
            "configuration: further problems; `swingbridge check` tells them"
        );
    }
}

/// Reads the file again at each SIGHUP, and never ends. A server that was started without a file has nothing to read: for
/// it a SIGHUP, as from a terminal that is closed, is the order to leave, and is answered by its name.
pub(super) async fn on_hangup(mut hangup: Signal, reloader: Option<Reloader>) -> &'static str {
    notify::tell("READY=1");
    let Some(mut reloader) = reloader else {
        hangup.recv().await;
        return "SIGHUP";
    };
    while hangup.recv().await.is_some() {
        let file = Path::display(&reloader.started.path);
        tracing::info!(%file, "SIGHUP: reading the configuration again");
        notify::tell(&notify::reloading());
        let outcome = reloader.reload();
        notify::tell(&format!("READY=1\nSTATUS={outcome}"));
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Machine;
    use crate::proto::peers::OwnRelays;

    struct NoneLive;

    impl OwnRelays for NoneLive {
        fn is_live(&self, _address: std::net::SocketAddr) -> bool {
            false
        }
    }

    fn settings(text: &str, own: &str) -> Settings {
        let text = format!("peers.allow = [\"10.0.0.0/8\"]\nauth.secrets = [\"0123456789abcdef\"]\n{text}\n");
        let source = OperatingSystem::beside(Path::new("a.toml"));
        let loaded = config::load("a.toml", &text, &source);
        let machine = Machine { own: vec![own.parse().expect("an address")], ..Machine::default() };
        loaded.checked.unwrap_or_else(|| panic!("{}", loaded.report.render(false))).build(&machine)
    }

    #[test]
    fn what_takes_a_restart_stays_as_it_is_within_what_is_live() {
        let before = settings("realm = \"one\"\nrelay.addresses = [\"10.0.0.7\"]", "10.0.0.5");
        let after = settings("realm = \"two\"\nrelay.addresses = [\"10.0.0.8\"]", "10.0.0.6");
        let to = Running::with(&before).reconfigured(after);
        assert_eq!(to.credentials.realm(), "one");
        for own in ["10.0.0.5", "10.0.0.6", "10.0.0.7"] {
            let own: IpAddr = own.parse().expect("an address");
            assert!(!to.policy.allows((own, 22).into(), &NoneLive), "{own} is this machine's own");
        }
        let relay: IpAddr = "10.0.0.7".parse().expect("an address");
        assert!(to.policy.allows_some_port(relay), "the relay that runs may be a peer");
        assert!(to.policy.allows(([10, 0, 0, 9], 22).into(), &NoneLive));
    }

    #[test]
    fn every_live_key_is_taken() {
        let before = settings("", "10.0.0.5");
        let after = settings(
            "auth.nonce_lifetime = \"1m\"\nauth.session_lifetime_max = \"2m\"\n\
             auth.credential_lifetime_max = \"3m\"\n\
             [limits]\nallocations_per_user = 4\nallocations_per_address = 5\nallocation_lifetime_max = \"6m\"\n\
             permission_lifetime = \"7m\"\nchannel_lifetime = \"8m\"\nchannel_numbers = \"rfc5766\"\n",
            "10.0.0.5",
        );
        let to = Running::with(&before).reconfigured(after);
        let minutes = |span: std::time::Duration| span.as_secs() / 60;
        assert_eq!((minutes(to.nonce_lifetime), minutes(to.session_lifetime_max)), (1, 2));
        assert_eq!((to.allocations_per_user, to.allocations_per_address), (4, 5));
        assert_eq!((to.lifetime_max.as_secs(), to.lifetime_default.as_secs()), (360, 360));
        assert_eq!((minutes(to.permission_lifetime), minutes(to.channel_lifetime)), (7, 8));
        assert_eq!(to.channel_number_max, crate::proto::types::ChannelNumber::MAX_RFC5766);
        assert!(format!("{:?}", to.credentials).contains("lifetime_max_s: 180"));
    }
}
