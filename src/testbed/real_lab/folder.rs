//! The folder of a run: its files, and who works there, so that `testbed clean` finds whatever a run left behind.

use std::fs;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::process;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use serde_json::Value;
use serde_json::json;

use crate::proto::types::limits::LAB_FILE_MAX;

/// What all folders of runs begin with.
pub const PREFIX: &str = "swingbridge-testbed-";

/// The file that says who works there.
const STATE: &str = "state.json";

/// How long what was killed may take to be gone.
const GONE_MAX: Duration = Duration::from_secs(10);

/// The folder of a run. It goes when this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new one, for this user alone.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new() -> io::Result<Self> {
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = format!("{PREFIX}{}-{:08x}", process::id(), u32::from_le_bytes(random));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Self { path };
        folder.say(&[process::id()])?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes who works there: first the process that was called, then the one that all others end with.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn say(&self, pids: &[u32]) -> io::Result<()> {
        let processes = pids.iter().map(|pid| json!({ "pid": pid, "began": began(*pid) }));
        let state = json!({ "processes": processes.collect::<Vec<_>>() });
        write(&self.path.join(STATE), &state)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // `testbed clean` finds what is left.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Writes a file in one step: it is there whole, or not at all.
///
/// # Errors
/// What the system says.
pub(super) fn write(file: &Path, value: &Value) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, value.to_string())?;
    fs::rename(new, file)
}

/// `None` for a file that is not there, too large, or no JSON.
pub(super) fn read(file: &Path) -> Option<Value> {
    let size = fs::metadata(file).ok()?.len();
    let text = fs::read_to_string(file).ok().filter(|_| size <= LAB_FILE_MAX)?;
    text.parse().ok()
}

/// When a process began, in ticks of the kernel since the machine did: together with its number that is no other's. `None` if
/// there is none, or it has ended and is only waited for.
fn began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, and ends at the last bracket.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let is_over = matches!(fields.next()?, "Z" | "X");
    fields.nth(18)?.parse().ok().filter(|_| !is_over)
}

/// What became of one run's leftovers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// It is gone: its folder, and so many processes that still ran.
    Gone {
        /// The folder.
        folder: PathBuf,
        /// Processes that were ended.
        ended: usize,
    },
    /// It goes on, and was left alone.
    Running {
        /// The folder.
        folder: PathBuf,
    },
    /// It could not be removed: why.
    Left {
        /// The folder.
        folder: PathBuf,
        /// Why.
        why: String,
    },
}

/// Removes what runs of this user left behind; with `all` also those that still go on.
///
/// # Errors
/// Where the folder of temporary files cannot be read.
pub fn clean(all: bool) -> io::Result<Vec<Cleaned>> {
    let base = std::env::temp_dir();
    let mut folders = Vec::new();
    for entry in fs::read_dir(&base)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == own_uid());
        if is_ours {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders.into_iter().map(|folder| clean_one(folder, all)).collect())
}

fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

fn clean_one(folder: PathBuf, all: bool) -> Cleaned {
    let state = read(&folder.join(STATE)).unwrap_or_default();
    let processes = state["processes"].as_array().cloned().unwrap_or_default();
    let alive = |process: &Value| {
        let pid = u32::try_from(process["pid"].as_u64()?).ok()?;
        (began(pid)? == process["began"].as_u64()?).then_some(pid)
    };
    // The first one is who was called: while it is there, the run goes on.
    if !all && processes.first().and_then(alive).is_some() {
        return Cleaned::Running { folder };
    }
    let alive: Vec<_> = processes.iter().filter_map(alive).filter(|pid| *pid != process::id()).collect();
    for pid in &alive {
        let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
        // One that has just ended is what is wanted.
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
    }
    let until = Instant::now() + GONE_MAX;
    let name = folder.to_string_lossy().into_owned();
    while works_in(&name) && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    match fs::remove_dir_all(&folder) {
        _ if works_in(&name) => Cleaned::Left { folder, why: "a process of it does not end".to_owned() },
        Ok(()) => Cleaned::Gone { folder, ended: alive.len() },
        Err(error) => Cleaned::Left { folder, why: error.to_string() },
    }
}

/// Whether a process was called for the run in this folder.
fn works_in(folder: &str) -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != process::id() && began(*pid).is_some()).any(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == folder.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_when_it_began() {
        let own = began(process::id()).expect("it lives");
        assert_eq!(began(process::id()), Some(own));
        assert_eq!(began(u32::MAX), None);
    }

    #[test]
    fn a_run_that_goes_on_is_left_alone_and_one_that_does_not_is_removed() {
        let folder = Folder::new().expect("a folder");
        let path = folder.path().to_owned();
        assert_eq!(clean_one(path.clone(), false), Cleaned::Running { folder: path.clone() });
        let mut child = process::Command::new("sleep").arg("600").spawn().expect("it sleeps");
        let state = json!({ "processes": [
            { "pid": process::id(), "began": 1 },
            { "pid": child.id(), "began": began(child.id()) },
        ]});
        write(&path.join(STATE), &state).expect("it can be written");
        assert_eq!(clean_one(path.clone(), false), Cleaned::Gone { folder: path.clone(), ended: 1 });
        assert!(!path.exists() && !child.wait().expect("it ended").success());
    }

    #[test]
    fn what_is_no_state_is_nobodys() {
        let folder = Folder::new().expect("a folder");
        let path = folder.path().to_owned();
        fs::write(path.join(STATE), "[1, {").expect("it can be written");
        assert_eq!(clean_one(path.clone(), false), Cleaned::Gone { folder: path, ended: 0 });
    }
}
