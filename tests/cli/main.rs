//! The command as people and scripts meet it: each test runs the real binary.
#![cfg(feature = "server")]

mod broken;
mod check;
mod credential;
mod foreign;
mod help;
mod load;
mod testbed;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

/// What a run of the command left behind.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// The command in `folder`, with nothing of the caller's environment that it would look at.
fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swingbridge"));
    command.current_dir(folder).env_clear().env("NO_COLOR", "1");
    command
}

fn finish(command: &mut Command) -> Ran {
    let output = command.output().expect("the binary was built");
    Ran {
        code: output.status.code().expect("it was not killed by a signal"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Ran {
    finish(command(folder).args(arguments))
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli")
}

/// A folder of one test's own, gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("swingbridge-cli-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("the folder for temporary files is writable");
        Self(path)
    }

    fn with(self, name: &str, text: &str) -> Self {
        fs::write(self.0.join(name), text).expect("the folder is ours");
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
