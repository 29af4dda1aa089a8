//! The state directory: where `serve` without a file keeps its secret, so that credentials survive a restart.

use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::proto::types::Entropy;
use crate::proto::types::Secret;

const FILE: &str = "secret";
const SECRET_BYTES: usize = 32;
/// Longer files are not ours.
const FILE_BYTES_MAX: u64 = 4_096;

/// A secret, and where it is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) secret: Secret,
    /// `None` if it could not be kept: the next start makes another.
    pub(crate) file: Option<PathBuf>,
    /// What went wrong, in words.
    pub(crate) warning: Option<String>,
}

/// Where the state directory is: the one asked for, the one systemd made, or the user's own (XDG base directories).
pub(crate) fn directory(
    asked: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|path| path.is_absolute());
    asked
        .or_else(|| set("STATE_DIRECTORY"))
        .or_else(|| set("XDG_STATE_HOME").map(|path| path.join("swingbridge")))
        .or_else(|| set("HOME").map(|path| path.join(".local/state/swingbridge")))
}

/// The secret of the state directory, made at the first call.
pub(crate) fn secret(directory: Option<PathBuf>, entropy: &mut impl Entropy) -> Kept {
    let Some(directory) = directory else {
        let warning =
            "no state directory: neither --state-dir nor HOME is set, so the next start makes another secret";
        return Kept { secret: draw(entropy), file: None, warning: Some(warning.to_owned()) };
    };
    let path = directory.join(FILE);
    match read_or_make(&directory, &path, entropy) {
        Ok(secret) => Kept { secret, warning: loose(&path), file: Some(path) },
        Err(error) => {
            let warning = format!(
                "the secret cannot be kept in {}: {error}; the next start makes another (--state-dir names another place)",
                path.display()
            );
            Kept { secret: draw(entropy), file: None, warning: Some(warning) }
        }
    }
}

fn read_or_make(directory: &Path, path: &Path, entropy: &mut impl Entropy) -> io::Result<Secret> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read,
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let secret = draw(entropy);
    // Written under another name first: a start that is interrupted leaves no half secret.
    let draft = directory.join(format!("{FILE}.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(secret.expose())?;
            file.write_all(b"\n")?;
            file.sync_all()
        })
        .and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match written {
        // Another start was quicker: its secret is the one.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(error),
        Ok(()) => Ok(secret),
    }
}

fn read(path: &Path) -> io::Result<Secret> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("the file is too long to be a secret"));
    }
    let bytes = zeroize::Zeroizing::new(fs::read(path)?);
    match bytes.trim_ascii() {
        [] => Err(io::Error::other("the file is empty")),
        secret => Ok(Secret::new(secret)),
    }
}

/// A warning if others than the owner can read the file.
fn loose(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o077 != 0)
        .then(|| format!("{0} can be read by others than its owner: run `chmod 600 {0}`", path.display()))
}

fn draw(entropy: &mut impl Entropy) -> Secret {
    let mut bytes = zeroize::Zeroizing::new([0; SECRET_BYTES]);
    entropy.fill_secret(bytes.as_mut());
    Secret::new(URL_SAFE_NO_PAD.encode(bytes.as_ref()).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::SystemEntropy;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("swingbridge-state-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        directory
    }

    #[test]
    fn a_secret_is_made_once_kept_and_readable_by_its_owner_alone() {
        let directory = scratch("once");
        let first = secret(Some(directory.clone()), &mut SystemEntropy);
        let second = secret(Some(directory.clone()), &mut SystemEntropy);
        assert_eq!(first.secret.expose(), second.secret.expose());
        assert!(first.secret.expose().len() >= 43);
        assert!(second.warning.is_none());
        let mode = fs::metadata(directory.join(FILE)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&directory).expect("it is there").count(), 1, "no draft is left");
        let _ = fs::remove_dir_all(directory);
    }

    #[test]
    fn two_machines_get_two_secrets() {
        let (one, two) = (scratch("one"), scratch("two"));
        let first = secret(Some(one.clone()), &mut SystemEntropy);
        let second = secret(Some(two.clone()), &mut SystemEntropy);
        assert_ne!(first.secret.expose(), second.secret.expose());
        let _ = (fs::remove_dir_all(one), fs::remove_dir_all(two));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_said_aloud_and_stops_nothing() {
        let kept = secret(Some(PathBuf::from("/dev/null/nowhere")), &mut SystemEntropy);
        assert_eq!(kept.file, None);
        assert!(kept.warning.expect("a warning").contains("/dev/null/nowhere"));
        assert!(secret(None, &mut SystemEntropy).warning.expect("a warning").contains("--state-dir"));
    }

    #[test]
    fn a_file_that_others_can_read_is_warned_about_and_an_empty_one_is_not_overwritten() {
        let directory = scratch("loose");
        fs::create_dir_all(&directory).expect("a scratch directory");
        let path = directory.join(FILE);
        fs::write(&path, "a secret\n").expect("a scratch file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("our own file");
        let kept = secret(Some(directory.clone()), &mut SystemEntropy);
        assert_eq!(kept.secret.expose(), b"a secret");
        assert!(kept.warning.expect("a warning").contains("chmod 600"));
        fs::write(&path, "\n").expect("a scratch file");
        assert!(
            secret(Some(directory.clone()), &mut SystemEntropy).warning.expect("a warning").contains("empty")
        );
        assert_eq!(fs::read(&path).expect("it is there"), b"\n");
        let _ = fs::remove_dir_all(directory);
    }

    #[test]
    fn the_directory_asked_for_comes_first_and_a_relative_one_of_the_environment_counts_not() {
        let variables = |name: &str| match name {
            "STATE_DIRECTORY" => Some(PathBuf::from("/var/lib/swingbridge")),
            "HOME" => Some(PathBuf::from("/users/a")),
            _ => None,
        };
        assert_eq!(directory(Some("x".into()), variables), Some("x".into()));
        assert_eq!(directory(None, variables), Some("/var/lib/swingbridge".into()));
        let home = |name: &str| match name {
            "XDG_STATE_HOME" => Some(PathBuf::from("relative")),
            "HOME" => Some(PathBuf::from("/users/a")),
            _ => None,
        };
        assert_eq!(directory(None, home), Some("/users/a/.local/state/swingbridge".into()));
        assert_eq!(directory(None, |_| None), None);
    }
}
