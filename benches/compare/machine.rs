//! The machine that is measured on: one CPU for server and generator, a generator that is never put off by the server, and the
//! facts that stand above a table.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::openat;
use rustix::process::setpriority_process;
use rustix::thread::CpuSet;
use rustix::thread::LinkNameSpaceType;
use rustix::thread::gettid;
use rustix::thread::move_into_link_name_space;
use rustix::thread::sched_getaffinity;
use rustix::thread::sched_setaffinity;
use swingbridge::net::probe;

/// What servers and this program ask of the scheduler.
const NICE: i32 = -10;

/// Has this process, and all that it starts from here on, run on one CPU: the last of those it may use. Answers its number.
///
/// # Errors
/// What the kernel says.
pub(crate) fn pin() -> Result<usize, String> {
    let told = |error| format!("this process cannot be kept on one CPU: {error}");
    let may = sched_getaffinity(None).map_err(told)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| may.is_set(*cpu)).unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).map_err(told)?;
    // Before whoever else works there. Without the privilege figures are only noisier.
    let _ = setpriority_process(None, NICE);
    Ok(last)
}

/// Calls `make` in a thread that lives in `namespace`, if one is named, and is served by the scheduler before all others; the
/// threads that it starts inherit both. So the generator, which stands for the wire, never waits for the server.
pub(crate) fn as_the_wire<T: Send>(
    namespace: Option<&str>,
    make: impl FnOnce() -> T + Send,
) -> Result<T, String> {
    in_the_wire(namespace, || {
        put_first();
        make()
    })
}

/// The same, but served as this process is. Waking one another up costs two threads of real time a tenth more.
pub(crate) fn in_the_wire<T: Send>(
    namespace: Option<&str>,
    make: impl FnOnce() -> T + Send,
) -> Result<T, String> {
    let inside = move || {
        if let Some(namespace) = namespace {
            let path = Path::new("/run/netns").join(namespace);
            let entered = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .and_then(|file| move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)));
            // `?` would need one error of two.
            if let Err(error) = entered {
                return Err(format!("the network namespace {namespace} cannot be entered: {error}"));
            }
        }
        Ok(make())
    };
    thread::scope(|scope| match scope.spawn(inside).join() {
        Ok(made) => made,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Asks for the scheduling class of real time. Where that is refused figures are only noisier.
fn put_first() {
    let own = gettid().as_raw_nonzero().to_string();
    drop(quietly(Command::new("chrt").args(["--fifo", "--pid", "1", &own])));
}

/// Runs a command whose words nobody wants to read; whether it said that it did what it should.
pub(crate) fn quietly(command: &mut Command) -> Result<bool, std::io::Error> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    Ok(status.success())
}

/// CPU time that the kernel's own threads have used for packets that it took in for others.
pub(crate) fn softirq_time() -> Duration {
    let Ok(all) = fs::read_dir("/proc") else { return Duration::ZERO };
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_for_packets = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name.starts_with("ksoftirqd/") || name.starts_with("napi/"))
    };
    pids.filter(is_for_packets).filter_map(|pid| probe::cpu_time_of(pid).ok()).sum()
}

/// What stands above a table: the machine, its kernel, the commit.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = processor.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let commit = said(Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]));
    let when = said(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]));
    let others = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = others.split_ascii_whitespace().next().unwrap_or("?").to_owned();
    vec![
        (
            "machine",
            format!("{}, {cores} cores, Linux {}", model.map_or("?", |(_, model)| model), kernel.trim()),
        ),
        ("commit", commit.unwrap_or_else(|| "?".to_owned())),
        ("when", format!("{}, load average at the start {load}", when.unwrap_or_default())),
    ]
}

/// The first line that a command says, if it did what it should.
pub(crate) fn said(command: &mut Command) -> Option<String> {
    let done = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&done.stdout);
    let line = text.lines().find(|line| !line.trim().is_empty())?.trim().to_owned();
    done.status.success().then_some(line)
}
