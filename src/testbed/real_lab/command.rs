//! The two programs of a run: started in their networks, watched, and ended when they hang.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process_group;

use crate::net::Network;
use crate::testbed::Place;

use super::addresses::PORT;
use super::addresses::PORT_TLS;
use super::addresses::PROXY;
use super::addresses::SERVER;
use super::addresses::Side;
use super::outcome::Ended;
use super::plan::Plan;
use super::server::CERTIFICATE;
use super::server::USER;
use super::signalling;

/// How long a program has to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether a program has ended.
const LOOK: Duration = Duration::from_millis(10);

/// What a program finds in its environment beside what it had.
pub(super) fn environment(side: Side, plan: &Plan, folder: &Path, password: &str) -> Vec<(String, String)> {
    let place = plan.places[side.index()];
    let user = plan.script.as_ref().map_or_else(|| USER.to_owned(), |script| script.user(side));
    let at = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let turn = format!("turn:{SERVER}:{PORT}?transport");
    let uris = format!("{turn}=udp {turn}=tcp turns:{SERVER}:{PORT_TLS}?transport=tcp");
    let mut all = vec![
        ("SWINGBRIDGE_ROLE", side.name().to_owned()),
        ("SWINGBRIDGE_TURN_URI", format!("{turn}=udp")),
        ("SWINGBRIDGE_TURN_URIS", uris),
        ("SWINGBRIDGE_STUN_URI", format!("stun:{SERVER}:{PORT}")),
        ("SWINGBRIDGE_USERNAME", user),
        ("SWINGBRIDGE_PASSWORD", password.to_owned()),
        ("SWINGBRIDGE_AUTHORITY", at(CERTIFICATE)),
        ("SWINGBRIDGE_SIGNALLING", at(&signalling::socket_name(side))),
        ("SWINGBRIDGE_PLACE", place.name().to_owned()),
        // What OpenSSL and all that is made with it believes.
        ("SSL_CERT_FILE", at(CERTIFICATE)),
    ];
    // Only where there is one in the way, as in life.
    if place == Place::HttpProxy {
        all.push(("SWINGBRIDGE_PROXY", format!("http://{PROXY}")));
    }
    if let Some(script) = &plan.script {
        all.push(("SWINGBRIDGE_SECONDS", script.hold_s.to_string()));
    }
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The file that a program's output goes to.
pub(super) fn log_name(side: Side) -> String {
    format!("{}.log", side.name())
}

/// A program that runs.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    ended: Option<(Ended, Instant)>,
}

impl Running {
    /// Starts a program in `network`, at the head of a process group of its own.
    ///
    /// # Errors
    /// Where there is no such program, or it may not be run.
    pub(super) fn start(
        side: Side,
        network: &Network,
        words: &[String],
        environment: Vec<(String, String)>,
        folder: &Path,
    ) -> io::Result<Self> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let log = File::create(folder.join(log_name(side)))?;
        let child = network.within(move || {
            Command::new(program)
                .args(arguments)
                .envs(environment)
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .process_group(0)
                .spawn()
        })?;
        Ok(Self { child, ended: None })
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => Ended::Exited(code),
                (None, signal) => Ended::Signalled(signal.unwrap_or_default()),
            };
            self.ended = Some((how, Instant::now()));
        }
        self.ended.map(|(how, _)| how)
    }

    /// How and when it ended; one that has not yet hangs.
    pub(super) fn end(mut self) -> (Ended, Instant) {
        self.ended();
        self.ended.unwrap_or_else(|| (Ended::Hung, Instant::now()))
    }

    /// Ends it with all that it started: it is asked to, and then not asked any more.
    pub(super) fn kill(&mut self) {
        let had_ended = self.ended().is_some();
        let Ok(pid) = i32::try_from(self.child.id()) else { return };
        let Some(group) = Pid::from_raw(pid) else { return };
        for (signal, patience) in [(Signal::TERM, GRACE), (Signal::KILL, GRACE)] {
            // A group that is gone is what is wanted.
            let _ = kill_process_group(group, signal);
            let until = Instant::now() + patience;
            while self.ended().is_none() && Instant::now() < until {
                thread::sleep(LOOK);
            }
        }
        if !had_ended {
            self.ended = Some((Ended::Hung, Instant::now()));
        }
    }
}

/// Waits until both have ended, `is_over` or the time is up. What still runs then is ended.
pub(super) fn watch(running: &mut [Running; 2], timeout: Duration, is_over: &dyn Fn() -> bool) {
    let until = Instant::now() + timeout;
    while !is_over() && Instant::now() < until {
        if running.iter_mut().all(|each| each.ended().is_some()) {
            break;
        }
        thread::sleep(LOOK);
    }
    running.iter_mut().for_each(Running::kill);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::real_lab::plan::Script;

    #[test]
    fn a_proxy_is_named_only_where_one_is_in_the_way() {
        for place in Place::ALL {
            let all =
                environment(Side::Right, &Plan::between([Place::Open, place]), Path::new("/run/x"), "secret");
            let has = all.iter().any(|(name, _)| name == "SWINGBRIDGE_PROXY");
            assert_eq!(has, place == Place::HttpProxy);
            assert!(
                all.contains(&("SWINGBRIDGE_SIGNALLING".to_owned(), "/run/x/right.sock".to_owned())),
                "{all:?}"
            );
        }
    }

    #[test]
    fn the_user_name_chooses_the_scenario_for_each_side() {
        let of = |plan: &Plan, side: Side, name: &str| {
            let all = environment(side, plan, Path::new("/run/x"), "secret");
            all.into_iter().find(|(each, _)| each == name).map(|(_, value)| value)
        };
        let mut plan = Plan::between([Place::Open; 2]);
        assert_eq!(of(&plan, Side::Left, "SWINGBRIDGE_USERNAME").as_deref(), Some("testbed"));
        assert_eq!(of(&plan, Side::Left, "SWINGBRIDGE_SECONDS"), None);
        plan.script = Some(Script { name: "stale-nonce".into(), hold_s: 8, ..Script::default() });
        for (side, user) in [(Side::Left, "stale-nonce.left"), (Side::Right, "stale-nonce.right")] {
            assert_eq!(of(&plan, side, "SWINGBRIDGE_USERNAME").as_deref(), Some(user));
            assert_eq!(of(&plan, side, "SWINGBRIDGE_SECONDS").as_deref(), Some("8"));
        }
    }

    /// Without a network of its own: what a program is ended by does not depend on that.
    fn started(words: &[&str]) -> Running {
        let child = Command::new(words[0]).args(&words[1..]).process_group(0).spawn().unwrap();
        Running { child, ended: None }
    }

    #[test]
    fn what_hangs_is_ended_and_what_ended_says_how() {
        let mut both = [started(&["sh", "-c", "exit 7"]), started(&["sleep", "600"])];
        watch(&mut both, Duration::from_millis(300), &|| false);
        assert_eq!(both.each_mut().map(Running::ended), [Some(Ended::Exited(7)), Some(Ended::Hung)]);
        let mut stubborn = started(&["sh", "-c", "trap '' TERM; sleep 600 & wait; sleep 600"]);
        stubborn.kill();
        assert_eq!(stubborn.ended(), Some(Ended::Hung));
    }
}
