//! Has a run carried out by a process of its own, and sees to it that nothing is left of it.
//!
//! ```text
//!   caller ── unshare ── the process of the run (number 1 in its own space; network and mounts of its own)
//!      └──── leash ────────────┘   └─ server, programs, routers: they end with it
//! ```
//!
//! Nothing has a name outside of it: networks, interfaces and rules are held by processes alone. When the caller ends, however
//! it does, its end of the leash closes, and the process of the run ends; when that ends, the kernel ends all others in it.

use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::load::Fault;
use crate::load::fault::FaultKind;

use super::PRIVILEGES;
use super::folder;
use super::folder::Folder;
use super::inside::OUTCOME;
use super::inside::PLAN;
use super::machine;
use super::outcome::Outcome;
use super::plan::Plan;

/// What the process of the run complains of.
const LOG: &str = "testbed.log";
/// How long a run may take beyond its programs' time: to come up, and to end.
const AROUND: Duration = Duration::from_secs(40);
/// How long it has to end when it was let go.
const LET_GO: Duration = Duration::from_secs(10);
/// What came of a run, in the folder of its record.
const RUN: &str = "run.json";
const LOOK: Duration = Duration::from_millis(10);

/// Has a run carried out. `is_stopped` is asked again and again; it ends early when that is so.
///
/// # Errors
/// Why nothing came of it.
pub fn launch(plan: &Plan, is_stopped: &dyn Fn() -> bool) -> Result<Outcome, Fault> {
    let folder = Folder::new().map_err(|error| machine("a folder for the run cannot be made", &error))?;
    let begin = || {
        folder::write(&folder.path().join(PLAN), &plan.to_json())?;
        let child = spawn(&folder)?;
        folder.say(&[std::process::id(), child.id()])?;
        Ok(child)
    };
    let mut child = begin().map_err(|error| machine("the laboratory cannot be started", &error))?;
    let was_stopped = wait(&mut child, plan.timeout + AROUND, is_stopped);
    if was_stopped {
        return Err(Fault::new(FaultKind::Server, "the run was stopped before its end"));
    }
    match folder::read(&folder.path().join(OUTCOME)) {
        Some(outcome) => {
            let outcome = Outcome::read(outcome)?;
            if let Some(kept) = &plan.record {
                fs::write(kept.join(RUN), format!("{:#}\n", outcome.json))
                    .map_err(|error| machine("what came of the run cannot be kept", &error))?;
            }
            Ok(outcome)
        }
        None => Err(refused(&folder)),
    }
}

/// Starts the process of the run. The privileges that it takes a user who is not root has in a user namespace.
fn spawn(folder: &Folder) -> io::Result<Child> {
    let log = File::create(folder.path().join(LOG))?;
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(std::env::current_exe()?)
        .args(["testbed", "inside"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for the caller, who lets go of the leash.
        .process_group(0);
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::other("there is no program `unshare` here: install the package util-linux")
        }
        _ => error,
    })
}

/// Waits for the end. Answers whether it was brought about before its time.
fn wait(child: &mut Child, timeout: Duration, is_stopped: &dyn Fn() -> bool) -> bool {
    let until = Instant::now() + timeout;
    let mut let_go = None;
    loop {
        match child.try_wait() {
            Ok(Some(_)) | Err(_) => return let_go.is_some(),
            Ok(None) => {}
        }
        let now = Instant::now();
        if let_go.is_none() && (is_stopped() || now >= until) {
            drop(child.stdin.take());
            let_go = Some(now);
        }
        if let_go.is_some_and(|since| now - since >= LET_GO) {
            // The process of the run goes with it (`--kill-child`).
            let _ = child.kill();
            let _ = child.wait();
            return true;
        }
        thread::sleep(LOOK);
    }
}

/// Why there is no process of the run.
fn refused(folder: &Folder) -> Fault {
    let said = fs::read_to_string(folder.path().join(LOG)).unwrap_or_default();
    let what = format!("the laboratory cannot be started: {}", said.trim());
    // The last is what the kernel says where there may be no further namespace.
    let refusals = ["not permitted", "denied", "No space left"];
    let is_refused = refusals.into_iter().any(|refusal| said.contains(refusal));
    let cure = if is_refused {
        PRIVILEGES
    } else {
        "`swingbridge testbed clean` removes what earlier runs may have left"
    };
    Fault::new(FaultKind::Machine, what).cure(cure)
}
