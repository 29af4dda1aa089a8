//! Networks of a test's own, and its right to load programs.

use std::io;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use swingbridge::relay::kernel::Kernel;
use swingbridge::relay::kernel::Mode;
use swingbridge::relay::kernel::Setup;

/// Runs `test` in a thread that has a network of its own. Without the privilege it is skipped, and says so.
pub(crate) fn alone<T: Send>(test: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let run = scope.spawn(move || {
            // SAFETY: the call takes no pointer, and changes this thread alone.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                let error = io::Error::last_os_error();
                eprintln!(
                    "skipped: kernel-tiers: they need root, to load programs and to make networks ({error})"
                );
                return None;
            }
            if let Some(why) = missing() {
                eprintln!("skipped: kernel-tiers: {why}");
                return None;
            }
            Some(test())
        });
        match run.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// What the tests need and this machine lacks.
fn missing() -> Option<String> {
    let program = |name: &str| Command::new(name).arg("--version").output().is_err();
    if let Some(name) = ["ip", "ethtool", "setpriv", "kill"].into_iter().find(|name| program(name)) {
        return Some(format!("there is no {name}"));
    }
    let setup = Setup {
        addresses: vec![[192, 0, 2, 1].into()],
        ports: 50_000..=50_000,
        workers: 1,
        channels: 1,
        since_start: Duration::ZERO,
        lend: Duration::ZERO,
    };
    let refused = Kernel::load(&[], Mode::Tc, &setup).err()?;
    refused.cure.contains("CAP_BPF").then_some(refused.reason)
}

/// Each line is the rest of a command of `ip`, here.
pub(crate) fn ip(lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        run("ip", line);
    }
}

/// Runs a program with these arguments; answers what it printed.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split_whitespace()).output();
    let output = output.unwrap_or_else(|error| panic!("{program} {arguments}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {arguments}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A host of its own: a thread with another network, which does there what it is told.
pub(crate) struct Host {
    pub(crate) id: i32,
    jobs: Option<mpsc::Sender<Box<dyn FnOnce() + Send>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let (jobs, todo) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            // SAFETY: neither call takes a pointer; the first changes this thread alone.
            let (apart, id) = unsafe { (libc::unshare(libc::CLONE_NEWNET) == 0, libc::gettid()) };
            assert!(apart, "the caller could");
            tell.send(id).expect("the caller waits");
            todo.into_iter().for_each(|job| job());
        });
        let id = told.recv().expect("it tells its number");
        Self { id, jobs: Some(jobs), thread: Some(thread) }
    }

    /// What `job` comes to in this host's network. Sockets that it makes stay there.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let job = Box::new(move || drop(tell.send(job())));
        self.jobs.as_ref().expect("it lives").send(job).expect("it takes jobs");
        told.recv().expect("the job ended well")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.jobs = None;
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}
